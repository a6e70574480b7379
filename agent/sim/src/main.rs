//! The program `dunlin-sim`: one run after the other, and the table.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use dunlin_sim::{
    Settings,
    report::{Run, Table},
    simulate,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Boards are there, or not; or nothing could be run.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let settings = Settings::parse();
    log();
    match run(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("dunlin-sim: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// Whether all boards did all that they were told.
fn run(settings: &Settings) -> anyhow::Result<bool> {
    let mut runs = Vec::new();
    for boards in settings.sizes() {
        let bar = ProgressBar::new(boards as u64);
        bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}")?);
        let run = simulate(boards, settings, &bar)?;
        bar.finish_and_clear();
        eprintln!("{boards} boards, seed {}: {}; {} with real guests", run.seed, run.faults, run.real_guests);
        if run.operator_losses > 0 {
            eprintln!("the operator lost the broker {} times, and came back", run.operator_losses);
        }
        for deploy in run.deploys.iter().filter(|deploy| !deploy.has_converged()) {
            let left = boards - deploy.converged;
            eprintln!(
                "{}: {left} boards are not there after {:?}, such as {:?}",
                deploy.name, settings.limit.0, deploy.missing
            );
        }
        runs.push(run);
    }
    let mut out = io::stdout().lock();
    if settings.json {
        serde_json::to_writer_pretty(&mut out, &runs)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", Table(&runs))?;
    }
    Ok(runs.iter().all(Run::has_converged))
}

/// What agents log is of thousands of boards: nothing, unless `DUNLIN_LOG` asks for it.
fn log() {
    let filter = tracing_subscriber::EnvFilter::new(std::env::var("DUNLIN_LOG").unwrap_or_else(|_| "off".into()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
