//! The operator's tool, and the only place that holds signing keys.
//!
//! ```text
//! app.toml ─▶ release ─▶ records ─┐                     ┌─▶ devices ─▶ status, wait
//!              │ sign             ├─▶ session ─▶ broker ┤
//! selector ─▶ deploy, orders ─▶ plans ┘                 └─▶ boards, which trust nothing but the root
//! ```
//!
//! It signs nothing that a board would refuse: each document goes through the board's own checks
//! first. It never reaches a board itself; a broker is all that it talks to.

mod cli;
mod say;

mod enroll;
mod fleet;
mod grant;
mod held;
mod init;
mod key;
mod keys;
mod root;
mod roots;
mod sign;

mod agent;
mod app;
mod module;
mod records;
mod release;
mod stock;

mod assignments;
mod deploy;
mod orders;
mod plans;
mod rollout;
mod secrets;
mod selector;

mod bundle;
mod depot;

mod device;
mod devices;
mod events;
mod logs;
mod status;
mod wait;

mod explain;
mod inspect;

#[cfg(feature = "dev")]
mod dev;

mod files;
mod progress;
mod session;
mod table;
mod time;
mod toml_file;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use orders::Order;

/// The thing failed.
const FAILED: u8 = 1;

/// It was asked for in a way that cannot be meant.
const WRONG_USE: u8 = 2;

/// Wrong use that the command line's grammar does not see.
#[derive(Debug)]
struct WrongUse(String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Does what the command line says; answers with the program's exit code.
pub fn run() -> ExitCode {
    // On wrong use, clap says so and exits with 2.
    let cli = Cli::parse();
    log();
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(format_args!("{error:#}"));
            ExitCode::from(if error.is::<WrongUse>() { WRONG_USE } else { FAILED })
        }
    }
}

fn execute(cli: &Cli) -> Result<()> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::run(args),
        Command::Enroll(args) => enroll::run(args, global),
        Command::Inspect(args) => inspect::run(args, global),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "dunlinctl", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
        Command::Release(args) => wait_for(release::run(args, global)),
        Command::Deploy(args) => wait_for(deploy::run(args, global)),
        Command::Remove(args) => wait_for(orders::run(Order::Remove, args, global)),
        Command::Pause(args) => wait_for(orders::run(Order::Pause, args, global)),
        Command::Resume(args) => wait_for(orders::run(Order::Resume, args, global)),
        Command::Rollback(args) => wait_for(orders::run(Order::Rollback, args, global)),
        Command::Root(args) => wait_for(root::run(args, global)),
        Command::Key(args) => key::run(args),
        Command::Device(args) => device::run(args, global),
        Command::Grant(args) => wait_for(grant::run(args, global)),
        Command::Rollout(args) => wait_for(rollout::run(&args.command, global)),
        Command::Bundle(args) => bundle::run(args, global),
        Command::Depot(args) => wait_for(depot::run(args, global)),
        Command::Status(args) => wait_for(status::run(args, global)),
        Command::Events(args) => wait_for(events::run(args, global)),
        Command::Logs(args) => wait_for(logs::run(args, global)),
        Command::Explain(args) => explain::run(args),
        #[cfg(feature = "dev")]
        Command::Dev(args) => wait_for(dev::run(args)),
    }
}

fn wait_for(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no asynchronous runtime")?;
    let outcome = runtime.block_on(future);
    // What still blocks a thread is not waited for.
    runtime.shutdown_background();
    outcome
}

/// The libraries' own words, for who asks with DUNLIN_LOG (as RUST_LOG elsewhere).
fn log() {
    let filter = EnvFilter::try_from_env("DUNLIN_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
