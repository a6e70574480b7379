//! What a guest's descriptors stand for, whichever WASI it speaks.
//!
//! Nothing in here blocks on a socket: what is not ready says `WouldBlock`, and
//! [`Fds::poll_ready`] lets a task wait. Files of a local disk are read and written directly.

mod budget;
mod count;
mod directory;
mod file;
mod net;
mod permits;
mod rights;
mod socket;
mod stdio;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) use self::directory::{Access, Directory, Opened};
pub(crate) use self::file::{File, Place};
pub(crate) use self::net::{Datagram, Family, Unconnected};
pub(crate) use self::permits::Permits;
pub(crate) use self::rights::{Flags, Rights};
pub(crate) use self::socket::{Connection, Listening};
pub(crate) use self::stdio::Input;

use crate::gate::Gate;
use crate::guest::{self, Listener, NotStarted, Stdin, Stream};
use crate::quota::Usage;

/// The table of open descriptors: a number is an index.
pub(crate) struct Fds {
    slots: Vec<Option<Descriptor>>,
    max: usize,
}

pub(crate) struct Descriptor {
    pub(crate) kind: Kind,
    /// What the guest may do with it.
    pub(crate) rights: Rights,
    /// What the guest may do with what it opens through it.
    pub(crate) inheriting: Rights,
    pub(crate) flags: Flags,
    pub(crate) patience: Patience,
}

/// How long an operation on a socket waits, where the guest set a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    pub(crate) read: Option<Duration>,
    pub(crate) write: Option<Duration>,
}

pub(crate) enum Kind {
    Stdin(Input),
    Output(Stream),
    Directory(Directory),
    File(File),
    Listener(Listening),
    Connection(Connection),
    Unconnected(Unconnected),
    Datagram(Datagram),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// What an operation that would not block will find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Bytes there to be read, or at least so many that fit.
    pub(crate) bytes: u64,
    /// The other end has gone.
    pub(crate) hangup: bool,
}

impl Fds {
    /// Stdio from 0, then directories, then listeners: C libraries scan from 3 upward for
    /// directories and stop at the first descriptor that is none.
    pub(crate) fn new(
        stdin: Stdin,
        directories: Vec<guest::Directory>,
        listeners: Vec<Listener>,
        max: usize,
        usage: &Arc<Usage>,
    ) -> Result<Self, NotStarted> {
        let needed = 3 + directories.len() + listeners.len();
        if needed > max {
            return Err(NotStarted::TooManyDescriptors { needed, limit: max });
        }
        let mut slots = Vec::with_capacity(needed);
        slots.push(Descriptor::new(Kind::Stdin(Input::new(stdin)), Rights::INPUT));
        slots.push(Descriptor::new(Kind::Output(Stream::Stdout), Rights::OUTPUT));
        slots.push(Descriptor::new(Kind::Output(Stream::Stderr), Rights::OUTPUT));
        for directory in directories {
            slots.push(Descriptor::preopen(directory, usage)?);
        }
        for Listener { socket, port, nonblocking } in listeners {
            let listening = Self::listening(&socket, port, usage).map_err(|source| NotStarted::Listener { source })?;
            let descriptor = Descriptor::new(Kind::Listener(listening), Rights::LISTENER);
            let flags = if nonblocking { Flags::NONBLOCK } else { Flags::NONE };
            slots.push(Descriptor { flags, inheriting: Rights::CONNECTION, ..descriptor });
        }
        Ok(Self { slots: slots.into_iter().map(Some).collect(), max })
    }

    fn listening(gate: &Gate, port: u16, usage: &Arc<Usage>) -> io::Result<Listening> {
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let mut bound = gate.socket().map_or(Ok(anywhere), |socket| socket.local_addr())?;
        bound.set_port(port);
        Listening::new(gate, bound, Arc::clone(usage))
    }

    /// All that are open.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Descriptor> {
        self.slots.iter().flatten()
    }

    pub(crate) fn get(&self, fd: u32) -> Option<&Descriptor> {
        self.slots.get(fd as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, fd: u32) -> Option<&mut Descriptor> {
        self.slots.get_mut(fd as usize)?.as_mut()
    }

    /// Puts a descriptor at the lowest free number; `None`, and it is closed: the limit is reached.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Option<u32> {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if free >= self.max {
            return None;
        }
        let number = u32::try_from(free).ok()?;
        match self.slots.get_mut(free) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        Some(number)
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < self.max || self.slots.iter().any(Option::is_none)
    }

    pub(crate) fn remove(&mut self, fd: u32) -> Option<Descriptor> {
        self.slots.get_mut(fd as usize)?.take()
    }

    /// Makes `to` what `from` was, and closes what it was; `None`: one of them is not open.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Option<()> {
        self.get(from)?;
        self.get(to)?;
        let moved = self.remove(from);
        *self.slots.get_mut(to as usize)? = moved;
        Some(())
    }

    /// Ready when an operation on the descriptor would not block, or the descriptor is closed.
    pub(crate) fn poll_ready(&mut self, fd: u32, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        let Some(descriptor) = self.get_mut(fd) else { return Poll::Ready(()) };
        match (&mut descriptor.kind, interest) {
            (Kind::Stdin(input), Interest::Read) => input.poll_fill(cx),
            (Kind::Listener(listening), Interest::Read) => listening.poll_readable(cx),
            (Kind::Connection(connection), _) => connection.poll_ready(interest, cx),
            (Kind::Datagram(datagram), _) => datagram.poll_ready(interest, cx),
            (Kind::Unconnected(socket), Interest::Write) => socket.poll_ready(cx),
            (Kind::Listener(_), Interest::Write) => Poll::Pending,
            (Kind::Unconnected(_), Interest::Read)
            | (Kind::Stdin(_), Interest::Write)
            | (Kind::Output(_) | Kind::Directory(_) | Kind::File(_), _) => Poll::Ready(()),
        }
    }
}

impl Descriptor {
    pub(crate) fn new(kind: Kind, rights: Rights) -> Self {
        Self { kind, rights, inheriting: Rights::NONE, flags: Flags::NONE, patience: Patience::default() }
    }

    /// What an operation would find; `None`: it would block.
    pub(crate) fn readiness(&self, interest: Interest) -> Option<Readiness> {
        match (&self.kind, interest) {
            (Kind::Stdin(input), Interest::Read) => {
                input.is_ready().then(|| Readiness { bytes: input.available() as u64, hangup: input.has_ended() })
            }
            (Kind::Listener(listening), Interest::Read) => listening.readiness(),
            (Kind::Connection(connection), _) => connection.readiness(interest),
            (Kind::Datagram(datagram), _) => datagram.readiness(interest),
            // Whatever it is asked for now, it says that it is not connected.
            (Kind::Unconnected(_), _) => Some(Readiness { bytes: 0, hangup: true }),
            (Kind::File(file), Interest::Read) => Some(Readiness { bytes: left_to_read(file), hangup: false }),
            (Kind::Listener(_), Interest::Write) => None,
            (Kind::Stdin(_) | Kind::File(_), Interest::Write) | (Kind::Output(_) | Kind::Directory(_), _) => {
                Some(Readiness { bytes: 1, hangup: false })
            }
        }
    }

    fn preopen(directory: guest::Directory, usage: &Arc<Usage>) -> Result<Self, NotStarted> {
        let guest::Directory { host, guest, read_only, bytes_max } = directory;
        match Directory::preopen(&host, guest, bytes_max.filter(|_| !read_only), usage) {
            Ok(directory) => {
                let kept = if read_only { Rights::READ_ONLY } else { Rights::ALL };
                let descriptor = Self::new(Kind::Directory(directory), Rights::DIRECTORY & kept);
                Ok(Self { inheriting: (Rights::DIRECTORY | Rights::FILE) & kept, ..descriptor })
            }
            Err(source) => Err(NotStarted::Directory { path: host, source }),
        }
    }
}

fn left_to_read(file: &File) -> u64 {
    let at = rustix::fs::tell(file).unwrap_or(0);
    file.metadata().map_or(0, |metadata| metadata.len().saturating_sub(at))
}

/// Whether an error only says that it is too early.
pub(crate) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
