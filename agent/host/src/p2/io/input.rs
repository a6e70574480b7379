//! Input streams: stdin, files from a position on, and what comes on a connection.

use std::io;
use std::task::{Context, Waker};

use cap_std::fs::FileExt;

use super::poll::{Awaits, Pollable};
use super::{Origin, Outcome, StreamError};
use crate::fds::{Fds, Interest, Kind, would_block};
use crate::p2::abi::Buffer;
use crate::p2::call::{Cx, Fail, Stop};
use crate::p2::handles::{Borrow, Own};
use crate::p2::http::{IncomingBody, Piece};
use crate::state::State;

/// What one read gives at most.
const READ_BYTES_MAX: u64 = 64 * 1024;

pub(in crate::p2) struct InputStream {
    source: Source,
    /// It ended, or failed.
    closed: bool,
}

pub(in crate::p2) enum Source {
    Stdin,
    /// A descriptor of the stream's own.
    File {
        fd: u32,
        at: u64,
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

impl InputStream {
    pub(in crate::p2) fn new(source: Source) -> Self {
        Self { source, closed: false }
    }

    /// The descriptor that closes with it.
    pub(in crate::p2) fn own_fd(&self) -> Option<u32> {
        match self.source {
            Source::File { fd, .. } => Some(fd),
            Source::Stdin | Source::Socket { .. } | Source::Body { .. } => None,
        }
    }

    /// Closes it if it is this socket's.
    pub(in crate::p2) fn shut(&mut self, socket: u32) {
        self.closed |= matches!(self.source, Source::Socket { fd } if fd == socket);
    }

    pub(super) fn awaits(&self) -> Awaits {
        match self.source {
            _ if self.closed => Awaits::Nothing,
            Source::Stdin => Awaits::Descriptor(0, Interest::Read),
            Source::Socket { fd } => Awaits::Descriptor(fd, Interest::Read),
            Source::File { .. } => Awaits::Nothing,
            Source::Body { number } => Awaits::Poll(Pollable::Arriving(number)),
        }
    }

    fn origin(&self) -> Origin {
        match self.source {
            Source::Stdin => Origin::Stdio,
            Source::File { .. } => Origin::File,
            Source::Socket { .. } => Origin::Network,
            Source::Body { .. } => Origin::Body,
        }
    }

    /// What is there now; no bytes are the end.
    fn read_now(&mut self, fds: &mut Fds, into: &mut [u8]) -> io::Result<usize> {
        let fd = match self.source {
            Source::Stdin => 0,
            Source::File { fd, .. } | Source::Socket { fd } => fd,
            // Read as such.
            Source::Body { .. } => return Err(io::ErrorKind::Unsupported.into()),
        };
        let descriptor = fds.get_mut(fd).ok_or(io::ErrorKind::NotConnected)?;
        match (&mut descriptor.kind, &mut self.source) {
            (Kind::Stdin(input), _) => {
                // Fetches what is there. When more comes, whoever waits is woken by waiting itself.
                let _ = input.poll_fill(&mut Context::from_waker(Waker::noop()));
                input.read(into)
            }
            (Kind::Connection(connection), _) => connection.read(into),
            (Kind::File(file), Source::File { at, .. }) => {
                let read = file.read_at(into, *at)?;
                *at += read as u64;
                Ok(read)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

pub(in crate::p2) fn read(cx: &mut Cx<'_>, this: Borrow<InputStream>, len: u64) -> Outcome<Buffer> {
    take(cx, &this, len).map(Buffer)
}

pub(in crate::p2) fn blocking_read(cx: &mut Cx<'_>, this: Borrow<InputStream>, len: u64) -> Outcome<Buffer> {
    take_some(cx, &this, len).map(Buffer)
}

pub(in crate::p2) fn skip(cx: &mut Cx<'_>, this: Borrow<InputStream>, len: u64) -> Outcome<u64> {
    take(cx, &this, len).map(|bytes| bytes.len() as u64)
}

pub(in crate::p2) fn blocking_skip(cx: &mut Cx<'_>, this: Borrow<InputStream>, len: u64) -> Outcome<u64> {
    take_some(cx, &this, len).map(|bytes| bytes.len() as u64)
}

pub(in crate::p2) fn subscribe(cx: &mut Cx<'_>, this: Borrow<InputStream>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Input(this.number()), this.number())?)
}

/// Takes at least one byte, if any is asked for.
fn take_some(cx: &mut Cx<'_>, this: &Borrow<InputStream>, len: u64) -> Outcome<Vec<u8>> {
    let bytes = take(cx, this, len)?;
    if bytes.is_empty() && len > 0 {
        // Where it became ready in between, the others have their turn first.
        cx.state.wait.turn = super::await_ready(cx.state, Pollable::Input(this.number()))?;
        return Err(Fail::Stop(Stop::Wait));
    }
    Ok(bytes)
}

/// Takes what is there.
pub(super) fn take(cx: &mut Cx<'_>, this: &Borrow<InputStream>, len: u64) -> Outcome<Vec<u8>> {
    let State { fds, p2, .. } = &mut *cx.state;
    let stream = p2.handles.get_mut(this)?;
    if stream.closed {
        return Err(StreamError::Closed.into());
    }
    if let Source::Body { number } = stream.source {
        return take_of_body(cx, this, number, len);
    }
    let mut bytes = vec![0; len.min(READ_BYTES_MAX) as usize];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let outcome = stream.read_now(fds, &mut bytes);
    let read = match outcome {
        Ok(0) => {
            stream.closed = true;
            return Err(StreamError::Closed.into());
        }
        Ok(read) => read,
        Err(error) if would_block(&error) => 0,
        Err(error) => {
            stream.closed = true;
            let origin = stream.origin();
            return Err(StreamError::failed(&mut p2.handles, error, origin)?.into());
        }
    };
    bytes.truncate(read);
    cx.moved(read);
    Ok(bytes)
}

/// The same of a body that arrives.
fn take_of_body(cx: &mut Cx<'_>, this: &Borrow<InputStream>, number: u32, len: u64) -> Outcome<Vec<u8>> {
    let handles = &mut cx.state.p2.handles;
    if len == 0 {
        return Ok(Vec::new());
    }
    let piece = handles.at_mut::<IncomingBody>(number)?.read(len.min(READ_BYTES_MAX) as usize);
    let error = match piece {
        Piece::Some(bytes) => {
            cx.moved(bytes.len());
            return Ok(bytes.into());
        }
        Piece::Nothing => return Ok(Vec::new()),
        Piece::End => StreamError::Closed,
        Piece::Failed(code) => StreamError::of_body(handles, code)?,
    };
    handles.get_mut(this)?.closed = true;
    Err(error.into())
}
