//! WASI preview 1: how a guest's call gets into a host function, and out of it.
//!
//! A function here never blocks. What would block says [`Stop::Wait`] and leaves in
//! [`State::wait`] what it waits for; the guest is suspended, and the same function is tried
//! again with the same arguments when that has happened. So a function has no effect before it
//! knows that it will not wait.

mod args;
mod bus;
pub(crate) mod clock;
pub(crate) mod dir;
mod errno;
mod fd;
mod file;
mod io;
mod path;
mod poll;
mod proc;
mod random;
mod sock;
pub(crate) mod sockets;
pub(crate) mod stat;
mod table;
#[cfg(test)]
mod tests;

use tokio::time::Instant;
use wasmi::errors::HostError;
use wasmi::{AsContextMut, Caller, Error, Val};

pub use self::table::{FunctionInfo, functions};

pub(crate) use self::errno::Errno;
pub(crate) use self::table::Imports;

use crate::fds::{Descriptor, Directory, Fds, File, Flags, Interest, Kind, Patience, Rights};
use crate::memory::{Memory, OutOfBounds};
use crate::state::{self, State};

/// A call's arguments: no function has more than nine, and each fits.
pub(crate) type Args = [u64; 9];
type Run = fn(&mut Cx<'_>, &Args) -> Outcome;
type Outcome = Result<(), Stop>;

/// A guest's call of a host function, kept while the guest is suspended in it.
pub(crate) struct Call {
    name: &'static str,
    run: Run,
    args: Args,
}

/// Why a function does not return success.
#[derive(Debug)]
enum Stop {
    Errno(Errno),
    /// Not before what is in [`State::wait`] has happened.
    Wait,
    /// The guest ends itself.
    Exit(u32),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<OutOfBounds> for Stop {
    fn from(error: OutOfBounds) -> Self {
        Self::Errno(error.into())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Errno(error.into())
    }
}

impl From<rustix::io::Errno> for Stop {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Errno(error.into())
    }
}

/// The error that suspends a guest in a host call.
#[derive(Debug)]
struct Suspended;

impl std::fmt::Display for Suspended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("suspended in a host call")
    }
}

impl HostError for Suspended {}

/// What a host call costs in fuel, so that a guest that does nothing but call cannot stretch its
/// slice: about as many instructions as a system call takes time.
pub(crate) const CALL_FUEL: u64 = 1_000;
/// What the bytes that a call moves cost on top of that.
pub(crate) const BYTES_PER_FUEL: u64 = 16;

/// Buffers in one list: as many as Linux takes.
const BUFFERS_MAX: u32 = 1024;
/// Bytes that one call reads or writes. More would hold up the others: buffers may lie over each other, so that the
/// guest's memory is no bound.
const MOVED_BYTES_MAX: u32 = 1 << 20;

/// A guest calls.
fn enter(mut caller: Caller<'_, State>, call: Call) -> Result<i32, Error> {
    caller.data_mut().last_call = Some(call.name);
    let outcome = attempt(&mut caller, &call);
    charge(&mut caller)?;
    match outcome {
        Ok(()) => Ok(0),
        Err(Stop::Errno(errno)) => Ok(errno.code()),
        Err(Stop::Wait) => {
            caller.data_mut().suspended = Some(state::Suspended::P1(call));
            Err(Error::host(Suspended))
        }
        Err(Stop::Exit(code)) => Err(Error::i32_exit(code.cast_signed())),
    }
}

/// Has the guest pay for a call, as far as its slice goes; the rest counts all the same.
pub(crate) fn charge(caller: &mut Caller<'_, State>) -> Result<(), Error> {
    let cost = CALL_FUEL + std::mem::take(&mut caller.data_mut().work);
    let fuel = caller.get_fuel()?;
    let paid = cost.min(fuel);
    caller.set_fuel(fuel - paid)?;
    caller.data_mut().work = cost - paid;
    Ok(())
}

/// Tries a call, for the first time or again.
fn attempt(mut store: impl AsContextMut<Data = State>, call: &Call) -> Outcome {
    let mut store = store.as_context_mut();
    store.data_mut().wait.clear();
    let (bytes, state) = match store.data().memory {
        Some(memory) => memory.data_and_store_mut(&mut store),
        None => (&mut [][..], store.data_mut()),
    };
    (call.run)(&mut Cx { memory: Memory(bytes), state }, &call.args)
}

/// Tries a call again; its result, or `None` if it has to wait again.
pub(crate) fn retry(store: impl AsContextMut<Data = State>, call: &Call) -> Result<Option<Option<Val>>, Error> {
    match attempt(store, call) {
        Ok(()) => Ok(Some(Some(Val::I32(0)))),
        Err(Stop::Errno(errno)) => Ok(Some(Some(Val::I32(errno.code())))),
        Err(Stop::Wait) => Ok(None),
        Err(Stop::Exit(code)) => Err(Error::i32_exit(code.cast_signed())),
    }
}

/// What a function works on.
pub(crate) struct Cx<'a> {
    memory: Memory<'a>,
    state: &'a mut State,
}

impl Cx<'_> {
    /// Has the guest pay for bytes that were moved.
    fn moved(&mut self, bytes: u32) {
        self.state.work += u64::from(bytes) / BYTES_PER_FUEL;
    }

    /// Checks a list of buffers, and has the guest pay for it: each may take a system call of its own.
    fn check_buffers(&mut self, list: u32, count: u32) -> Result<(), Errno> {
        // As `readv` has it.
        if count > BUFFERS_MAX {
            return Err(Errno::Inval);
        }
        self.memory.check_spans(list, count)?;
        self.state.work += CALL_FUEL * u64::from(count.saturating_sub(1));
        Ok(())
    }

    /// Suspends the guest until a thread of the runtime has done what can take seconds on a slow card.
    /// The call gets the outcome from [`Cx::finished`] when it is tried again.
    fn offload(&mut self, work: impl FnOnce() -> std::io::Result<u32> + Send + 'static) -> Stop {
        self.state.wait.job = Some(tokio::task::spawn_blocking(work));
        Stop::Wait
    }

    fn finished(&mut self) -> Option<std::io::Result<u32>> {
        self.state.wait.finished.take()
    }

    /// Suspends the guest until the descriptor is ready.
    fn wait_for(&mut self, fd: u32, interest: Interest) -> Stop {
        self.state.wait.on.push((fd, interest));
        Stop::Wait
    }

    /// Turns "too early" into waiting, unless the guest asked not to wait.
    fn or_wait<T>(&mut self, fd: u32, interest: Interest, outcome: std::io::Result<T>) -> Result<T, Stop> {
        let early = outcome.as_ref().is_err_and(crate::fds::would_block);
        let (blocking, patience) = self.state.fds.get(fd).map_or((true, None), |descriptor| {
            let Patience { read, write } = descriptor.patience;
            let patience = if interest == Interest::Read { read } else { write };
            (!descriptor.flags.has(Flags::NONBLOCK), patience)
        });
        let since = self.state.wait.since.take();
        if !early || !blocking {
            return Ok(outcome?);
        }
        if let Some(patience) = patience {
            let since = since.unwrap_or_else(Instant::now);
            let until = since + patience;
            if until <= Instant::now() {
                return Ok(outcome?);
            }
            (self.state.wait.since, self.state.wait.until) = (Some(since), Some(until));
        }
        Err(self.wait_for(fd, interest))
    }

    fn is_datagram(&self, fd: u32) -> bool {
        matches!(self.state.fds.get(fd), Some(Descriptor { kind: Kind::Datagram(_), .. }))
    }
}

// What a function needs of a descriptor is asked in the same order everywhere: is it open (EBADF),
// is it of that kind, does the guest have the right to (ENOTCAPABLE).

/// An open descriptor of any kind.
fn descriptor(fds: &mut Fds, fd: u32, needed: Rights) -> Result<&mut Descriptor, Errno> {
    let descriptor = fds.get_mut(fd).ok_or(Errno::Badf)?;
    if descriptor.rights.contains(needed) { Ok(descriptor) } else { Err(Errno::Notcapable) }
}

/// A regular file.
fn file(fds: &Fds, fd: u32, needed: Rights) -> Result<&File, Errno> {
    let descriptor = fds.get(fd).ok_or(Errno::Badf)?;
    match &descriptor.kind {
        Kind::File(file) if descriptor.rights.contains(needed) => Ok(file),
        Kind::File(_) => Err(Errno::Notcapable),
        Kind::Directory(_) => Err(Errno::Badf),
        Kind::Stdin(_)
        | Kind::Output(_)
        | Kind::Listener(_)
        | Kind::Connection(_)
        | Kind::Unconnected(_)
        | Kind::Datagram(_) => Err(Errno::Inval),
    }
}

/// A directory.
fn directory(fds: &Fds, fd: u32, needed: Rights) -> Result<&Directory, Errno> {
    let descriptor = fds.get(fd).ok_or(Errno::Badf)?;
    match &descriptor.kind {
        Kind::Directory(directory) if descriptor.rights.contains(needed) => Ok(directory),
        Kind::Directory(_) => Err(Errno::Notcapable),
        Kind::File(_)
        | Kind::Stdin(_)
        | Kind::Output(_)
        | Kind::Listener(_)
        | Kind::Connection(_)
        | Kind::Unconnected(_)
        | Kind::Datagram(_) => Err(Errno::Notdir),
    }
}
