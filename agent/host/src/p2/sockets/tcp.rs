//! `wasi:sockets/tcp`: a socket is bound, listens or connects in two steps, and never waits in them.
//!
//! ```text
//! unbound -> bind started -> bound -> listen started -> listening
//!    \________________________/\____> connecting ------> connected
//! ```

use std::net::{Shutdown, SocketAddr};

use super::address::{self, Family};
use super::options::Settings;
use super::{ErrorCode, Network, Outcome};
use crate::fds::{self, Descriptor, Interest, Kind, Rights};
use crate::p1::Errno;
use crate::p1::sockets::{self, Transport};
use crate::p2::abi::wit_enum;
use crate::p2::call::{Cx, Stop};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::{Awaits, InputStream, OutputStream, Pollable, Source, Target};
use crate::state::State;

pub(in crate::p2) struct TcpSocket {
    pub(in crate::p2) fd: u32,
    family: fds::Family,
    state: Phase,
    pub(super) settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Unbound,
    BindStarted,
    Bound,
    ListenStarted,
    Listening,
    Connecting(SocketAddr),
    Connected,
    /// Connecting or listening failed.
    Closed,
}

type Streams = (Own<InputStream>, Own<OutputStream>);

impl TcpSocket {
    pub(in crate::p2) fn awaits(&self) -> Awaits {
        match self.state {
            Phase::Listening => Awaits::Descriptor(self.fd, Interest::Read),
            Phase::Connecting(_) => Awaits::Descriptor(self.fd, Interest::Write),
            Phase::Unbound
            | Phase::BindStarted
            | Phase::Bound
            | Phase::ListenStarted
            | Phase::Connected
            | Phase::Closed => Awaits::Nothing,
        }
    }

    pub(super) fn family(&self) -> fds::Family {
        self.family
    }

    /// Whether it has an address of its own.
    fn is_bound(&self) -> bool {
        !matches!(self.state, Phase::Unbound | Phase::BindStarted | Phase::Closed)
    }
}

pub(in crate::p2) fn create_tcp_socket(cx: &mut Cx<'_>, family: Family) -> Outcome<Own<TcpSocket>> {
    let family = fds::Family::from(family);
    let fd = sockets::create(cx.state, family, Transport::Stream)?;
    super::options::only_v6(&mut cx.state.fds, fd, family)?;
    Ok(cx.state.p2.handles.push(TcpSocket { fd, family, state: Phase::Unbound, settings: Settings::default() })?)
}

pub(in crate::p2) fn start_bind(
    cx: &mut Cx<'_>,
    this: Borrow<TcpSocket>,
    network: Borrow<Network>,
    local: SocketAddr,
) -> Outcome<()> {
    cx.state.p2.handles.get(&network)?;
    let TcpSocket { fd, family, state, .. } = *cx.state.p2.handles.get(&this)?;
    match state {
        Phase::Unbound => {}
        Phase::BindStarted => return Err(ErrorCode::ConcurrencyConflict.into()),
        Phase::Bound
        | Phase::ListenStarted
        | Phase::Listening
        | Phase::Connecting(_)
        | Phase::Connected
        | Phase::Closed => return Err(ErrorCode::InvalidState.into()),
    }
    let local = address::unicast(address::local(local, family)?)?;
    sockets::bind(cx.state, fd, local)?;
    cx.state.p2.handles.get_mut(&this)?.state = Phase::BindStarted;
    Ok(())
}

pub(in crate::p2) fn finish_bind(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<()> {
    let socket = cx.state.p2.handles.get_mut(&this)?;
    if socket.state != Phase::BindStarted {
        return Err(ErrorCode::NotInProgress.into());
    }
    socket.state = Phase::Bound;
    Ok(())
}

pub(in crate::p2) fn start_listen(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<()> {
    let TcpSocket { fd, state, .. } = *cx.state.p2.handles.get(&this)?;
    match state {
        Phase::Bound => {}
        Phase::ListenStarted => return Err(ErrorCode::ConcurrencyConflict.into()),
        Phase::Unbound
        | Phase::BindStarted
        | Phase::Listening
        | Phase::Connecting(_)
        | Phase::Connected
        | Phase::Closed => return Err(ErrorCode::InvalidState.into()),
    }
    let outcome = sockets::start_listening(cx.state, fd);
    let next = if outcome.is_ok() { Phase::ListenStarted } else { Phase::Closed };
    cx.state.p2.handles.get_mut(&this)?.state = next;
    Ok(outcome?)
}

pub(in crate::p2) fn finish_listen(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<()> {
    let socket = cx.state.p2.handles.get_mut(&this)?;
    if socket.state != Phase::ListenStarted {
        return Err(ErrorCode::NotInProgress.into());
    }
    socket.state = Phase::Listening;
    Ok(())
}

pub(in crate::p2) fn accept(
    cx: &mut Cx<'_>,
    this: Borrow<TcpSocket>,
) -> Outcome<(Own<TcpSocket>, Own<InputStream>, Own<OutputStream>)> {
    let State { fds, p2, console, .. } = &mut *cx.state;
    let TcpSocket { fd, family, state, settings } = *p2.handles.get(&this)?;
    let Some(Kind::Listener(listening)) = fds.get(fd).map(|descriptor| &descriptor.kind) else {
        return Err(ErrorCode::InvalidState.into());
    };
    if state != Phase::Listening {
        return Err(ErrorCode::InvalidState.into());
    }
    // Before a connection is taken from the queue, there must be a place for it.
    if !fds.has_room() {
        return Err(ErrorCode::NewSocketLimit.into());
    }
    console.accepting();
    let connection = listening.accept()?;
    settings.apply(connection.fd()?, family);
    let descriptor = Descriptor::new(Kind::Connection(connection), Rights::CONNECTION);
    let fd = fds.insert(descriptor).ok_or(Errno::Mfile)?;
    let socket = p2.handles.push(TcpSocket { fd, family, state: Phase::Connected, settings })?;
    let (input, output) = streams(cx.state, fd, socket.number())?;
    Ok((socket, input, output))
}

pub(in crate::p2) fn start_connect(
    cx: &mut Cx<'_>,
    this: Borrow<TcpSocket>,
    network: Borrow<Network>,
    to: SocketAddr,
) -> Outcome<()> {
    cx.state.p2.handles.get(&network)?;
    let TcpSocket { fd, family, state, .. } = *cx.state.p2.handles.get(&this)?;
    match state {
        Phase::Unbound | Phase::Bound => {}
        Phase::Connecting(_) => return Err(ErrorCode::ConcurrencyConflict.into()),
        Phase::BindStarted | Phase::ListenStarted | Phase::Listening | Phase::Connected | Phase::Closed => {
            return Err(ErrorCode::InvalidState.into());
        }
    }
    let to = address::unicast(address::remote(to, family)?)?;
    let outcome = sockets::attempt_to_connect(cx.state, fd, to)?;
    let begun = outcome.is_ok() || sockets::has_begun(&outcome);
    if begun {
        sockets::connecting(cx.state, fd);
    }
    cx.state.p2.handles.get_mut(&this)?.state = if begun { Phase::Connecting(to) } else { Phase::Closed };
    if begun { Ok(()) } else { outcome.map_err(not_connected) }
}

pub(in crate::p2) fn finish_connect(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<Streams> {
    let TcpSocket { fd, state, .. } = *cx.state.p2.handles.get(&this)?;
    let Phase::Connecting(to) = state else { return Err(ErrorCode::NotInProgress.into()) };
    let outcome = sockets::attempt_to_connect(cx.state, fd, to)?;
    if sockets::has_begun(&outcome) {
        return Err(ErrorCode::WouldBlock.into());
    }
    let connected = match outcome {
        // It was connected at once, or the kernel has told so before.
        Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::ISCONN) => Ok(()),
        outcome => outcome,
    };
    cx.state.p2.handles.get_mut(&this)?.state = if connected.is_ok() { Phase::Connected } else { Phase::Closed };
    connected.map_err(not_connected)?;
    streams(cx.state, fd, this.number()).map_err(Into::into)
}

/// No port left to connect from is what `bind` says of an address that is not here.
fn not_connected(error: std::io::Error) -> crate::p2::call::Fail<ErrorCode> {
    let code = ErrorCode::from(Errno::from(error));
    if code == ErrorCode::AddressNotBindable { ErrorCode::AddressInUse.into() } else { code.into() }
}

/// The two directions of a connection.
fn streams(state: &mut State, fd: u32, socket: u32) -> Result<Streams, Stop> {
    let handles = &mut state.p2.handles;
    let input = handles.push_child(InputStream::new(Source::Socket { fd }), socket)?;
    let output = handles.push_child(OutputStream::new(Target::Socket { fd }), socket)?;
    Ok((input, output))
}

pub(in crate::p2) fn local_address(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<SocketAddr> {
    let socket = cx.state.p2.handles.get(&this)?;
    if !socket.is_bound() {
        return Err(ErrorCode::InvalidState.into());
    }
    Ok(sockets::local(&mut cx.state.fds, socket.fd)?)
}

pub(in crate::p2) fn remote_address(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<SocketAddr> {
    let socket = cx.state.p2.handles.get(&this)?;
    if socket.state != Phase::Connected {
        return Err(ErrorCode::InvalidState.into());
    }
    Ok(sockets::remote(&mut cx.state.fds, socket.fd)?)
}

pub(in crate::p2) fn is_listening(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Result<bool, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.state == Phase::Listening)
}

pub(in crate::p2) fn address_family(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Result<Family, Stop> {
    Ok(match cx.state.p2.handles.get(&this)?.family {
        fds::Family::V4 => Family::Ipv4,
        fds::Family::V6 => Family::Ipv6,
    })
}

/// How many may wait to be accepted is for the agent to say.
pub(in crate::p2) fn set_listen_backlog_size(cx: &mut Cx<'_>, this: Borrow<TcpSocket>, value: u64) -> Outcome<()> {
    let state = cx.state.p2.handles.get(&this)?.state;
    match state {
        _ if value == 0 => Err(ErrorCode::InvalidArgument.into()),
        Phase::Connecting(_) | Phase::Connected | Phase::Closed => Err(ErrorCode::InvalidState.into()),
        Phase::Unbound | Phase::BindStarted | Phase::Bound | Phase::ListenStarted | Phase::Listening => Ok(()),
    }
}

pub(in crate::p2) fn subscribe_tcp(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Tcp(this.number()), this.number())?)
}

wit_enum! {
    pub(in crate::p2) enum ShutdownType {
        Receive = "receive",
        Send = "send",
        Both = "both",
    }
}

pub(in crate::p2) fn shutdown(cx: &mut Cx<'_>, this: Borrow<TcpSocket>, how: ShutdownType) -> Outcome<()> {
    let State { fds, p2, .. } = &mut *cx.state;
    let TcpSocket { fd, state, .. } = *p2.handles.get(&this)?;
    if state != Phase::Connected {
        return Err(ErrorCode::InvalidState.into());
    }
    let Some(Kind::Connection(connection)) = fds.get(fd).map(|descriptor| &descriptor.kind) else {
        return Err(ErrorCode::InvalidState.into());
    };
    if how != ShutdownType::Send {
        p2.handles.all_mut::<InputStream>().for_each(|stream| stream.shut(fd));
        once(connection.shutdown(Shutdown::Read))?;
    }
    if how != ShutdownType::Receive {
        let mut deferred = false;
        p2.handles.all_mut::<OutputStream>().for_each(|stream| deferred |= stream.shut(fd, fds));
        if !deferred {
            once(connection.shutdown(Shutdown::Write))?;
        }
    }
    Ok(())
}

/// What the other end has closed already need not be shut down.
fn once(outcome: std::io::Result<()>) -> Result<(), std::io::Error> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}
