//! Reading, writing and seeking.

use std::io::{self, IoSlice, SeekFrom};

use cap_std::fs::FileExt;

use super::{Cx, Errno, MOVED_BYTES_MAX, Outcome, file, sockets};
use crate::fds::{Descriptor, Fds, File, Flags, Interest, Kind, Place, Rights};
use crate::memory::{Memory, OutOfBounds, Span};
use crate::state::State;

pub(super) fn read(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, read: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(read, 4)?;
    if cx.is_datagram(fd) {
        let received = sockets::receive(cx, fd, iovs, count, 0)?;
        cx.memory.put_u32(read, received.bytes)?;
        return Ok(());
    }
    let Descriptor { kind, rights, .. } = cx.state.fds.get_mut(fd).ok_or(Errno::Badf)?;
    let outcome = match kind {
        Kind::Directory(_) => return Err(Errno::Isdir.into()),
        Kind::Output(_) => return Err(Errno::Badf.into()),
        Kind::Listener(_) | Kind::Unconnected(_) | Kind::Datagram(_) => return Err(Errno::Notconn.into()),
        Kind::Stdin(_) | Kind::File(_) | Kind::Connection(_) if !rights.contains(Rights::FD_READ) => {
            return Err(Errno::Notcapable.into());
        }
        Kind::Stdin(input) => scatter(&mut cx.memory, iovs, count, |into, _| input.read(into)),
        Kind::Connection(connection) => scatter(&mut cx.memory, iovs, count, |into, _| connection.read(into)),
        Kind::File(file) => scatter(&mut cx.memory, iovs, count, |into, _| file.read(into)),
    };
    let n = cx.or_wait(fd, Interest::Read, outcome)?;
    cx.moved(n);
    cx.memory.put_u32(read, n)?;
    Ok(())
}

pub(super) fn write(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, written: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(written, 4)?;
    if let Some(outcome) = cx.finished() {
        cx.memory.put_u32(written, outcome?)?;
        return Ok(());
    }
    if cx.is_datagram(fd) {
        let n = sockets::transmit(cx, fd, iovs, count, 0, None)?;
        cx.memory.put_u32(written, n)?;
        return Ok(());
    }
    let State { fds, console, .. } = &mut *cx.state;
    let Descriptor { kind, rights, flags, .. } = fds.get_mut(fd).ok_or(Errno::Badf)?;
    let outcome = match kind {
        Kind::Stdin(_) | Kind::Directory(_) => return Err(Errno::Badf.into()),
        Kind::Listener(_) | Kind::Unconnected(_) | Kind::Datagram(_) => return Err(Errno::Notconn.into()),
        Kind::Output(_) | Kind::File(_) | Kind::Connection(_) if !rights.contains(Rights::FD_WRITE) => {
            return Err(Errno::Notcapable.into());
        }
        Kind::Output(stream) => gather(&cx.memory, iovs, count, |from, _| {
            from.iter().for_each(|slice| console.write(*stream, slice));
            Ok(from.iter().map(|slice| slice.len()).sum())
        }),
        Kind::Connection(connection) => gather(&cx.memory, iovs, count, |from, _| connection.write(from)),
        Kind::File(file) => {
            let appends = flags.has(Flags::APPEND);
            gather(&cx.memory, iovs, count, |from, _| file.write(from, Place::Position, appends))
        }
    };
    let n = cx.or_wait(fd, Interest::Write, outcome)?;
    cx.moved(n);
    sync_as_flagged(cx, fd, n)?;
    cx.memory.put_u32(written, n)?;
    Ok(())
}

pub(super) fn pread(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, offset: u64, read: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(read, 4)?;
    if let Some(Kind::Directory(_)) = cx.state.fds.get(fd).map(|descriptor| &descriptor.kind) {
        return Err(Errno::Isdir.into());
    }
    let file = seekable(&cx.state.fds, fd, Rights::FD_READ | Rights::FD_SEEK)?;
    let n = scatter(&mut cx.memory, iovs, count, |into, done| file.read_at(into, position(offset, done)?))?;
    cx.moved(n);
    cx.memory.put_u32(read, n)?;
    Ok(())
}

pub(super) fn pwrite(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, offset: u64, written: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(written, 4)?;
    if let Some(outcome) = cx.finished() {
        cx.memory.put_u32(written, outcome?)?;
        return Ok(());
    }
    let file = seekable(&cx.state.fds, fd, Rights::FD_WRITE | Rights::FD_SEEK)?;
    let appends = cx.state.fds.get(fd).is_some_and(|descriptor| descriptor.flags.has(Flags::APPEND));
    let write = |from: &[IoSlice<'_>], done| file.write(from, Place::At(position(offset, done)?), appends);
    let n = gather(&cx.memory, iovs, count, write)?;
    cx.moved(n);
    sync_as_flagged(cx, fd, n)?;
    cx.memory.put_u32(written, n)?;
    Ok(())
}

pub(super) fn seek(cx: &mut Cx<'_>, fd: u32, offset: u64, whence: u32, position: u32) -> Outcome {
    cx.memory.check(position, 8)?;
    let delta = offset.cast_signed();
    let to = match whence {
        0 => SeekFrom::Start(offset),
        1 => SeekFrom::Current(delta),
        2 => SeekFrom::End(delta),
        _ => return Err(Errno::Inval.into()),
    };
    // Asking where it is does not move it.
    let needed = if to == SeekFrom::Current(0) { Rights::FD_TELL } else { Rights::FD_SEEK };
    let now = seekable(&cx.state.fds, fd, needed)?.seek(to)?;
    cx.memory.put_u64(position, now)?;
    Ok(())
}

pub(super) fn tell(cx: &mut Cx<'_>, fd: u32, position: u32) -> Outcome {
    let now = seekable(&cx.state.fds, fd, Rights::FD_TELL)?.seek(SeekFrom::Current(0))?;
    cx.memory.put_u64(position, now)?;
    Ok(())
}

/// A file, which has positions; a stream has none.
fn seekable(fds: &Fds, fd: u32, needed: Rights) -> Result<&File, Errno> {
    file(fds, fd, needed).map_err(|errno| if matches!(errno, Errno::Inval) { Errno::Spipe } else { errno })
}

/// Offsets are signed on the host.
fn position(offset: u64, done: u32) -> io::Result<u64> {
    let position = offset.checked_add(u64::from(done)).filter(|position| i64::try_from(*position).is_ok());
    position.ok_or(rustix::io::Errno::INVAL.into())
}

/// Where the descriptor is synchronised, what was written has to reach the disk before the guest
/// goes on. `RSYNC` would ask more of reading; Linux has no more to give.
fn sync_as_flagged(cx: &mut Cx<'_>, fd: u32, n: u32) -> Outcome {
    let Some(Descriptor { kind: Kind::File(file), flags, .. }) = cx.state.fds.get(fd) else { return Ok(()) };
    let whole = flags.has(Flags::SYNC);
    if !whole && !flags.has(Flags::DSYNC) {
        return Ok(());
    }
    let file = file.try_clone()?;
    Err(cx.offload(move || {
        if whole {
            file.sync_all()?
        } else {
            file.sync_data()?
        }
        Ok(n)
    }))
}

/// Reads into one buffer after the other, until one is not filled or it was as much as one call may. `read` is told how many bytes
/// came before.
///
/// What came before an error is reported as read; the error will come again.
pub(super) fn scatter(
    memory: &mut Memory<'_>,
    iovs: u32,
    count: u32,
    read: impl FnMut(&mut [u8], u32) -> io::Result<usize>,
) -> io::Result<u32> {
    scatter_from(memory, iovs, count, 0, read)
}

/// The same for buffers of which the first bytes are filled already. They count as read.
pub(super) fn scatter_from(
    memory: &mut Memory<'_>,
    iovs: u32,
    count: u32,
    filled: u32,
    mut read: impl FnMut(&mut [u8], u32) -> io::Result<usize>,
) -> io::Result<u32> {
    let mut total: u32 = 0;
    for index in 0..count {
        // Reading into one buffer may have changed the list: it is checked again as it is used.
        let Span { at, len } = memory.span(iovs, index).map_err(fault)?;
        let Some(end) = total.checked_add(len) else { break };
        if len == 0 || end <= filled {
            total = end;
            continue;
        }
        let buffer = memory.slice_mut(at, len).map_err(fault)?;
        let before = total.max(filled);
        let rest = &mut buffer[(before - total) as usize..];
        let now = rest.len().min((MOVED_BYTES_MAX - (before - filled)) as usize);
        match read(&mut rest[..now], before) {
            Ok(n) if n == rest.len() => total = end,
            Ok(n) => return Ok(before + n as u32),
            Err(error) if before == filled => return Err(error),
            Err(_) => return Ok(before),
        }
    }
    Ok(total)
}

/// Writes the buffers, or as much of them as one call may, several with each system call. `write` is told how many bytes went before.
///
/// What went before an error is reported as written; the error will come again.
pub(super) fn gather(
    memory: &Memory<'_>,
    iovs: u32,
    count: u32,
    mut write: impl FnMut(&[IoSlice<'_>], u32) -> io::Result<usize>,
) -> io::Result<u32> {
    const AT_ONCE: usize = 16;

    let mut index = 0;
    let mut total: u32 = 0;
    loop {
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let mut used = 0;
        let mut sum = total;
        while let (true, Some(slice)) = (index < count, slices.get_mut(used)) {
            let Span { at, len } = memory.span(iovs, index).map_err(fault)?;
            let len = len.min(MOVED_BYTES_MAX - sum);
            sum += len;
            index += 1;
            if len > 0 {
                *slice = IoSlice::new(memory.slice(at, len).map_err(fault)?);
                used += 1;
            }
        }
        if used == 0 {
            return Ok(total);
        }
        match write(&slices[..used], total) {
            Ok(n) if n as u64 == u64::from(sum - total) => total = sum,
            Ok(n) => return Ok(total + n as u32),
            Err(error) if total == 0 => return Err(error),
            Err(_) => return Ok(total),
        }
    }
}

fn fault(OutOfBounds: OutOfBounds) -> io::Error {
    rustix::io::Errno::FAULT.into()
}
