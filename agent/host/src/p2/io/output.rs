//! Output streams: stdout and stderr, files from a position on, and what goes out on a connection.
//!
//! A connection takes what the kernel has room for; the rest of what a guest was permitted waits here,
//! and leaves whenever the guest waits for anything.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::Context;

use super::poll::{Awaits, Pollable};
use super::{InputStream, Origin, Outcome, StreamError, input};
use crate::fds::{Fds, Flags, Interest, Kind, Place, would_block};
use crate::guest::Stream;
use crate::p2::abi::Bytes;
use crate::p2::call::{Cx, Fail, Stop, Trap};
use crate::p2::handles::{Borrow, Own};
use crate::p2::http::OutgoingBody;
use crate::state::{Console, State};

/// What `check-write` permits at most.
const PERMIT_BYTES: u64 = 64 * 1024;
/// What the calls take that write and flush in one.
const AT_ONCE_BYTES_MAX: u64 = 4096;

pub(in crate::p2) struct OutputStream {
    target: Target,
    /// What the guest may still write.
    permit: u64,
    /// What it wrote and the connection has not taken.
    pending: Vec<u8>,
    /// What went wrong since it was last told.
    error: Option<io::Error>,
    closed: bool,
    /// The connection's own end is shut down when all is sent.
    shutting: bool,
}

pub(in crate::p2) enum Target {
    Console(Stream),
    /// A descriptor of the stream's own, and the position; without one, the end.
    File {
        fd: u32,
        at: Option<u64>,
    },
    /// The socket's descriptor.
    Socket {
        fd: u32,
    },
    /// The body's handle, which outlives the stream's.
    Body {
        number: u32,
    },
}

impl OutputStream {
    pub(in crate::p2) fn new(target: Target) -> Self {
        Self { target, permit: 0, pending: Vec::new(), error: None, closed: false, shutting: false }
    }

    /// The descriptor that closes with it.
    pub(in crate::p2) fn own_fd(&self) -> Option<u32> {
        match self.target {
            Target::File { fd, .. } => Some(fd),
            Target::Console(_) | Target::Socket { .. } | Target::Body { .. } => None,
        }
    }

    /// Closes it if it is this socket's. If so, and something is still to be sent, the connection's own end is
    /// shut down behind that.
    pub(in crate::p2) fn shut(&mut self, socket: u32, fds: &Fds) -> bool {
        if !matches!(self.target, Target::Socket { fd } if fd == socket) {
            return false;
        }
        self.closed = true;
        self.try_send(fds);
        self.shutting = !self.pending.is_empty();
        self.shutting
    }

    pub(super) fn awaits(&mut self, fds: &mut Fds) -> Awaits {
        self.try_send(fds);
        match self.target {
            Target::Socket { fd } if !self.closed && !self.pending.is_empty() => {
                Awaits::Descriptor(fd, Interest::Write)
            }
            Target::Body { number } if !self.closed => Awaits::Poll(Pollable::Leaving(number)),
            Target::Socket { .. } | Target::File { .. } | Target::Console(_) | Target::Body { .. } => Awaits::Nothing,
        }
    }

    /// Sends what is pending as the connection takes it.
    pub(in crate::p2) fn poll_send(&mut self, fds: &mut Fds, cx: &mut Context<'_>) {
        let Target::Socket { fd } = self.target else { return };
        // A first readiness can have passed: then the next poll waits for a new one.
        for _ in 0..3 {
            if self.pending.is_empty() || fds.poll_ready(fd, Interest::Write, cx).is_pending() {
                return;
            }
            self.try_send(fds);
        }
        cx.waker().wake_by_ref();
    }

    fn try_send(&mut self, fds: &Fds) {
        if let Err(error) = self.send(fds) {
            self.pending.clear();
            self.error = Some(error);
        }
    }

    fn send(&mut self, fds: &Fds) -> io::Result<()> {
        let Target::Socket { fd } = self.target else { return Ok(()) };
        let Some(Kind::Connection(connection)) = fds.get(fd).map(|descriptor| &descriptor.kind) else { return Ok(()) };
        while !self.pending.is_empty() {
            match connection.write(&[IoSlice::new(&self.pending)]) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if std::mem::take(&mut self.shutting) { connection.shutdown(Shutdown::Write) } else { Ok(()) }
    }

    fn origin(&self) -> Origin {
        match self.target {
            Target::Console(_) => Origin::Stdio,
            Target::File { .. } => Origin::File,
            Target::Socket { .. } => Origin::Network,
            Target::Body { .. } => Origin::Body,
        }
    }

    /// Writes all of it, as far as the guest can tell.
    fn put(&mut self, fds: &Fds, console: &mut Console, bytes: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::Console(stream) => {
                console.write(*stream, bytes);
                Ok(())
            }
            Target::File { fd, at } => {
                let Some(Kind::File(file)) = fds.get(*fd).map(|descriptor| &descriptor.kind) else {
                    return Err(io::ErrorKind::NotConnected.into());
                };
                let mut left = bytes;
                while !left.is_empty() {
                    // Nobody else writes while a host function runs.
                    let position = at.map_or_else(|| file.metadata().map(|metadata| metadata.len()), Ok)?;
                    let written = file.write(&[IoSlice::new(left)], Place::At(position), false)?;
                    left = &left[written..];
                    *at = at.map(|at| at + written as u64);
                }
                Ok(())
            }
            Target::Socket { .. } => {
                self.pending.extend_from_slice(bytes);
                self.send(fds)
            }
            // Written to as such.
            Target::Body { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Says why nothing can be written, if so.
fn check(state: &mut State, this: &Borrow<OutputStream>) -> Outcome<()> {
    let handles = &mut state.p2.handles;
    let stream = handles.get_mut(this)?;
    if stream.closed {
        return Err(StreamError::Closed.into());
    }
    let Some(error) = stream.error.take() else { return Ok(()) };
    stream.closed = true;
    let origin = stream.origin();
    Err(StreamError::failed(handles, error, origin)?.into())
}

pub(in crate::p2) fn check_write(cx: &mut Cx<'_>, this: Borrow<OutputStream>) -> Outcome<u64> {
    permit(cx.state, &this)
}

fn permit(state: &mut State, this: &Borrow<OutputStream>) -> Outcome<u64> {
    let State { p2, fds, .. } = &mut *state;
    let stream = p2.handles.get_mut(this)?;
    stream.try_send(fds);
    check(state, this)?;
    let handles = &mut state.p2.handles;
    if let Target::Body { number } = handles.get(this)?.target {
        let room = handles.at::<OutgoingBody>(number)?.room();
        let stream = handles.get_mut(this)?;
        // Nobody listens any more.
        stream.closed = room.is_none();
        stream.permit = room.ok_or(StreamError::Closed)? as u64;
        return Ok(stream.permit);
    }
    let stream = handles.get_mut(this)?;
    stream.permit = if stream.pending.is_empty() { PERMIT_BYTES } else { 0 };
    Ok(stream.permit)
}

pub(in crate::p2) fn write(cx: &mut Cx<'_>, this: Borrow<OutputStream>, contents: Bytes) -> Outcome<()> {
    spend(cx.state, &this, contents.len.into())?;
    put(cx, &this, contents)
}

pub(in crate::p2) fn write_zeroes(cx: &mut Cx<'_>, this: Borrow<OutputStream>, len: u64) -> Outcome<()> {
    spend(cx.state, &this, len)?;
    put_bytes(cx, &this, &vec![0; len as usize])
}

/// A guest that writes more than it may ends here.
fn spend(state: &mut State, this: &Borrow<OutputStream>, len: u64) -> Result<(), Trap> {
    let stream = state.p2.handles.get_mut(this)?;
    let left = stream.permit.checked_sub(len).ok_or(Trap("wrote more to a stream than check-write permitted"))?;
    stream.permit = left;
    Ok(())
}

fn put(cx: &mut Cx<'_>, this: &Borrow<OutputStream>, contents: Bytes) -> Outcome<()> {
    let bytes = cx.memory.slice(contents.at, contents.len).map_err(|_| Trap("a list leads out of memory"))?;
    put_bytes(cx, this, bytes)
}

fn put_bytes(cx: &mut Cx<'_>, this: &Borrow<OutputStream>, bytes: &[u8]) -> Outcome<()> {
    check(cx.state, this)?;
    let State { fds, console, p2, .. } = &mut *cx.state;
    let stream = p2.handles.get_mut(this)?;
    if let Target::Body { number } = stream.target {
        if let Err(code) = p2.handles.at_mut::<OutgoingBody>(number)?.write(bytes) {
            p2.handles.get_mut(this)?.closed = true;
            return Err(StreamError::of_body(&mut p2.handles, code)?.into());
        }
        cx.moved(bytes.len());
        return Ok(());
    }
    if let Err(error) = stream.put(fds, console, bytes) {
        stream.pending.clear();
        stream.error = Some(error);
    }
    cx.moved(bytes.len());
    check(cx.state, this)
}

pub(in crate::p2) fn blocking_write_and_flush(
    cx: &mut Cx<'_>,
    this: Borrow<OutputStream>,
    contents: Bytes,
) -> Outcome<()> {
    if u64::from(contents.len) > AT_ONCE_BYTES_MAX {
        return Err(Trap("wrote more than 4096 bytes in one blocking call").into());
    }
    at_once(cx, &this, |cx, this| put(cx, this, contents))
}

pub(in crate::p2) fn blocking_write_zeroes_and_flush(
    cx: &mut Cx<'_>,
    this: Borrow<OutputStream>,
    len: u64,
) -> Outcome<()> {
    if len > AT_ONCE_BYTES_MAX {
        return Err(Trap("wrote more than 4096 zeroes in one blocking call").into());
    }
    at_once(cx, &this, |cx, this| put_bytes(cx, this, &vec![0; len as usize]))
}

/// Waits until it may write, writes, and waits until that is flushed.
fn at_once(
    cx: &mut Cx<'_>,
    this: &Borrow<OutputStream>,
    write: impl FnOnce(&mut Cx<'_>, &Borrow<OutputStream>) -> Outcome<()>,
) -> Outcome<()> {
    const WRITTEN: u32 = 1;
    if cx.state.p2.stage != WRITTEN {
        if permit(cx.state, this)? == 0 {
            return wait(cx.state, this);
        }
        write(cx, this)?;
        cx.state.p2.stage = WRITTEN;
    }
    flushed(cx, this)
}

/// Everything leaves as soon as it can: there is nothing to ask for.
pub(in crate::p2) fn flush(cx: &mut Cx<'_>, this: Borrow<OutputStream>) -> Outcome<()> {
    permit(cx.state, &this).map(drop)
}

pub(in crate::p2) fn blocking_flush(cx: &mut Cx<'_>, this: Borrow<OutputStream>) -> Outcome<()> {
    flushed(cx, &this)
}

/// Waits until all is with the kernel; on the disk, where the guest asked for that.
fn flushed(cx: &mut Cx<'_>, this: &Borrow<OutputStream>) -> Outcome<()> {
    if let Some(outcome) = cx.finished() {
        if let Err(error) = outcome {
            cx.state.p2.handles.get_mut(this)?.error = Some(error);
        }
        return check(cx.state, this);
    }
    if permit(cx.state, this)? == 0 {
        return wait(cx.state, this);
    }
    let State { fds, p2, .. } = &mut *cx.state;
    let Target::File { fd, .. } = p2.handles.get(this)?.target else { return Ok(()) };
    match fds.get(fd).map(|descriptor| (&descriptor.kind, descriptor.flags)) {
        Some((Kind::File(file), flags)) if flags.has(Flags::SYNC) || flags.has(Flags::DSYNC) => {
            match file.try_clone() {
                Ok(file) => Err(cx.offload(move || file.sync_data().map(|()| 0)).into()),
                Err(error) => {
                    p2.handles.get_mut(this)?.error = Some(error);
                    check(cx.state, this)
                }
            }
        }
        _ => Ok(()),
    }
}

fn wait(state: &mut State, this: &Borrow<OutputStream>) -> Outcome<()> {
    // Where it became ready in between, the others have their turn first.
    state.wait.turn = super::await_ready(state, Pollable::Output(this.number()))?;
    Err(Fail::Stop(Stop::Wait))
}

pub(in crate::p2) fn subscribe(cx: &mut Cx<'_>, this: Borrow<OutputStream>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Output(this.number()), this.number())?)
}

pub(in crate::p2) fn splice(
    cx: &mut Cx<'_>,
    this: Borrow<OutputStream>,
    from: Borrow<InputStream>,
    len: u64,
) -> Outcome<u64> {
    let len = permit(cx.state, &this)?.min(len);
    let bytes = input::take(cx, &from, len)?;
    spend(cx.state, &this, bytes.len() as u64)?;
    put_bytes(cx, &this, &bytes)?;
    Ok(bytes.len() as u64)
}

pub(in crate::p2) fn blocking_splice(
    cx: &mut Cx<'_>,
    this: Borrow<OutputStream>,
    from: Borrow<InputStream>,
    len: u64,
) -> Outcome<u64> {
    cx.state.p2.handles.get(&from)?;
    if permit(cx.state, &this)? == 0 {
        wait(cx.state, &this)?;
    }
    if !super::await_ready(cx.state, Pollable::Input(from.number()))? {
        return Err(Fail::Stop(Stop::Wait));
    }
    splice(cx, this, from, len)
}
