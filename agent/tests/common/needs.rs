//! Tests that need a program that not everybody has. Where it is missing they are ignored, and say so; with
//! `CI=true` they fail instead.

use libtest_mimic::{Arguments, Trial};

pub(crate) mod mosquitto;

/// Why mosquitto can't be had; nothing if it can.
pub(crate) fn missing_mosquitto() -> Option<&'static str> {
    mosquitto::program().is_none().then_some("mosquitto is not installed")
}

/// Runs these tests, unless something is missing; then the process ends.
pub(crate) fn run(arguments: &Arguments, missing: Option<&str>, tests: &[(&str, fn())]) -> ! {
    let missing = missing.filter(|_| std::env::var_os("CI").is_none());
    let trial = |&(name, test): &(&str, fn())| {
        let name = missing.map_or(name.into(), |why| format!("{name} (skipped: {why})"));
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    };
    libtest_mimic::run(arguments, tests.iter().map(trial).collect()).exit()
}
