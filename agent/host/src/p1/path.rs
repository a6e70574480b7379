//! Paths. Each is resolved inside the directory that it is relative to, and none leads out of it.

use cap_fs_ext::DirExt;

use super::stat::{Times, filestat};
use super::{Cx, Errno, Outcome, directory};
use crate::fds::{Access, Descriptor, Flags, Kind, Opened, Rights};
use crate::memory::Memory;

pub(super) fn create_directory(cx: &mut Cx<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, Rights::PATH_CREATE_DIRECTORY)?;
    directory.create_dir(path)?;
    Ok(())
}

pub(super) fn filestat_get(cx: &mut Cx<'_>, fd: u32, follow: u32, path: u32, len: u32, stat: u32) -> Outcome {
    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, Rights::PATH_FILESTAT_GET)?;
    // A slash at the end follows a link, and says that a directory is meant; cap-std lets it pass.
    let slash = path.ends_with('/') || path.ends_with("/.");
    let metadata =
        if follows(follow)? || slash { directory.dir.metadata(path)? } else { directory.dir.symlink_metadata(path)? };
    if slash && !metadata.is_dir() {
        return Err(Errno::Notdir.into());
    }
    cx.memory.put(stat, &filestat(&metadata))?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the document gives it as many")]
pub(super) fn filestat_set_times(
    cx: &mut Cx<'_>,
    fd: u32,
    follow: u32,
    path: u32,
    len: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Outcome {
    let Times { accessed, modified } = Times::new(accessed, modified, flags)?;
    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    if follows(follow)? {
        directory.dir.set_times(path, accessed.spec(), modified.spec())?;
    } else {
        directory.dir.set_symlink_times(path, accessed.spec(), modified.spec())?;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the document gives it as many")]
pub(super) fn link(
    cx: &mut Cx<'_>,
    from_fd: u32,
    follow: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> Outcome {
    let (from, to) = (text(&cx.memory, from, from_len)?, text(&cx.memory, to, to_len)?);
    let source = directory(&cx.state.fds, from_fd, Rights::PATH_LINK_SOURCE)?;
    let target = directory(&cx.state.fds, to_fd, Rights::PATH_LINK_TARGET)?;
    if follows(follow)? {
        // Whatever it resolves to is inside, and linking resolves it inside once more.
        source.hard_link(source.dir.canonicalize(from)?, target, to)?;
    } else {
        source.hard_link(from, target, to)?;
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the document gives it as many")]
pub(super) fn open(
    cx: &mut Cx<'_>,
    fd: u32,
    follow: u32,
    path: u32,
    len: u32,
    oflags: u32,
    base: u64,
    _inheriting: u64,
    fdflags: u32,
    opened: u32,
) -> Outcome {
    const CREAT: u32 = 1 << 0;
    const DIRECTORY: u32 = 1 << 1;
    const EXCL: u32 = 1 << 2;
    const TRUNC: u32 = 1 << 3;

    cx.memory.check(opened, 4)?;
    let flags = Flags::from_bits(fdflags).ok_or(Errno::Inval)?;
    let base = Rights(base);
    if oflags & !(CREAT | DIRECTORY | EXCL | TRUNC) != 0 {
        return Err(Errno::Inval.into());
    }
    if oflags & DIRECTORY != 0 && oflags & (CREAT | EXCL | TRUNC) != 0 {
        return Err(Errno::Inval.into());
    }
    let access = Access {
        follow: follows(follow)?,
        read: base.contains(Rights::FD_READ),
        write: base.intersects(Rights::FILE_WRITE),
        append: flags.has(Flags::APPEND),
        create: oflags & CREAT != 0,
        exclusive: oflags & EXCL != 0,
        truncate: oflags & TRUNC != 0,
        directory: oflags & DIRECTORY != 0,
    };

    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, needed(access, flags))?;
    let inheriting = cx.state.fds.get(fd).map_or(Rights::NONE, |parent| parent.inheriting);
    if !access.directory && !inheriting.contains(base & (Rights::FD_READ | Rights::FD_WRITE)) {
        return Err(Errno::Notcapable.into());
    }
    // Before anything is created or cut to nothing, there must be a place for it.
    if !cx.state.fds.has_room() {
        return Err(Errno::Mfile.into());
    }
    let (kind, rights) = match directory.open(path, access)? {
        Opened::File(file) => (Kind::File(file), file_rights(base)),
        Opened::Directory(directory) => (Kind::Directory(directory), Rights::DIRECTORY),
    };
    let inherited = if let Kind::Directory(_) = kind { inheriting } else { Rights::NONE };
    let descriptor = Descriptor { inheriting: inherited, flags, ..Descriptor::new(kind, rights & inheriting) };
    let number = cx.state.fds.insert(descriptor).ok_or(Errno::Mfile)?;
    cx.memory.put_u32(opened, number)?;
    Ok(())
}

/// What opening like that needs of the directory.
fn needed(access: Access, flags: Flags) -> Rights {
    let mut needed = Rights::PATH_OPEN;
    if access.create {
        needed = needed | Rights::PATH_CREATE_FILE;
    }
    if access.truncate {
        needed = needed | Rights::PATH_FILESTAT_SET_SIZE;
    }
    if flags.has(Flags::DSYNC) {
        needed = needed | Rights::FD_DATASYNC;
    }
    if flags.has(Flags::RSYNC) || flags.has(Flags::SYNC) {
        needed = needed | Rights::FD_SYNC;
    }
    needed
}

/// The rights on an opened file: of reading and writing those that were asked for, and all others
/// that make sense.
///
/// Programs are written against engines that look at no other right than these two, and ask for
/// too few. Whoever wants fewer still can give them up (`fd_fdstat_set_rights`).
fn file_rights(base: Rights) -> Rights {
    let mut rights = Rights::FILE;
    if !base.contains(Rights::FD_READ) {
        rights = rights - Rights::FD_READ;
    }
    if !base.contains(Rights::FD_WRITE) {
        rights = rights - (Rights::FILE_WRITE - base);
    }
    rights
}

pub(super) fn readlink(cx: &mut Cx<'_>, fd: u32, path: u32, len: u32, buf: u32, buf_len: u32, used: u32) -> Outcome {
    cx.memory.check(buf, buf_len)?;
    cx.memory.check(used, 4)?;
    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, Rights::PATH_READLINK)?;
    let target = directory.dir.read_link(path)?;
    let target = target.to_str().ok_or(Errno::Ilseq)?.as_bytes();
    let part = &target[..target.len().min(buf_len as usize)];
    cx.memory.put(buf, part)?;
    // Not longer than the buffer, whose length came as 32 bits.
    cx.memory.put_u32(used, part.len() as u32)?;
    Ok(())
}

pub(super) fn remove_directory(cx: &mut Cx<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, Rights::PATH_REMOVE_DIRECTORY)?;
    // cap-std would take a slash at the end for the directory's own ".", which cannot be removed.
    let name = path.trim_end_matches('/');
    directory.remove_dir(if name.is_empty() { path } else { name })?;
    Ok(())
}

pub(super) fn rename(
    cx: &mut Cx<'_>,
    from_fd: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> Outcome {
    let (from, to) = (text(&cx.memory, from, from_len)?, text(&cx.memory, to, to_len)?);
    let source = directory(&cx.state.fds, from_fd, Rights::PATH_RENAME_SOURCE)?;
    let target = directory(&cx.state.fds, to_fd, Rights::PATH_RENAME_TARGET)?;
    source.rename(from, target, to)?;
    Ok(())
}

pub(super) fn symlink(cx: &mut Cx<'_>, target: u32, target_len: u32, fd: u32, link: u32, link_len: u32) -> Outcome {
    let (target, link) = (text(&cx.memory, target, target_len)?, text(&cx.memory, link, link_len)?);
    let directory = directory(&cx.state.fds, fd, Rights::PATH_SYMLINK)?;
    directory.symlink(target, link)?;
    Ok(())
}

pub(super) fn unlink_file(cx: &mut Cx<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let path = text(&cx.memory, path, len)?;
    let directory = directory(&cx.state.fds, fd, Rights::PATH_UNLINK_FILE)?;
    directory.remove_file(path)?;
    Ok(())
}

/// A path, which is UTF-8 and has no NUL in it.
fn text<'a>(memory: &'a Memory<'_>, at: u32, len: u32) -> Result<&'a str, Errno> {
    /// The kernel takes no longer ones, and where a path is resolved step by step each costs time.
    const BYTES_MAX: usize = 4095;

    let path = memory.slice(at, len)?;
    if path.len() > BYTES_MAX {
        return Err(Errno::Nametoolong);
    }
    let path = std::str::from_utf8(path).map_err(|_| Errno::Ilseq)?;
    if path.contains('\0') { Err(Errno::Inval) } else { Ok(path) }
}

/// Whether a symbolic link at the end of the path is followed.
fn follows(flags: u32) -> Result<bool, Errno> {
    const SYMLINK_FOLLOW: u32 = 1 << 0;
    match flags {
        0 => Ok(false),
        SYMLINK_FOLLOW => Ok(true),
        _ => Err(Errno::Inval),
    }
}
