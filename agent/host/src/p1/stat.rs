//! What a file is: its type, attributes and times, and how they are laid out in guest memory.

use std::time::{Duration, UNIX_EPOCH};

use cap_fs_ext::SystemTimeSpec;
use cap_std::fs::{FileType, FileTypeExt, Metadata, MetadataExt};
use cap_std::time::SystemTime;
use rustix::fs::{Timespec, UTIME_NOW, UTIME_OMIT};

use super::Errno;
use crate::fds::Kind;

/// Types of files, as preview 1 numbers them.
pub(super) mod filetype {
    pub(in crate::p1) const UNKNOWN: u8 = 0;
    pub(in crate::p1) const BLOCK_DEVICE: u8 = 1;
    pub(in crate::p1) const CHARACTER_DEVICE: u8 = 2;
    pub(in crate::p1) const DIRECTORY: u8 = 3;
    pub(in crate::p1) const REGULAR_FILE: u8 = 4;
    pub(in crate::p1) const SOCKET_DGRAM: u8 = 5;
    pub(in crate::p1) const SOCKET_STREAM: u8 = 6;
    pub(in crate::p1) const SYMBOLIC_LINK: u8 = 7;
}

pub(super) const FILESTAT_BYTES: usize = 64;

pub(super) fn kind_type(kind: &Kind) -> u8 {
    match kind {
        // A terminal, as far as a guest can tell.
        Kind::Stdin(_) | Kind::Output(_) => filetype::CHARACTER_DEVICE,
        Kind::Directory(_) => filetype::DIRECTORY,
        // Or a device.
        Kind::File(file) => file.metadata().map_or(filetype::UNKNOWN, |metadata| file_type(metadata.file_type())),
        Kind::Datagram(_) => filetype::SOCKET_DGRAM,
        Kind::Listener(_) | Kind::Connection(_) | Kind::Unconnected(_) => filetype::SOCKET_STREAM,
    }
}

/// A `filestat` of a file that exists.
pub(super) fn filestat(metadata: &Metadata) -> [u8; FILESTAT_BYTES] {
    let mut bytes = [0; FILESTAT_BYTES];
    let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0, metadata.dev());
    put(8, metadata.ino());
    put(16, u64::from(file_type(metadata.file_type())));
    put(24, metadata.nlink());
    put(32, metadata.len());
    put(40, nanoseconds(metadata.atime(), metadata.atime_nsec()));
    put(48, nanoseconds(metadata.mtime(), metadata.mtime_nsec()));
    put(56, nanoseconds(metadata.ctime(), metadata.ctime_nsec()));
    bytes
}

/// A `filestat` of a stream, of which only the type is known.
pub(super) fn stream_filestat(filetype: u8) -> [u8; FILESTAT_BYTES] {
    let mut bytes = [0; FILESTAT_BYTES];
    bytes[16] = filetype;
    bytes
}

fn file_type(file_type: FileType) -> u8 {
    if file_type.is_file() {
        filetype::REGULAR_FILE
    } else if file_type.is_dir() {
        filetype::DIRECTORY
    } else if file_type.is_symlink() {
        filetype::SYMBOLIC_LINK
    } else if file_type.is_char_device() {
        filetype::CHARACTER_DEVICE
    } else if file_type.is_block_device() {
        filetype::BLOCK_DEVICE
    } else {
        filetype::UNKNOWN
    }
}

/// Times before 1970 cannot be told to a guest.
fn nanoseconds(seconds: i64, rest: i64) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(rest).unwrap_or(0))
}

/// The times that a guest sets on a file.
pub(super) struct Times {
    pub(super) accessed: Time,
    pub(super) modified: Time,
}

#[derive(Clone, Copy)]
pub(crate) enum Time {
    Unchanged,
    Now,
    At { nanoseconds: u64 },
}

impl Times {
    pub(super) fn new(accessed: u64, modified: u64, flags: u32) -> Result<Self, Errno> {
        const ATIM: u32 = 1 << 0;
        const ATIM_NOW: u32 = 1 << 1;
        const MTIM: u32 = 1 << 2;
        const MTIM_NOW: u32 = 1 << 3;

        if flags & !(ATIM | ATIM_NOW | MTIM | MTIM_NOW) != 0 {
            return Err(Errno::Inval);
        }
        let time = |given: u32, now: u32, nanoseconds: u64| match (flags & given != 0, flags & now != 0) {
            (false, false) => Ok(Time::Unchanged),
            (false, true) => Ok(Time::Now),
            (true, false) => Ok(Time::At { nanoseconds }),
            (true, true) => Err(Errno::Inval),
        };
        Ok(Self { accessed: time(ATIM, ATIM_NOW, accessed)?, modified: time(MTIM, MTIM_NOW, modified)? })
    }
}

impl Time {
    /// For a descriptor.
    pub(crate) fn timespec(self) -> Timespec {
        match self {
            Self::Unchanged => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            Self::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            // The seconds of 64 bits of nanoseconds fit in 35 bits, the rest in 30.
            Self::At { nanoseconds } => {
                Timespec { tv_sec: (nanoseconds / 1_000_000_000) as _, tv_nsec: (nanoseconds % 1_000_000_000) as _ }
            }
        }
    }

    /// For a path.
    pub(crate) fn spec(self) -> Option<SystemTimeSpec> {
        match self {
            Self::Unchanged => None,
            Self::Now => Some(SystemTimeSpec::SymbolicNow),
            Self::At { nanoseconds } => {
                let time = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
                Some(SystemTimeSpec::Absolute(SystemTime::from_std(time)))
            }
        }
    }
}
