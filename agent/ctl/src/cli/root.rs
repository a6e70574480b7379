//! What can be said of keys and the root of trust.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueHint};
use dunlin_core::wire::{AppName, Digest, Version};

use super::{AppAt, SpanArg, app_at, help, lifetime};
use crate::{keys::Role, root::Source};

#[derive(Debug, Args)]
pub(crate) struct RootArgs {
    #[command(subcommand)]
    pub(crate) command: RootCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    /// Show the root in force: keys, thresholds, floors, what is revoked
    #[command(after_help = help::ROOT_SHOW)]
    Show(RootShowArgs),
    /// Let one more key sign for a role
    #[command(after_help = help::ROOT_ADD_KEY)]
    AddKey(AddKeyArgs),
    /// Take a key out of a role
    #[command(after_help = help::ROOT_REMOVE_KEY)]
    RemoveKey(RemoveKeyArgs),
    /// Replace the key of a role that this folder holds by a new one
    #[command(after_help = help::ROOT_ROTATE)]
    Rotate(RotateArgs),
    /// Ban a release or a module: boards stop it
    #[command(after_help = help::ROOT_REVOKE)]
    Revoke(RevokeArgs),
    /// Ban every release of an app below a counter
    #[command(after_help = help::ROOT_FLOOR)]
    Floor(FloorArgs),
    /// Set until when the root is good
    #[command(after_help = help::ROOT_EXPIRES)]
    Expires(ExpiresArgs),
    /// Add this machine's signature to a root's file, without a broker
    #[command(after_help = help::ROOT_SIGN)]
    Sign(RootSignArgs),
    /// Put a root in force that has all its signatures
    #[command(after_help = help::ROOT_PUBLISH)]
    Publish(RootPublishArgs),
    /// Take the roots that were made elsewhere from the broker
    #[command(after_help = help::ROOT_PULL)]
    Pull(RootPullArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RootShowArgs {
    /// Print it as one JSON value
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to make the next root.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Write the signed root to a file, and publish nothing
    #[arg(long)]
    pub(crate) sign_only: bool,
    /// Which plan goes on under new deploy keys, where the broker has another than this folder
    #[arg(long, value_name = "WHOSE")]
    pub(crate) plan: Option<Source>,
    /// Print what was done as one JSON value
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddKeyArgs {
    /// The role
    pub(crate) role: Role,
    /// A key's file, or a public key
    #[arg(value_name = "KEYFILE|PUBLICKEY", value_hint = ValueHint::FilePath)]
    pub(crate) key: String,
    /// How many of the role's keys must sign, from now on
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u8>,
    /// Let it release these apps alone
    #[arg(long, value_name = "APPS", value_delimiter = ',')]
    pub(crate) apps: Vec<AppName>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveKeyArgs {
    /// The role
    pub(crate) role: Role,
    /// The public key, or enough of its beginning
    #[arg(value_name = "PUBLICKEY", value_parser = beginning)]
    pub(crate) key: String,
    /// How many of the role's keys must sign, from now on
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u8>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The role
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The digest of a release or a module, or a release that was made here
    #[arg(value_name = "DIGEST|APP@VERSION")]
    pub(crate) what: Banned,
    /// Ban the release's module, whatever release it is in
    #[arg(long)]
    pub(crate) module: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// The app
    pub(crate) app: AppName,
    /// The lowest counter that may run, or the version that has it
    #[arg(value_name = "COUNTER|@VERSION")]
    pub(crate) at: FloorAt,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiresArgs {
    /// From now
    #[arg(value_name = "TIME", value_parser = lifetime)]
    pub(crate) after: SpanArg,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RootSignArgs {
    /// The root's file; the signature is added to it
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// A key's file; the root keys of the fleet's folder without it
    #[arg(long, value_name = "KEYFILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RootPublishArgs {
    /// The root's file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Which plan goes on under new deploy keys, where the broker has another than this folder
    #[arg(long, value_name = "WHOSE")]
    pub(crate) plan: Option<Source>,
}

#[derive(Debug, Args)]
pub(crate) struct RootPullArgs {
    /// Which plan goes on under new deploy keys, where the broker has another than this folder
    #[arg(long, value_name = "WHOSE")]
    pub(crate) plan: Option<Source>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a signing key
    #[command(after_help = help::KEY_NEW)]
    New(KeyFileArgs),
    /// Show the public half of a signing key
    #[command(after_help = help::KEY_SHOW)]
    Show(KeyFileArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyFileArgs {
    /// The key's file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print it as one JSON value
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// The release
    #[arg(value_name = "APP@VERSION", value_parser = app_at)]
    pub(crate) app: AppAt,
}

/// What is to be banned.
#[derive(Clone, Debug)]
pub(crate) enum Banned {
    Digest(Digest),
    Release(AppName, Version),
}

impl FromStr for Banned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(digest) = text.parse() {
            return Ok(Self::Digest(digest));
        }
        match app_at(text)? {
            AppAt { app, version: Some(version) } => Ok(Self::Release(app, version)),
            AppAt { .. } => Err("write APP@VERSION, or all 64 digits of a digest".into()),
        }
    }
}

/// Where a floor is to be.
#[derive(Clone, Debug)]
pub(crate) enum FloorAt {
    Counter(u64),
    Version(Version),
}

impl FromStr for FloorAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(version) => version.parse().map(Self::Version).map_err(|e| format!("{e}")),
            None => text.parse().map(Self::Counter).map_err(|_| "write a counter, or @VERSION".into()),
        }
    }
}

fn beginning(text: &str) -> Result<String, String> {
    let hex = !text.is_empty() && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if hex { Ok(text.into()) } else { Err("write a public key, or its first digits".into()) }
}
