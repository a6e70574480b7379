//! Writes the man pages and shell completions of `dunlin` into a folder: packages bring them, boards
//! need not carry what makes them.
//!
//! ```text
//! cargo run -p dunlin --example manual -- FOLDER
//! ```

use std::{env, io, path::PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use dunlin::cli::Cli;

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: manual FOLDER"))?);
    std::fs::create_dir_all(&folder)?;
    // dunlin.1, dunlin-run.1 and so on.
    clap_mangen::generate_to(Cli::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "dunlin", &folder)?;
    }
    Ok(())
}
