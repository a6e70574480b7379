//! `wasi:filesystem/types`: files.

use wasip2::clocks::wall_clock::Datetime;
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
    filesystem_error_code,
};
use wasip2::io::streams::StreamError;

pub(crate) const READ: DescriptorFlags = DescriptorFlags::READ;
pub(crate) const BOTH: DescriptorFlags = DescriptorFlags::READ.union(DescriptorFlags::WRITE);

/// The only directory that there is.
pub(crate) fn root() -> Descriptor {
    let mut all = preopens::get_directories();
    let (root, name) = all.pop().unwrap();
    assert!(all.is_empty() && name == "/data");
    root
}

pub(crate) fn open(
    dir: &Descriptor,
    path: &str,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> Result<Descriptor, ErrorCode> {
    dir.open_at(PathFlags::SYMLINK_FOLLOW, path, open, flags)
}

pub(crate) fn all() {
    let root = root();
    let file = open(&root, "file", OpenFlags::CREATE, BOTH).unwrap();
    positions(&file);
    attributes(&file);
    streams(&file);
    rights(&root);
    identity(&root, &file);
    root.unlink_file_at("file").unwrap();
}

fn positions(file: &Descriptor) {
    assert_eq!(file.write(b"hello world", 0), Ok(11));
    assert_eq!(file.read(5, 6), Ok((b"world".to_vec(), false)));
    assert_eq!(file.read(100, 0).unwrap().0, b"hello world");
    assert_eq!(file.read(5, 11), Ok((vec![], true)));
    assert_eq!(file.read(5, 1 << 40), Ok((vec![], true)));
    assert_eq!(file.read(1, u64::MAX), Err(ErrorCode::Invalid));
    assert_eq!(file.write(b"!", 12), Ok(1));
    assert_eq!(file.read(100, 10).unwrap().0, b"d\0!");
    assert_eq!(file.set_size(5), Ok(()));
    assert_eq!(file.stat().unwrap().size, 5);
    for advice in [Advice::Normal, Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed] {
        assert_eq!(file.advise(0, 5, advice), Ok(()));
    }
    assert_eq!(file.sync(), Ok(()));
    assert_eq!(file.sync_data(), Ok(()));
}

fn attributes(file: &Descriptor) {
    assert_eq!(file.get_type(), Ok(DescriptorType::RegularFile));
    assert_eq!(file.get_flags(), Ok(BOTH));
    let stat = file.stat().unwrap();
    assert_eq!((stat.type_, stat.link_count), (DescriptorType::RegularFile, 1));
    let time = Datetime { seconds: 1_000_000_000, nanoseconds: 5 };
    file.set_times(NewTimestamp::Timestamp(time), NewTimestamp::NoChange).unwrap();
    let changed = file.stat().unwrap();
    let accessed = changed.data_access_timestamp.unwrap();
    assert_eq!((accessed.seconds, accessed.nanoseconds), (1_000_000_000, 5));
    let seconds = |time: Option<Datetime>| time.unwrap().seconds;
    assert_eq!(seconds(changed.data_modification_timestamp), seconds(stat.data_modification_timestamp));
    file.set_times(NewTimestamp::Now, NewTimestamp::Now).unwrap();
    assert!(seconds(file.stat().unwrap().data_access_timestamp) > 1_600_000_000);
    let wrong = Datetime { seconds: 1, nanoseconds: 1_000_000_000 };
    assert_eq!(file.set_times(NewTimestamp::Timestamp(wrong), NewTimestamp::NoChange), Err(ErrorCode::Invalid));
}

fn streams(file: &Descriptor) {
    file.set_size(0).unwrap();
    let (first, second) = (file.write_via_stream(0).unwrap(), file.write_via_stream(3).unwrap());
    second.blocking_write_and_flush(b"def").unwrap();
    first.blocking_write_and_flush(b"abc").unwrap();
    let end = file.append_via_stream().unwrap();
    end.blocking_write_and_flush(b"ghi").unwrap();
    assert!(end.check_write().unwrap() > 0);
    end.write_zeroes(2).unwrap();
    end.blocking_flush().unwrap();
    let input = file.read_via_stream(1).unwrap();
    assert_eq!(input.read(3).unwrap(), b"bcd");
    assert_eq!(input.skip(2).unwrap(), 2);
    assert_eq!(input.read(0).unwrap(), b"");
    assert_eq!(input.blocking_read(100).unwrap(), b"ghi\0\0");
    assert!(matches!(input.read(1), Err(StreamError::Closed)));
    assert!(matches!(input.read(0), Err(StreamError::Closed)));
    let (from, to) = (file.read_via_stream(0).unwrap(), file.append_via_stream().unwrap());
    assert_eq!(to.splice(&from, 3).unwrap(), 3);
    assert_eq!(to.blocking_splice(&from, 1).unwrap(), 1);
    assert_eq!(file.read(100, 11).unwrap().0, b"abcd");
    // A stream reads on when the descriptor is gone.
    let input = {
        let again = open(&root(), "file", OpenFlags::empty(), READ).unwrap();
        again.read_via_stream(0).unwrap()
    };
    assert_eq!(input.blocking_read(3).unwrap(), b"abc");
    let nowhere = file.read_via_stream(u64::MAX).unwrap();
    let Err(StreamError::LastOperationFailed(error)) = nowhere.read(1) else { panic!("read before the beginning") };
    assert_eq!(filesystem_error_code(&error), Some(ErrorCode::Invalid));
    assert!(!error.to_debug_string().is_empty());
    assert!(matches!(nowhere.read(1), Err(StreamError::Closed)));
}

fn rights(root: &Descriptor) {
    let reading = open(root, "file", OpenFlags::empty(), READ).unwrap();
    assert_eq!(reading.get_flags(), Ok(READ));
    assert_eq!(reading.write(b"x", 0), Err(ErrorCode::BadDescriptor));
    assert_eq!(reading.write_via_stream(0).unwrap_err(), ErrorCode::BadDescriptor);
    assert_eq!(reading.append_via_stream().unwrap_err(), ErrorCode::BadDescriptor);
    assert_eq!(reading.set_size(0), Err(ErrorCode::NotPermitted));
    assert_eq!(reading.sync(), Ok(()));
    let writing = open(root, "file", OpenFlags::empty(), DescriptorFlags::WRITE).unwrap();
    assert_eq!(writing.read(1, 0), Err(ErrorCode::BadDescriptor));
    assert_eq!(writing.read_via_stream(0).unwrap_err(), ErrorCode::BadDescriptor);
    let synced = BOTH | DescriptorFlags::FILE_INTEGRITY_SYNC;
    let file = open(root, "file", OpenFlags::empty(), synced).unwrap();
    assert_eq!(file.get_flags(), Ok(synced));
    assert_eq!(file.write(b"xyz", 0), Ok(3));
    file.write_via_stream(0).unwrap().blocking_write_and_flush(b"abc").unwrap();
    // What is no file.
    assert_eq!(root.read(1, 0), Err(ErrorCode::BadDescriptor));
    assert_eq!(root.write(b"x", 0), Err(ErrorCode::BadDescriptor));
    assert_eq!(root.set_size(1), Err(ErrorCode::BadDescriptor));
    assert_eq!(root.advise(0, 0, Advice::Normal), Err(ErrorCode::BadDescriptor));
    // What is no directory.
    assert_eq!(file.create_directory_at("d"), Err(ErrorCode::NotDirectory));
    assert_eq!(file.read_directory().unwrap_err(), ErrorCode::NotDirectory);
    assert_eq!(open(&file, "x", OpenFlags::empty(), READ).unwrap_err(), ErrorCode::NotDirectory);
    assert_eq!(file.stat_at(PathFlags::empty(), "x").unwrap_err(), ErrorCode::NotDirectory);
}

/// The directory is empty and may hold 16 KiB: a file with its name, and two more blocks.
pub(crate) fn quota() {
    let root = root();
    let file = open(&root, "file", OpenFlags::CREATE, BOTH).unwrap();
    assert_eq!(file.write(&[1; 8192], 0), Ok(8192));
    assert_eq!(file.write(&[1; 8192], 8192), Ok(4096));
    assert_eq!(file.write(b"x", 12_288), Err(ErrorCode::Quota));
    assert_eq!(file.set_size(1 << 20), Err(ErrorCode::Quota));
    assert_eq!(root.create_directory_at("d"), Err(ErrorCode::Quota));
    assert_eq!(open(&root, "other", OpenFlags::CREATE, BOTH).unwrap_err(), ErrorCode::Quota);
    let end = file.append_via_stream().unwrap();
    let Err(StreamError::LastOperationFailed(error)) = end.blocking_write_and_flush(b"x") else {
        panic!("wrote more than it may")
    };
    assert_eq!(filesystem_error_code(&error), Some(ErrorCode::Quota));
    assert!(matches!(end.check_write(), Err(StreamError::Closed)));
    // Room again, while a stream of the file is open as well.
    file.set_size(4096).unwrap();
    let stream = file.write_via_stream(4096).unwrap();
    stream.blocking_write_and_flush(&[2; 4096]).unwrap();
    assert_eq!(file.read(1, 8191).unwrap().0, [2]);
    drop((stream, end, file));
    root.unlink_file_at("file").unwrap();
    root.create_directory_at("d").unwrap();
    root.remove_directory_at("d").unwrap();
}

fn identity(root: &Descriptor, file: &Descriptor) {
    let same = open(root, "file", OpenFlags::empty(), READ).unwrap();
    let other = open(root, "other", OpenFlags::CREATE, BOTH).unwrap();
    assert!(file.is_same_object(&same) && !file.is_same_object(&other));
    let hash = |file: &Descriptor| {
        let hash = file.metadata_hash().unwrap();
        (hash.lower, hash.upper)
    };
    assert_eq!(hash(file), hash(&same));
    assert_ne!(hash(file), hash(&other));
    let at = root.metadata_hash_at(PathFlags::empty(), "file").unwrap();
    assert_eq!((at.lower, at.upper), hash(file));
    let before = hash(&other);
    other.write(b"longer", 0).unwrap();
    assert_ne!(hash(&other), before);
    root.unlink_file_at("other").unwrap();
}
