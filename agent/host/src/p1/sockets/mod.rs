//! The socket extensions: sockets that a guest opens, binds and connects by itself.
//!
//! WasmEdge and WAMR added functions to preview 1 under the same names with other parameters; the type
//! of a guest's import tells whose it means. What both mean is done here, with addresses as this machine
//! has them; how each writes them is in a file of its own. Where a guest may go is for its
//! [`Permits`](crate::fds::Permits) to say.

mod address;
pub(crate) mod options;
mod resolve;
mod table;
mod wamr;
mod wasmedge;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) use self::table::FUNCTIONS;

use super::{Cx, Errno, Outcome, Stop, sock};
use crate::fds::{Datagram, Descriptor, Family, Fds, Flags, Interest, Kind, Listening, Rights, Unconnected};
use crate::memory::{Memory, Span};
use crate::state::State;

/// Datagrams of strangers that are thrown away before the others have their turn.
const STRANGERS_AT_ONCE: u32 = 32;
/// What no datagram is longer than.
const DATAGRAM_BYTES_MAX: u32 = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Stream,
    Datagram,
}

/// What came, and from whom.
pub(super) struct Incoming {
    pub(super) bytes: u32,
    pub(super) truncated: bool,
    pub(super) from: SocketAddr,
}

fn open(cx: &mut Cx<'_>, family: Family, transport: Transport, opened: u32) -> Outcome {
    cx.memory.check(opened, 4)?;
    let number = create(cx.state, family, transport)?;
    cx.memory.put_u32(opened, number)?;
    Ok(())
}

pub(crate) fn create(state: &mut State, family: Family, transport: Transport) -> Result<u32, Errno> {
    if !state.fds.has_room() {
        return Err(Errno::Mfile);
    }
    let (kind, rights) = match transport {
        Transport::Stream => (Kind::Unconnected(Unconnected::open(family)?), Rights::SOCKET),
        Transport::Datagram => (Kind::Datagram(Datagram::open(family)?), Rights::CONNECTION),
    };
    let descriptor = Descriptor { inheriting: Rights::CONNECTION, ..Descriptor::new(kind, rights) };
    state.fds.insert(descriptor).ok_or(Errno::Mfile)
}

/// Port 0 is one that nobody else is told. Any other port is one that the agent published for the
/// guest, which is the agent's own socket, whatever address the guest gives it.
pub(crate) fn bind(state: &mut State, fd: u32, address: SocketAddr) -> Result<(), Errno> {
    let State { fds, permits, .. } = state;
    let taken = |datagram: bool| fds.iter().any(|descriptor| bound_as(descriptor, address.port(), datagram));
    let port = address.port();
    let (tcp_taken, udp_taken) = (taken(false), taken(true));
    match socket(fds, fd)? {
        Kind::Unconnected(socket) => {
            belongs(address, socket.family)?;
            match permits.tcp(port) {
                _ if socket.bound.is_some() => return Err(Errno::Inval),
                _ if port == 0 => socket.bind_any_port(address)?,
                None => return Err(Errno::Acces),
                Some(_) if tcp_taken => return Err(Errno::Addrinuse),
                Some(_) => socket.bound = Some(address),
            }
        }
        Kind::Datagram(datagram) => {
            belongs(address, datagram.family)?;
            match permits.udp(port) {
                _ if datagram.bound().is_some() => return Err(Errno::Inval),
                _ if port == 0 => datagram.bind_any_port(address)?,
                None => return Err(Errno::Acces),
                Some(_) if udp_taken => return Err(Errno::Addrinuse),
                Some(owner) => datagram.publish(owner, address)?,
            }
        }
        Kind::Listener(_) | Kind::Connection(_) => return Err(Errno::Inval),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => return Err(Errno::Notsock),
    }
    Ok(())
}

/// How many may wait is for the agent to say.
fn listen(cx: &mut Cx<'_>, fd: u32, _backlog: u32) -> Outcome {
    Ok(start_listening(cx.state, fd)?)
}

/// Only what is bound to a published port can listen: nobody could find it elsewhere.
pub(crate) fn start_listening(state: &mut State, fd: u32) -> Result<(), Errno> {
    let State { fds, permits, quota, .. } = state;
    let descriptor = fds.get_mut(fd).ok_or(Errno::Badf)?;
    match &descriptor.kind {
        Kind::Unconnected(socket) => {
            let bound = socket.bound.ok_or(Errno::Acces)?;
            let owner = permits.tcp(bound.port()).ok_or(Errno::Acces)?;
            let mut listening = Listening::new(owner, bound, Arc::clone(quota.usage()))?;
            listening.by_guest = true;
            descriptor.kind = Kind::Listener(listening);
            descriptor.rights = descriptor.rights & Rights::LISTENER;
            Ok(())
        }
        Kind::Listener(_) => Ok(()),
        Kind::Connection(_) => Err(Errno::Inval),
        Kind::Datagram(_) => Err(Errno::Notsup),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

fn connect(cx: &mut Cx<'_>, fd: u32, to: SocketAddr) -> Outcome {
    let blocking = !cx.state.fds.get(fd).ok_or(Errno::Badf)?.flags.has(Flags::NONBLOCK);
    let outcome = attempt_to_connect(cx.state, fd, to)?;
    let begun = has_begun(&outcome);
    if begun && blocking {
        return cx.or_wait(fd, Interest::Write, Err(io::ErrorKind::WouldBlock.into()));
    }
    // Who does not wait polls for it to be writable, and asks for the error.
    if outcome.is_ok() || begun {
        cx.state.wait.since = None;
        connecting(cx.state, fd);
    }
    Ok(outcome?)
}

/// Begins to connect, or looks how far that went. The inner result is the kernel's: EINPROGRESS says
/// that it has begun, EALREADY that it has not ended.
pub(crate) fn attempt_to_connect(state: &mut State, fd: u32, to: SocketAddr) -> Result<io::Result<()>, Errno> {
    let State { fds, permits, .. } = state;
    let kind = socket(fds, fd)?;
    if !permits.may_reach(to) {
        return Err(Errno::Acces);
    }
    match kind {
        Kind::Unconnected(socket) => {
            belongs(to, socket.family)?;
            Ok(socket.connect(to))
        }
        // It says itself how far it is.
        Kind::Connection(connection) => Ok(connection.connect(to)),
        Kind::Datagram(datagram) => {
            belongs(to, datagram.family)?;
            Ok(datagram.connect(to))
        }
        Kind::Listener(_) => Err(Errno::Isconn),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

pub(crate) fn has_begun(outcome: &io::Result<()>) -> bool {
    outcome.as_ref().is_err_and(|error| {
        let errno = rustix::io::Errno::from_io_error(error);
        matches!(errno, Some(rustix::io::Errno::INPROGRESS | rustix::io::Errno::ALREADY))
    })
}

/// Makes a socket that connects, or has, the connection that it is about to become.
pub(crate) fn connecting(state: &mut State, fd: u32) {
    if let Some(descriptor) = state.fds.get_mut(fd)
        && let Kind::Unconnected(socket) = &mut descriptor.kind
    {
        descriptor.kind = Kind::Connection(socket.take());
        descriptor.rights = descriptor.rights & Rights::CONNECTION;
    }
}

/// Receives on a connection or a datagram socket.
fn recv_from(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32) -> Result<Incoming, Stop> {
    if cx.is_datagram(fd) {
        return receive(cx, fd, iovs, count, flags);
    }
    let bytes = sock::receive(cx, fd, iovs, count, flags)?;
    let Some(Descriptor { kind: Kind::Connection(connection), .. }) = cx.state.fds.get(fd) else {
        return Err(Errno::Notconn.into());
    };
    Ok(Incoming { bytes, truncated: false, from: connection.peer()? })
}

/// Sends on a connection, which goes where it goes, or on a datagram socket.
fn send_to(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32, to: SocketAddr) -> Result<u32, Stop> {
    if cx.is_datagram(fd) {
        return transmit(cx, fd, iovs, count, flags, Some(to));
    }
    sock::transmit(cx, fd, iovs, count, flags)
}

/// Receives one datagram. Those of whom the guest may not reach are thrown away, except on a port
/// that is published, which is there for everybody.
pub(super) fn receive(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32) -> Result<Incoming, Stop> {
    const PEEK: u32 = 1;
    const WAITALL: u32 = 2;

    if flags & !(PEEK | WAITALL) != 0 {
        return Err(Errno::Inval.into());
    }
    let peek = flags & PEEK != 0;
    for _ in 0..STRANGERS_AT_ONCE {
        let State { fds, console, .. } = &mut *cx.state;
        let datagram = datagram(fds, fd, Rights::FD_READ)?;
        if datagram.bound().is_some() {
            console.accepting();
        }
        let outcome = match count {
            1 => {
                let Span { at, len } = cx.memory.span(iovs, 0)?;
                datagram.recv(cx.memory.slice_mut(at, len)?, peek)
            }
            // One datagram goes into all of the buffers, which a guest may have laid over each other.
            _ => {
                let mut bytes = vec![0; total(&cx.memory, iovs, count)?.min(DATAGRAM_BYTES_MAX) as usize];
                let outcome = datagram.recv(&mut bytes, peek);
                if let Ok(received) = &outcome {
                    let mut rest = &bytes[..received.bytes];
                    for index in 0..count {
                        let Span { at, len } = cx.memory.span(iovs, index)?;
                        let (now, later) = rest.split_at(rest.len().min(len as usize));
                        cx.memory.put(at, now)?;
                        rest = later;
                    }
                }
                outcome
            }
        };
        let received = cx.or_wait(fd, Interest::Read, outcome)?;
        if admits(cx.state, fd, received.from)? {
            let bytes = received.bytes as u32;
            cx.moved(bytes);
            return Ok(Incoming { bytes, truncated: received.truncated, from: received.from });
        }
        if peek {
            // Looked at, it would stay in the way.
            let _ = datagram_mut(&mut cx.state.fds, fd)?.recv(&mut [], false);
        }
        cx.state.work += super::CALL_FUEL;
    }
    cx.state.wait.turn = true;
    Err(Stop::Wait)
}

/// Whether the guest may see a datagram from there; if so, it may be answered.
pub(crate) fn admits(state: &mut State, fd: u32, from: SocketAddr) -> Result<bool, Errno> {
    let State { fds, permits, .. } = state;
    let datagram = datagram_mut(fds, fd)?;
    let admitted = datagram.takes(from).unwrap_or_else(|| permits.may_reach(from));
    if admitted {
        datagram.heard(from);
    }
    Ok(admitted)
}

/// Whether the guest may send a datagram there.
pub(crate) fn may_send(state: &State, fd: u32, to: SocketAddr) -> Result<(), Errno> {
    let datagram = datagram(&state.fds, fd, Rights::FD_WRITE)?;
    belongs(to, datagram.family)?;
    if datagram.answers(to) || state.permits.may_reach(to) { Ok(()) } else { Err(Errno::Acces) }
}

/// Sends one datagram; without an address, to whom the socket is connected.
pub(super) fn transmit(
    cx: &mut Cx<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    flags: u32,
    to: Option<SocketAddr>,
) -> Result<u32, Stop> {
    if flags != 0 {
        return Err(Errno::Inval.into());
    }
    if let Some(to) = to {
        may_send(cx.state, fd, to)?;
    }
    let datagram = datagram(&cx.state.fds, fd, Rights::FD_WRITE)?;
    let outcome = match count {
        1 => {
            let Span { at, len } = cx.memory.span(iovs, 0)?;
            datagram.send(cx.memory.slice(at, len)?, to)
        }
        _ => {
            let total = total(&cx.memory, iovs, count)?;
            if total > DATAGRAM_BYTES_MAX {
                return Err(Errno::Msgsize.into());
            }
            let mut bytes = Vec::with_capacity(total as usize);
            for index in 0..count {
                let Span { at, len } = cx.memory.span(iovs, index)?;
                bytes.extend_from_slice(cx.memory.slice(at, len)?);
            }
            datagram.send(&bytes, to)
        }
    };
    let n = cx.or_wait(fd, Interest::Write, outcome)? as u32;
    cx.moved(n);
    Ok(n)
}

pub(crate) fn local(fds: &mut Fds, fd: u32) -> Result<SocketAddr, Errno> {
    match socket(fds, fd)? {
        Kind::Listener(listening) => Ok(listening.bound),
        Kind::Connection(connection) => Ok(connection.local()?),
        Kind::Unconnected(socket) => Ok(socket.local()?),
        Kind::Datagram(datagram) => Ok(datagram.local()?),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

pub(crate) fn remote(fds: &mut Fds, fd: u32) -> Result<SocketAddr, Errno> {
    match socket(fds, fd)? {
        Kind::Connection(connection) => Ok(connection.peer()?),
        Kind::Datagram(datagram) => datagram.peer.ok_or(Errno::Notconn),
        Kind::Listener(_) | Kind::Unconnected(_) => Err(Errno::Notconn),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

fn socket(fds: &mut Fds, fd: u32) -> Result<&mut Kind, Errno> {
    let kind = &mut fds.get_mut(fd).ok_or(Errno::Badf)?.kind;
    match kind {
        Kind::Listener(_) | Kind::Connection(_) | Kind::Unconnected(_) | Kind::Datagram(_) => Ok(kind),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

fn datagram(fds: &Fds, fd: u32, needed: Rights) -> Result<&Datagram, Errno> {
    match fds.get(fd).ok_or(Errno::Badf)? {
        Descriptor { kind: Kind::Datagram(datagram), rights, .. } if rights.contains(needed) => Ok(datagram),
        _ => Err(Errno::Notcapable),
    }
}

fn datagram_mut(fds: &mut Fds, fd: u32) -> Result<&mut Datagram, Errno> {
    match fds.get_mut(fd) {
        Some(Descriptor { kind: Kind::Datagram(datagram), .. }) => Ok(datagram),
        _ => Err(Errno::Badf),
    }
}

/// Whether this is a socket that the guest bound to a published port.
fn bound_as(descriptor: &Descriptor, port: u16, datagrams: bool) -> bool {
    let bound = match &descriptor.kind {
        Kind::Unconnected(socket) if !datagrams => socket.bound,
        Kind::Listener(listening) if !datagrams && listening.by_guest => Some(listening.bound),
        Kind::Datagram(datagram) if datagrams => datagram.bound(),
        Kind::Unconnected(_) | Kind::Datagram(_) | Kind::Listener(_) | Kind::Connection(_) => None,
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => None,
    };
    bound.is_some_and(|bound| bound.port() == port)
}

fn belongs(address: SocketAddr, family: Family) -> Result<(), Errno> {
    if Family::of(address) == family { Ok(()) } else { Err(Errno::Afnosupport) }
}

/// The length of all buffers in a list.
fn total(memory: &Memory<'_>, iovs: u32, count: u32) -> Result<u32, Errno> {
    (0..count).try_fold(0_u32, |total, index| Ok(total.saturating_add(memory.span(iovs, index)?.len)))
}
