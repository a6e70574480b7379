//! Sockets that a guest opens by itself: streams that are not connected yet, and datagrams.
//!
//! What a guest binds is a port of its own. Behind a published one is the agent's socket, of which the
//! guest's descriptor becomes another handle; nothing that is set here stays on it.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tokio::io::Interest as TokioInterest;

use super::socket::{self, Connection, Socket};
use super::{Interest, Readiness};

/// Senders that a published socket may answer. The ones that were silent longest are forgotten.
const SENDERS_MAX: usize = 256;

/// The kind of addresses that a socket was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// An address as it is written in this family, if it can be.
    pub(crate) fn write(self, address: SocketAddr) -> Option<SocketAddr> {
        let ip = match (self, address.ip().to_canonical()) {
            (Self::V4, ip @ IpAddr::V4(_)) => ip,
            (Self::V4, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv4Addr::UNSPECIFIED.into(),
            (Self::V4, IpAddr::V6(_)) => return None,
            // Scopes and flows stay as they are.
            (Self::V6, _) if address.is_ipv6() => return Some(address),
            (Self::V6, IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv6Addr::UNSPECIFIED.into(),
            (Self::V6, IpAddr::V4(ip)) => ip.to_ipv6_mapped().into(),
            (Self::V6, ip @ IpAddr::V6(_)) => ip,
        };
        Some(SocketAddr::new(ip, address.port()))
    }

    /// The same, and the address as it is where that cannot be.
    pub(crate) fn show(self, address: SocketAddr) -> SocketAddr {
        self.write(address).unwrap_or(address)
    }

    fn open(self, ty: SocketType) -> io::Result<Socket> {
        let domain = match self {
            Self::V4 => AddressFamily::INET,
            Self::V6 => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        Ok(Socket::Unwatched(rustix::net::socket_with(domain, ty, flags, None)?))
    }
}

/// A stream that neither listens nor is connected.
pub(crate) struct Unconnected {
    socket: Socket,
    pub(crate) family: Family,
    /// The published port's address that the guest bound.
    pub(crate) bound: Option<SocketAddr>,
}

impl Unconnected {
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let socket = family.open(SocketType::STREAM)?;
        // As on accepted connections.
        rustix::net::sockopt::set_tcp_nodelay(socket.fd()?, true)?;
        Ok(Self { socket, family, bound: None })
    }

    /// Takes an address of this machine; the port, which is 0, is the kernel's choice.
    pub(crate) fn bind_any_port(&self, address: SocketAddr) -> io::Result<()> {
        Ok(rustix::net::bind(self.socket.fd()?, &address)?)
    }

    /// See [`Socket::connect`].
    pub(crate) fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        self.socket.connect(to)
    }

    /// The connection that it has become, or is about to become.
    pub(crate) fn take(&mut self) -> Connection {
        Connection::outgoing(mem::replace(&mut self.socket, Socket::Lost))
    }

    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.fd()
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.bound.map_or_else(|| socket::local(self.socket.fd()?), Ok)
    }

    /// Waiting is for a connection that was begun; nothing else is waited for on such a socket.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_ready(Interest::Write, cx)
    }
}

/// A datagram socket.
pub(crate) struct Datagram {
    socket: Socket,
    pub(crate) family: Family,
    /// What the real socket takes: the agent's can be of the other family.
    real: Family,
    published: Option<Published>,
    /// Whom it is connected to.
    pub(crate) peer: Option<SocketAddr>,
}

/// What only a published socket has.
struct Published {
    /// The address that the guest bound.
    bound: SocketAddr,
    /// Who sent to it: it may answer them.
    senders: VecDeque<SocketAddr>,
}

/// A datagram that came.
pub(crate) struct Received {
    /// How much of it is in the buffer.
    pub(crate) bytes: usize,
    /// Whether there was more.
    pub(crate) truncated: bool,
    pub(crate) from: SocketAddr,
}

impl Datagram {
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let socket = family.open(SocketType::DGRAM)?;
        Ok(Self { socket, family, real: family, published: None, peer: None })
    }

    pub(crate) fn bind_any_port(&self, address: SocketAddr) -> io::Result<()> {
        Ok(rustix::net::bind(self.socket.fd()?, &address)?)
    }

    /// Becomes another handle of the agent's socket.
    pub(crate) fn publish(&mut self, owner: BorrowedFd<'_>, bound: SocketAddr) -> io::Result<()> {
        self.real = Family::of(socket::local(owner)?);
        self.socket = Socket::Unwatched(owner.try_clone_to_owned()?);
        self.published = Some(Published { bound, senders: VecDeque::new() });
        Ok(())
    }

    /// The address that the guest bound, if that is a published port's.
    pub(crate) fn bound(&self) -> Option<SocketAddr> {
        self.published.as_ref().map(|published| published.bound)
    }

    /// Talks to one address only. The agent's own socket goes on talking to everybody: there it is
    /// kept to that one here.
    pub(crate) fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        if self.published.is_none() {
            rustix::net::connect(self.socket.fd()?, &to)?;
        }
        self.peer = Some(to);
        Ok(())
    }

    /// Talks to everybody again.
    #[cfg(feature = "components")]
    pub(crate) fn disconnect(&mut self) -> io::Result<()> {
        if self.peer.take().is_some() && self.published.is_none() {
            rustix::net::connect_unspec(self.socket.fd()?)?;
        }
        Ok(())
    }

    pub(crate) fn recv(&self, into: &mut [u8], peek: bool) -> io::Result<Received> {
        let flags = if peek { RecvFlags::PEEK | RecvFlags::TRUNC } else { RecvFlags::TRUNC };
        self.socket.now(TokioInterest::READABLE, |socket| {
            let (bytes, whole, from) = rustix::net::recvfrom(socket, &mut *into, flags)?;
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            let from = from.ok_or(io::ErrorKind::InvalidData)?;
            Ok(Received { bytes, truncated: whole > bytes, from: self.family.show(from) })
        })
    }

    /// Whether a datagram from there is for the guest, whatever its grants say; `None`: they decide.
    pub(crate) fn takes(&self, from: SocketAddr) -> Option<bool> {
        match (&self.published, self.peer) {
            (Some(_), Some(peer)) => Some(self.family.show(peer) == from),
            (Some(_), None) => Some(true),
            (None, _) => None,
        }
    }

    /// Remembers a sender, so that it can be answered.
    pub(crate) fn heard(&mut self, from: SocketAddr) {
        let Some(Published { senders, .. }) = &mut self.published else { return };
        match senders.iter().position(|sender| *sender == from) {
            Some(index) => drop(senders.remove(index)),
            None if senders.len() == SENDERS_MAX => drop(senders.pop_front()),
            None => {}
        }
        senders.push_back(from);
    }

    /// Whether this is an answer.
    pub(crate) fn answers(&self, to: SocketAddr) -> bool {
        let to = self.family.show(to);
        self.published.as_ref().is_some_and(|published| published.senders.contains(&to))
    }

    /// Sends one datagram; without an address, to whom it is connected.
    pub(crate) fn send(&self, from: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        use rustix::io::Errno;

        let to = to.or(self.published.as_ref().and(self.peer));
        if to.is_none() && self.peer.is_none() {
            return Err(Errno::DESTADDRREQ.into());
        }
        let to = to.map(|to| self.real.write(to).ok_or(Errno::AFNOSUPPORT)).transpose()?;
        self.socket.now(TokioInterest::WRITABLE, |socket| {
            Ok(match &to {
                Some(to) => rustix::net::sendto(socket, from, SendFlags::NOSIGNAL, to)?,
                None => rustix::net::send(socket, from, SendFlags::NOSIGNAL)?,
            })
        })
    }

    /// Nothing that is sent afterwards leaves, or nothing that comes is seen. The agent's own socket
    /// is never connected, and what is not cannot be shut down.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if self.published.is_some() {
            return Err(rustix::io::Errno::NOTCONN.into());
        }
        self.socket.shutdown(how)
    }

    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.fd()
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.bound().map_or_else(|| socket::local(self.socket.fd()?), Ok)
    }

    pub(crate) fn poll_ready(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_ready(interest, cx)
    }

    pub(crate) fn readiness(&self, interest: Interest) -> Option<Readiness> {
        self.socket.readiness(interest)
    }
}
