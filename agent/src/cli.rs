//! The command line: what can be said.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    config,
    import::ImportArgs,
    join::JoinArgs,
    run::RunArgs,
    status::{LogsArgs, StatusArgs},
};

/// Runs small signed WebAssembly apps and takes them from an MQTT broker.
#[derive(Parser, Debug)]
#[command(name = "dunlin", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be said.
#[derive(Subcommand, Debug)]
#[allow(missing_docs, reason = "what a command takes says what it is, in its help too")]
pub enum Command {
    /// Run the daemon: take plans from the broker and do what they say
    Agent(ConfigArgs),
    Run(RunArgs),
    Status(StatusArgs),
    Logs(LogsArgs),
    Join(JoinArgs),
    /// Take a bundle from a file, for a board without a network
    Import(ImportArgs),
    /// Say what is wrong with a configuration, before it is used
    Check(ConfigArgs),
    /// Print the key to which the operator seals what only this board may read
    Key(ConfigArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Which configuration.
#[derive(clap::Args, Debug)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::PATH)]
    pub config: PathBuf,
}
