//! What an app gets: what its release asks for, as the plan fills it in, within what this device allows.

use alloc::{format, string::String, vec::Vec};
use serde::{Deserialize, Serialize};

use crate::{
    Code, Refusal, limits,
    refusal::ensure,
    wire::{Asks, Assignment, Digest, EnvName, Health, Listen, Publish, Release, Restart, encode},
};

/// What the owner of a board lets apps have, from its configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Linear memory that one app may have, in bytes.
    pub memory_bytes_max: u64,
    /// The lowest port of the board that an app may be published on.
    pub port_min: u16,
}

impl Default for Policy {
    /// 64 MiB an app; ports that need no privilege.
    fn default() -> Self {
        Self { memory_bytes_max: 64 * 1024 * 1024, port_min: 1024 }
    }
}

/// Everything with which a release is started on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Arguments after the app's name.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(EnvName, String)>,
    /// Its listeners, in the order of their descriptors.
    pub listen: Vec<Listener>,
    /// Linear memory in bytes.
    pub memory_bytes: u64,
    /// How to tell that it is well.
    pub health: Health,
    /// What to do when it ends.
    pub restart: Restart,
}

/// A listener, as the guest knows it and as the board publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The guest's port.
    pub guest: u16,
    /// The board's port; only the health check reaches it if absent.
    pub host: Option<u16>,
    /// Whether its descriptor is non-blocking from the start.
    pub nonblocking: bool,
}

impl Setup {
    /// Tells setups apart: an app whose setup changes is started anew.
    pub fn digest(&self) -> Digest {
        Digest::of(&encode(self))
    }
}

/// The setup of a release on this device, or what of it the device refuses.
///
/// *What a guest gets is the intersection of what it imports, what the release asks for and what
/// the device's own policy allows.* Its imports are checked where the module is compiled.
pub fn admit(policy: &Policy, release: &Release, assignment: &Assignment) -> Result<Setup, Refusal> {
    let asks = &release.asks;
    let app = &release.app;
    let (memory, max) = (asks.memory_bytes, policy.memory_bytes_max);
    ensure!(memory <= max, Policy, "{app} asks for {memory} bytes of memory, more than the {max} allowed here");
    let listen = listeners(asks, assignment)?;
    for port in listen.iter().filter_map(|l| l.host) {
        let min = policy.port_min;
        ensure!(port >= min, Policy, "{app} is published on port {port}, but this device allows {min} and up");
    }
    Ok(Setup {
        args: arguments(asks, assignment)?,
        env: environment(asks, assignment)?,
        listen,
        memory_bytes: if memory == 0 { limits::GUEST_MEMORY_BYTES.min(max) } else { memory },
        health: release.health.clone(),
        restart: release.restart,
    })
}

/// What a release asks for beyond what this app was granted before, for a person; nothing if it
/// asks for no more. An app that never ran was granted nothing.
pub fn widening(granted: Option<&Asks>, asks: &Asks) -> Option<String> {
    let nothing = Asks::default();
    let granted = granted.unwrap_or(&nothing);
    let mut more = Vec::new();
    for listen in &asks.listen {
        let known = granted.listen.iter().any(|l| l.guest == listen.guest && l.host == listen.host);
        if !known {
            let host = listen.host.map(|host| format!("{host}:")).unwrap_or_default();
            more.push(format!("port {host}{}", listen.guest));
        }
    }
    let new_env = asks.env.iter().filter(|(name, _)| granted.env.iter().all(|(known, _)| known != name));
    more.extend(new_env.map(|(name, _)| format!("environment variable {name}")));
    if asks.memory_bytes > granted.memory_bytes {
        more.push(format!("{} bytes of memory", asks.memory_bytes));
    }
    if asks.free_args && !granted.free_args {
        more.push("arguments of the deploy's choice".into());
    }
    (!more.is_empty()).then(|| more.join(", "))
}

fn listeners(asks: &Asks, assignment: &Assignment) -> Result<Vec<Listener>, Refusal> {
    let app = &assignment.app;
    let published = assignment.publish.as_deref();
    if let Some(Publish { guest, .. }) =
        published.unwrap_or_default().iter().find(|p| asks.listen.iter().all(|l| l.guest != p.guest))
    {
        let sentence = format!("the plan publishes port {guest} of {app}, which does not listen there");
        return Err(Refusal::new(Code::Policy, sentence));
    }
    let host = |listen: &Listen| match published {
        Some(published) => published.iter().find(|p| p.guest == listen.guest).map(|p| p.host),
        None => listen.host,
    };
    let listener = |l: &Listen| Listener { guest: l.guest, host: host(l), nonblocking: l.nonblocking };
    Ok(asks.listen.iter().map(listener).collect())
}

fn arguments(asks: &Asks, assignment: &Assignment) -> Result<Vec<String>, Refusal> {
    let app = &assignment.app;
    let Some(args) = &assignment.args else { return Ok(asks.args.clone()) };
    ensure!(asks.free_args, Policy, "the plan gives {app} arguments, but its release keeps its own");
    Ok(args.clone())
}

fn environment(asks: &Asks, assignment: &Assignment) -> Result<Vec<(EnvName, String)>, Refusal> {
    let app = &assignment.app;
    let given = &assignment.env;
    if let Some((name, _)) = given.iter().find(|(name, _)| asks.env.iter().all(|(asked, _)| asked != name)) {
        let sentence = format!("the plan sets {name} for {app}, whose release does not ask for it");
        return Err(Refusal::new(Code::Policy, sentence));
    }
    let value = |(name, default): &(EnvName, Option<String>)| {
        let given = given.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let missing = || Refusal::new(Code::Policy, format!("{app} needs {name}, and the plan gives it no value"));
        given.or_else(|| default.clone()).map(|value| (name.clone(), value)).ok_or_else(missing)
    };
    asks.env.iter().map(value).collect()
}
