//! The program `dunlin`: does what its command line says.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use dunlin::{
    agent::{self, End},
    cli::{Cli, Command, ConfigArgs},
    config::Config,
    identity, import, join, run, status,
    store::Disk,
    upgrade,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// The thing failed.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Agent(ConfigArgs { config }) => run_agent(&config),
        Command::Run(args) => runtime().and_then(|runtime| {
            let outcome = runtime.block_on(run::run(args));
            // A thread may still be reading our standard input: it is not waited for.
            runtime.shutdown_background();
            outcome
        }),
        Command::Import(args) => {
            log();
            import::import(&args)
        }
        Command::Status(args) => status::status(&args),
        Command::Logs(args) => status::logs(&args),
        Command::Check(ConfigArgs { config }) => check(&config),
        Command::Key(ConfigArgs { config }) => key(&config),
        Command::Join(args) => join::join(&args).context("this board did not join").and_then(|joined| {
            writeln!(io::stdout(), "{joined}")?;
            Ok(0)
        }),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "dunlin", &mut io::stdout());
            Ok(0)
        }
    };
    outcome.map_or_else(
        |error| {
            eprintln!("dunlin: {error:#}");
            ExitCode::from(FAILED)
        },
        ExitCode::from,
    )
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // Where the kernel gives them to whoever can have them, a thread's stack that is touched once weighs 2 MiB.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("huge pages: {error}");
    }
    // One thread: guests are tasks on it, and a fleet's boards have little memory to give to more.
    // Compiling, syncing and looking up names are done beside it, by a few threads: each costs memory, and a plan
    // may bring fifty modules at once.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(16).enable_all().build().context("no runtime")
}

fn run_agent(path: &std::path::Path) -> anyhow::Result<u8> {
    log();
    let itself = upgrade::become_current(path);
    let config = Config::load(path)?;
    let problems = config.problems();
    anyhow::ensure!(problems.is_empty(), "{}: {}", path.display(), problems.join("; "));
    if let Some(problem) = config.state_problem() {
        tracing::error!("{}: {problem}", path.display());
    }
    let runtime = runtime()?;
    let end = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let log = Arc::new(agent::Log);
        anyhow::Ok(agent::run_as(itself.clone(), Disk::default(), config, log, shutdown).await?)
    })?;
    runtime.shutdown_background();
    match (end, itself) {
        (End::Replaced, Some(itself)) => itself.make_place().context("cannot start the agent as it was installed"),
        (End::Replaced | End::Shutdown, _) => Ok(0),
    }
}

fn check(path: &std::path::Path) -> anyhow::Result<u8> {
    let config = Config::load(path)?;
    let mut problems = config.problems();
    problems.extend(config.door_problems().into_iter().chain(config.state_problem()));
    for problem in &problems {
        eprintln!("dunlin: {}: {problem}", path.display());
    }
    if !problems.is_empty() {
        return Ok(FAILED);
    }
    let root = config.read_root()?;
    println!("{}: ok", path.display());
    println!(
        "device {} of the fleet {} (root {}), broker {}",
        config.device, root.fleet, root.version, config.broker.url
    );
    Ok(0)
}

fn key(path: &std::path::Path) -> anyhow::Result<u8> {
    let config = Config::load(path)?;
    let key = identity::known_key(&config.state_dir)?.context("no key yet: the agent makes it at its first start")?;
    println!("{} {}", config.device, key.public());
    Ok(0)
}

/// Logs to standard error: `DUNLIN_LOG=debug`, or `DUNLIN_LOG=info,dunlin=debug` for parts.
fn log() {
    let wanted = std::env::var("DUNLIN_LOG").ok();
    let targets = wanted.as_deref().unwrap_or("info").parse::<Targets>();
    let layer =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    // The journal has its own times.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let layer: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> =
        if journal { Box::new(layer.without_time()) } else { Box::new(layer) };
    let filter = targets.unwrap_or_else(|error| {
        eprintln!("dunlin: DUNLIN_LOG={:?} is not understood ({error}): using info", wanted.unwrap_or_default());
        Targets::new().with_default(tracing::Level::INFO)
    });
    tracing_subscriber::registry().with(filter).with(layer).init();
}
