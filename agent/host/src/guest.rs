//! What a guest is given, and how it ends: what passes between this crate and whoever uses it.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use thiserror::Error;
use tokio::io::AsyncRead;

use crate::bus::Bus;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::grants::Grants;
use crate::lookup::Lookups;
use crate::quota::{Limits, Usage};

/// What one start of a program is given.
pub struct Guest {
    /// The arguments, of which the first is the program's name.
    pub args: Vec<String>,
    /// The environment. `LISTEN_FDS` is set by the host, to the number of listeners.
    pub env: Vec<(String, String)>,
    /// What it reads on descriptor 0.
    pub stdin: Stdin,
    /// Directories, from descriptor 3 upward.
    pub directories: Vec<Directory>,
    /// Listeners, on the descriptors after the directories.
    pub listeners: Vec<Listener>,
    /// What it may reach by sockets that it opens itself.
    pub grants: Grants,
    /// With whom it shares its turns at looking up names; with nobody if nothing is said.
    pub lookups: Lookups,
    /// What carries its messages: without one it has nobody to tell anything.
    pub bus: Option<Box<dyn Bus>>,
    /// Who performs its HTTP requests: without one it makes none.
    #[cfg(feature = "components")]
    pub client: Option<Arc<dyn crate::http::Client>>,
    /// What it may use. Call depth and stack are those that the program was compiled with.
    pub limits: Limits,
    /// Who is told what it does.
    pub observer: Box<dyn Observer>,
    /// Gauges to read while it runs.
    pub usage: Arc<Usage>,
}

impl Default for Guest {
    /// A guest with no arguments, no descriptors but stdio, an empty stdin, and nobody listening.
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            stdin: Stdin::Empty,
            directories: Vec::new(),
            listeners: Vec::new(),
            grants: Grants::default(),
            lookups: Lookups::default(),
            bus: None,
            #[cfg(feature = "components")]
            client: None,
            limits: Limits::default(),
            observer: Box::new(Silent),
            usage: Arc::default(),
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("args", &self.args).finish_non_exhaustive()
    }
}

/// What a guest reads on its stdin.
#[derive(Default)]
pub enum Stdin {
    /// The end of the file, at once.
    #[default]
    Empty,
    /// What this yields, as the guest asks for it.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// A directory that a guest may use. No path leads out of it.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where it is on this machine.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// What it may hold, counted at the start and then at each change that the guest makes: the length of each
    /// file, rounded up to 4 KiB, and 4 KiB a name. `None`: as much as the disk.
    pub bytes_max: Option<u64>,
}

/// A listening socket. Its owner keeps it; the guest sees it as a descriptor, and gets it too when it
/// binds its port by a socket extension.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The socket, or where its owner has it lead meanwhile.
    pub socket: Gate,
    /// The port that the guest knows it by.
    pub port: u16,
    /// Whether the descriptor starts non-blocking. Go needs that; Rust's std must not have it.
    pub nonblocking: bool,
}

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// What a guest does that others want to see. Called on the guest's task: it must not block.
pub trait Observer: Send {
    /// The guest wrote `bytes`, which need not be whole lines or UTF-8.
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }

    /// The guest accepts, or polls, on a listener for the first time: it is ready to serve.
    fn accepting(&mut self) {}
}

/// The observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself: the code of `proc_exit`, or 0 when `_start` returned.
    Exited(u32),
    /// By its own fault.
    Fault(Fault),
    /// Before its first instruction: what it was to be given could not be had.
    NotStarted(NotStarted),
}

/// Why a guest was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotStarted {
    /// A directory that cannot be opened.
    #[error("cannot open the directory {}", path.display())]
    Directory {
        /// The directory on this machine.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A listener that cannot be watched.
    #[error("cannot watch a listener")]
    Listener {
        /// Why.
        source: io::Error,
    },
    /// More directories and listeners than descriptors.
    #[error("{needed} descriptors are needed to start, and {limit} allowed")]
    TooManyDescriptors {
        /// How many, with the three of stdio.
        needed: usize,
        /// The limit.
        limit: usize,
    },
    /// An argument or environment variable that no C program could read.
    #[error("{text:?} contains a NUL byte")]
    Nul {
        /// The argument or variable.
        text: String,
    },
}
