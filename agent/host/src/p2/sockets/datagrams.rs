//! `wasi:sockets/udp`: what comes and what is sent.

use std::net::SocketAddr;

use super::address;
use super::{ErrorCode, Outcome};
use crate::fds::{self, Interest, Kind, would_block};
use crate::p1::Errno;
use crate::p1::sockets;
use crate::p2::abi::{Buffer, Bytes, wit_record};
use crate::p2::call::{Cx, Stop, Trap};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::{Awaits, Pollable};

/// Datagrams that one call receives, or sends, at most.
const AT_ONCE_MAX: u64 = 16;
/// Datagrams of strangers that one call throws away.
const STRANGERS_AT_ONCE: u32 = 32;
/// What no datagram is longer than.
const DATAGRAM_BYTES_MAX: usize = 65_535;

pub(in crate::p2) struct IncomingDatagrams {
    pub(super) fd: u32,
    pub(super) remote: Option<SocketAddr>,
}

pub(in crate::p2) struct OutgoingDatagrams {
    pub(super) fd: u32,
    pub(super) family: fds::Family,
    pub(super) remote: Option<SocketAddr>,
    /// What the guest may still send.
    pub(super) permit: u64,
}

wit_record! {
    pub(in crate::p2) struct ReceivedDatagram {
        data: Buffer = "data",
        remote_address: SocketAddr = "remote-address",
    }
}
wit_record!(lower ReceivedDatagram { data, remote_address });

wit_record! {
    pub(in crate::p2) struct OutgoingDatagram {
        data: Bytes = "data",
        remote_address: Option<SocketAddr> = "remote-address",
    }
}
wit_record!(lift OutgoingDatagram { data, remote_address });

impl IncomingDatagrams {
    pub(in crate::p2) fn awaits(&self) -> Awaits {
        Awaits::Descriptor(self.fd, Interest::Read)
    }
}

impl OutgoingDatagrams {
    pub(in crate::p2) fn awaits(&self) -> Awaits {
        Awaits::Descriptor(self.fd, Interest::Write)
    }
}

pub(in crate::p2) fn receive(
    cx: &mut Cx<'_>,
    this: Borrow<IncomingDatagrams>,
    max: u64,
) -> Outcome<Vec<ReceivedDatagram>> {
    let &IncomingDatagrams { fd, remote } = cx.state.p2.handles.get(&this)?;
    let mut received = Vec::new();
    let mut strangers = 0;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while (received.len() as u64) < max.min(AT_ONCE_MAX) && strangers < STRANGERS_AT_ONCE {
        let Some(Kind::Datagram(datagram)) = cx.state.fds.get(fd).map(|descriptor| &descriptor.kind) else { break };
        if datagram.bound().is_some() {
            cx.state.console.accepting();
        }
        let found = match datagram.recv(&mut buffer, false) {
            Ok(found) => found,
            Err(error) if would_block(&error) || !received.is_empty() => break,
            Err(error) => return Err(error.into()),
        };
        cx.worked();
        cx.moved(found.bytes);
        if remote.is_some_and(|remote| !same(remote, found.from)) || !sockets::admits(cx.state, fd, found.from)? {
            strangers += 1;
            continue;
        }
        let data = Buffer(buffer[..found.bytes].to_vec());
        received.push(ReceivedDatagram { data, remote_address: found.from });
    }
    Ok(received)
}

pub(in crate::p2) fn check_send(cx: &mut Cx<'_>, this: Borrow<OutgoingDatagrams>) -> Outcome<u64> {
    let stream = cx.state.p2.handles.get_mut(&this)?;
    let descriptor = cx.state.fds.get(stream.fd).ok_or(ErrorCode::InvalidState)?;
    stream.permit = if descriptor.readiness(Interest::Write).is_some() { AT_ONCE_MAX } else { 0 };
    Ok(stream.permit)
}

pub(in crate::p2) fn send(
    cx: &mut Cx<'_>,
    this: Borrow<OutgoingDatagrams>,
    datagrams: Vec<OutgoingDatagram>,
) -> Outcome<u64> {
    let stream = cx.state.p2.handles.get_mut(&this)?;
    let count = datagrams.len() as u64;
    stream.permit = match stream.permit.checked_sub(count) {
        Some(left) => left,
        None => return Err(Trap("sent more datagrams than check-send permitted").into()),
    };
    let &mut OutgoingDatagrams { fd, family, remote, .. } = stream;
    let mut sent = 0;
    for datagram in datagrams {
        cx.worked();
        match send_one(cx, fd, family, remote, &datagram) {
            Ok(true) => sent += 1,
            Ok(false) => break,
            Err(_) if sent > 0 => break,
            Err(fail) => return Err(fail),
        }
    }
    Ok(sent)
}

/// Sends one, if the kernel has room for it.
fn send_one(
    cx: &mut Cx<'_>,
    fd: u32,
    family: fds::Family,
    connected: Option<SocketAddr>,
    datagram: &OutgoingDatagram,
) -> Outcome<bool> {
    let Bytes { at, len } = datagram.data;
    let to = match (connected, datagram.remote_address) {
        (Some(connected), Some(to)) if !same(connected, to) => return Err(ErrorCode::InvalidArgument.into()),
        (Some(_), _) => None,
        (None, to) => Some(address::remote(to.ok_or(ErrorCode::InvalidArgument)?, family)?),
    };
    if let Some(to) = to {
        sockets::may_send(cx.state, fd, to)?;
    }
    if len as usize > DATAGRAM_BYTES_MAX {
        return Err(ErrorCode::DatagramTooLarge.into());
    }
    let bytes = cx.memory.slice(at, len).map_err(|_| Trap("a list leads out of memory"))?;
    let Some(Kind::Datagram(datagram)) = cx.state.fds.get(fd).map(|descriptor| &descriptor.kind) else {
        return Err(ErrorCode::InvalidState.into());
    };
    match datagram.send(bytes, to) {
        Ok(_) => {}
        Err(error) if would_block(&error) => return Ok(false),
        Err(error) => return Err(Errno::from(error).into()),
    }
    cx.moved(bytes.len());
    Ok(true)
}

/// Flows are not part of whom one talks to.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

pub(in crate::p2) fn subscribe(cx: &mut Cx<'_>, this: Borrow<IncomingDatagrams>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Incoming(this.number()), this.number())?)
}

pub(in crate::p2) fn subscribe_outgoing(
    cx: &mut Cx<'_>,
    this: Borrow<OutgoingDatagrams>,
) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Outgoing(this.number()), this.number())?)
}
