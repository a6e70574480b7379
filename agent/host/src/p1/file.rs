//! Open files and directories: attributes, size, times, and what the disk should know.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, Timestamps};

use super::stat::{Times, filestat, kind_type, stream_filestat};
use super::{Cx, Errno, Outcome, descriptor, file};
use crate::fds::{Fds, Kind, Rights};

pub(super) fn filestat_get(cx: &mut Cx<'_>, fd: u32, stat: u32) -> Outcome {
    let descriptor = descriptor(&mut cx.state.fds, fd, Rights::FD_FILESTAT_GET)?;
    let bytes = match &descriptor.kind {
        Kind::File(file) => filestat(&file.metadata()?),
        Kind::Directory(directory) => filestat(&directory.dir.dir_metadata()?),
        kind @ (Kind::Stdin(_)
        | Kind::Output(_)
        | Kind::Listener(_)
        | Kind::Connection(_)
        | Kind::Unconnected(_)
        | Kind::Datagram(_)) => stream_filestat(kind_type(kind)),
    };
    cx.memory.put(stat, &bytes)?;
    Ok(())
}

pub(super) fn filestat_set_size(cx: &mut Cx<'_>, fd: u32, size: u64) -> Outcome {
    let file = file(&cx.state.fds, fd, Rights::FD_FILESTAT_SET_SIZE)?;
    file.set_len(size)?;
    Ok(())
}

pub(super) fn filestat_set_times(cx: &mut Cx<'_>, fd: u32, accessed: u64, modified: u64, flags: u32) -> Outcome {
    let Times { accessed, modified } = Times::new(accessed, modified, flags)?;
    let on_disk = on_disk(&cx.state.fds, fd, Rights::FD_FILESTAT_SET_TIMES)?;
    let times = Timestamps { last_access: accessed.timespec(), last_modification: modified.timespec() };
    rustix::fs::futimens(on_disk, &times)?;
    Ok(())
}

pub(super) fn allocate(cx: &mut Cx<'_>, fd: u32, offset: u64, len: u64) -> Outcome {
    let file = file(&cx.state.fds, fd, Rights::FD_ALLOCATE)?;
    // As POSIX has it: no length is an error, and so is what no file can be long.
    if len == 0 {
        return Err(Errno::Inval.into());
    }
    if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
        return Err(Errno::Fbig.into());
    }
    file.allocate(offset, len)?;
    Ok(())
}

pub(super) fn advise(cx: &mut Cx<'_>, fd: u32, offset: u64, len: u64, advice: u32) -> Outcome {
    let advice = match advice {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::Inval.into()),
    };
    let file = file(&cx.state.fds, fd, Rights::FD_ADVISE)?;
    if i64::try_from(offset).is_err() || i64::try_from(len).is_err() {
        return Err(Errno::Inval.into());
    }
    rustix::fs::fadvise(file, offset, NonZeroU64::new(len), advice)?;
    Ok(())
}

pub(super) fn sync(cx: &mut Cx<'_>, fd: u32) -> Outcome {
    synced(cx, fd, Rights::FD_SYNC, rustix::fs::fsync)
}

pub(super) fn datasync(cx: &mut Cx<'_>, fd: u32) -> Outcome {
    synced(cx, fd, Rights::FD_DATASYNC, rustix::fs::fdatasync)
}

fn synced(cx: &mut Cx<'_>, fd: u32, needed: Rights, sync: fn(OwnedFd) -> rustix::io::Result<()>) -> Outcome {
    if let Some(outcome) = cx.finished() {
        outcome?;
        return Ok(());
    }
    let on_disk = on_disk(&cx.state.fds, fd, needed)?.try_clone_to_owned()?;
    Err(cx.offload(move || {
        sync(on_disk)?;
        Ok(0)
    }))
}

/// What has an inode: a file or a directory.
fn on_disk(fds: &Fds, fd: u32, needed: Rights) -> Result<BorrowedFd<'_>, Errno> {
    let descriptor = fds.get(fd).ok_or(Errno::Badf)?;
    let borrowed = match &descriptor.kind {
        Kind::File(file) => file.as_fd(),
        Kind::Directory(directory) => directory.dir.as_fd(),
        Kind::Stdin(_)
        | Kind::Output(_)
        | Kind::Listener(_)
        | Kind::Connection(_)
        | Kind::Unconnected(_)
        | Kind::Datagram(_) => return Err(Errno::Inval),
    };
    if descriptor.rights.contains(needed) { Ok(borrowed) } else { Err(Errno::Notcapable) }
}
