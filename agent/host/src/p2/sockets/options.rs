//! Options of sockets.
//!
//! The agent's own sockets, behind published ports, outlive the guest: nothing is set on them. What a guest
//! sets on a listener is kept here, for the connections that it accepts.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::{ErrorCode, Outcome, TcpSocket, UdpSocket};
use crate::fds::{self, Fds, Kind};
use crate::p1::sockets::options::any;
use crate::p2::call::Cx;
use crate::p2::handles::Borrow;
use crate::state::State;

/// What the kernel takes at most for a time, in seconds, and for a count.
const SECS_MAX: u64 = 32_767;
const COUNT_MAX: u32 = 127;
/// More is not given by any kernel, and its own numbers are signed.
const BUFFER_BYTES_MAX: u64 = 1 << 30;

/// What a guest set.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::p2) struct Settings {
    keep_alive: Option<bool>,
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
    hop_limit: Option<u8>,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
}

impl Settings {
    /// Sets all of it on a socket. What a kernel does not take is only a hint.
    pub(super) fn apply(&self, socket: BorrowedFd<'_>, family: fds::Family) {
        let _ = self.keep_alive.map(|on| sockopt::set_socket_keepalive(socket, on));
        let _ = self.idle.map(|time| sockopt::set_tcp_keepidle(socket, time));
        let _ = self.interval.map(|time| sockopt::set_tcp_keepintvl(socket, time));
        let _ = self.count.map(|count| sockopt::set_tcp_keepcnt(socket, count));
        let _ = self.hop_limit.map(|hops| set_hops(socket, family, hops));
        let _ = self.receive_buffer.map(|bytes| sockopt::set_socket_recv_buffer_size(socket, bytes));
        let _ = self.send_buffer.map(|bytes| sockopt::set_socket_send_buffer_size(socket, bytes));
    }
}

/// Has an IPv6 socket take no IPv4.
pub(super) fn only_v6(fds: &mut Fds, fd: u32, family: fds::Family) -> Outcome<()> {
    if family == fds::Family::V6 {
        sockopt::set_ipv6_v6only(any(fds, fd)?, true)?;
    }
    Ok(())
}

fn hops(socket: BorrowedFd<'_>, family: fds::Family) -> rustix::io::Result<u8> {
    match family {
        fds::Family::V4 => Ok(u8::try_from(sockopt::ip_ttl(socket)?).unwrap_or(u8::MAX)),
        fds::Family::V6 => sockopt::ipv6_unicast_hops(socket),
    }
}

fn set_hops(socket: BorrowedFd<'_>, family: fds::Family, hops: u8) -> rustix::io::Result<()> {
    match family {
        fds::Family::V4 => sockopt::set_ip_ttl(socket, hops.into()),
        fds::Family::V6 => sockopt::set_ipv6_unicast_hops(socket, Some(hops)),
    }
}

/// A socket of either kind.
trait Socket: crate::p2::handles::Kind {
    fn parts(&mut self) -> (u32, fds::Family, &mut Settings);
}

impl Socket for TcpSocket {
    fn parts(&mut self) -> (u32, fds::Family, &mut Settings) {
        (self.fd, self.family(), &mut self.settings)
    }
}

impl Socket for UdpSocket {
    fn parts(&mut self) -> (u32, fds::Family, &mut Settings) {
        (self.fd, self.family, &mut self.settings)
    }
}

/// What the guest set on it, or else what the kernel has.
fn get<S: Socket, T>(
    cx: &mut Cx<'_>,
    this: &Borrow<S>,
    set: fn(&Settings) -> Option<T>,
    kernel: impl FnOnce(BorrowedFd<'_>, fds::Family) -> rustix::io::Result<T>,
) -> Outcome<T> {
    let State { fds, p2, .. } = &mut *cx.state;
    let (fd, family, settings) = p2.handles.get_mut(this)?.parts();
    if is_the_agents(fds, fd)
        && let Some(value) = set(settings)
    {
        return Ok(value);
    }
    Ok(kernel(any(fds, fd)?, family)?)
}

/// Sets it, and keeps it for what is accepted later.
fn set<S: Socket>(
    cx: &mut Cx<'_>,
    this: &Borrow<S>,
    keep: impl FnOnce(&mut Settings),
    kernel: impl FnOnce(BorrowedFd<'_>, fds::Family) -> rustix::io::Result<()>,
) -> Outcome<()> {
    let State { fds, p2, .. } = &mut *cx.state;
    let (fd, family, settings) = p2.handles.get_mut(this)?.parts();
    keep(settings);
    if !is_the_agents(fds, fd) {
        kernel(any(fds, fd)?, family)?;
    }
    Ok(())
}

fn is_the_agents(fds: &Fds, fd: u32) -> bool {
    match fds.get(fd).map(|descriptor| &descriptor.kind) {
        Some(Kind::Listener(_)) => true,
        Some(Kind::Datagram(datagram)) => datagram.bound().is_some(),
        _ => false,
    }
}

pub(in crate::p2) fn keep_alive_enabled(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<bool> {
    get(cx, &this, |settings| settings.keep_alive, |socket, _| sockopt::socket_keepalive(socket))
}

pub(in crate::p2) fn set_keep_alive_enabled(cx: &mut Cx<'_>, this: Borrow<TcpSocket>, on: bool) -> Outcome<()> {
    set(cx, &this, |settings| settings.keep_alive = Some(on), |socket, _| sockopt::set_socket_keepalive(socket, on))
}

pub(in crate::p2) fn keep_alive_idle_time(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<u64> {
    let idle = get(cx, &this, |settings| settings.idle, |socket, _| sockopt::tcp_keepidle(socket));
    idle.map(nanoseconds)
}

pub(in crate::p2) fn set_keep_alive_idle_time(cx: &mut Cx<'_>, this: Borrow<TcpSocket>, time: u64) -> Outcome<()> {
    let time = seconds(time)?;
    set(cx, &this, |settings| settings.idle = Some(time), |socket, _| sockopt::set_tcp_keepidle(socket, time))
}

pub(in crate::p2) fn keep_alive_interval(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<u64> {
    let interval = get(cx, &this, |settings| settings.interval, |socket, _| sockopt::tcp_keepintvl(socket));
    interval.map(nanoseconds)
}

pub(in crate::p2) fn set_keep_alive_interval(cx: &mut Cx<'_>, this: Borrow<TcpSocket>, time: u64) -> Outcome<()> {
    let time = seconds(time)?;
    set(cx, &this, |settings| settings.interval = Some(time), |socket, _| sockopt::set_tcp_keepintvl(socket, time))
}

pub(in crate::p2) fn keep_alive_count(cx: &mut Cx<'_>, this: Borrow<TcpSocket>) -> Outcome<u32> {
    get(cx, &this, |settings| settings.count, |socket, _| sockopt::tcp_keepcnt(socket))
}

pub(in crate::p2) fn set_keep_alive_count(cx: &mut Cx<'_>, this: Borrow<TcpSocket>, count: u32) -> Outcome<()> {
    let count = not_zero(count.into())?.min(COUNT_MAX.into()) as u32;
    set(cx, &this, |settings| settings.count = Some(count), |socket, _| sockopt::set_tcp_keepcnt(socket, count))
}

macro_rules! of_both {
    ($($socket:ident $hops:ident $set_hops:ident $receive:ident $set_receive:ident $send:ident $set_send:ident;)*) => {$(
        pub(in crate::p2) fn $hops(cx: &mut Cx<'_>, this: Borrow<$socket>) -> Outcome<u8> {
            get(cx, &this, |settings| settings.hop_limit, hops)
        }

        pub(in crate::p2) fn $set_hops(cx: &mut Cx<'_>, this: Borrow<$socket>, hops: u8) -> Outcome<()> {
            not_zero(hops.into())?;
            set(cx, &this, |settings| settings.hop_limit = Some(hops), |socket, family| set_hops(socket, family, hops))
        }

        pub(in crate::p2) fn $receive(cx: &mut Cx<'_>, this: Borrow<$socket>) -> Outcome<u64> {
            let bytes = get(cx, &this, |settings| settings.receive_buffer, |socket, _| {
                sockopt::socket_recv_buffer_size(socket)
            });
            bytes.map(|bytes| bytes as u64)
        }

        pub(in crate::p2) fn $set_receive(cx: &mut Cx<'_>, this: Borrow<$socket>, bytes: u64) -> Outcome<()> {
            let bytes = not_zero(bytes)?.min(BUFFER_BYTES_MAX) as usize;
            set(cx, &this, |settings| settings.receive_buffer = Some(bytes), |socket, _| {
                sockopt::set_socket_recv_buffer_size(socket, bytes)
            })
        }

        pub(in crate::p2) fn $send(cx: &mut Cx<'_>, this: Borrow<$socket>) -> Outcome<u64> {
            let bytes = get(cx, &this, |settings| settings.send_buffer, |socket, _| {
                sockopt::socket_send_buffer_size(socket)
            });
            bytes.map(|bytes| bytes as u64)
        }

        pub(in crate::p2) fn $set_send(cx: &mut Cx<'_>, this: Borrow<$socket>, bytes: u64) -> Outcome<()> {
            let bytes = not_zero(bytes)?.min(BUFFER_BYTES_MAX) as usize;
            set(cx, &this, |settings| settings.send_buffer = Some(bytes), |socket, _| {
                sockopt::set_socket_send_buffer_size(socket, bytes)
            })
        }
    )*};
}

of_both! {
    TcpSocket tcp_hop_limit set_tcp_hop_limit tcp_receive_buffer_size set_tcp_receive_buffer_size
        tcp_send_buffer_size set_tcp_send_buffer_size;
    UdpSocket udp_hop_limit set_udp_hop_limit udp_receive_buffer_size set_udp_receive_buffer_size
        udp_send_buffer_size set_udp_send_buffer_size;
}

fn not_zero(value: u64) -> Result<u64, ErrorCode> {
    if value == 0 { Err(ErrorCode::InvalidArgument) } else { Ok(value) }
}

/// A time as the kernel takes it: whole seconds, at least one.
fn seconds(nanoseconds: u64) -> Result<Duration, ErrorCode> {
    let time = Duration::from_nanos(not_zero(nanoseconds)?);
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    Ok(Duration::from_secs(whole.min(SECS_MAX)))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
