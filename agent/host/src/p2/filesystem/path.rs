//! Paths. Each is resolved inside the directory that it is relative to, and none leads out of it.

use super::descriptor::{Descriptor, DescriptorFlags, directory, entry, is_mutable, mutable};
use super::{ErrorCode, Outcome, PathFlags};
use crate::fds::{self, Access, Flags, Kind, Opened, Rights};
use crate::p2::abi::wit_flags;
use crate::p2::call::Cx;
use crate::p2::handles::{Borrow, Own};

wit_flags! {
    pub(in crate::p2) struct OpenFlags {
        CREATE = "create",
        DIRECTORY = "directory",
        EXCLUSIVE = "exclusive",
        TRUNCATE = "truncate",
    }
}

/// A path that the kernel can be told.
pub(super) fn checked(path: &str) -> Result<&str, ErrorCode> {
    if path.contains('\0') { Err(ErrorCode::Invalid) } else { Ok(path) }
}

pub(in crate::p2) fn open_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    path_flags: PathFlags,
    path: String,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
) -> Outcome<Own<Descriptor>> {
    let directory = directory(cx.state, &this)?;
    let base = entry(cx.state, &this)?;
    let access = Access {
        follow: path_flags.has(PathFlags::SYMLINK_FOLLOW),
        read: flags.has(DescriptorFlags::READ),
        write: flags.has(DescriptorFlags::WRITE),
        append: false,
        create: open_flags.has(OpenFlags::CREATE),
        exclusive: open_flags.has(OpenFlags::EXCLUSIVE),
        truncate: open_flags.has(OpenFlags::TRUNCATE),
        directory: open_flags.has(OpenFlags::DIRECTORY),
    };
    let changes = access.write || access.create || access.truncate || flags.has(DescriptorFlags::MUTATE_DIRECTORY);
    if changes && !is_mutable(base) {
        return Err(ErrorCode::ReadOnly.into());
    }
    if access.directory && (access.create || access.exclusive || access.truncate) {
        return Err(ErrorCode::Invalid.into());
    }
    // Before anything is created or cut to nothing, there must be a place for it.
    if !cx.state.fds.has_room() {
        return Err(ErrorCode::InsufficientMemory.into());
    }
    let inheriting = base.inheriting;
    let (kind, rights) = match directory.open(checked(&path)?, access)? {
        Opened::File(file) => (Kind::File(file), file_rights(access)),
        // What may be changed in it is what may be changed around it: programs do not say what they will do.
        Opened::Directory(_) if access.write => return Err(ErrorCode::IsDirectory.into()),
        Opened::Directory(directory) => (Kind::Directory(directory), Rights::DIRECTORY),
    };
    let inherited = if let Kind::Directory(_) = kind { inheriting } else { Rights::NONE };
    let descriptor = fds::Descriptor {
        inheriting: inherited,
        flags: sync_flags(flags),
        ..fds::Descriptor::new(kind, rights & inheriting)
    };
    let fd = cx.state.fds.insert(descriptor).ok_or(ErrorCode::InsufficientMemory)?;
    Ok(cx.state.p2.handles.push(Descriptor { fd, is_preopened: false })?)
}

fn file_rights(access: Access) -> Rights {
    let mut rights = Rights::FILE - Rights::FD_READ - Rights::FILE_WRITE;
    if access.read {
        rights = rights | Rights::FD_READ;
    }
    if access.write {
        rights = rights | Rights::FILE_WRITE;
    }
    rights
}

fn sync_flags(flags: DescriptorFlags) -> Flags {
    let bit = |asked: DescriptorFlags, flag: Flags| if flags.has(asked) { flag } else { Flags::NONE };
    bit(DescriptorFlags::FILE_INTEGRITY_SYNC, Flags::SYNC)
        | bit(DescriptorFlags::DATA_INTEGRITY_SYNC, Flags::DSYNC)
        | bit(DescriptorFlags::REQUESTED_WRITE_SYNC, Flags::RSYNC)
}

pub(in crate::p2) fn create_directory_at(cx: &mut Cx<'_>, this: Borrow<Descriptor>, path: String) -> Outcome<()> {
    Ok(mutable(cx.state, &this)?.create_dir(checked(&path)?)?)
}

pub(in crate::p2) fn link_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    flags: PathFlags,
    from: String,
    other: Borrow<Descriptor>,
    to: String,
) -> Outcome<()> {
    let (source, target) = (mutable(cx.state, &this)?, mutable(cx.state, &other)?);
    let (from, to) = (checked(&from)?, checked(&to)?);
    if flags.has(PathFlags::SYMLINK_FOLLOW) {
        // Whatever it resolves to is inside, and linking resolves it inside once more.
        source.hard_link(source.dir.canonicalize(from)?, target, to)?;
    } else {
        source.hard_link(from, target, to)?;
    }
    Ok(())
}

pub(in crate::p2) fn readlink_at(cx: &mut Cx<'_>, this: Borrow<Descriptor>, path: String) -> Outcome<String> {
    let target = directory(cx.state, &this)?.dir.read_link(checked(&path)?)?;
    target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence.into())
}

pub(in crate::p2) fn remove_directory_at(cx: &mut Cx<'_>, this: Borrow<Descriptor>, path: String) -> Outcome<()> {
    let directory = mutable(cx.state, &this)?;
    // cap-std would take a slash at the end for the directory's own ".", which cannot be removed.
    let path = checked(&path)?;
    let name = path.trim_end_matches('/');
    Ok(directory.remove_dir(if name.is_empty() { path } else { name })?)
}

pub(in crate::p2) fn rename_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    from: String,
    other: Borrow<Descriptor>,
    to: String,
) -> Outcome<()> {
    let (source, target) = (mutable(cx.state, &this)?, mutable(cx.state, &other)?);
    Ok(source.rename(checked(&from)?, target, checked(&to)?)?)
}

pub(in crate::p2) fn symlink_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    target: String,
    path: String,
) -> Outcome<()> {
    Ok(mutable(cx.state, &this)?.symlink(checked(&target)?, checked(&path)?)?)
}

pub(in crate::p2) fn unlink_file_at(cx: &mut Cx<'_>, this: Borrow<Descriptor>, path: String) -> Outcome<()> {
    Ok(mutable(cx.state, &this)?.remove_file(checked(&path)?)?)
}
