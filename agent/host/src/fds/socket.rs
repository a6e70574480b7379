//! TCP: listeners that the agent owns, and connections.

use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::{io, mem};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags};
use tokio::io::Interest as TokioInterest;
use tokio::net::TcpStream;

use super::net::Family;
use super::{Interest, Readiness, would_block};
use crate::gate::{Gate, Watch};
use crate::quota::Usage;

/// A guest's hold on a listener: its own descriptor of the owner's socket.
pub(crate) struct Listening {
    gate: Watch,
    /// The gate's turn in which `socket` was taken.
    turn: u64,
    // A descriptor of its own, so that this guest can wait for a connection without taking one:
    // what it has not accepted when it ends is there for the next guest. tokio's listener cannot
    // be asked that; as a stream, which to its reactor is any TCP socket, it can.
    socket: Socket,
    /// What the guest knows as the listener's address.
    pub(crate) bound: SocketAddr,
    /// Whether the guest bound it itself.
    pub(crate) by_guest: bool,
    usage: Arc<Usage>,
}

impl Listening {
    pub(crate) fn new(gate: &Gate, bound: SocketAddr, usage: Arc<Usage>) -> io::Result<Self> {
        let (gate, by_guest) = (gate.watch(), false);
        let mut listening = Self { turn: gate.turn(), gate, socket: Socket::Lost, bound, by_guest, usage };
        listening.take_socket()?;
        Ok(listening)
    }

    fn take_socket(&mut self) -> io::Result<()> {
        self.turn = self.gate.turn();
        self.socket = match self.gate.socket() {
            Some(owner) => Socket::Watched(TcpStream::from_std(owner.as_fd().try_clone_to_owned()?.into())?),
            None => Socket::Lost,
        };
        Ok(())
    }

    /// Whether the gate leads elsewhere since the socket was taken.
    fn is_stale(&self) -> bool {
        self.turn != self.gate.turn()
    }

    pub(crate) fn accept(&self) -> io::Result<Connection> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = if self.is_stale() {
            let owner = self.gate.socket().ok_or(io::ErrorKind::WouldBlock)?;
            rustix::net::accept_with(&*owner, flags)?
        } else if let Socket::Lost = self.socket {
            return Err(io::ErrorKind::WouldBlock.into());
        } else {
            self.socket.now(TokioInterest::READABLE, |socket| Ok(rustix::net::accept_with(socket, flags)?))?
        };
        self.usage.opened();
        let (usage, gate) = (Arc::clone(&self.usage), self.gate.watch());
        let accepted_at = Some(Accepted { bound: self.bound, usage, gate, answered: AtomicBool::new(false) });
        Ok(Connection { socket: Socket::Unwatched(accepted), accepted: accepted_at })
    }

    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gate.wait(cx);
        // What cannot be watched is ready for the operation that says so.
        if self.is_stale() && self.take_socket().is_err() {
            return Poll::Ready(());
        }
        match &self.socket {
            Socket::Watched(stream) => stream.poll_read_ready(cx).map(|_| ()),
            Socket::Unwatched(_) | Socket::Lost => Poll::Pending,
        }
    }

    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.fd()
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn readiness(&self) -> Option<Readiness> {
        if self.is_stale() {
            look(self.gate.socket()?.as_fd(), PollFlags::IN).ok()?;
        } else {
            self.socket.now(TokioInterest::READABLE, |socket| look(socket, PollFlags::IN)).ok()?;
        }
        Some(Readiness { bytes: 1, hangup: false })
    }
}

/// A connection. Dropping it closes it.
pub(crate) struct Connection {
    socket: Socket,
    /// Absent if the guest made it itself.
    accepted: Option<Accepted>,
}

/// Where a connection came in.
struct Accepted {
    /// The listener's address, as the guest knows it.
    bound: SocketAddr,
    /// Where it counts.
    usage: Arc<Usage>,
    gate: Watch,
    /// Whether what the guest did last was to write: it then waits for the next request.
    answered: AtomicBool,
}

/// A socket that tokio watches once the guest has had to wait for it. Most requests are there when
/// they are asked for, and registering with the reactor would double the system calls of such a one.
pub(super) enum Socket {
    Unwatched(OwnedFd),
    Watched(TcpStream),
    /// The reactor would not have it.
    Lost,
}

impl Connection {
    pub(super) fn outgoing(socket: Socket) -> Self {
        Self { socket, accepted: None }
    }

    /// See [`Socket::connect`].
    pub(crate) fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        self.socket.connect(to)
    }

    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.fd()
    }

    /// Its own address, with the port that the guest bound.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        let mut address = self.show(local(self.socket.fd()?)?);
        if let Some(accepted) = &self.accepted {
            address.set_port(accepted.bound.port());
        }
        Ok(address)
    }

    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        let peer = rustix::net::getpeername(self.socket.fd()?)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok(self.show(peer.ok_or(io::ErrorKind::InvalidData)?))
    }

    /// An address in the family of what the guest bound.
    fn show(&self, address: SocketAddr) -> SocketAddr {
        self.accepted.as_ref().map_or(address, |accepted| Family::of(accepted.bound).show(address))
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.recv(into, RecvFlags::empty())?;
        if let Some(accepted) = &self.accepted {
            accepted.answered.store(false, Ordering::Relaxed);
            accepted.usage.received(read);
        }
        Ok(read)
    }

    /// Reads without taking.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv(into, RecvFlags::PEEK)
    }

    fn recv(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let outcome = self.socket.now(TokioInterest::READABLE, |socket| {
            let (read, _) = rustix::net::recv(socket, &mut *into, flags)?;
            Ok(read)
        });
        match outcome {
            Err(error) if would_block(&error) && self.is_over() => Ok(0),
            outcome => outcome,
        }
    }

    pub(crate) fn write(&self, from: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let written = self.socket.now(TokioInterest::WRITABLE, |socket| {
            let mut nothing = SendAncillaryBuffer::default();
            // Without the flag, a connection that is gone would be a signal.
            Ok(rustix::net::sendmsg(socket, from, &mut nothing, SendFlags::NOSIGNAL)?)
        })?;
        if let Some(accepted) = &self.accepted {
            let begins = !accepted.answered.swap(true, Ordering::Relaxed);
            if begins && from.iter().find(|part| !part.is_empty()).is_some_and(|part| is_http_answer(part)) {
                accepted.usage.answered_http();
            }
            accepted.usage.sent(written);
        }
        Ok(written)
    }

    /// Whether nothing more is to be read: see [`Gate::last_call`].
    fn is_over(&self) -> bool {
        let over = |accepted: &Accepted| accepted.answered.load(Ordering::Relaxed) && accepted.gate.is_last_call();
        self.accepted.as_ref().is_some_and(over)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    pub(crate) fn poll_ready(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        if let (Interest::Read, Some(accepted)) = (interest, &self.accepted) {
            accepted.gate.wait(cx);
            if self.is_over() {
                return Poll::Ready(());
            }
        }
        self.socket.poll_ready(interest, cx)
    }

    /// What a read or a write would find, if it would not block.
    pub(crate) fn readiness(&self, interest: Interest) -> Option<Readiness> {
        let over = || (interest == Interest::Read && self.is_over()).then_some(Readiness { bytes: 0, hangup: true });
        self.socket.readiness(interest).or_else(over)
    }
}

impl Socket {
    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Unwatched(fd) => Ok(fd.as_fd()),
            Self::Watched(stream) => Ok(stream.as_fd()),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has tokio watch it from now on.
    fn watch(&mut self) -> io::Result<&TcpStream> {
        if let Self::Unwatched(_) = self
            && let Self::Unwatched(fd) = mem::replace(self, Self::Lost)
        {
            *self = Self::Watched(TcpStream::from_std(fd.into())?);
        }
        match self {
            Self::Watched(stream) => Ok(stream),
            Self::Unwatched(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has tokio forget it.
    fn unwatch(&mut self) -> io::Result<()> {
        *self = match mem::replace(self, Self::Lost) {
            Self::Watched(stream) => Self::Unwatched(stream.into_std()?.into()),
            other @ (Self::Unwatched(_) | Self::Lost) => other,
        };
        Ok(())
    }

    /// Begins to connect, or looks how far that went: EINPROGRESS says that it has begun, EALREADY
    /// that it has not ended.
    pub(super) fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        match rustix::net::connect(self.fd()?, &to) {
            Ok(()) => Ok(()),
            Err(Errno::ALREADY) => {
                // Makes tokio forget a readiness that has passed.
                let _ = self.now(TokioInterest::WRITABLE, |socket| look(socket, PollFlags::OUT));
                Err(Errno::ALREADY.into())
            }
            Err(error) => {
                // An unconnected socket is hung up, and tokio never forgets that.
                self.unwatch()?;
                Err(error.into())
            }
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(self.fd()?, how)?)
    }

    pub(super) fn poll_ready(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        // What cannot be watched is ready for the operation that says so.
        let Ok(stream) = self.watch() else { return Poll::Ready(()) };
        match interest {
            Interest::Read => stream.poll_read_ready(cx).map(|_| ()),
            Interest::Write => stream.poll_write_ready(cx).map(|_| ()),
        }
    }

    pub(super) fn readiness(&self, interest: Interest) -> Option<Readiness> {
        let (tokio_interest, flags) = match interest {
            Interest::Read => (TokioInterest::READABLE, PollFlags::IN | PollFlags::RDHUP),
            Interest::Write => (TokioInterest::WRITABLE, PollFlags::OUT),
        };
        let found = self.now(tokio_interest, |socket| look(socket, flags)).ok()?;
        let bytes = match interest {
            Interest::Read => self.fd().and_then(|fd| Ok(rustix::io::ioctl_fionread(fd)?)).unwrap_or(0),
            // How much fits is not told; at least one byte does.
            Interest::Write => 1,
        };
        let gone = PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR;
        Some(Readiness { bytes, hangup: found.intersects(gone) })
    }

    /// Tries an operation at once, whatever tokio believes of the socket: its readiness can be older
    /// than what the guest has just been told. Where it would block, trying again inside `try_io`
    /// makes tokio forget a readiness that has passed, so that the wait that follows is one.
    pub(super) fn now<T>(
        &self,
        interest: TokioInterest,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let outcome = operation(self.fd()?);
        match (self, &outcome) {
            (Self::Watched(stream), Err(error)) if would_block(error) => {
                stream.try_io(interest, || operation(stream.as_fd()))
            }
            _ => outcome,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(accepted) = &self.accepted {
            accepted.usage.closed();
        }
    }
}

/// Whether an answer begins so (RFC 9112, section 4) that is not followed by another one to the same request.
fn is_http_answer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") && bytes.get(8..10).is_some_and(|status| status[0] == b' ' && status[1] != b'1')
}

/// The address that the kernel has for it.
pub(super) fn local(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(socket)?;
    Ok(SocketAddr::try_from(address)?)
}

/// Asks the kernel what of this is so.
fn look(socket: BorrowedFd<'_>, flags: PollFlags) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(&socket, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(&mut fds, Some(&at_once))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(fds[0].revents())
}
