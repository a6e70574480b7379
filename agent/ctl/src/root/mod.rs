//! `root`: which keys count in the fleet, and what must not run any more.
//!
//! ```text
//! edit (the next root) ─▶ draft (signatures of what is here) ─┬─▶ adopt (keep, publish, sign again)
//!                              ▲ sign, on other machines ◀────┘ too few
//! ```

mod adopt;
mod change;
mod draft;
mod edit;
mod exchange;
mod plan;
mod show;

use anyhow::Result;

pub(crate) use self::plan::Source;
use crate::cli::{Global, RootArgs, RootCommand};

/// Does what a `root` command says.
pub(crate) async fn run(args: &RootArgs, global: &Global) -> Result<()> {
    match &args.command {
        RootCommand::Show(args) => show::run(args, global),
        RootCommand::AddKey(args) => change::add_key(args, global).await,
        RootCommand::RemoveKey(args) => change::remove_key(args, global).await,
        RootCommand::Rotate(args) => change::rotate(args, global).await,
        RootCommand::Revoke(args) => change::revoke(args, global).await,
        RootCommand::Floor(args) => change::floor(args, global).await,
        RootCommand::Expires(args) => change::expires(args, global).await,
        RootCommand::Sign(args) => exchange::sign(args, global),
        RootCommand::Publish(args) => exchange::publish(args, global).await,
        RootCommand::Pull(args) => exchange::pull(args, global).await,
    }
}
