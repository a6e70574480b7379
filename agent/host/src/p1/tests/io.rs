//! Reading, writing and seeking in files.

use super::harness::{READ, ROOT, WRITE, Wasi, fdflags, oflags};
use crate::p1::{Errno, Stop};

const SET: u32 = 0;
const CUR: u32 = 1;
const END: u32 = 2;

#[test]
fn several_buffers_are_one_stream() {
    let mut wasi = Wasi::new();
    let fd = wasi.open("f", oflags::CREAT, READ | WRITE).unwrap();
    assert_eq!(wasi.write(fd, &[b"abc", b"", b"defg", b"h"]), Ok(8));
    assert_eq!(wasi.tell(fd), Ok(8));
    assert_eq!(wasi.seek(fd, 0, SET), Ok(0));
    assert_eq!(wasi.read(fd, &[1, 0, 3, 2]), Ok(b"abcdef".to_vec()));
    assert_eq!(wasi.read(fd, &[8, 8]), Ok(b"gh".to_vec()));
    assert_eq!(wasi.read(fd, &[8]), Ok(vec![]));
    assert_eq!(wasi.read(fd, &[]), Ok(vec![]));
    assert_eq!(wasi.write(fd, &[]), Ok(0));
}

/// More buffers than one system call is given here.
#[test]
fn very_many_buffers() {
    let mut wasi = Wasi::new();
    let fd = wasi.open("f", oflags::CREAT, READ | WRITE).unwrap();
    let words = (0..1000).map(|n| format!("{n} ")).collect::<Vec<_>>();
    let buffers = words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>();
    let all = words.concat();
    assert_eq!(wasi.write(fd, &buffers), Ok(all.len()));
    assert_eq!(std::fs::read(wasi.root().join("f")).unwrap(), all.as_bytes());
    wasi.seek(fd, 0, SET).unwrap();
    assert_eq!(wasi.read(fd, &vec![4; 1024]), Ok(all.into_bytes()));
    // "The iovcnt argument was less than or equal to 0, or greater than {IOV_MAX}."
    assert_eq!(wasi.read(fd, &vec![0; 1025]), Err(Errno::Inval));
    assert_eq!(wasi.write(fd, &vec![&b""[..]; 1025]), Err(Errno::Inval));
}

/// A guest of a few KiB can ask for four GiB: all of its buffers lie over each other.
#[test]
fn one_call_moves_no_more_than_a_mebibyte() {
    const MIB: usize = 1 << 20;

    let mut wasi = Wasi::new();
    let fd = wasi.open("f", oflags::CREAT, READ | WRITE).unwrap();
    let buffer = wasi.room(100_000);
    let iovs = wasi.vectors(&[(buffer, 100_000); 1024]);
    let count = wasi.room(4);
    let args = [fd.into(), iovs.into(), 1024, count.into()];
    for (written, size) in [(MIB, MIB), (MIB, 2 * MIB)] {
        assert_eq!(wasi.call("fd_write", &args), Ok(()));
        assert_eq!((wasi.u32(count) as usize, wasi.filestat(fd).unwrap().size as usize), (written, size));
    }
    wasi.seek(fd, 10, SET).unwrap();
    assert_eq!(wasi.call("fd_read", &args), Ok(()));
    assert_eq!((wasi.u32(count) as usize, wasi.tell(fd)), (MIB, Ok(MIB as u64 + 10)));
    for (name, moved) in [("fd_pwrite", MIB), ("fd_pread", MIB)] {
        assert_eq!(wasi.call(name, &[fd.into(), iovs.into(), 1024, 5, count.into()]), Ok(()));
        assert_eq!(wasi.u32(count) as usize, moved, "{name}");
    }
    assert_eq!(wasi.filestat(fd).unwrap().size as usize, 2 * MIB);
}

/// Each may be a system call.
#[test]
fn buffers_are_paid_for() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", &[0; 2000]);
    let mut cost = |buffers: usize| {
        wasi.state.work = 0;
        wasi.seek(fd, 0, SET).unwrap();
        wasi.read(fd, &vec![1; buffers]).unwrap();
        wasi.state.work
    };
    assert!(cost(1000) - cost(1) >= 999 * 1000);
}

#[test]
fn positioned_reads_and_writes_leave_the_position() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"0123456789");
    assert_eq!(wasi.pread(fd, 3, 4), Ok(b"456".to_vec()));
    assert_eq!(wasi.pread(fd, 3, 9), Ok(b"9".to_vec()));
    assert_eq!(wasi.pread(fd, 3, 10), Ok(vec![]));
    assert_eq!(wasi.pwrite(fd, b"xy", 2), Ok(2));
    assert_eq!(wasi.tell(fd), Ok(0));
    // Beyond the end: a hole.
    assert_eq!(wasi.pwrite(fd, b"z", 12), Ok(1));
    assert_eq!(wasi.read(fd, &[32]), Ok(b"01xy456789\0\0z".to_vec()));
    // Offsets that no file has.
    assert_eq!(wasi.pread(fd, 1, u64::MAX), Err(Errno::Inval));
    assert_eq!(wasi.pwrite(fd, b"x", i64::MAX as u64 + 1), Err(Errno::Inval));
    // Streams have no positions.
    assert_eq!(wasi.pread(0, 1, 0), Err(Errno::Spipe));
    assert_eq!(wasi.pwrite(1, b"x", 0), Err(Errno::Spipe));
}

#[test]
fn seeking() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"0123456789");
    assert_eq!(wasi.seek(fd, 4, SET), Ok(4));
    assert_eq!(wasi.seek(fd, 2, CUR), Ok(6));
    assert_eq!(wasi.seek(fd, -3, CUR), Ok(3));
    assert_eq!(wasi.seek(fd, -1, END), Ok(9));
    assert_eq!(wasi.read(fd, &[4]), Ok(b"9".to_vec()));
    // Beyond the end is a position as well.
    assert_eq!(wasi.seek(fd, 10, END), Ok(20));
    assert_eq!(wasi.tell(fd), Ok(20));
    assert_eq!(wasi.read(fd, &[4]), Ok(vec![]));
    // Before the beginning is none, and nothing moves.
    assert_eq!(wasi.seek(fd, -21, CUR), Err(Errno::Inval));
    assert_eq!(wasi.seek(fd, -1, SET), Err(Errno::Inval));
    assert_eq!(wasi.seek(fd, i64::MIN, END), Err(Errno::Inval));
    assert_eq!(wasi.tell(fd), Ok(20));
    for whence in [3, 255, 256, u32::MAX] {
        assert_eq!(wasi.seek(fd, 0, whence), Err(Errno::Inval));
    }
    assert_eq!(wasi.seek(ROOT, 0, SET), Err(Errno::Badf));
    assert_eq!(wasi.tell(ROOT), Err(Errno::Badf));
}

#[test]
fn appending_writes_at_the_end() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    let fd = wasi.open_at(ROOT, ("f", false), 0, READ | WRITE, fdflags::APPEND).unwrap();
    assert_eq!(wasi.fdstat(fd).unwrap().flags, fdflags::APPEND);
    assert_eq!(wasi.write(fd, &[b"d"]), Ok(1));
    assert_eq!(wasi.seek(fd, 0, SET), Ok(0));
    assert_eq!(wasi.write(fd, &[b"e"]), Ok(1));
    assert_eq!(std::fs::read(wasi.root().join("f")).unwrap(), b"abcde");
    // Switched off, it writes where it is; switched on again, at the end.
    wasi.call("fd_fdstat_set_flags", &[fd.into(), 0]).unwrap();
    assert_eq!(wasi.seek(fd, 0, SET), Ok(0));
    assert_eq!(wasi.write(fd, &[b"A"]), Ok(1));
    wasi.call("fd_fdstat_set_flags", &[fd.into(), fdflags::APPEND.into()]).unwrap();
    assert_eq!(wasi.write(fd, &[b"f"]), Ok(1));
    assert_eq!(std::fs::read(wasi.root().join("f")).unwrap(), b"Abcdef");
    // Created for appending, and emptied for appending.
    let flags = oflags::CREAT | oflags::TRUNC;
    let fd = wasi.open_at(ROOT, ("f", false), flags, WRITE, fdflags::APPEND).unwrap();
    assert_eq!(wasi.write(fd, &[b"new"]), Ok(3));
    assert_eq!(std::fs::read(wasi.root().join("f")).unwrap(), b"new");
}

/// "Write according to synchronized I/O data integrity completion."
#[tokio::test]
async fn synchronised_writes_wait_for_the_disk() {
    let mut wasi = Wasi::new();
    for flags in [fdflags::DSYNC, fdflags::SYNC, fdflags::RSYNC | fdflags::SYNC] {
        let fd = wasi.open_at(ROOT, ("f", false), oflags::CREAT | oflags::TRUNC, READ | WRITE, flags).unwrap();
        assert_eq!(wasi.fdstat(fd).unwrap().flags, flags);
        assert!(matches!(wasi.attempt_write(fd, &[b"ab", b"c"]), Err(Stop::Wait)));
        wasi.state.wait().await;
        assert_eq!(wasi.attempt_write(fd, &[b"ab", b"c"]).ok(), Some(()));
        // Written once, though tried twice.
        assert_eq!(wasi.tell(fd), Ok(3));
        assert_eq!(wasi.write_waiting(fd, &[b"d"]).await, Ok(1));
        assert_eq!(wasi.pread(fd, 8, 0), Ok(b"abcd".to_vec()));
    }
}

#[test]
fn access_is_what_was_asked_for() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    let reader = wasi.open("f", 0, READ).unwrap();
    assert_eq!(wasi.write(reader, &[b"x"]), Err(Errno::Notcapable));
    assert_eq!(wasi.pwrite(reader, b"x", 0), Err(Errno::Notcapable));
    assert_eq!(wasi.call("fd_filestat_set_size", &[reader.into(), 0]), Err(Errno::Notcapable));
    let writer = wasi.open("f", 0, WRITE).unwrap();
    assert_eq!(wasi.read(writer, &[1]), Err(Errno::Notcapable));
    assert_eq!(wasi.pread(writer, 1, 0), Err(Errno::Notcapable));
    assert_eq!(wasi.write(writer, &[b"x"]), Ok(1));
    // Neither: still a descriptor of that file.
    let neither = wasi.open("f", 0, 0).unwrap();
    assert_eq!(wasi.read(neither, &[1]), Err(Errno::Notcapable));
    assert_eq!(wasi.write(neither, &[b"x"]), Err(Errno::Notcapable));
    assert_eq!(wasi.filestat(neither).unwrap().size, 3);
    // Created, but not to be written to.
    let created = wasi.open("g", oflags::CREAT, READ).unwrap();
    assert_eq!(wasi.write(created, &[b"x"]), Err(Errno::Notcapable));
}

#[test]
fn directories_are_no_files() {
    let mut wasi = Wasi::new();
    assert_eq!(wasi.read(ROOT, &[1]), Err(Errno::Isdir));
    assert_eq!(wasi.pread(ROOT, 1, 0), Err(Errno::Isdir));
    assert_eq!(wasi.write(ROOT, &[b"x"]), Err(Errno::Badf));
    assert_eq!(wasi.pwrite(ROOT, b"x", 0), Err(Errno::Badf));
}

/// Reading into the list of buffers itself: hostile, and what then happens is bounded.
#[test]
fn a_list_of_buffers_that_overwrites_itself() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", &[0xff; 64]);
    let list = wasi.room(16);
    let first = [list.to_le_bytes(), 16_u32.to_le_bytes()].concat();
    wasi.memory[list as usize..][..8].copy_from_slice(&first);
    let read = wasi.room(4);
    // The second pair now says 0xffffffff twice.
    let outcome = wasi.call("fd_read", &[fd.into(), list.into(), 2, read.into()]);
    assert!(matches!(outcome, Ok(()) | Err(Errno::Fault)), "{outcome:?}");
}

#[test]
fn output_goes_to_the_observer() {
    use std::sync::{Arc, Mutex};

    use crate::guest::{Guest, Observer, Stream};

    type Lines = Vec<(Stream, Vec<u8>)>;
    struct Log(Arc<Mutex<Lines>>);
    impl Observer for Log {
        fn output(&mut self, stream: Stream, bytes: &[u8]) {
            self.0.lock().unwrap().push((stream, bytes.to_vec()));
        }
    }

    let log = Arc::default();
    let mut wasi = Wasi::with(Guest { observer: Box::new(Log(Arc::clone(&log))), ..Guest::default() }, false);
    assert_eq!(wasi.write(1, &[b"one", b"two"]), Ok(6));
    assert_eq!(wasi.write(2, &[b"three"]), Ok(5));
    let said = log.lock().unwrap();
    let of = |stream| said.iter().filter(|line| line.0 == stream).flat_map(|line| line.1.clone()).collect::<Vec<_>>();
    assert_eq!((of(Stream::Stdout), of(Stream::Stderr)), (b"onetwo".to_vec(), b"three".to_vec()));
}
