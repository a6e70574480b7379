//! What a file is: its type, size and times.

use std::hash::BuildHasher;

use cap_std::fs::{FileType, FileTypeExt, Metadata, MetadataExt};
use rustix::fs::{FileType as OsFileType, Timestamps};

use super::descriptor::{Descriptor, directory, entry, mutable, on_disk};
use super::{ErrorCode, Outcome, path};
use crate::fds::{Kind, Rights};
use crate::p1::stat::Time;
use crate::p2::abi::{Lift, NO_SUCH_CASE, Source, Ty, Wit, wit_enum, wit_flags, wit_record};
use crate::p2::call::{Cx, Stop, Trap};
use crate::p2::clocks::Datetime;
use crate::p2::handles::Borrow;
use crate::state::State;

wit_enum! {
    pub(in crate::p2) enum DescriptorType {
        Unknown = "unknown",
        BlockDevice = "block-device",
        CharacterDevice = "character-device",
        Directory = "directory",
        Fifo = "fifo",
        SymbolicLink = "symbolic-link",
        RegularFile = "regular-file",
        Socket = "socket",
    }
}

wit_record! {
    pub(in crate::p2) struct DescriptorStat {
        kind: DescriptorType = "type",
        link_count: u64 = "link-count",
        size: u64 = "size",
        accessed: Option<Datetime> = "data-access-timestamp",
        modified: Option<Datetime> = "data-modification-timestamp",
        changed: Option<Datetime> = "status-change-timestamp",
    }
}
wit_record!(lower DescriptorStat { kind, link_count, size, accessed, modified, changed });

wit_record! {
    pub(in crate::p2) struct MetadataHash {
        lower: u64 = "lower",
        upper: u64 = "upper",
    }
}
wit_record!(lower MetadataHash { lower, upper });

wit_flags! {
    pub(in crate::p2) struct PathFlags {
        SYMLINK_FOLLOW = "symlink-follow",
    }
}

/// A time to set.
pub(in crate::p2) enum NewTimestamp {
    NoChange,
    Now,
    Timestamp(Datetime),
}

impl Wit for NewTimestamp {
    const TY: Ty = Ty::Variant(&[("no-change", &Ty::Unit), ("now", &Ty::Unit), ("timestamp", &Datetime::TY)]);
}

impl Lift for NewTimestamp {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap> {
        from.variant(Self::LAYOUT, |case, from| match case {
            0 => Ok(Self::NoChange),
            1 => Ok(Self::Now),
            2 => Datetime::lift(from).map(Self::Timestamp),
            _ => Err(NO_SUCH_CASE),
        })
    }
}

impl NewTimestamp {
    fn time(self) -> Result<Time, ErrorCode> {
        match self {
            Self::NoChange => Ok(Time::Unchanged),
            Self::Now => Ok(Time::Now),
            Self::Timestamp(Datetime { seconds, nanoseconds }) if nanoseconds < 1_000_000_000 => {
                let whole = seconds.checked_mul(1_000_000_000).ok_or(ErrorCode::Overflow)?;
                let nanoseconds = whole.checked_add(nanoseconds.into()).ok_or(ErrorCode::Overflow)?;
                Ok(Time::At { nanoseconds })
            }
            Self::Timestamp(_) => Err(ErrorCode::Invalid),
        }
    }
}

impl From<FileType> for DescriptorType {
    fn from(file_type: FileType) -> Self {
        if file_type.is_file() {
            Self::RegularFile
        } else if file_type.is_dir() {
            Self::Directory
        } else if file_type.is_symlink() {
            Self::SymbolicLink
        } else if file_type.is_char_device() {
            Self::CharacterDevice
        } else if file_type.is_block_device() {
            Self::BlockDevice
        } else if file_type.is_fifo() {
            Self::Fifo
        } else if file_type.is_socket() {
            Self::Socket
        } else {
            Self::Unknown
        }
    }
}

impl From<OsFileType> for DescriptorType {
    fn from(file_type: OsFileType) -> Self {
        match file_type {
            OsFileType::RegularFile => Self::RegularFile,
            OsFileType::Directory => Self::Directory,
            OsFileType::Symlink => Self::SymbolicLink,
            OsFileType::CharacterDevice => Self::CharacterDevice,
            OsFileType::BlockDevice => Self::BlockDevice,
            OsFileType::Fifo => Self::Fifo,
            OsFileType::Socket => Self::Socket,
            OsFileType::Unknown => Self::Unknown,
        }
    }
}

pub(in crate::p2) fn get_type(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<DescriptorType> {
    Ok(metadata(cx.state, &this)?.file_type().into())
}

pub(in crate::p2) fn stat(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<DescriptorStat> {
    metadata(cx.state, &this).map(|metadata| describe(&metadata))
}

pub(in crate::p2) fn stat_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    flags: PathFlags,
    path: String,
) -> Outcome<DescriptorStat> {
    metadata_at(cx.state, &this, flags, &path).map(|metadata| describe(&metadata))
}

fn metadata(state: &State, this: &Borrow<Descriptor>) -> Outcome<Metadata> {
    let kind = &entry(state, this)?.kind;
    if let Kind::File(file) = kind {
        Ok(file.metadata()?)
    } else if let Kind::Directory(directory) = kind {
        Ok(directory.dir.dir_metadata()?)
    } else {
        Err(ErrorCode::BadDescriptor.into())
    }
}

fn metadata_at(state: &State, this: &Borrow<Descriptor>, flags: PathFlags, path: &str) -> Outcome<Metadata> {
    let directory = directory(state, this)?;
    let path = path::checked(path)?;
    // A slash at the end follows a link, and says that a directory is meant; cap-std lets it pass.
    let slash = path.ends_with('/') || path.ends_with("/.");
    let metadata = if flags.has(PathFlags::SYMLINK_FOLLOW) || slash {
        directory.dir.metadata(path)?
    } else {
        directory.dir.symlink_metadata(path)?
    };
    if slash && !metadata.is_dir() { Err(ErrorCode::NotDirectory.into()) } else { Ok(metadata) }
}

fn describe(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        kind: metadata.file_type().into(),
        link_count: metadata.nlink(),
        size: metadata.len(),
        accessed: datetime(metadata.atime(), metadata.atime_nsec()),
        modified: datetime(metadata.mtime(), metadata.mtime_nsec()),
        changed: datetime(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Times before 1970 cannot be told to a guest.
fn datetime(seconds: i64, nanoseconds: i64) -> Option<Datetime> {
    Some(Datetime { seconds: u64::try_from(seconds).ok()?, nanoseconds: u32::try_from(nanoseconds).ok()? })
}

pub(in crate::p2) fn set_times(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    accessed: NewTimestamp,
    modified: NewTimestamp,
) -> Outcome<()> {
    let times = Timestamps { last_access: accessed.time()?.timespec(), last_modification: modified.time()?.timespec() };
    let descriptor = entry(cx.state, &this)?;
    if !descriptor.rights.contains(Rights::FD_FILESTAT_SET_TIMES) {
        return Err(ErrorCode::NotPermitted.into());
    }
    Ok(rustix::fs::futimens(on_disk(cx.state, &this)?, &times)?)
}

pub(in crate::p2) fn set_times_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    flags: PathFlags,
    path: String,
    accessed: NewTimestamp,
    modified: NewTimestamp,
) -> Outcome<()> {
    use cap_fs_ext::DirExt;

    let directory = mutable(cx.state, &this)?;
    let (path, accessed, modified) = (path::checked(&path)?, accessed.time()?.spec(), modified.time()?.spec());
    if flags.has(PathFlags::SYMLINK_FOLLOW) {
        directory.dir.set_times(path, accessed, modified)?;
    } else {
        directory.dir.set_symlink_times(path, accessed, modified)?;
    }
    Ok(())
}

pub(in crate::p2) fn is_same_object(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    other: Borrow<Descriptor>,
) -> Result<bool, Stop> {
    cx.state.p2.handles.get(&this)?;
    cx.state.p2.handles.get(&other)?;
    let object = |this| metadata(cx.state, this).map(|metadata| (metadata.dev(), metadata.ino()));
    Ok(matches!((object(&this), object(&other)), (Ok(one), Ok(other)) if one == other))
}

pub(in crate::p2) fn metadata_hash(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<MetadataHash> {
    metadata(cx.state, &this).map(|metadata| hash(cx.state, &metadata))
}

pub(in crate::p2) fn metadata_hash_at(
    cx: &mut Cx<'_>,
    this: Borrow<Descriptor>,
    flags: PathFlags,
    path: String,
) -> Outcome<MetadataHash> {
    metadata_at(cx.state, &this, flags, &path).map(|metadata| hash(cx.state, &metadata))
}

fn hash(state: &State, metadata: &Metadata) -> MetadataHash {
    let half = |which: u8| {
        let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
        state.p2.hash.hash_one((which, metadata.dev(), metadata.ino(), metadata.len(), times))
    };
    MetadataHash { lower: half(0), upper: half(1) }
}
