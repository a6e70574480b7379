//! `wasi:sockets/udp`: the socket itself. Its datagrams are in [`datagrams`](super::datagrams).

use std::net::SocketAddr;

use super::address::{self, Family};
use super::options::Settings;
use super::{ErrorCode, IncomingDatagrams, Network, Outcome, OutgoingDatagrams};
use crate::fds::{self, Kind};
use crate::p1::sockets::{self, Transport};
use crate::p2::call::{Cx, Stop, Trap};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::Pollable;
use crate::state::State;

pub(in crate::p2) struct UdpSocket {
    pub(in crate::p2) fd: u32,
    pub(super) family: fds::Family,
    state: Phase,
    /// Whom the current streams are limited to.
    remote: Option<SocketAddr>,
    pub(super) settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Unbound,
    BindStarted,
    Bound,
}

pub(in crate::p2) fn create_udp_socket(cx: &mut Cx<'_>, family: Family) -> Outcome<Own<UdpSocket>> {
    let family = fds::Family::from(family);
    let fd = sockets::create(cx.state, family, Transport::Datagram)?;
    super::options::only_v6(&mut cx.state.fds, fd, family)?;
    let socket = UdpSocket { fd, family, state: Phase::Unbound, remote: None, settings: Settings::default() };
    Ok(cx.state.p2.handles.push(socket)?)
}

pub(in crate::p2) fn udp_start_bind(
    cx: &mut Cx<'_>,
    this: Borrow<UdpSocket>,
    network: Borrow<Network>,
    local: SocketAddr,
) -> Outcome<()> {
    cx.state.p2.handles.get(&network)?;
    let UdpSocket { fd, family, state, .. } = *cx.state.p2.handles.get(&this)?;
    match state {
        Phase::Unbound => {}
        Phase::BindStarted => return Err(ErrorCode::ConcurrencyConflict.into()),
        Phase::Bound => return Err(ErrorCode::InvalidState.into()),
    }
    sockets::bind(cx.state, fd, address::local(local, family)?)?;
    cx.state.p2.handles.get_mut(&this)?.state = Phase::BindStarted;
    Ok(())
}

pub(in crate::p2) fn udp_finish_bind(cx: &mut Cx<'_>, this: Borrow<UdpSocket>) -> Outcome<()> {
    let socket = cx.state.p2.handles.get_mut(&this)?;
    if socket.state != Phase::BindStarted {
        return Err(ErrorCode::NotInProgress.into());
    }
    socket.state = Phase::Bound;
    Ok(())
}

/// A pair of streams, and the end of the pair before.
pub(in crate::p2) fn stream(
    cx: &mut Cx<'_>,
    this: Borrow<UdpSocket>,
    remote: Option<SocketAddr>,
) -> Outcome<(Own<IncomingDatagrams>, Own<OutgoingDatagrams>)> {
    let State { fds, p2, permits, .. } = &mut *cx.state;
    let UdpSocket { fd, family, state, .. } = *p2.handles.get(&this)?;
    let earlier = p2.handles.all_mut::<IncomingDatagrams>().any(|stream| stream.fd == fd)
        || p2.handles.all_mut::<OutgoingDatagrams>().any(|stream| stream.fd == fd);
    if earlier {
        return Err(Trap("asked a UDP socket for streams before it dropped the ones it had").into());
    }
    if state != Phase::Bound {
        return Err(ErrorCode::InvalidState.into());
    }
    let Some(Kind::Datagram(datagram)) = fds.get_mut(fd).map(|descriptor| &mut descriptor.kind) else {
        return Err(ErrorCode::InvalidState.into());
    };
    match remote {
        Some(to) => {
            let to = address::remote(to, family)?;
            if !datagram.answers(to) && !permits.may_reach(to) {
                return Err(ErrorCode::AccessDenied.into());
            }
            datagram.connect(to)?;
        }
        None => datagram.disconnect()?,
    }
    let socket = this.number();
    p2.handles.get_mut(&this)?.remote = remote;
    let incoming = p2.handles.push_child(IncomingDatagrams { fd, remote }, socket)?;
    let outgoing = p2.handles.push_child(OutgoingDatagrams { fd, family, remote, permit: 0 }, socket)?;
    Ok((incoming, outgoing))
}

pub(in crate::p2) fn udp_local_address(cx: &mut Cx<'_>, this: Borrow<UdpSocket>) -> Outcome<SocketAddr> {
    let socket = cx.state.p2.handles.get(&this)?;
    if socket.state != Phase::Bound {
        return Err(ErrorCode::InvalidState.into());
    }
    Ok(sockets::local(&mut cx.state.fds, socket.fd)?)
}

pub(in crate::p2) fn udp_remote_address(cx: &mut Cx<'_>, this: Borrow<UdpSocket>) -> Outcome<SocketAddr> {
    Ok(cx.state.p2.handles.get(&this)?.remote.ok_or(ErrorCode::InvalidState)?)
}

pub(in crate::p2) fn udp_address_family(cx: &mut Cx<'_>, this: Borrow<UdpSocket>) -> Result<Family, Stop> {
    Ok(match cx.state.p2.handles.get(&this)?.family {
        fds::Family::V4 => Family::Ipv4,
        fds::Family::V6 => Family::Ipv6,
    })
}

/// Nothing that is begun on the socket itself takes any time.
pub(in crate::p2) fn subscribe_udp(cx: &mut Cx<'_>, this: Borrow<UdpSocket>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Always, this.number())?)
}
