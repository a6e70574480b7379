//! `key`: a signing key of one's own, whose public half goes to who makes the next root.

use anyhow::Result;
use dunlin_core::wire::PublicKey;
use serde::Serialize;

use crate::{
    cli::{KeyArgs, KeyCommand, KeyFileArgs},
    keys::Key,
    say,
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    public: PublicKey,
}

/// Does what a `key` command says.
pub(crate) fn run(args: &KeyArgs) -> Result<()> {
    match &args.command {
        KeyCommand::New(args) => {
            let key = Key::generate()?;
            key.save(&args.file)?;
            report(args, &key)
        }
        KeyCommand::Show(args) => report(args, &Key::load(&args.file)?),
    }
}

fn report(args: &KeyFileArgs, key: &Key) -> Result<()> {
    let public = key.public();
    if args.json { say::json(&Report { public }) } else { Ok(say::result(public)?) }
}
