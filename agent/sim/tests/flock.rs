//! A flock of boards with bad lines and power cuts does what plans say; whoever does not is named.
//!
//! Needs mosquitto (Debian: `apt install mosquitto`). Without it these tests are ignored, and say so; with `CI=true`
//! they fail instead.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

#[path = "../../tests/common/needs.rs"]
mod needs;

use std::time::Duration;

use dunlin::config::units::{ByteSize, Span};
use dunlin_sim::{Settings, report::Table, simulate};
use indicatif::ProgressBar;
use libtest_mimic::Arguments;

fn main() {
    let tests: &[(_, fn())] = &[
        ("a_flock_converges_with_bad_lines_and_power_cuts", a_flock_converges_with_bad_lines_and_power_cuts),
        ("boards_that_are_not_there_in_time_are_named", boards_that_are_not_there_in_time_are_named),
    ];
    // One after the other: what they use of the machine is measured.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    needs::run(&arguments, needs::missing_mosquitto(), tests);
}

/// One chunk a module, so that slow lines do not make this a slow test.
fn settings() -> Settings {
    Settings {
        real_guests: 4,
        lossy: 10,
        slow: 5,
        rebooting: 10,
        module: ByteSize(32 << 10),
        limit: Span(Duration::from_secs(60)),
        ..Settings::default()
    }
}

fn a_flock_converges_with_bad_lines_and_power_cuts() {
    let (boards, settings) = (150, settings());
    let run = simulate(boards, &settings, &ProgressBar::hidden()).unwrap();
    let table = Table(std::slice::from_ref(&run)).to_string();
    assert!(run.has_converged(), "{table}");
    let names: Vec<_> = run.deploys.iter().map(|deploy| deploy.name).collect();
    assert_eq!(names, ["power on", "first", "update", "rollback", "remove"]);
    // A deploy may be over before the last of them has lost its power, and the run before the last deploy's.
    let cuts = (2 * run.faults.rebooting as u64)..=(4 * run.faults.rebooting as u64);
    assert!(cuts.contains(&run.power_cuts), "{table}");
    assert!(run.connections >= (boards + 2 * run.faults.rebooting) as u64, "{table}");
    assert_eq!(run.refusals, 0, "{table}");

    // A module is fetched twice and not a third time, whatever happens on the way: going back is free.
    let module = settings.module.0 as f64;
    for deploy in &run.deploys {
        let modules = deploy.cost.bytes_down / module;
        let range = if matches!(deploy.name, "first" | "update") { 0.9..1.6 } else { 0.0..0.2 };
        assert!(range.contains(&modules), "{} brings {modules:.2} modules\n{table}", deploy.name);
    }
}

fn boards_that_are_not_there_in_time_are_named() {
    let settings = Settings { limit: Span(Duration::ZERO), ..settings() };
    let run = simulate(3, &settings, &ProgressBar::hidden()).unwrap();
    assert!(!run.has_converged());
    let [deploy] = &run.deploys[..] else { panic!("what follows is not tried: {run:?}") };
    assert_eq!((deploy.converged, &deploy.missing[..]), (0, &[0, 1, 2][..]));
}
