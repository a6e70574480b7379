//! Sockets, as the standard has them: accept, receive, send and shut down.

use std::mem;
use std::net::Shutdown;

use super::io::{gather, scatter, scatter_from};
use super::{Cx, Errno, MOVED_BYTES_MAX, Outcome, Stop, sockets};
use crate::fds::{Connection, Descriptor, Fds, Flags, Interest, Kind, Rights};

mod riflags {
    pub(super) const PEEK: u32 = 1 << 0;
    pub(super) const WAITALL: u32 = 1 << 1;
    pub(super) const BOTH: u32 = PEEK | WAITALL;
}

mod sdflags {
    pub(super) const RD: u32 = 1 << 0;
    pub(super) const WR: u32 = 1 << 1;
}

pub(super) fn accept(cx: &mut Cx<'_>, fd: u32, flags: u32, accepted: u32) -> Outcome {
    cx.memory.check(accepted, 4)?;
    let flags = Flags::from_bits(flags).filter(|flags| [Flags::NONE, Flags::NONBLOCK].contains(flags));
    let flags = flags.ok_or(Errno::Inval)?;
    let Descriptor { kind, rights, inheriting, .. } = cx.state.fds.get(fd).ok_or(Errno::Badf)?;
    let listening = match kind {
        Kind::Listener(listening) if rights.contains(Rights::SOCK_ACCEPT) => listening,
        Kind::Listener(_) => return Err(Errno::Notcapable.into()),
        Kind::Connection(_) | Kind::Unconnected(_) => return Err(Errno::Inval.into()),
        Kind::Datagram(_) => return Err(Errno::Notsup.into()),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => return Err(Errno::Notsock.into()),
    };
    // Before a connection is taken from the queue, there must be a place for it.
    if !cx.state.fds.has_room() {
        return Err(Errno::Mfile.into());
    }
    cx.state.console.accepting();
    let rights = *inheriting;
    let outcome = listening.accept();
    let connection = cx.or_wait(fd, Interest::Read, outcome)?;
    let descriptor = Descriptor { flags, ..Descriptor::new(Kind::Connection(connection), rights) };
    let number = cx.state.fds.insert(descriptor).ok_or(Errno::Mfile)?;
    cx.memory.put_u32(accepted, number)?;
    Ok(())
}

pub(super) fn recv(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32, read: u32, out_flags: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(read, 4)?;
    cx.memory.check(out_flags, 2)?;
    // The only flag there is says that a datagram was cut short.
    let mut cut = false;
    let n = if cx.is_datagram(fd) {
        let received = sockets::receive(cx, fd, iovs, count, flags)?;
        cut = received.truncated;
        received.bytes
    } else {
        receive(cx, fd, iovs, count, flags)?
    };
    cx.memory.put_u32(read, n)?;
    cx.memory.put(out_flags, &[u8::from(cut), 0])?;
    Ok(())
}

/// Receives on a connection; how many bytes.
pub(super) fn receive(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32) -> Result<u32, Stop> {
    let n = match flags {
        0 | riflags::PEEK => {
            let connection = connection(&cx.state.fds, fd, Rights::FD_READ)?;
            let outcome = scatter(&mut cx.memory, iovs, count, |into, before| match flags {
                0 => connection.read(into),
                // A second peek would see the same bytes again: only the first buffer is filled.
                _ if before > 0 => Ok(0),
                _ => connection.peek(into),
            });
            cx.or_wait(fd, Interest::Read, outcome)?
        }
        riflags::WAITALL => recv_all(cx, fd, iovs, count)?,
        riflags::BOTH => return Err(Errno::Notsup.into()),
        _ => return Err(Errno::Inval.into()),
    };
    cx.moved(n);
    Ok(n)
}

/// Receives until the buffers are full, or the other end is done.
///
/// What has come is in the guest's buffers already when it is suspended: they cannot change meanwhile.
fn recv_all(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32) -> Result<u32, Stop> {
    let mut received = mem::take(&mut cx.state.wait.received);
    loop {
        let connection = connection(&cx.state.fds, fd, Rights::FD_READ)?;
        let outcome = scatter_from(&mut cx.memory, iovs, count, received, |into, _| connection.read(into));
        match cx.or_wait(fd, Interest::Read, outcome) {
            // Nothing more: they are full, or it was the end.
            Ok(n) if n == received => return Ok(n),
            Ok(n) if n - received < MOVED_BYTES_MAX => received = n,
            // There is more, after the others had their turn.
            Ok(n) => {
                cx.state.wait.received = n;
                cx.state.wait.turn = true;
                return Err(Stop::Wait);
            }
            Err(Stop::Wait) => {
                cx.state.wait.received = received;
                return Err(Stop::Wait);
            }
            // It will come again.
            Err(_) if received > 0 => return Ok(received),
            Err(stop) => return Err(stop),
        }
    }
}

pub(super) fn send(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32, written: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(written, 4)?;
    let n = match cx.is_datagram(fd) {
        true => sockets::transmit(cx, fd, iovs, count, flags, None)?,
        false => transmit(cx, fd, iovs, count, flags)?,
    };
    cx.memory.put_u32(written, n)?;
    Ok(())
}

/// Sends on a connection; how many bytes.
pub(super) fn transmit(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32) -> Result<u32, Stop> {
    // The document defines no flag.
    if flags != 0 {
        return Err(Errno::Inval.into());
    }
    let connection = connection(&cx.state.fds, fd, Rights::FD_WRITE)?;
    let outcome = gather(&cx.memory, iovs, count, |from, _| connection.write(from));
    let n = cx.or_wait(fd, Interest::Write, outcome)?;
    cx.moved(n);
    Ok(n)
}

pub(super) fn shutdown(cx: &mut Cx<'_>, fd: u32, how: u32) -> Outcome {
    const BOTH: u32 = sdflags::RD | sdflags::WR;
    let how = match how {
        sdflags::RD => Shutdown::Read,
        sdflags::WR => Shutdown::Write,
        BOTH => Shutdown::Both,
        _ => return Err(Errno::Inval.into()),
    };
    match cx.state.fds.get(fd) {
        Some(Descriptor { kind: Kind::Datagram(datagram), rights, .. }) if rights.contains(Rights::SOCK_SHUTDOWN) => {
            datagram.shutdown(how)?;
        }
        _ => connection(&cx.state.fds, fd, Rights::SOCK_SHUTDOWN)?.shutdown(how)?,
    }
    Ok(())
}

fn connection(fds: &Fds, fd: u32, needed: Rights) -> Result<&Connection, Errno> {
    let descriptor = fds.get(fd).ok_or(Errno::Badf)?;
    match &descriptor.kind {
        Kind::Connection(connection) if descriptor.rights.contains(needed) => Ok(connection),
        Kind::Connection(_) | Kind::Datagram(_) => Err(Errno::Notcapable),
        Kind::Listener(_) | Kind::Unconnected(_) => Err(Errno::Notconn),
        Kind::Stdin(_) | Kind::Output(_) | Kind::Directory(_) | Kind::File(_) => Err(Errno::Notsock),
    }
}
