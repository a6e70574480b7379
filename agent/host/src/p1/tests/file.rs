//! Attributes, size, times, allocation, advice and syncing of open files.

use super::harness::{READ, ROOT, WRITE, Wasi};
use crate::p1::{Errno, Stop};

const ATIM: u64 = 1;
const ATIM_NOW: u64 = 2;
const MTIM: u64 = 4;
const MTIM_NOW: u64 = 8;

const SECOND: u64 = 1_000_000_000;

#[test]
fn attributes() {
    use std::os::unix::fs::MetadataExt;

    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    std::fs::hard_link(wasi.root().join("f"), wasi.root().join("g")).unwrap();
    let host = std::fs::metadata(wasi.root().join("f")).unwrap();
    let stat = wasi.filestat(fd).unwrap();
    assert_eq!((stat.filetype, stat.nlink, stat.size), (4, 2, 3));
    assert_eq!((stat.dev, stat.ino), (host.dev(), host.ino()));
    let nanoseconds = |seconds: i64, rest: i64| seconds as u64 * SECOND + rest as u64;
    assert_eq!(stat.accessed, nanoseconds(host.atime(), host.atime_nsec()));
    assert_eq!(stat.modified, nanoseconds(host.mtime(), host.mtime_nsec()));
    assert_eq!(stat.changed, nanoseconds(host.ctime(), host.ctime_nsec()));

    let directory = wasi.filestat(ROOT).unwrap();
    assert_eq!(directory.filetype, 3);
    assert_ne!(directory.ino, stat.ino);
    assert_eq!(wasi.filestat(99), Err(Errno::Badf));
}

#[test]
fn truncation() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abcdef");
    let set = |wasi: &mut Wasi, fd: u32, size: u64| wasi.call("fd_filestat_set_size", &[fd.into(), size]);
    assert_eq!(wasi.seek(fd, 4, 0), Ok(4));
    assert_eq!(set(&mut wasi, fd, 3), Ok(()));
    assert_eq!(wasi.filestat(fd).unwrap().size, 3);
    // The position stays, beyond the end.
    assert_eq!(wasi.tell(fd), Ok(4));
    assert_eq!(wasi.read(fd, &[4]), Ok(vec![]));
    // "If this increases the file's size, the extra bytes are filled with zeros."
    assert_eq!(set(&mut wasi, fd, 5), Ok(()));
    assert_eq!(wasi.pread(fd, 8, 0), Ok(b"abc\0\0".to_vec()));
    assert_eq!(set(&mut wasi, fd, 0), Ok(()));
    assert_eq!(wasi.filestat(fd).unwrap().size, 0);

    assert_eq!(set(&mut wasi, fd, u64::MAX), Err(Errno::Inval));
    assert_eq!(set(&mut wasi, ROOT, 0), Err(Errno::Badf));
    assert_eq!(set(&mut wasi, 1, 0), Err(Errno::Inval));
    assert_eq!(set(&mut wasi, 99, 0), Err(Errno::Badf));
}

#[test]
fn times_of_an_open_file() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"");
    let set = |wasi: &mut Wasi, fd: u32, accessed: u64, modified: u64, flags: u64| {
        wasi.call("fd_filestat_set_times", &[fd.into(), accessed, modified, flags])
    };
    assert_eq!(set(&mut wasi, fd, 5 * SECOND + 7, 9 * SECOND, ATIM | MTIM), Ok(()));
    let stat = wasi.filestat(fd).unwrap();
    assert_eq!((stat.accessed, stat.modified), (5 * SECOND + 7, 9 * SECOND));
    // One alone leaves the other; none leaves both.
    assert_eq!(set(&mut wasi, fd, 0, 11, MTIM), Ok(()));
    assert_eq!(set(&mut wasi, fd, 1, 1, 0), Ok(()));
    let stat = wasi.filestat(fd).unwrap();
    assert_eq!((stat.accessed, stat.modified), (5 * SECOND + 7, 11));
    // Now.
    assert_eq!(set(&mut wasi, fd, 1, 13, ATIM_NOW | MTIM), Ok(()));
    let stat = wasi.filestat(fd).unwrap();
    assert!(stat.accessed > 1_000_000_000 * SECOND);
    assert_eq!(stat.modified, 13);
    assert_eq!(set(&mut wasi, fd, 1, 1, MTIM_NOW), Ok(()));
    assert!(wasi.filestat(fd).unwrap().modified > 1_000_000_000 * SECOND);
    // A time cannot be two things.
    assert_eq!(set(&mut wasi, fd, 1, 1, ATIM | ATIM_NOW), Err(Errno::Inval));
    assert_eq!(set(&mut wasi, fd, 1, 1, MTIM | MTIM_NOW), Err(Errno::Inval));
    assert_eq!(set(&mut wasi, fd, 1, 1, 16), Err(Errno::Inval));

    assert_eq!(set(&mut wasi, ROOT, 3 * SECOND, 4 * SECOND, ATIM | MTIM), Ok(()));
    assert_eq!(wasi.filestat(ROOT).unwrap().modified, 4 * SECOND);
    assert_eq!(set(&mut wasi, 1, 0, 0, ATIM), Err(Errno::Inval));
    assert_eq!(set(&mut wasi, 99, 0, 0, ATIM), Err(Errno::Badf));
}

#[test]
fn allocation_grows_and_never_shrinks() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    let allocate =
        |wasi: &mut Wasi, fd: u32, offset: u64, len: u64| wasi.call("fd_allocate", &[fd.into(), offset, len]);
    assert_eq!(allocate(&mut wasi, fd, 0, 2), Ok(()));
    assert_eq!(wasi.filestat(fd).unwrap().size, 3);
    assert_eq!(allocate(&mut wasi, fd, 2, 8), Ok(()));
    assert_eq!(wasi.filestat(fd).unwrap().size, 10);
    assert_eq!(wasi.pread(fd, 16, 0), Ok(b"abc\0\0\0\0\0\0\0".to_vec()));

    assert_eq!(allocate(&mut wasi, fd, 0, 0), Err(Errno::Inval));
    assert_eq!(allocate(&mut wasi, fd, u64::MAX, 1), Err(Errno::Fbig));
    assert_eq!(allocate(&mut wasi, fd, i64::MAX as u64, 1), Err(Errno::Fbig));
    assert_eq!(allocate(&mut wasi, ROOT, 0, 1), Err(Errno::Badf));
    assert_eq!(allocate(&mut wasi, 1, 0, 1), Err(Errno::Inval));
    let reader = wasi.open("f", 0, READ).unwrap();
    assert_eq!(allocate(&mut wasi, reader, 0, 99), Err(Errno::Notcapable));
}

#[test]
fn advice_is_checked() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    for advice in 0..6 {
        assert_eq!(wasi.call("fd_advise", &[fd.into(), 0, 0, advice]), Ok(()));
        assert_eq!(wasi.call("fd_advise", &[fd.into(), 1, 100, advice]), Ok(()));
    }
    assert_eq!(wasi.call("fd_advise", &[fd.into(), 0, 0, 6]), Err(Errno::Inval));
    assert_eq!(wasi.call("fd_advise", &[fd.into(), 0, 0, 256]), Err(Errno::Inval));
    assert_eq!(wasi.call("fd_advise", &[fd.into(), u64::MAX, 0, 0]), Err(Errno::Inval));
    assert_eq!(wasi.call("fd_advise", &[ROOT.into(), 0, 0, 0]), Err(Errno::Badf));
    assert_eq!(wasi.call("fd_advise", &[99, 0, 0, 0]), Err(Errno::Badf));
    assert_eq!(wasi.pread(fd, 3, 0), Ok(b"abc".to_vec()));
}

#[tokio::test]
async fn syncing() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    for name in ["fd_sync", "fd_datasync"] {
        // The disk may take its time: others have their turn meanwhile.
        assert!(matches!(wasi.attempt(name, &[fd.into()]), Err(Stop::Wait)));
        wasi.state.wait().await;
        assert_eq!(wasi.call(name, &[fd.into()]), Ok(()));
        assert_eq!(wasi.call_waiting(name, &[ROOT.into()]).await, Ok(()));
        assert_eq!(wasi.call(name, &[1]), Err(Errno::Inval));
    }
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    assert_eq!(wasi.path("path_unlink_file", ROOT, "f"), Ok(()));
    assert_eq!(wasi.open("f", 0, READ), Err(Errno::Noent));
    let stat = wasi.filestat(fd).unwrap();
    assert_eq!((stat.nlink, stat.size), (0, 3));
    assert_eq!(wasi.read(fd, &[3]), Ok(b"abc".to_vec()));
    assert_eq!(wasi.write(fd, &[b"d"]), Ok(1));
    assert_eq!(wasi.open("f", 0, WRITE), Err(Errno::Noent));
}
