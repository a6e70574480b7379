//! WasmEdge's socket extension, in its first and second version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::address::wasmedge as address;
use super::{Transport, resolve};
use crate::fds::Family;
use crate::memory::{Memory, OutOfBounds};
use crate::p1::{Cx, Errno, Outcome, sock};

const DATAGRAM: u32 = 1;
const STREAM: u32 = 2;

pub(super) fn open(cx: &mut Cx<'_>, family: u32, ty: u32, opened: u32) -> Outcome {
    let transport = match ty {
        DATAGRAM => Transport::Datagram,
        STREAM => Transport::Stream,
        _ => return Err(Errno::Inval.into()),
    };
    super::open(cx, address::family(family)?, transport, opened)
}

pub(super) fn bind(cx: &mut Cx<'_>, fd: u32, addr: u32, port: u32) -> Outcome {
    let address = address::read(&cx.memory, addr, port)?;
    Ok(super::bind(cx.state, fd, address)?)
}

/// The first version's; the second's is the standard's.
pub(super) fn accept(cx: &mut Cx<'_>, fd: u32, accepted: u32) -> Outcome {
    sock::accept(cx, fd, 0, accepted)
}

pub(super) fn connect(cx: &mut Cx<'_>, fd: u32, addr: u32, port: u32) -> Outcome {
    let address = address::read(&cx.memory, addr, port)?;
    super::connect(cx, fd, address)
}

#[expect(clippy::too_many_arguments, reason = "the extension has as many")]
pub(super) fn recv_from_1(
    cx: &mut Cx<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    addr: u32,
    flags: u32,
    read: u32,
    out_flags: u32,
) -> Outcome {
    recv_from(cx, (fd, iovs, count), addr, flags, None, read, out_flags)
}

#[expect(clippy::too_many_arguments, reason = "the extension has as many")]
pub(super) fn recv_from_2(
    cx: &mut Cx<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    addr: u32,
    flags: u32,
    port: u32,
    read: u32,
    out_flags: u32,
) -> Outcome {
    recv_from(cx, (fd, iovs, count), addr, flags, Some(port), read, out_flags)
}

fn recv_from(
    cx: &mut Cx<'_>,
    (fd, iovs, count): (u32, u32, u32),
    addr: u32,
    flags: u32,
    port: Option<u32>,
    read: u32,
    out_flags: u32,
) -> Outcome {
    cx.check_buffers(iovs, count)?;
    address::check(&cx.memory, addr)?;
    if let Some(port) = port {
        cx.memory.check(port, 2)?;
    }
    cx.memory.check(read, 4)?;
    cx.memory.check(out_flags, 2)?;
    let received = super::recv_from(cx, fd, iovs, count, flags)?;
    address::write(&mut cx.memory, addr, received.from)?;
    if let Some(port) = port {
        cx.memory.put(port, &received.from.port().to_le_bytes())?;
    }
    cx.memory.put_u32(read, received.bytes)?;
    cx.memory.put(out_flags, &[u8::from(received.truncated), 0])?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the extension has as many")]
pub(super) fn send_to(
    cx: &mut Cx<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    addr: u32,
    port: u32,
    flags: u32,
    written: u32,
) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(written, 4)?;
    let to = address::read(&cx.memory, addr, port)?;
    let n = super::send_to(cx, fd, iovs, count, flags, to)?;
    cx.memory.put_u32(written, n)?;
    Ok(())
}

pub(super) fn local_1(cx: &mut Cx<'_>, fd: u32, addr: u32, ty: u32, port: u32) -> Outcome {
    let local = super::local(&mut cx.state.fds, fd)?;
    put_1(&mut cx.memory, local, addr, ty, port)
}

pub(super) fn local_2(cx: &mut Cx<'_>, fd: u32, addr: u32, port: u32) -> Outcome {
    let local = super::local(&mut cx.state.fds, fd)?;
    put_2(&mut cx.memory, local, addr, port)
}

pub(super) fn peer_1(cx: &mut Cx<'_>, fd: u32, addr: u32, ty: u32, port: u32) -> Outcome {
    let peer = super::remote(&mut cx.state.fds, fd)?;
    put_1(&mut cx.memory, peer, addr, ty, port)
}

pub(super) fn peer_2(cx: &mut Cx<'_>, fd: u32, addr: u32, port: u32) -> Outcome {
    let peer = super::remote(&mut cx.state.fds, fd)?;
    put_2(&mut cx.memory, peer, addr, port)
}

/// The first version calls the families 4 and 6 here, and nowhere else.
fn put_1(memory: &mut Memory<'_>, address: SocketAddr, addr: u32, ty: u32, port: u32) -> Outcome {
    address::check(memory, addr)?;
    memory.check(ty, 4)?;
    memory.check(port, 4)?;
    address::write(memory, addr, address)?;
    memory.put_u32(ty, if address.is_ipv4() { 4 } else { 6 })?;
    memory.put_u32(port, address.port().into())?;
    Ok(())
}

fn put_2(memory: &mut Memory<'_>, address: SocketAddr, addr: u32, port: u32) -> Outcome {
    address::check(memory, addr)?;
    memory.check(port, 4)?;
    address::write(memory, addr, address)?;
    memory.put_u32(port, address.port().into())?;
    Ok(())
}

/// No host or service has a longer name.
const NAME_BYTES_MAX: usize = 1024;

mod aiflags {
    pub(super) const PASSIVE: u16 = 1 << 0;
    pub(super) const NUMERICHOST: u16 = 1 << 2;
    pub(super) const ALL: u16 = (1 << 7) - 1;
}

/// The list of results is the guest's own, linked by it before the call.
#[expect(clippy::too_many_arguments, reason = "the extension has as many")]
pub(super) fn getaddrinfo(
    cx: &mut Cx<'_>,
    node: u32,
    node_len: u32,
    service: u32,
    service_len: u32,
    hints: u32,
    results: u32,
    max: u32,
    found: u32,
) -> Outcome {
    let node = text(&cx.memory, node, node_len)?;
    let service = text(&cx.memory, service, service_len)?;
    cx.memory.check(found, 4)?;
    let first = cx.memory.u32(results)?;
    let [flags @ .., family, ty] = cx.memory.array::<4>(hints)?;
    let flags = u16::from_le_bytes(flags);
    let [protocol] = cx.memory.array(hints.checked_add(4).ok_or(OutOfBounds)?)?;
    if node.is_empty() && service.is_empty() {
        return Err(Errno::Ainoname.into());
    }
    if max == 0 {
        return Err(Errno::Aimemory.into());
    }
    if flags & !aiflags::ALL != 0 {
        return Err(Errno::Aibadflag.into());
    }
    let family = match u32::from(family) {
        0 => None,
        family => Some(address::family(family).map_err(|_| Errno::Aifamily)?),
    };
    let types: &[u32] = match (ty.into(), protocol) {
        (0, 0) => &[STREAM, DATAGRAM],
        (0 | STREAM, 1) | (STREAM, 0) => &[STREAM],
        (0 | DATAGRAM, 2) | (DATAGRAM, 0) => &[DATAGRAM],
        _ => return Err(Errno::Nosys.into()),
    };
    let port = resolve::port(&service).ok_or(Errno::Aiservice)?;
    let addresses = match node.as_str() {
        "" => nowhere(family, flags & aiflags::PASSIVE != 0),
        node if flags & aiflags::NUMERICHOST != 0 && node.parse::<IpAddr>().is_err() => {
            return Err(Errno::Ainoname.into());
        }
        node => resolve::addresses(cx, node, family)?,
    };
    if addresses.is_empty() {
        return Err(Errno::Ainodata.into());
    }
    let mut at = first;
    let mut written = 0;
    for address in addresses.iter().map(|ip| SocketAddr::new(*ip, port)) {
        for &ty in types {
            if written < max {
                at = put_result(&mut cx.memory, at, address, ty)?;
                written += 1;
            }
        }
    }
    cx.memory.put_u32(found, written)?;
    Ok(())
}

/// Fills one `__wasi_addrinfo_t`; where the next one is.
fn put_result(memory: &mut Memory<'_>, at: u32, address: SocketAddr, ty: u32) -> Result<u32, OutOfBounds> {
    const ADDRINFO_BYTES: u32 = 28;
    const SOCKADDR_BYTES: u32 = 12;

    memory.check(at, ADDRINFO_BYTES)?;
    let family = address::number(Family::of(address)) as u8;
    // What a `sockaddr` holds after its family: port, address, and for IPv6 a flow before and a scope after.
    let mut data = [0; 26];
    data[0..2].copy_from_slice(&address.port().to_be_bytes());
    let len = match address.ip() {
        IpAddr::V4(ip) => {
            data[2..6].copy_from_slice(&ip.octets());
            14
        }
        IpAddr::V6(ip) => {
            data[6..22].copy_from_slice(&ip.octets());
            26
        }
    };
    let sockaddr = memory.u32(at + 12)?;
    memory.check(sockaddr, SOCKADDR_BYTES)?;
    let sa_data = memory.u32(sockaddr + 8)?;
    memory.put(sa_data, &data[..len])?;
    memory.put(sockaddr, &[family])?;
    memory.put_u32(sockaddr + 4, len as u32)?;
    let protocol = if ty == STREAM { 1 } else { 2 };
    memory.put(at + 2, &[family, ty as u8, protocol])?;
    memory.put_u32(at + 8, len as u32 + 2)?;
    // No canonical name.
    memory.put_u32(at + 20, 0)?;
    memory.u32(at + 24)
}

/// Where a service is when no host is named: everywhere for who binds, here for who connects.
fn nowhere(family: Option<Family>, passive: bool) -> Vec<IpAddr> {
    let ip4 = if passive { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let ip6 = if passive { Ipv6Addr::UNSPECIFIED } else { Ipv6Addr::LOCALHOST };
    match family {
        Some(Family::V4) => vec![ip4.into()],
        Some(Family::V6) => vec![ip6.into()],
        None => vec![ip4.into(), ip6.into()],
    }
}

/// A text that may end with a zero.
fn text(memory: &Memory<'_>, at: u32, len: u32) -> Result<String, Errno> {
    let bytes = memory.slice(at, len)?;
    if bytes.len() > NAME_BYTES_MAX {
        return Err(Errno::Ainoname);
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Errno::Ainoname)
}
