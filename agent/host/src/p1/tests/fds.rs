//! Descriptors: what they say of themselves, rights, flags, numbers.

use super::harness::{READ, ROOT, WRITE, Wasi, fdflags, oflags};
use crate::fds::Rights;
use crate::guest::Guest;
use crate::p1::Errno;
use crate::quota::Limits;

#[test]
fn stdio_is_a_character_device_that_does_not_seek() {
    let mut wasi = Wasi::new();
    for fd in 0..3 {
        let stat = wasi.fdstat(fd).unwrap();
        assert_eq!(stat.filetype, 2);
        // How a C library knows a terminal.
        assert_eq!(stat.base & (Rights::FD_SEEK | Rights::FD_TELL).0, 0);
        assert_eq!(wasi.seek(fd, 0, 1), Err(Errno::Spipe));
        assert_eq!(wasi.tell(fd), Err(Errno::Spipe));
        assert_eq!(wasi.filestat(fd).unwrap().filetype, 2);
    }
    assert_eq!(wasi.fdstat(0).unwrap().base & (READ | WRITE), READ);
    assert_eq!(wasi.fdstat(1).unwrap().base & (READ | WRITE), WRITE);
    assert_eq!(wasi.write(0, &[b"x"]), Err(Errno::Badf));
    assert_eq!(wasi.read(1, &[1]), Err(Errno::Badf));
}

#[test]
fn empty_stdin_is_at_its_end() {
    assert_eq!(Wasi::new().read(0, &[8]), Ok(vec![]));
}

#[test]
fn preopens_are_found_by_scanning() {
    let mut wasi = Wasi::new();
    let (stat, name) = (wasi.room(8), wasi.room(8));
    wasi.call("fd_prestat_get", &[ROOT.into(), stat.into()]).unwrap();
    assert_eq!((wasi.u32(stat), wasi.u32(stat + 4)), (0, 5));
    wasi.call("fd_prestat_dir_name", &[ROOT.into(), name.into(), 5]).unwrap();
    assert_eq!(wasi.bytes(name, 5), b"/data");
    let short = wasi.call("fd_prestat_dir_name", &[ROOT.into(), name.into(), 4]);
    assert_eq!(short, Err(Errno::Nametoolong));

    // What was opened later is none, and neither is stdio.
    let file = wasi.file("f", b"");
    for fd in [0, 1, 2, file, 99] {
        let args = [fd.into(), stat.into()];
        assert_eq!(wasi.call("fd_prestat_get", &args), Err(Errno::Badf));
        let args = [fd.into(), name.into(), 5];
        assert_eq!(wasi.call("fd_prestat_dir_name", &args), Err(Errno::Badf));
    }
}

#[test]
fn what_is_closed_is_gone() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    assert_eq!(wasi.close(fd), Ok(()));
    assert_eq!(wasi.close(fd), Err(Errno::Badf));
    assert_eq!(wasi.read(fd, &[1]), Err(Errno::Badf));
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Badf));
    assert_eq!(wasi.fdstat(fd), Err(Errno::Badf));
    assert_eq!(wasi.filestat(fd), Err(Errno::Badf));
    assert_eq!(wasi.seek(fd, 0, 0), Err(Errno::Badf));
    assert_eq!(wasi.tell(fd), Err(Errno::Badf));
    for name in ["fd_sync", "fd_datasync"] {
        assert_eq!(wasi.call(name, &[fd.into()]), Err(Errno::Badf));
    }
    assert_eq!(wasi.path("path_unlink_file", fd, "f"), Err(Errno::Badf));
    // The number is free again.
    assert_eq!(wasi.open("f", 0, READ), Ok(fd));
    // Even what was there from the start can be closed.
    assert_eq!(wasi.close(ROOT), Ok(()));
    assert_eq!(wasi.open("f", 0, READ), Err(Errno::Badf));
}

#[test]
fn renumbering_moves_and_closes() {
    let mut wasi = Wasi::new();
    let (a, b) = (wasi.file("a", b"aaa"), wasi.file("b", b"bbb"));
    assert_eq!(wasi.call("fd_renumber", &[a.into(), b.into()]), Ok(()));
    assert_eq!(wasi.read(b, &[3]), Ok(b"aaa".to_vec()));
    assert_eq!(wasi.fdstat(a), Err(Errno::Badf));
    // Onto itself changes nothing.
    assert_eq!(wasi.call("fd_renumber", &[b.into(), b.into()]), Ok(()));
    assert_eq!(wasi.seek(b, 0, 0), Ok(0));
    assert_eq!(wasi.read(b, &[3]), Ok(b"aaa".to_vec()));
    // Both must be open.
    assert_eq!(wasi.call("fd_renumber", &[a.into(), b.into()]), Err(Errno::Badf));
    assert_eq!(wasi.call("fd_renumber", &[b.into(), a.into()]), Err(Errno::Badf));
    assert_eq!(wasi.call("fd_renumber", &[b.into(), 7_000_000]), Err(Errno::Badf));
    // The number that became free is given out again, and a directory moves as well.
    assert_eq!(wasi.open("b", 0, READ), Ok(a));
    assert_eq!(wasi.call("fd_renumber", &[ROOT.into(), a.into()]), Ok(()));
    assert_eq!(wasi.path("path_create_directory", a, "d"), Ok(()));
}

#[test]
fn rights_can_only_be_given_up() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    let stat = wasi.fdstat(fd).unwrap();
    assert_eq!(stat.filetype, 4);
    assert_eq!(Rights(stat.base), Rights::FILE);
    let set =
        |wasi: &mut Wasi, base: u64, inheriting: u64| wasi.call("fd_fdstat_set_rights", &[fd.into(), base, inheriting]);
    // What a file cannot do, and what there is no right for.
    assert_eq!(set(&mut wasi, stat.base | Rights::PATH_OPEN.0, 0), Err(Errno::Notcapable));
    assert_eq!(set(&mut wasi, stat.base | 1 << 63, 0), Err(Errno::Notcapable));
    assert_eq!(set(&mut wasi, stat.base, READ), Err(Errno::Notcapable));

    let few = READ | Rights::FD_TELL.0;
    assert_eq!(set(&mut wasi, few, 0), Ok(()));
    assert_eq!(wasi.fdstat(fd).unwrap().base, few);
    assert_eq!(set(&mut wasi, stat.base, 0), Err(Errno::Notcapable));

    assert_eq!(wasi.read(fd, &[2]), Ok(b"ab".to_vec()));
    assert_eq!(wasi.tell(fd), Ok(2));
    // "If `rights::fd_seek` is set, includes the right to invoke `fd_pread`."
    assert_eq!(wasi.pread(fd, 1, 0), Err(Errno::Notcapable));
    assert_eq!(wasi.seek(fd, 0, 0), Err(Errno::Notcapable));
    // Asking where it is is telling.
    assert_eq!(wasi.seek(fd, 0, 1), Ok(2));
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Notcapable));
    assert_eq!(wasi.pwrite(fd, b"x", 0), Err(Errno::Notcapable));
    assert_eq!(wasi.filestat(fd), Err(Errno::Notcapable));
    for (name, args) in [
        ("fd_advise", &[fd.into(), 0, 0, 0][..]),
        ("fd_allocate", &[fd.into(), 0, 1]),
        ("fd_datasync", &[fd.into()]),
        ("fd_fdstat_set_flags", &[fd.into(), 0]),
        ("fd_filestat_set_size", &[fd.into(), 0]),
        ("fd_filestat_set_times", &[fd.into(), 0, 0, 0]),
        ("fd_sync", &[fd.into()]),
    ] {
        assert_eq!(wasi.call(name, args), Err(Errno::Notcapable), "{name}");
    }
}

#[test]
fn each_path_function_needs_its_right_on_the_directory() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    let all = wasi.fdstat(ROOT).unwrap();
    assert_eq!(Rights(all.base), Rights::DIRECTORY);
    assert_eq!(Rights(all.inheriting), Rights::DIRECTORY | Rights::FILE);
    let path = u64::from(wasi.put(b"f"));
    let at = u64::from(wasi.room(64));
    let fd = u64::from(ROOT);
    let cases: &[(&str, Rights, &[u64])] = &[
        ("fd_readdir", Rights::FD_READDIR, &[fd, at, 64, 0, at]),
        ("fd_filestat_get", Rights::FD_FILESTAT_GET, &[fd, at]),
        ("path_create_directory", Rights::PATH_CREATE_DIRECTORY, &[fd, path, 1]),
        ("path_filestat_get", Rights::PATH_FILESTAT_GET, &[fd, 0, path, 1, at]),
        ("path_filestat_set_times", Rights::PATH_FILESTAT_SET_TIMES, &[fd, 0, path, 1, 0, 0, 0]),
        ("path_link", Rights::PATH_LINK_SOURCE, &[fd, 0, path, 1, fd, path, 1]),
        ("path_link", Rights::PATH_LINK_TARGET, &[fd, 0, path, 1, fd, path, 1]),
        ("path_open", Rights::PATH_OPEN, &[fd, 0, path, 1, 0, READ, 0, 0, at]),
        ("path_open", Rights::PATH_CREATE_FILE, &[fd, 0, path, 1, 1, READ, 0, 0, at]),
        ("path_open", Rights::PATH_FILESTAT_SET_SIZE, &[fd, 0, path, 1, 8, READ, 0, 0, at]),
        ("path_open", Rights::FD_DATASYNC, &[fd, 0, path, 1, 0, READ, 0, fdflags::DSYNC.into(), at]),
        ("path_open", Rights::FD_SYNC, &[fd, 0, path, 1, 0, READ, 0, fdflags::RSYNC.into(), at]),
        ("path_readlink", Rights::PATH_READLINK, &[fd, path, 1, at, 64, at]),
        ("path_remove_directory", Rights::PATH_REMOVE_DIRECTORY, &[fd, path, 1]),
        ("path_rename", Rights::PATH_RENAME_SOURCE, &[fd, path, 1, fd, path, 1]),
        ("path_rename", Rights::PATH_RENAME_TARGET, &[fd, path, 1, fd, path, 1]),
        ("path_symlink", Rights::PATH_SYMLINK, &[path, 1, fd, path, 1]),
        ("path_unlink_file", Rights::PATH_UNLINK_FILE, &[fd, path, 1]),
    ];
    for (name, right, args) in cases {
        let descriptor = wasi.state.fds.get_mut(ROOT).unwrap();
        descriptor.rights = Rights::DIRECTORY - *right;
        assert_eq!(wasi.call(name, args), Err(Errno::Notcapable), "{name} without {right:?}");
    }
    assert!(wasi.root().join("f").exists());
}

#[test]
fn what_is_opened_inherits() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    let keep = (Rights::DIRECTORY | Rights::FILE) - Rights::FD_WRITE;
    wasi.call("fd_fdstat_set_rights", &[ROOT.into(), Rights::DIRECTORY.0, keep.0]).unwrap();
    assert_eq!(wasi.open("f", 0, READ | WRITE), Err(Errno::Notcapable));
    let fd = wasi.open("f", 0, READ).unwrap();
    assert_eq!(wasi.read(fd, &[3]), Ok(b"abc".to_vec()));

    wasi.path("path_create_directory", ROOT, "d").unwrap();
    let below = wasi.open("d", oflags::DIRECTORY, READ | WRITE).unwrap();
    assert_eq!(wasi.fdstat(below).unwrap().inheriting, keep.0);
    let denied = wasi.open_at(below, ("g", false), oflags::CREAT, WRITE, 0);
    assert_eq!(denied, Err(Errno::Notcapable));
}

#[test]
fn a_read_only_directory_is_only_read() {
    let mut wasi = Wasi::read_only();
    std::fs::write(wasi.root().join("f"), b"abc").unwrap();
    std::fs::create_dir(wasi.root().join("d")).unwrap();
    let fd = wasi.open("f", 0, READ).unwrap();
    assert_eq!(wasi.read(fd, &[8]), Ok(b"abc".to_vec()));
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Notcapable));
    for (name, args) in [
        ("fd_filestat_set_size", &[fd.into(), 0][..]),
        ("fd_allocate", &[fd.into(), 0, 9]),
        ("fd_filestat_set_times", &[fd.into(), 0, 0, 0]),
    ] {
        assert_eq!(wasi.call(name, args), Err(Errno::Notcapable), "{name}");
    }
    assert_eq!(wasi.open("f", 0, WRITE), Err(Errno::Notcapable));
    assert_eq!(wasi.open("f", oflags::TRUNC, READ), Err(Errno::Notcapable));
    assert_eq!(wasi.open("new", oflags::CREAT, READ), Err(Errno::Notcapable));
    assert_eq!(wasi.path("path_create_directory", ROOT, "new"), Err(Errno::Notcapable));
    assert_eq!(wasi.path("path_unlink_file", ROOT, "f"), Err(Errno::Notcapable));
    assert_eq!(wasi.path("path_remove_directory", ROOT, "d"), Err(Errno::Notcapable));
    // A directory below it is no way out.
    let below = wasi.open("d", oflags::DIRECTORY, READ | WRITE).unwrap();
    let created = wasi.open_at(below, ("new", false), oflags::CREAT, READ, 0);
    assert_eq!(created, Err(Errno::Notcapable));
    assert_eq!(std::fs::read(wasi.root().join("f")).unwrap(), b"abc");
}

#[tokio::test]
async fn flags_are_set_and_told() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    let all = fdflags::APPEND | fdflags::DSYNC | fdflags::NONBLOCK | fdflags::RSYNC | fdflags::SYNC;
    for flags in [fdflags::APPEND, fdflags::SYNC, all, 0] {
        assert_eq!(wasi.call("fd_fdstat_set_flags", &[fd.into(), flags.into()]), Ok(()));
        assert_eq!(wasi.fdstat(fd).unwrap().flags, flags);
        assert_eq!(wasi.write_waiting(fd, &[b"x"]).await, Ok(1));
    }
    for flags in [1 << 5, 1 << 16, u32::MAX] {
        let args = [fd.into(), flags.into()];
        assert_eq!(wasi.call("fd_fdstat_set_flags", &args), Err(Errno::Inval));
    }
    assert_eq!(wasi.call("fd_fdstat_set_flags", &[0, fdflags::NONBLOCK.into()]), Ok(()));
    assert_eq!(wasi.fdstat(0).unwrap().flags, fdflags::NONBLOCK);
}

#[test]
fn there_are_only_so_many() {
    let limits = Limits { descriptors: 6, ..Limits::default() };
    let mut wasi = Wasi::with(Guest { limits, ..Guest::default() }, false);
    let (a, b) = (wasi.file("a", b"a"), wasi.file("b", b"b"));
    assert_eq!((a, b), (4, 5));
    assert_eq!(wasi.open("a", 0, READ), Err(Errno::Mfile));
    // Nothing was done before the refusal.
    assert_eq!(wasi.open("c", oflags::CREAT, READ), Err(Errno::Mfile));
    assert_eq!(wasi.open("a", oflags::TRUNC, WRITE), Err(Errno::Mfile));
    assert!(!wasi.root().join("c").exists());
    assert_eq!(std::fs::read(wasi.root().join("a")).unwrap(), b"a");
    wasi.close(a).unwrap();
    assert_eq!(wasi.open("b", 0, READ), Ok(a));
}
