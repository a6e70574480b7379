//! Addresses, as WIT writes them, and which of them a socket takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::ErrorCode;
use crate::fds;
use crate::p2::abi::{Lift, Lower, NO_SUCH_CASE, Sink, Source, Ty, Wit, wit_enum};
use crate::p2::call::{Stop, Trap};

wit_enum! {
    pub(in crate::p2) enum Family {
        Ipv4 = "ipv4",
        Ipv6 = "ipv6",
    }
}

impl From<Family> for fds::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::V4,
            Family::Ipv6 => Self::V6,
        }
    }
}

const IPV4: Ty = <[u8; 4]>::TY;
const IPV6: Ty = <[u16; 8]>::TY;

impl Wit for IpAddr {
    const TY: Ty = Ty::Variant(&[("ipv4", &IPV4), ("ipv6", &IPV6)]);
}

impl Lower for IpAddr {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        match self {
            Self::V4(ip) => to.variant(Self::LAYOUT, 0, |to| ip.octets().lower(to)),
            Self::V6(ip) => to.variant(Self::LAYOUT, 1, |to| ip.segments().lower(to)),
        }
    }
}

const IPV4_SOCKET: Ty = Ty::Record(&[("port", &Ty::U16), ("address", &IPV4)]);
const IPV6_SOCKET: Ty =
    Ty::Record(&[("port", &Ty::U16), ("flow-info", &Ty::U32), ("address", &IPV6), ("scope-id", &Ty::U32)]);

impl Wit for SocketAddr {
    const TY: Ty = Ty::Variant(&[("ipv4", &IPV4_SOCKET), ("ipv6", &IPV6_SOCKET)]);
}

impl Lift for SocketAddr {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.variant(Self::LAYOUT, |case, from| match case {
            0 => from.aggregate(IPV4_SOCKET.layout(), |from| {
                let (port, ip) = (u16::lift(from)?, <[u8; 4]>::lift(from)?);
                Ok(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
            }),
            1 => from.aggregate(IPV6_SOCKET.layout(), |from| {
                let (port, flow, ip) = (u16::lift(from)?, u32::lift(from)?, <[u16; 8]>::lift(from)?);
                Ok(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, u32::lift(from)?).into())
            }),
            _ => Err(NO_SUCH_CASE),
        })
    }
}

impl Lower for SocketAddr {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop> {
        match self {
            Self::V4(address) => to.variant(Self::LAYOUT, 0, |to| {
                to.aggregate(IPV4_SOCKET.layout(), |to| {
                    address.port().lower(to)?;
                    address.ip().octets().lower(to)
                })
            }),
            Self::V6(address) => to.variant(Self::LAYOUT, 1, |to| {
                to.aggregate(IPV6_SOCKET.layout(), |to| {
                    address.port().lower(to)?;
                    address.flowinfo().lower(to)?;
                    address.ip().segments().lower(to)?;
                    address.scope_id().lower(to)
                })
            }),
        }
    }
}

/// An address that a socket of this family can have for its own.
pub(super) fn local(address: SocketAddr, family: fds::Family) -> Result<SocketAddr, ErrorCode> {
    let right = fds::Family::of(address) == family && is_unmapped(address.ip());
    if right { Ok(address) } else { Err(ErrorCode::InvalidArgument) }
}

/// An address that a socket of this family can talk to.
pub(super) fn remote(address: SocketAddr, family: fds::Family) -> Result<SocketAddr, ErrorCode> {
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(ErrorCode::InvalidArgument);
    }
    local(address, family)
}

/// TCP knows neither groups nor everybody.
pub(super) fn unicast(address: SocketAddr) -> Result<SocketAddr, ErrorCode> {
    let everybody = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    if address.ip().is_multicast() || everybody { Err(ErrorCode::InvalidArgument) } else { Ok(address) }
}

/// An IPv4 address written as IPv6 is for no socket: these are for one family only.
fn is_unmapped(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        // The deprecated IPv4-compatible addresses as well, except the two that mean something else.
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_none(),
    }
}
