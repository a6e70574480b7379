//! Options of sockets: WasmEdge's two functions, and WAMR's two for each option.
//!
//! The agent's own sockets, behind published ports, outlive the guest: their options can be read, and
//! to set one says EPERM. How long to wait is kept with the descriptor, since nothing here blocks.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::{address, socket};
use crate::fds::{Descriptor, Fds, Kind, Patience};
use crate::memory::Memory;
use crate::p1::{Cx, Errno, Outcome, Stop};

/// A socket of which an option may be read.
pub(crate) fn any(fds: &mut Fds, fd: u32) -> Result<BorrowedFd<'_>, Errno> {
    match socket(fds, fd)? {
        Kind::Listener(listening) => Ok(listening.fd()?),
        Kind::Connection(connection) => Ok(connection.fd()?),
        Kind::Unconnected(socket) => Ok(socket.fd()?),
        Kind::Datagram(datagram) => Ok(datagram.fd()?),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

/// A socket of which an option may be set.
pub(crate) fn own(fds: &mut Fds, fd: u32) -> Result<BorrowedFd<'_>, Errno> {
    match socket(fds, fd)? {
        Kind::Listener(_) => Err(Errno::Perm),
        Kind::Datagram(datagram) if datagram.bound().is_some() => Err(Errno::Perm),
        Kind::Connection(_) | Kind::Unconnected(_) | Kind::Datagram(_) => any(fds, fd),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}

fn patience<'a>(cx: &'a mut Cx<'_>, fd: u32) -> Result<&'a mut Patience, Errno> {
    socket(&mut cx.state.fds, fd)?;
    let Descriptor { patience, .. } = cx.state.fds.get_mut(fd).ok_or(Errno::Badf)?;
    Ok(patience)
}

/// No time at all is no limit.
fn limit(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// WAMR's options that the kernel keeps: `bool` is a byte, `size` and `secs` are four, `byte` is a number in one.
macro_rules! kept_by_the_kernel {
    ($($ty:ident $get:ident $set:ident = $kernel_get:ident $kernel_set:ident;)*) => {$(
        pub(super) fn $get(cx: &mut Cx<'_>, fd: u32, at: u32) -> Outcome {
            let value = sockopt::$kernel_get(any(&mut cx.state.fds, fd)?)?;
            kept_by_the_kernel!(@put $ty cx at value);
            Ok(())
        }

        pub(super) fn $set(cx: &mut Cx<'_>, fd: u32, value: u32) -> Outcome {
            let value = kept_by_the_kernel!(@value $ty value);
            Ok(sockopt::$kernel_set(own(&mut cx.state.fds, fd)?, value)?)
        }
    )*};
    (@put bool $cx:ident $at:ident $value:ident) => { $cx.memory.put($at, &[u8::from($value)])? };
    (@put byte $cx:ident $at:ident $value:ident) => {
        $cx.memory.put($at, &[u8::try_from($value).unwrap_or(u8::MAX)])?
    };
    (@put size $cx:ident $at:ident $value:ident) => { $cx.memory.put_u32($at, $value as u32)? };
    (@put secs $cx:ident $at:ident $value:ident) => { $cx.memory.put_u32($at, $value.as_secs() as u32)? };
    (@value bool $value:ident) => { $value != 0 };
    (@value byte $value:ident) => { $value };
    (@value size $value:ident) => { $value as usize };
    (@value secs $value:ident) => { Duration::from_secs($value.into()) };
}

kept_by_the_kernel! {
    bool get_broadcast set_broadcast = socket_broadcast set_socket_broadcast;
    bool get_keep_alive set_keep_alive = socket_keepalive set_socket_keepalive;
    bool get_reuse_addr set_reuse_addr = socket_reuseaddr set_socket_reuseaddr;
    bool get_reuse_port set_reuse_port = socket_reuseport set_socket_reuseport;
    bool get_tcp_no_delay set_tcp_no_delay = tcp_nodelay set_tcp_nodelay;
    bool get_tcp_quick_ack set_tcp_quick_ack = tcp_quickack set_tcp_quickack;
    bool get_ipv6_only set_ipv6_only = ipv6_v6only set_ipv6_v6only;
    byte get_ip_ttl set_ip_ttl = ip_ttl set_ip_ttl;
    byte get_ip_multicast_ttl set_ip_multicast_ttl = ip_multicast_ttl set_ip_multicast_ttl;
    size get_recv_buf_size set_recv_buf_size = socket_recv_buffer_size set_socket_recv_buffer_size;
    size get_send_buf_size set_send_buf_size = socket_send_buffer_size set_socket_send_buffer_size;
    secs get_tcp_keep_idle set_tcp_keep_idle = tcp_keepidle set_tcp_keepidle;
    secs get_tcp_keep_intvl set_tcp_keep_intvl = tcp_keepintvl set_tcp_keepintvl;
}

pub(super) fn get_linger(cx: &mut Cx<'_>, fd: u32, on: u32, secs: u32) -> Outcome {
    cx.memory.check(on, 1)?;
    cx.memory.check(secs, 4)?;
    let linger = sockopt::socket_linger(any(&mut cx.state.fds, fd)?)?;
    cx.memory.put(on, &[u8::from(linger.is_some())])?;
    cx.memory.put_u32(secs, linger.unwrap_or_default().as_secs() as u32)?;
    Ok(())
}

pub(super) fn set_linger(cx: &mut Cx<'_>, fd: u32, on: u32, secs: u32) -> Outcome {
    let linger = (on != 0).then(|| Duration::from_secs(secs.into()));
    Ok(sockopt::set_socket_linger(own(&mut cx.state.fds, fd)?, linger)?)
}

pub(super) fn get_recv_timeout(cx: &mut Cx<'_>, fd: u32, at: u32) -> Outcome {
    let micros = patience(cx, fd)?.read.unwrap_or_default().as_micros() as u64;
    Ok(cx.memory.put_u64(at, micros)?)
}

pub(super) fn set_recv_timeout(cx: &mut Cx<'_>, fd: u32, micros: u64) -> Outcome {
    patience(cx, fd)?.read = limit(Duration::from_micros(micros));
    Ok(())
}

pub(super) fn get_send_timeout(cx: &mut Cx<'_>, fd: u32, at: u32) -> Outcome {
    let micros = patience(cx, fd)?.write.unwrap_or_default().as_micros() as u64;
    Ok(cx.memory.put_u64(at, micros)?)
}

pub(super) fn set_send_timeout(cx: &mut Cx<'_>, fd: u32, micros: u64) -> Outcome {
    patience(cx, fd)?.write = limit(Duration::from_micros(micros));
    Ok(())
}

pub(super) fn get_ip_multicast_loop(cx: &mut Cx<'_>, fd: u32, v6: u32, at: u32) -> Outcome {
    let socket = any(&mut cx.state.fds, fd)?;
    let on = if v6 == 0 { sockopt::ip_multicast_loop(socket)? } else { sockopt::ipv6_multicast_loop(socket)? };
    Ok(cx.memory.put(at, &[u8::from(on)])?)
}

pub(super) fn set_ip_multicast_loop(cx: &mut Cx<'_>, fd: u32, v6: u32, on: u32) -> Outcome {
    let socket = own(&mut cx.state.fds, fd)?;
    match v6 {
        0 => sockopt::set_ip_multicast_loop(socket, on != 0)?,
        _ => sockopt::set_ipv6_multicast_loop(socket, on != 0)?,
    }
    Ok(())
}

/// What a group sends is thrown away unless its senders are granted, as everybody's is.
pub(super) fn set_ip_add_membership(cx: &mut Cx<'_>, fd: u32, group: u32, interface: u32) -> Outcome {
    let group = address::wamr::read_ip(&cx.memory, group)?;
    let socket = own(&mut cx.state.fds, fd)?;
    match group {
        IpAddr::V4(group) => sockopt::set_ip_add_membership(socket, &group, &interface.to_le_bytes().into())?,
        IpAddr::V6(group) => sockopt::set_ipv6_add_membership(socket, &group, interface)?,
    }
    Ok(())
}

pub(super) fn set_ip_drop_membership(cx: &mut Cx<'_>, fd: u32, group: u32, interface: u32) -> Outcome {
    let group = address::wamr::read_ip(&cx.memory, group)?;
    let socket = own(&mut cx.state.fds, fd)?;
    match group {
        IpAddr::V4(group) => sockopt::set_ip_drop_membership(socket, &group, &interface.to_le_bytes().into())?,
        IpAddr::V6(group) => sockopt::set_ipv6_drop_membership(socket, &group, interface)?,
    }
    Ok(())
}

/// What this host cannot do: data in the first packet of a connection.
pub(super) fn tcp_fastopen_connect(cx: &mut Cx<'_>, fd: u32, _: u32) -> Outcome {
    any(&mut cx.state.fds, fd)?;
    Err(Errno::Notsup.into())
}

/// WasmEdge's names of options, all of the one level 0.
mod so {
    pub(super) const REUSEADDR: u32 = 0;
    pub(super) const TYPE: u32 = 1;
    pub(super) const ERROR: u32 = 2;
    pub(super) const DONTROUTE: u32 = 3;
    pub(super) const BROADCAST: u32 = 4;
    pub(super) const SNDBUF: u32 = 5;
    pub(super) const RCVBUF: u32 = 6;
    pub(super) const KEEPALIVE: u32 = 7;
    pub(super) const OOBINLINE: u32 = 8;
    pub(super) const LINGER: u32 = 9;
    pub(super) const RCVLOWAT: u32 = 10;
    pub(super) const RCVTIMEO: u32 = 11;
    pub(super) const SNDTIMEO: u32 = 12;
    pub(super) const ACCEPTCONN: u32 = 13;
    pub(super) const BINDTODEVICE: u32 = 14;
}

pub(super) fn getsockopt(cx: &mut Cx<'_>, fd: u32, level: u32, name: u32, at: u32, size: u32) -> Outcome {
    let room = cx.memory.u32(size)?;
    cx.memory.check(at, room)?;
    let datagram = cx.is_datagram(fd);
    let socket = any(&mut cx.state.fds, fd)?;
    // All are numbers of four bytes but the ones that return earlier.
    let number = match name {
        _ if level != 0 => return Err(Errno::Inval.into()),
        so::REUSEADDR => sockopt::socket_reuseaddr(socket)?.into(),
        so::BROADCAST => sockopt::socket_broadcast(socket)?.into(),
        so::KEEPALIVE => sockopt::socket_keepalive(socket)?.into(),
        so::OOBINLINE => sockopt::socket_oobinline(socket)?.into(),
        so::ACCEPTCONN => sockopt::socket_acceptconn(socket)?.into(),
        so::SNDBUF => sockopt::socket_send_buffer_size(socket)? as u32,
        so::RCVBUF => sockopt::socket_recv_buffer_size(socket)? as u32,
        so::TYPE if datagram => 1,
        so::TYPE => 2,
        // Asking takes it away: first there must be room for it.
        so::ERROR if room < 4 => return Err(Errno::Inval.into()),
        so::ERROR => sockopt::socket_error(socket)?.err().map_or(0, |error| Errno::from(error) as u32),
        so::LINGER => {
            let linger = sockopt::socket_linger(socket)?;
            let (on, secs) = (u64::from(linger.is_some()), linger.unwrap_or_default().as_secs());
            return put(&mut cx.memory, at, size, &(on | secs << 32).to_le_bytes());
        }
        so::RCVTIMEO => {
            let time = patience(cx, fd)?.read;
            return put(&mut cx.memory, at, size, &timeval(time));
        }
        so::SNDTIMEO => {
            let time = patience(cx, fd)?.write;
            return put(&mut cx.memory, at, size, &timeval(time));
        }
        // None.
        so::BINDTODEVICE => return put(&mut cx.memory, at, size, &[]),
        so::DONTROUTE | so::RCVLOWAT => return Err(Errno::Notsup.into()),
        _ => return Err(Errno::Noprotoopt.into()),
    };
    put(&mut cx.memory, at, size, &number.to_le_bytes())
}

pub(super) fn setsockopt(cx: &mut Cx<'_>, fd: u32, level: u32, name: u32, at: u32, size: u32) -> Outcome {
    cx.memory.check(at, size)?;
    let (whole, first) = (size >= 4, cx.memory.u32(at).unwrap_or(0));
    let time = match name {
        so::RCVTIMEO | so::SNDTIMEO => read_timeval(&cx.memory, at, size)?,
        _ => None,
    };
    let secs = if name == so::LINGER && size >= 8 { Some(cx.memory.u32(at + 4)?) } else { None };
    match name {
        _ if level != 0 => return Err(Errno::Inval.into()),
        so::RCVTIMEO => patience(cx, fd)?.read = time,
        so::SNDTIMEO => patience(cx, fd)?.write = time,
        so::LINGER => {
            let linger = Duration::from_secs(secs.ok_or(Errno::Inval)?.into());
            sockopt::set_socket_linger(own(&mut cx.state.fds, fd)?, (first != 0).then_some(linger))?;
        }
        so::REUSEADDR | so::BROADCAST | so::KEEPALIVE | so::OOBINLINE | so::SNDBUF | so::RCVBUF if !whole => {
            any(&mut cx.state.fds, fd)?;
            return Err(Errno::Inval.into());
        }
        so::REUSEADDR => sockopt::set_socket_reuseaddr(own(&mut cx.state.fds, fd)?, first != 0)?,
        so::BROADCAST => sockopt::set_socket_broadcast(own(&mut cx.state.fds, fd)?, first != 0)?,
        so::KEEPALIVE => sockopt::set_socket_keepalive(own(&mut cx.state.fds, fd)?, first != 0)?,
        so::OOBINLINE => sockopt::set_socket_oobinline(own(&mut cx.state.fds, fd)?, first != 0)?,
        so::SNDBUF => sockopt::set_socket_send_buffer_size(own(&mut cx.state.fds, fd)?, first as usize)?,
        so::RCVBUF => sockopt::set_socket_recv_buffer_size(own(&mut cx.state.fds, fd)?, first as usize)?,
        so::DONTROUTE | so::RCVLOWAT | so::BINDTODEVICE => {
            any(&mut cx.state.fds, fd)?;
            return Err(Errno::Notsup.into());
        }
        _ => {
            any(&mut cx.state.fds, fd)?;
            return Err(Errno::Noprotoopt.into());
        }
    }
    Ok(())
}

/// Writes a value where there is room for it, and its size.
fn put(memory: &mut Memory<'_>, at: u32, size: u32, value: &[u8]) -> Outcome {
    let len = value.len() as u32;
    if memory.u32(size)? < len {
        return Err(Errno::Inval.into());
    }
    memory.put(at, value)?;
    memory.put_u32(size, len)?;
    Ok(())
}

/// A `timeval`: seconds and microseconds, in eight bytes each.
fn timeval(time: Option<Duration>) -> [u8; 16] {
    let time = time.unwrap_or_default();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&time.as_secs().to_le_bytes());
    bytes[8..].copy_from_slice(&u64::from(time.subsec_micros()).to_le_bytes());
    bytes
}

/// The upper half of a guest's microseconds is padding, and can be anything.
fn read_timeval(memory: &Memory<'_>, at: u32, size: u32) -> Result<Option<Duration>, Stop> {
    if size != 16 {
        return Err(Errno::Inval.into());
    }
    let secs = u64::from_le_bytes(memory.array(at)?);
    let micros = memory.u32(at + 8)?;
    if i64::try_from(secs).is_err() || micros >= 1_000_000 {
        return Err(Errno::Inval.into());
    }
    Ok(limit(Duration::from_secs(secs) + Duration::from_micros(micros.into())))
}
