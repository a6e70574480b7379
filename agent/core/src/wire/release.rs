//! A release: one version of one app, with all that it asks of a board.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{
    AppName, Digest, Document, EnvName, Kind, MountName, Reach, TopicName, Version, check_count, check_text,
    check_unique,
};
use crate::{Refusal, limits, refusal::ensure};

/// What an author's `app.toml` becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The app.
    pub app: AppName,
    /// Higher for each release of the app: what devices compare.
    pub counter: u64,
    /// What people call it.
    pub version: Version,
    /// The code.
    pub module: Module,
    /// The interface between the code and the board.
    pub world: World,
    /// What it needs from the board; it gets nothing else.
    pub asks: Asks,
    /// How to tell that it is well.
    pub health: Health,
    /// What to do when it ends.
    pub restart: Restart,
    /// When it is started.
    pub start: Start,
    /// Milliseconds that it has to be well, once it has replaced another release, to be the good one.
    pub trial_ms: u32,
    /// Milliseconds that its connections may take to end when another release replaces it.
    pub drain_ms: u32,
    /// Where the module can be had by HTTP(S), best first; the broker has it where there are none.
    pub urls: Vec<String>,
}

/// A module's bytes, described so that each part of them can be checked by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// SHA-256 of the whole: its name in topics and in the store.
    pub sha256: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    /// The length of each chunk but the last, in bytes.
    pub chunk_bytes: u32,
    /// SHA-256 of each chunk.
    pub chunks: Vec<Digest>,
}

/// An interface between guest and host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum World {
    /// A core module that imports `wasi_snapshot_preview1`.
    Preview1,
    /// A component that exports `wasi:cli/run` and imports what the world `wasi:cli/command` of WASI 0.2 offers.
    Command,
    /// The agent's own program for the target triple in the app's name, and no guest at all.
    Agent,
    /// A component that exports `wasi:http/incoming-handler` and imports what the world `wasi:http/proxy` of
    /// WASI 0.2 offers. The board speaks HTTP on its ports.
    Http(Instances),
}

/// How an app that answers requests is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// Requests that are answered at a time, by an instance each. They share the app's memory equally.
    pub max: u16,
    /// Whether an instance answers one request after the other. Else each request has a fresh one.
    pub keep: bool,
}

impl World {
    /// Bytes of linear memory that one instance may have of an app's.
    pub fn memory_bytes(self, memory_bytes: u64) -> u64 {
        match self {
            Self::Preview1 | Self::Command | Self::Agent => memory_bytes,
            Self::Http(instances) => memory_bytes / u64::from(instances.max.max(1)),
        }
    }

    fn check(self, asks: &Asks) -> Result<(), Refusal> {
        let Self::Http(instances) = self else { return Ok(()) };
        let allowed = 1..=limits::INSTANCES_MAX;
        ensure!(allowed.contains(&instances.max), Malformed, "{} instances, not {allowed:?}", instances.max);
        ensure!(!asks.listen.is_empty(), Malformed, "it answers HTTP requests, and listens on no port");
        let datagrams = asks.listen.iter().any(|listen| listen.protocol == Protocol::Udp);
        ensure!(!datagrams, Malformed, "it answers HTTP requests, and listens for datagrams");
        // Instances side by side could not be held to one limit of what is in a directory.
        let directories = asks.data_bytes > 0 || !asks.mounts.is_empty();
        ensure!(!directories, Malformed, "it answers HTTP requests, and such an app has no directories");
        Ok(())
    }
}

impl Default for Instances {
    /// A fresh one for each request: none sees what another one left, and what one leaks is gone with it.
    fn default() -> Self {
        Self { max: limits::INSTANCES, keep: false }
    }
}

/// What a release asks for. The deploy's configuration fills in values, the device's policy bounds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// Ports that it listens on; the TCP ones in the order of their descriptors.
    pub listen: Vec<Listen>,
    /// Whom it connects to and sends datagrams to, and whose names it resolves: `HOST:PORTS` each.
    pub connect: Vec<Reach>,
    /// Whether it resolves other names too.
    pub resolve: bool,
    /// Bytes that it keeps in a directory of its own; it has none if 0.
    pub data_bytes: u64,
    /// Directories of the board that it uses, by the names that the board's owner gave them.
    pub mounts: Vec<Mount>,
    /// Topics of its own that it publishes under.
    pub topics_out: Vec<TopicName>,
    /// Topics of its own that it hears.
    pub topics_in: Vec<TopicName>,
    /// Environment variables, with the values that they have where a deploy gives none.
    pub env: Vec<(EnvName, Option<String>)>,
    /// Arguments.
    pub args: Vec<String>,
    /// Whether a deploy may give others. To an interpreter they are code, so that the deploy key
    /// alone must not choose them unless the release says so.
    pub free_args: bool,
    /// Linear memory in bytes.
    pub memory_bytes: u64,
}

/// A port that the guest listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The port as the guest knows it.
    pub guest: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The board's port where a deploy publishes nothing else; unpublished if absent.
    pub host: Option<u16>,
    /// Whether its descriptor is non-blocking from the start: Go needs that, Rust's std must not have it.
    pub nonblocking: bool,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Connections. The listener is a descriptor of the guest's, and what it gets when it binds the port.
    #[default]
    Tcp,
    /// Datagrams. The guest gets the socket when it binds the port.
    Udp,
}

/// A directory of the board, as the app uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// Its name in the board's configuration; the guest sees it as `/NAME`.
    pub name: MountName,
    /// Whether the app writes to it.
    pub write: bool,
}

/// How to tell that an app is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is looked at.
    pub probe: Probe,
    /// Milliseconds between looks.
    pub interval_ms: u32,
    /// Milliseconds that a look may take.
    pub timeout_ms: u32,
    /// Looks in a row that must find it well after its start.
    pub successes: u16,
    /// Looks in a row that must fail before the app is restarted.
    pub failures: u16,
    /// Milliseconds from its start in which it must accept and be well once.
    pub start_ms: u32,
}

/// What is looked at to tell that an app is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// That it accepts on its listeners once, if it has any, and stays up.
    Up,
    /// That it takes a TCP connection on this one of its ports.
    Tcp {
        /// The guest's port.
        port: u16,
    },
    /// That it answers `GET path` on this one of its ports with this status.
    Http {
        /// The guest's port.
        port: u16,
        /// The path, starting with `/`.
        path: String,
        /// The status that means well.
        status: u16,
    },
}

/// What to do when an app ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Start it again.
    #[default]
    Always,
    /// Start it again unless it exited with 0.
    OnFailure,
    /// Leave it.
    Never,
}

impl Protocol {
    /// What follows a port's number where the protocol is told.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Udp => "/udp",
        }
    }
}

/// When an app is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// As soon as it is there, and after each start of the board.
    #[default]
    AtOnce,
    /// By its first connection; it is put away when it had none for so many milliseconds.
    OnDemand {
        /// Milliseconds without a connection.
        idle_ms: u32,
    },
}

impl Default for Health {
    /// Staying up; accepts within 10 s.
    fn default() -> Self {
        Self { probe: Probe::Up, interval_ms: 10_000, timeout_ms: 2_000, successes: 1, failures: 3, start_ms: 10_000 }
    }
}

impl Module {
    /// Describes a module's bytes, cut into chunks of this length.
    ///
    /// Use [`limits::CHUNK_BYTES`] unless a broker takes less.
    pub fn describe(bytes: &[u8], chunk_bytes: u32) -> Self {
        Self {
            sha256: Digest::of(bytes),
            bytes: bytes.len() as u64,
            chunk_bytes,
            chunks: bytes.chunks(chunk_bytes as usize).map(Digest::of).collect(),
        }
    }

    /// How many chunks there are.
    pub fn count(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Where chunk `index` lies: offset and length in bytes. Nothing if there is none.
    pub fn range(&self, index: u32) -> Option<(u64, usize)> {
        let offset = u64::from(index) * u64::from(self.chunk_bytes);
        let length = self.bytes.checked_sub(offset)?.min(u64::from(self.chunk_bytes));
        (length > 0).then_some((offset, length as usize))
    }

    fn check(&self) -> Result<(), Refusal> {
        let (bytes, max) = (self.bytes, limits::MODULE_BYTES_MAX);
        ensure!(bytes <= max, Oversized, "a module of {bytes} bytes, more than the {max} allowed");
        ensure!(bytes > 0, Malformed, "a module of no bytes");
        let allowed = limits::CHUNK_BYTES_MIN..=limits::CHUNK_BYTES;
        let chunk = self.chunk_bytes;
        ensure!(allowed.contains(&chunk), Malformed, "chunks of {chunk} bytes, not of {allowed:?}");
        let count = bytes.div_ceil(u64::from(chunk));
        ensure!(count == self.chunks.len() as u64, Malformed, "{} chunk hashes for {count} chunks", self.chunks.len());
        Ok(())
    }
}

impl Document for Release {
    const KIND: Kind = Kind::Release;

    fn check(&self) -> Result<(), Refusal> {
        self.module.check()?;
        let asks = &self.asks;
        // No app is ever taken for an agent, nor an agent for an app: the name that a plan orders says which it is.
        let (named, is) = (self.app.agent_target().is_some(), self.world == World::Agent);
        ensure!(named == is, Malformed, "{} is the name of {}", self.app, if named { "an agent" } else { "an app" });
        ensure!(!is || *asks == Asks::default(), Malformed, "an agent that asks for something");
        check_count(asks.listen.len(), limits::LIST_MAX, "listeners")?;
        let zero = asks.listen.iter().any(|listen| listen.guest == 0 || listen.host == Some(0));
        ensure!(!zero, Malformed, "a listener on port 0");
        check_unique(asks.listen.iter().map(|listen| (listen.protocol, listen.guest)), "a listener's port")?;
        let published = asks.listen.iter().filter_map(|listen| Some((listen.protocol, listen.host?)));
        check_unique(published, "a published port")?;
        check_count(asks.connect.len(), limits::LIST_MAX, "hosts to connect to")?;
        check_unique(asks.connect.iter(), "a host to connect to")?;
        check_count(asks.mounts.len(), limits::LIST_MAX, "directories")?;
        check_unique(asks.mounts.iter().map(|mount| &mount.name), "a directory")?;
        let hidden = asks.data_bytes > 0 && asks.mounts.iter().any(|mount| mount.name.as_str() == "data");
        ensure!(!hidden, Malformed, "two directories called data: its own and the board's");
        check_count(asks.topics_out.len(), limits::LIST_MAX, "topics to publish under")?;
        check_unique(asks.topics_out.iter(), "a topic to publish under")?;
        check_count(asks.topics_in.len(), limits::TOPICS_IN_MAX, "topics to hear")?;
        check_unique(asks.topics_in.iter(), "a topic to hear")?;
        check_count(asks.env.len(), limits::LIST_MAX, "environment variables")?;
        check_unique(asks.env.iter().map(|(name, _)| name), "an environment variable")?;
        for (name, value) in &asks.env {
            check_text(value.as_deref().unwrap_or_default(), name.as_str())?;
        }
        check_count(asks.args.len(), limits::LIST_MAX, "arguments")?;
        asks.args.iter().try_for_each(|arg| check_text(arg, "an argument"))?;
        let (memory, max) = (asks.memory_bytes, limits::GUEST_MEMORY_BYTES_MAX);
        ensure!(memory <= max, Malformed, "{memory} bytes of memory, more than the {max} there can be");
        self.world.check(asks)?;
        self.health.check(asks)?;
        if let Start::OnDemand { idle_ms } = self.start {
            let published = asks.listen.iter().any(|listen| listen.protocol == Protocol::Tcp);
            ensure!(published, Malformed, "started on demand, but nobody can connect to it");
            ensure!(idle_ms > 0, Malformed, "put away after no time");
        }
        check_count(self.urls.len(), limits::LIST_MAX, "URLs")?;
        self.urls.iter().try_for_each(|url| check_url(url))
    }
}

/// Holds for `http` or `https`, without what would be a secret in everybody's hands.
pub fn check_url(url: &str) -> Result<(), Refusal> {
    check_text(url, "a URL")?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_graphic()));
    let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    ensure!(plain && !authority.contains('@'), Malformed, "{url:?} is not an http:// or https:// URL without a user");
    Ok(())
}

impl Health {
    fn check(&self, asks: &Asks) -> Result<(), Refusal> {
        let port = match &self.probe {
            Probe::Up => None,
            Probe::Tcp { port } => Some(*port),
            Probe::Http { port, path, status } => {
                check_text(path, "a health path")?;
                let plain = path.bytes().all(|c| c.is_ascii_graphic());
                ensure!(path.starts_with('/') && plain, Malformed, "the health path {path:?}");
                ensure!((100..600).contains(status), Malformed, "the health status {status}");
                Some(*port)
            }
        };
        if let Some(port) = port {
            let listens = asks.listen.iter().any(|l| l.guest == port && l.protocol == Protocol::Tcp);
            ensure!(listens, Malformed, "a health check of port {port}, which it does not listen on");
        }
        let times = [self.interval_ms, self.timeout_ms, self.start_ms];
        ensure!(times.iter().all(|ms| *ms > 0), Malformed, "a health check that takes no time");
        ensure!(self.successes > 0, Malformed, "a health check that is well after 0 successes");
        ensure!(self.failures > 0, Malformed, "a health check that fails after 0 failures");
        Ok(())
    }
}
