//! `device`: the sealing keys of boards, as the operator came to know them.
//!
//! A board says its key in its state, too, but so could anybody who has the broker. So a key counts when it
//! was added here.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use dunlin_core::wire::{DeviceId, SealingKey};
use serde::Serialize;

use crate::{
    cli::{DeviceArgs, DeviceCommand, Global},
    files::{self, Audience},
    fleet::Fleet,
    say,
};

/// What `--json` prints.
#[derive(Serialize)]
struct Row {
    device: DeviceId,
    key: SealingKey,
}

/// Does what a `device` command says.
pub(crate) fn run(args: &DeviceArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    match &args.command {
        DeviceCommand::Add { device, key } => {
            let mut keys = keys(&fleet)?;
            match keys.insert(device.clone(), *key) {
                Some(old) if old != *key => {
                    bail!("{device} has another key, {old}: remove it first, if the board has really a new one")
                }
                _ => keep(&fleet, &keys)?,
            }
            Ok(say::result(format_args!("{device} {key}"))?)
        }
        DeviceCommand::Remove { device } => {
            let mut keys = keys(&fleet)?;
            if keys.remove(device).is_none() {
                bail!("no key of {device} is known here");
            }
            keep(&fleet, &keys)
        }
        DeviceCommand::List { json } => {
            let keys = keys(&fleet)?;
            if *json {
                return say::json(&keys.into_iter().map(|(device, key)| Row { device, key }).collect::<Vec<_>>());
            }
            for (device, key) in keys {
                say::result(format_args!("{device} {key}"))?;
            }
            Ok(())
        }
    }
}

/// The keys that were added.
pub(crate) fn keys(fleet: &Fleet) -> Result<BTreeMap<DeviceId, SealingKey>> {
    let path = fleet.dir.join("devices.toml");
    match files::read_if_there(&path)? {
        None => Ok(BTreeMap::new()),
        Some(bytes) => {
            let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
            toml::from_str(&text).with_context(|| path.display().to_string())
        }
    }
}

fn keep(fleet: &Fleet, keys: &BTreeMap<DeviceId, SealingKey>) -> Result<()> {
    files::write(&fleet.dir.join("devices.toml"), toml::to_string(keys)?.as_bytes(), Audience::All)
}
