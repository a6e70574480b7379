//! What an app gets: what its release asks for, as the plan fills it in, within what this device allows.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use serde::{Deserialize, Serialize};

use crate::{
    Code, Refusal, limits,
    refusal::ensure,
    wire::{
        Asks, Assignment, Digest, EnvName, Health, Listen, Mount, MountName, Protocol, Publish, Reach, Release,
        Restart, Sealed, Start, TopicName, encode,
    },
};

/// What the owner of a board lets apps have, from its configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Linear memory that one app may have, in bytes.
    pub memory_bytes_max: u64,
    /// The lowest port of the board that an app may be published on.
    pub port_min: u16,
    /// Bytes that one app may keep in its own directory.
    pub data_bytes_max: u64,
    /// Directories that apps may use, and whether they may write to them.
    pub mounts: BTreeMap<MountName, bool>,
    /// Whether plans may replace the agent itself.
    pub agent: bool,
    /// Whether what apps print may be followed at the broker.
    pub follow: bool,
}

impl Default for Policy {
    /// 64 MiB of memory an app, as much on the disk; ports that need no privilege; no directories of the board.
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 * 1024 * 1024,
            port_min: 1024,
            data_bytes_max: limits::DATA_BYTES,
            mounts: BTreeMap::new(),
            agent: true,
            follow: true,
        }
    }
}

impl Policy {
    /// No bounds; but no directories of the board, which nobody has named.
    pub fn anything() -> Self {
        Self {
            memory_bytes_max: u64::MAX,
            port_min: 1,
            data_bytes_max: u64::MAX,
            mounts: BTreeMap::new(),
            agent: true,
            follow: true,
        }
    }
}

/// Everything with which a release is started on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Arguments after the app's name.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(EnvName, String)>,
    /// More of it, which is opened only when it is started.
    pub secrets: Vec<(EnvName, Sealed)>,
    /// Its listeners, the TCP ones in the order of their descriptors.
    pub listen: Vec<Listener>,
    /// Whom it may connect to, unless the device says otherwise.
    pub connect: Vec<Reach>,
    /// Whether it may resolve any name.
    pub resolve: bool,
    /// Bytes that it may keep in a directory of its own; it has none if 0.
    pub data_bytes: u64,
    /// Directories of the board that it may use.
    pub mounts: Vec<Mount>,
    /// Topics of its own that it may publish under.
    pub topics_out: Vec<TopicName>,
    /// Topics of its own that it hears.
    pub topics_in: Vec<TopicName>,
    /// Linear memory in bytes.
    pub memory_bytes: u64,
    /// How to tell that it is well.
    pub health: Health,
    /// What to do when it ends.
    pub restart: Restart,
    /// When it is started.
    pub start: Start,
    /// Milliseconds that it has to be well to be the good one.
    pub trial_ms: u32,
    /// Milliseconds that its connections may take to end when it is replaced.
    pub drain_ms: u32,
}

/// A listener, as the guest knows it and as the board publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The guest's port.
    pub guest: u16,
    /// What is spoken there.
    pub protocol: Protocol,
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
    let (data, max) = (asks.data_bytes, policy.data_bytes_max);
    ensure!(data <= max, Policy, "{app} asks for {data} bytes of data, more than the {max} allowed here");
    for Mount { name, write } in &asks.mounts {
        let shared = policy.mounts.get(name);
        ensure!(shared.is_some(), Policy, "{app} asks for the directory {name}, which this device does not have");
        ensure!(!write || shared == Some(&true), Policy, "{app} asks to write to {name}, which it may only read here");
    }
    Ok(Setup {
        args: arguments(asks, assignment)?,
        env: environment(asks, assignment)?,
        secrets: secrets(asks, assignment)?,
        listen,
        connect: asks.connect.clone(),
        resolve: asks.resolve,
        data_bytes: data,
        mounts: asks.mounts.clone(),
        topics_out: asks.topics_out.clone(),
        topics_in: asks.topics_in.clone(),
        memory_bytes: if memory == 0 { limits::GUEST_MEMORY_BYTES.min(policy.memory_bytes_max) } else { memory },
        health: release.health.clone(),
        restart: release.restart,
        start: release.start,
        trial_ms: release.trial_ms,
        drain_ms: release.drain_ms,
    })
}

/// What a release asks for beyond what this app was granted before, for a person; nothing if it
/// asks for no more. An app that never ran was granted nothing.
pub fn widening(granted: Option<&Asks>, asks: &Asks) -> Option<String> {
    let nothing = Asks::default();
    let granted = granted.unwrap_or(&nothing);
    let mut more = Vec::new();
    for listen in &asks.listen {
        let same = |l: &Listen| l.guest == listen.guest && l.host == listen.host && l.protocol == listen.protocol;
        if !granted.listen.iter().any(same) {
            let host = listen.host.map(|host| format!("{host}:")).unwrap_or_default();
            more.push(format!("port {host}{}{}", listen.guest, listen.protocol.suffix()));
        }
    }
    let new_hosts = asks.connect.iter().filter(|reach| !granted.connect.contains(reach));
    more.extend(new_hosts.map(|reach| format!("connections to {reach}")));
    if asks.resolve && !granted.resolve {
        more.push("resolving any name".into());
    }
    if asks.data_bytes > granted.data_bytes {
        more.push(format!("{} bytes of data", asks.data_bytes));
    }
    for mount in &asks.mounts {
        let known = granted.mounts.iter().any(|known| known.name == mount.name && known.write >= mount.write);
        if !known {
            let what = if mount.write { "writing to" } else { "reading" };
            more.push(format!("{what} the directory {}", mount.name));
        }
    }
    let new_out = asks.topics_out.iter().filter(|name| !granted.topics_out.contains(name));
    more.extend(new_out.map(|name| format!("publishing under {name}")));
    let new_in = asks.topics_in.iter().filter(|name| !granted.topics_in.contains(name));
    more.extend(new_in.map(|name| format!("hearing {name}")));
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
    let fits =
        |listen: &Listen, publish: &Publish| publish.guest == listen.guest && publish.protocol == listen.protocol;
    let stray = published.unwrap_or_default().iter().find(|publish| !asks.listen.iter().any(|l| fits(l, publish)));
    if let Some(Publish { guest, protocol, .. }) = stray {
        let port = format!("{guest}{}", protocol.suffix());
        let sentence = format!("the plan publishes port {port} of {app}, which does not listen there");
        return Err(Refusal::new(Code::Policy, sentence));
    }
    let host = |listen: &Listen| match published {
        Some(published) => published.iter().find(|publish| fits(listen, publish)).map(|publish| publish.host),
        None => listen.host,
    };
    let listener = |l: &Listen| {
        let Listen { guest, protocol, nonblocking, .. } = *l;
        Listener { guest, protocol, host: host(l), nonblocking }
    };
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
    let secret = |name: &EnvName| assignment.secrets.iter().any(|(secret, _)| secret == name);
    let value = |(name, default): &(EnvName, Option<String>)| {
        let given = given.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let missing = || Refusal::new(Code::Policy, format!("{app} needs {name}, and the plan gives it no value"));
        given.or_else(|| default.clone()).map(|value| (name.clone(), value)).ok_or_else(missing)
    };
    asks.env.iter().filter(|(name, _)| !secret(name)).map(value).collect()
}

/// The assignment is as this device sees it: of each secret only what is sealed to it.
fn secrets(asks: &Asks, assignment: &Assignment) -> Result<Vec<(EnvName, Sealed)>, Refusal> {
    let app = &assignment.app;
    for (name, _) in &assignment.secrets {
        let asked = asks.env.iter().any(|(asked, _)| asked == name);
        ensure!(asked, Policy, "the plan sets {name} for {app}, whose release does not ask for it");
    }
    let first = |(name, sealed): &(EnvName, Vec<Sealed>)| sealed.first().map(|sealed| (name.clone(), sealed.clone()));
    Ok(assignment.secrets.iter().filter_map(first).collect())
}
