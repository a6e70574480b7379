//! `dunlin import`: a bundle from a stick, for a board without a network.
//!
//! All of it is looked at first, and one of which anything is refused is not taken at all. Then it lies in
//! the state folder, whole or not at all, and the agent feeds it through the checks once more: as
//! soon as it sees it if it runs, else when it starts. So only the agent ever changes what is trusted.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context, Result};
use dunlin_core::{trust, wire::Timestamp};

use crate::{
    bundle::{Check, Finding, Outcome},
    config::{self, Config},
    store::{Disk, Folder},
};

/// `dunlin import`.
#[derive(clap::Args, Debug)]
pub struct ImportArgs {
    /// The bundle, as `dunlinctl bundle` made it
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The agent's configuration file
    #[arg(short, long, value_name = "FILE", default_value = config::PATH)]
    config: PathBuf,
}

/// Imports a bundle; answers with the program's exit code.
pub fn import(args: &ImportArgs) -> Result<u8> {
    let config = Config::load(&args.config)?;
    let folder = Folder::at(&config.state_dir);
    let chain = folder.chain(config.read_root()?);
    let plan = folder.plan()?.and_then(|bytes| match chain.stored_plan(&bytes) {
        Ok(plan) => Some(plan),
        // A board that has lost its plan is who needs a bundle most.
        Err(refusal) => {
            tracing::error!("{}: {refusal}", folder.plan_path().display());
            None
        }
    });
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = trust::now(Timestamp(since_epoch.map_or(0, |time| time.as_secs())), plan.iter().map(|plan| plan.issued));
    let device = (config.device.clone(), config.labels.clone());
    let findings = Check::new(chain, plan, Some(device), now).read(&args.file)?;
    findings.iter().for_each(print);
    if findings.iter().any(|finding| matches!(finding.outcome, Outcome::Refused(_))) {
        anyhow::bail!("{}: nothing of it is taken", args.file.display());
    }
    let path = folder.bundle_path();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    Disk::default().copy_atomically(&args.file, &path)?;
    println!("taken: the agent goes on with it now, or when it starts");
    Ok(0)
}

fn print(finding: &Finding) {
    let what = &finding.what;
    match &finding.outcome {
        Outcome::Accepted => println!("{what}: good"),
        Outcome::Known => println!("{what}: known already"),
        Outcome::NotForUs => println!("{what}: not for this board"),
        Outcome::Refused(refusal) => println!("{what}: refused: {refusal}"),
    }
}
