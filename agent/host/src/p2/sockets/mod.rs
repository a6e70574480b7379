//! `wasi:sockets`, on the sockets and the grants of preview 1's extensions.

mod address;
mod datagrams;
mod lookup;
mod options;
mod tcp;
mod udp;

pub(super) use self::address::Family;
pub(super) use self::datagrams::{
    IncomingDatagrams, OutgoingDatagram, OutgoingDatagrams, ReceivedDatagram, check_send, receive, send,
    subscribe as subscribe_incoming, subscribe_outgoing,
};
pub(super) use self::lookup::{Lookup, resolve_addresses, resolve_next_address, subscribe as subscribe_lookup};
pub(super) use self::options::*;
pub(super) use self::tcp::*;
pub(super) use self::udp::{UdpSocket, *};

use std::io;

use super::abi::wit_enum;
use super::call::{Cx, Fail, Stop};
use super::handles::{Borrow, Own};
use super::io::{IoError, Origin};
use crate::p1::Errno;

/// The network: there is one, and the guest's grants say how much of it there is.
pub(super) struct Network;

pub(super) fn instance_network(cx: &mut Cx<'_>) -> Result<Own<Network>, Stop> {
    Ok(cx.state.p2.handles.push(Network)?)
}

wit_enum! {
    pub(super) enum ErrorCode {
        Unknown = "unknown",
        AccessDenied = "access-denied",
        NotSupported = "not-supported",
        InvalidArgument = "invalid-argument",
        OutOfMemory = "out-of-memory",
        Timeout = "timeout",
        ConcurrencyConflict = "concurrency-conflict",
        NotInProgress = "not-in-progress",
        WouldBlock = "would-block",
        InvalidState = "invalid-state",
        NewSocketLimit = "new-socket-limit",
        AddressNotBindable = "address-not-bindable",
        AddressInUse = "address-in-use",
        RemoteUnreachable = "remote-unreachable",
        ConnectionRefused = "connection-refused",
        ConnectionReset = "connection-reset",
        ConnectionAborted = "connection-aborted",
        DatagramTooLarge = "datagram-too-large",
        NameUnresolvable = "name-unresolvable",
        TemporaryResolverFailure = "temporary-resolver-failure",
        PermanentResolverFailure = "permanent-resolver-failure",
    }
}

impl From<Errno> for ErrorCode {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what has no code here is unknown, as the document says")]
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Acces | Errno::Perm => Self::AccessDenied,
            Errno::Notsup | Errno::Noprotoopt | Errno::Protonosupport => Self::NotSupported,
            Errno::Inval | Errno::Afnosupport | Errno::Destaddrreq | Errno::Fault => Self::InvalidArgument,
            Errno::Nomem | Errno::Nobufs => Self::OutOfMemory,
            Errno::Timedout => Self::Timeout,
            Errno::Already => Self::ConcurrencyConflict,
            Errno::Again | Errno::Inprogress => Self::WouldBlock,
            Errno::Notconn | Errno::Isconn => Self::InvalidState,
            Errno::Mfile | Errno::Nfile => Self::NewSocketLimit,
            Errno::Addrnotavail => Self::AddressNotBindable,
            Errno::Addrinuse => Self::AddressInUse,
            Errno::Hostunreach | Errno::Netunreach | Errno::Netdown | Errno::Netreset => Self::RemoteUnreachable,
            Errno::Connrefused => Self::ConnectionRefused,
            Errno::Connreset | Errno::Pipe => Self::ConnectionReset,
            Errno::Connaborted => Self::ConnectionAborted,
            Errno::Msgsize => Self::DatagramTooLarge,
            Errno::Ainoname | Errno::Ainodata => Self::NameUnresolvable,
            Errno::Aiagain => Self::TemporaryResolverFailure,
            _ => Self::Unknown,
        }
    }
}

pub(super) fn network_error_code(cx: &mut Cx<'_>, error: Borrow<IoError>) -> Result<Option<ErrorCode>, Stop> {
    let error = cx.state.p2.handles.get(&error)?;
    Ok((error.origin == Origin::Network).then(|| error.errno.into()))
}

type Outcome<T> = Result<T, Fail<ErrorCode>>;

impl From<ErrorCode> for Fail<ErrorCode> {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

impl From<Errno> for Fail<ErrorCode> {
    fn from(errno: Errno) -> Self {
        Self::Error(errno.into())
    }
}

impl From<io::Error> for Fail<ErrorCode> {
    fn from(error: io::Error) -> Self {
        Errno::from(error).into()
    }
}

impl From<rustix::io::Errno> for Fail<ErrorCode> {
    fn from(error: rustix::io::Errno) -> Self {
        Errno::from(error).into()
    }
}
