//! Descriptors: what they are, streams of them, and what lies in them.

use std::io::IoSlice;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cap_std::fs::FileExt;
use rustix::fs::Advice as OsAdvice;

use super::{ErrorCode, Outcome};
use crate::fds::{self, Directory, Fds, File, Flags, Kind, Place, Rights};
use crate::p2::abi::{Buffer, Bytes, wit_enum, wit_flags};
use crate::p2::call::{Cx, Fail, Stop, Trap};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::{InputStream, OutputStream, Source, Target};
use crate::state::State;

/// What one read gives at most.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// A file or a directory.
pub(in crate::p2) struct Descriptor {
    pub(super) fd: u32,
    /// The guest had it from the start, and gets it again when it asks.
    pub(super) is_preopened: bool,
}

wit_flags! {
    pub(in crate::p2) struct DescriptorFlags {
        READ = "read",
        WRITE = "write",
        FILE_INTEGRITY_SYNC = "file-integrity-sync",
        DATA_INTEGRITY_SYNC = "data-integrity-sync",
        REQUESTED_WRITE_SYNC = "requested-write-sync",
        MUTATE_DIRECTORY = "mutate-directory",
    }
}

wit_enum! {
    pub(in crate::p2) enum Advice {
        Normal = "normal",
        Sequential = "sequential",
        Random = "random",
        WillNeed = "will-need",
        DontNeed = "dont-need",
        NoReuse = "no-reuse",
    }
}

impl Descriptor {
    /// The descriptor that closes with it.
    pub(in crate::p2) fn own_fd(&self) -> Option<u32> {
        (!self.is_preopened).then_some(self.fd)
    }
}

/// What a handle stands for, and the rights on it.
pub(super) fn entry<'a>(state: &'a State, this: &Borrow<Descriptor>) -> Outcome<&'a fds::Descriptor> {
    let fd = state.p2.handles.get(this)?.fd;
    state.fds.get(fd).ok_or(ErrorCode::BadDescriptor.into())
}

/// A regular file.
pub(super) fn file<'a>(state: &'a State, this: &Borrow<Descriptor>) -> Outcome<(&'a File, Rights)> {
    match entry(state, this)? {
        fds::Descriptor { kind: Kind::File(file), rights, .. } => Ok((file, *rights)),
        _ => Err(ErrorCode::BadDescriptor.into()),
    }
}

/// A directory.
pub(super) fn directory<'a>(state: &'a State, this: &Borrow<Descriptor>) -> Outcome<&'a Directory> {
    match entry(state, this)? {
        fds::Descriptor { kind: Kind::Directory(directory), .. } => Ok(directory),
        _ => Err(ErrorCode::NotDirectory.into()),
    }
}

/// A directory in which things may be changed.
pub(super) fn mutable<'a>(state: &'a State, this: &Borrow<Descriptor>) -> Outcome<&'a Directory> {
    let directory = directory(state, this)?;
    if is_mutable(entry(state, this)?) { Ok(directory) } else { Err(ErrorCode::ReadOnly.into()) }
}

pub(super) fn is_mutable(descriptor: &fds::Descriptor) -> bool {
    descriptor.rights.contains(Rights::PATH_CREATE_FILE)
}

pub(super) fn on_disk<'a>(state: &'a State, this: &Borrow<Descriptor>) -> Outcome<BorrowedFd<'a>> {
    let kind = &entry(state, this)?.kind;
    if let Kind::File(file) = kind {
        Ok(file.as_fd())
    } else if let Kind::Directory(directory) = kind {
        Ok(directory.dir.as_fd())
    } else {
        Err(ErrorCode::BadDescriptor.into())
    }
}

/// Puts another descriptor of a file beside it, for a stream that may outlive it.
fn duplicate(cx: &mut Cx<'_>, this: &Borrow<Descriptor>, needed: Rights) -> Outcome<u32> {
    let flags = entry(cx.state, this)?.flags;
    let (file, rights) = file(cx.state, this)?;
    if !rights.contains(needed) {
        return Err(ErrorCode::BadDescriptor.into());
    }
    let descriptor = fds::Descriptor { flags, ..fds::Descriptor::new(Kind::File(file.duplicate()?), rights) };
    cx.state.fds.insert(descriptor).ok_or(ErrorCode::InsufficientMemory.into())
}

pub(in crate::p2) fn read_via_stream(cx: &mut Cx<'_>, this: Borrow<Descriptor>, at: u64) -> Outcome<Own<InputStream>> {
    let fd = duplicate(cx, &this, Rights::FD_READ)?;
    Ok(cx.state.p2.handles.push(InputStream::new(Source::File { fd, at }))?)
}

pub(in crate::p2) fn write_via_stream(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    at: u64,
) -> Outcome<Own<OutputStream>> {
    let fd = duplicate(cx, &this, Rights::FD_WRITE)?;
    Ok(cx.state.p2.handles.push(OutputStream::new(Target::File { fd, at: Some(at) }))?)
}

pub(in crate::p2) fn append_via_stream(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<Own<OutputStream>> {
    let fd = duplicate(cx, &this, Rights::FD_WRITE)?;
    Ok(cx.state.p2.handles.push(OutputStream::new(Target::File { fd, at: None }))?)
}

pub(in crate::p2) fn advise(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    offset: u64,
    len: u64,
    advice: Advice,
) -> Outcome<()> {
    let advice = match advice {
        Advice::Normal => OsAdvice::Normal,
        Advice::Sequential => OsAdvice::Sequential,
        Advice::Random => OsAdvice::Random,
        Advice::WillNeed => OsAdvice::WillNeed,
        Advice::DontNeed => OsAdvice::DontNeed,
        Advice::NoReuse => OsAdvice::NoReuse,
    };
    let (file, _) = file(cx.state, &this)?;
    if i64::try_from(offset).is_err() || i64::try_from(len).is_err() {
        return Err(ErrorCode::Invalid.into());
    }
    Ok(rustix::fs::fadvise(file, offset, NonZeroU64::new(len), advice)?)
}

pub(in crate::p2) fn sync(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<()> {
    synced(cx, &this, rustix::fs::fsync)
}

pub(in crate::p2) fn sync_data(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<()> {
    synced(cx, &this, rustix::fs::fdatasync)
}

fn synced(cx: &mut Cx<'_>, this: &Borrow<Descriptor>, sync: fn(OwnedFd) -> rustix::io::Result<()>) -> Outcome<()> {
    if let Some(outcome) = cx.finished() {
        outcome?;
        return Ok(());
    }
    let on_disk = on_disk(cx.state, this)?.try_clone_to_owned()?;
    Err(cx.offload(move || Ok(sync(on_disk).map(|()| 0)?)).into())
}

pub(in crate::p2) fn get_flags(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<DescriptorFlags> {
    let descriptor = entry(cx.state, &this)?;
    let mut flags = DescriptorFlags::default();
    let mut set = |is: bool, flag| {
        if is {
            flags = flags | flag
        }
    };
    if let Kind::Directory(_) = descriptor.kind {
        set(true, DescriptorFlags::READ);
        set(is_mutable(descriptor), DescriptorFlags::MUTATE_DIRECTORY);
    } else {
        set(descriptor.rights.contains(Rights::FD_READ), DescriptorFlags::READ);
        set(descriptor.rights.contains(Rights::FD_WRITE), DescriptorFlags::WRITE);
    }
    set(descriptor.flags.has(Flags::SYNC), DescriptorFlags::FILE_INTEGRITY_SYNC);
    set(descriptor.flags.has(Flags::DSYNC), DescriptorFlags::DATA_INTEGRITY_SYNC);
    set(descriptor.flags.has(Flags::RSYNC), DescriptorFlags::REQUESTED_WRITE_SYNC);
    Ok(flags)
}

pub(in crate::p2) fn set_size(cx: &mut Cx<'_>, this: Borrow<Descriptor>, size: u64) -> Outcome<()> {
    let (file, rights) = file(cx.state, &this)?;
    if !rights.contains(Rights::FD_FILESTAT_SET_SIZE) {
        return Err(ErrorCode::NotPermitted.into());
    }
    Ok(file.set_len(size)?)
}

pub(in crate::p2) fn read(cx: &mut Cx<'_>, this: Borrow<Descriptor>, len: u64, offset: u64) -> Outcome<(Buffer, bool)> {
    let (file, rights) = file(cx.state, &this)?;
    if !rights.contains(Rights::FD_READ) {
        return Err(ErrorCode::BadDescriptor.into());
    }
    let mut bytes = vec![0; len.min(READ_BYTES_MAX) as usize];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    cx.moved(read);
    Ok((Buffer(bytes), read == 0 && len > 0))
}

pub(in crate::p2) fn write(cx: &mut Cx<'_>, this: Borrow<Descriptor>, buffer: Bytes, offset: u64) -> Outcome<u64> {
    if let Some(outcome) = cx.finished() {
        return Ok(outcome?.into());
    }
    let flags = entry(cx.state, &this)?.flags;
    let (file, rights) = file(cx.state, &this)?;
    if !rights.contains(Rights::FD_WRITE) {
        return Err(ErrorCode::BadDescriptor.into());
    }
    let bytes = cx.memory.slice(buffer.at, buffer.len).map_err(|_| Trap("a list leads out of memory"))?;
    let written = file.write(&[IoSlice::new(bytes)], Place::At(offset), false)?;
    if flags.has(Flags::SYNC) || flags.has(Flags::DSYNC) {
        let (file, count) = (file.try_clone()?, written as u32);
        return Err(Fail::<ErrorCode>::Stop(cx.offload(move || file.sync_all().map(|()| count))));
    }
    cx.moved(written);
    Ok(written as u64)
}

pub(in crate::p2) fn get_directories(cx: &mut Cx<'_>) -> Result<Vec<(Own<Descriptor>, String)>, Stop> {
    let State { fds, p2, .. } = &mut *cx.state;
    let mut given = Vec::new();
    for (fd, name) in preopens(fds) {
        given.push((p2.handles.push(Descriptor { fd, is_preopened: true })?, name));
    }
    Ok(given)
}

/// The directories that the guest was given, behind stdio.
fn preopens(fds: &Fds) -> impl Iterator<Item = (u32, String)> {
    (3..).map_while(|fd| {
        let Kind::Directory(Directory { name: Some(name), .. }) = &fds.get(fd)?.kind else { return None };
        Some((fd, name.clone()))
    })
}
