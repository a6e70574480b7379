//! Opening, creating, removing, renaming and linking by path.

use super::harness::{READ, ROOT, WRITE, Wasi, oflags};
use crate::p1::Errno;

use oflags::{CREAT, DIRECTORY, EXCL, TRUNC};

/// `path_rename` or, with a flag for following, `path_link`.
fn two_paths(wasi: &mut Wasi, name: &str, follow: Option<bool>, from: &str, to: &str) -> Result<(), Errno> {
    let (at, target) = (wasi.put(from.as_bytes()), wasi.put(to.as_bytes()));
    let mut args = vec![ROOT.into()];
    args.extend(follow.map(u64::from));
    args.extend([at.into(), from.len() as u64, ROOT.into(), target.into(), to.len() as u64]);
    wasi.call(name, &args)
}

fn rename(wasi: &mut Wasi, from: &str, to: &str) -> Result<(), Errno> {
    two_paths(wasi, "path_rename", None, from, to)
}

fn link(wasi: &mut Wasi, follow: bool, from: &str, to: &str) -> Result<(), Errno> {
    two_paths(wasi, "path_link", Some(follow), from, to)
}

fn symlink(wasi: &mut Wasi, target: &str, link: &str) -> Result<(), Errno> {
    let (at, name) = (wasi.put(target.as_bytes()), wasi.put(link.as_bytes()));
    let args = [at.into(), target.len() as u64, ROOT.into(), name.into(), link.len() as u64];
    wasi.call("path_symlink", &args)
}

fn readlink(wasi: &mut Wasi, path: &str, room: usize) -> Result<String, Errno> {
    let (at, buf, used) = (wasi.put(path.as_bytes()), wasi.put(&vec![b'.'; room]), wasi.room(4));
    let args = [ROOT.into(), at.into(), path.len() as u64, buf.into(), room as u64, used.into()];
    wasi.call("path_readlink", &args)?;
    let used = wasi.u32(used) as usize;
    Ok(String::from_utf8(wasi.bytes(buf, used).to_vec()).unwrap())
}

fn mkdir(wasi: &mut Wasi, path: &str) -> Result<(), Errno> {
    wasi.path("path_create_directory", ROOT, path)
}

fn rmdir(wasi: &mut Wasi, path: &str) -> Result<(), Errno> {
    wasi.path("path_remove_directory", ROOT, path)
}

fn unlink(wasi: &mut Wasi, path: &str) -> Result<(), Errno> {
    wasi.path("path_unlink_file", ROOT, path)
}

#[test]
fn creating_and_opening() {
    let mut wasi = Wasi::new();
    assert_eq!(wasi.open("f", 0, READ), Err(Errno::Noent));
    let fd = wasi.open("f", CREAT, READ | WRITE).unwrap();
    wasi.write(fd, &[b"abc"]).unwrap();
    assert_eq!(wasi.open("f", CREAT | EXCL, READ), Err(Errno::Exist));
    // Created again is opened, with what it holds.
    let again = wasi.open("f", CREAT, READ).unwrap();
    assert_eq!(wasi.read(again, &[8]), Ok(b"abc".to_vec()));
    let emptied = wasi.open("f", TRUNC, READ).unwrap();
    assert_eq!(wasi.filestat(emptied).unwrap().size, 0);
    assert_eq!(wasi.open("none", TRUNC, WRITE), Err(Errno::Noent));
    assert_eq!(wasi.open("no/file", CREAT, WRITE), Err(Errno::Noent));
    assert_eq!(wasi.open("f/file", CREAT, WRITE), Err(Errno::Notdir));
    assert_eq!(wasi.open("", 0, READ), Err(Errno::Noent));
    assert_eq!(wasi.open(&"n".repeat(256), CREAT, WRITE), Err(Errno::Nametoolong));
    // Names that are short, of a path that is not.
    assert!(wasi.open(&"./".repeat(2047), 0, READ).is_ok());
    for path in ["./".repeat(2048), "../x/".repeat(10_000)] {
        assert_eq!(wasi.open(&path, 0, READ), Err(Errno::Nametoolong));
        assert_eq!(mkdir(&mut wasi, &path), Err(Errno::Nametoolong));
        assert_eq!(symlink(&mut wasi, &path, "s"), Err(Errno::Nametoolong));
        assert_eq!(link(&mut wasi, true, &path, "l"), Err(Errno::Nametoolong));
    }
}

#[test]
fn opening_directories() {
    let mut wasi = Wasi::new();
    mkdir(&mut wasi, "d").unwrap();
    wasi.file("f", b"abc");
    let fd = wasi.open("d", DIRECTORY, READ).unwrap();
    assert_eq!(wasi.fdstat(fd).unwrap().filetype, 3);
    // Relative to it.
    let inner = wasi.open_at(fd, ("x", false), CREAT, WRITE, 0).unwrap();
    wasi.write(inner, &[b"inner"]).unwrap();
    assert_eq!(std::fs::read(wasi.root().join("d/x")).unwrap(), b"inner");
    // Without being asked to be one, and with more rights than a directory has.
    assert_eq!(wasi.open("d", 0, READ).map(|fd| wasi.fdstat(fd).unwrap().filetype), Ok(3));
    assert!(wasi.open("d", DIRECTORY, u64::MAX).is_ok());
    assert!(wasi.open(".", DIRECTORY, READ).is_ok());
    assert!(wasi.open("d/", DIRECTORY, READ).is_ok());
    assert!(wasi.open("d/.", DIRECTORY, READ).is_ok());
    assert!(wasi.open("d/..", DIRECTORY, READ).is_ok());
    // Not for writing.
    assert_eq!(wasi.open("d", 0, READ | WRITE), Err(Errno::Isdir));
    assert_eq!(wasi.open("d", CREAT, READ), Err(Errno::Isdir));
    assert_eq!(wasi.open("d", TRUNC, READ), Err(Errno::Isdir));
    // What is none, or cannot be asked of one.
    assert_eq!(wasi.open("f", DIRECTORY, READ), Err(Errno::Notdir));
    assert_eq!(wasi.open("f/", 0, READ), Err(Errno::Notdir));
    assert_eq!(wasi.open("f/.", 0, READ), Err(Errno::Notdir));
    assert_eq!(wasi.open("f/..", 0, READ), Err(Errno::Notdir));
    for flag in [CREAT, EXCL, TRUNC] {
        assert_eq!(wasi.open("d", DIRECTORY | flag, READ), Err(Errno::Inval));
    }
    // Relative to a file, to a stream, and to nothing.
    let file = wasi.open("f", 0, READ).unwrap();
    assert_eq!(wasi.open_at(file, ("x", false), 0, READ, 0), Err(Errno::Notdir));
    assert_eq!(wasi.open_at(1, ("x", false), 0, READ, 0), Err(Errno::Notdir));
    assert_eq!(wasi.open_at(99, ("x", false), 0, READ, 0), Err(Errno::Badf));
}

#[test]
fn flags_that_there_are_not() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"");
    assert_eq!(wasi.open("f", 1 << 4, READ), Err(Errno::Inval));
    assert_eq!(wasi.open_at(ROOT, ("f", false), 0, READ, 1 << 5), Err(Errno::Inval));
    let (path, room) = (wasi.put(b"f"), wasi.room(64));
    for follow in [2, u64::from(u32::MAX)] {
        let args = [ROOT.into(), follow, path.into(), 1, 0, READ, 0, 0, room.into()];
        assert_eq!(wasi.call("path_open", &args), Err(Errno::Inval));
        let args = [ROOT.into(), follow, path.into(), 1, room.into()];
        assert_eq!(wasi.call("path_filestat_get", &args), Err(Errno::Inval));
    }
}

#[test]
fn paths_are_text() {
    let mut wasi = Wasi::new();
    let (path, room) = (wasi.put(b"a\xffb"), wasi.room(4));
    let args = [ROOT.into(), 0, path.into(), 3, 1, WRITE, 0, 0, room.into()];
    assert_eq!(wasi.call("path_open", &args), Err(Errno::Ilseq));
    assert_eq!(mkdir(&mut wasi, "a\0b"), Err(Errno::Inval));
    assert_eq!(mkdir(&mut wasi, "grün"), Ok(()));
    assert!(wasi.root().join("grün").is_dir());
}

#[test]
fn directories_come_and_go() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"");
    assert_eq!(mkdir(&mut wasi, "d"), Ok(()));
    assert_eq!(mkdir(&mut wasi, "d"), Err(Errno::Exist));
    assert_eq!(mkdir(&mut wasi, "f"), Err(Errno::Exist));
    assert_eq!(mkdir(&mut wasi, "f/d"), Err(Errno::Notdir));
    assert_eq!(mkdir(&mut wasi, "no/d"), Err(Errno::Noent));
    assert_eq!(mkdir(&mut wasi, "d/e/"), Ok(()));
    // "Return `errno::notempty` if the directory is not empty."
    assert_eq!(rmdir(&mut wasi, "d"), Err(Errno::Notempty));
    assert_eq!(rmdir(&mut wasi, "f"), Err(Errno::Notdir));
    assert_eq!(rmdir(&mut wasi, "no"), Err(Errno::Noent));
    assert_eq!(rmdir(&mut wasi, "."), Err(Errno::Inval));
    assert_eq!(rmdir(&mut wasi, "d/e/"), Ok(()));
    assert_eq!(rmdir(&mut wasi, "d"), Ok(()));
    assert!(!wasi.root().join("d").exists());
}

#[test]
fn files_are_unlinked() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"");
    mkdir(&mut wasi, "d").unwrap();
    // "Return `errno::isdir` if the path refers to a directory."
    assert_eq!(unlink(&mut wasi, "d"), Err(Errno::Isdir));
    assert_eq!(unlink(&mut wasi, "d/"), Err(Errno::Isdir));
    assert_eq!(unlink(&mut wasi, "f/"), Err(Errno::Notdir));
    assert_eq!(unlink(&mut wasi, "no"), Err(Errno::Noent));
    assert_eq!(unlink(&mut wasi, "f"), Ok(()));
    assert_eq!(unlink(&mut wasi, "f"), Err(Errno::Noent));
}

#[test]
fn renaming() {
    let mut wasi = Wasi::new();
    wasi.file("a", b"aaa");
    wasi.file("b", b"bbb");
    assert_eq!(rename(&mut wasi, "a", "c"), Ok(()));
    assert_eq!(wasi.open("a", 0, READ), Err(Errno::Noent));
    // Over what is there.
    assert_eq!(rename(&mut wasi, "c", "b"), Ok(()));
    assert_eq!(std::fs::read(wasi.root().join("b")).unwrap(), b"aaa");
    assert_eq!(rename(&mut wasi, "b", "b"), Ok(()));
    assert_eq!(rename(&mut wasi, "no", "b"), Err(Errno::Noent));
    assert_eq!(rename(&mut wasi, "b", "no/b"), Err(Errno::Noent));

    mkdir(&mut wasi, "d").unwrap();
    mkdir(&mut wasi, "e").unwrap();
    assert_eq!(rename(&mut wasi, "b", "d"), Err(Errno::Isdir));
    assert_eq!(rename(&mut wasi, "d", "b"), Err(Errno::Notdir));
    // Over an empty directory, but over no other.
    assert_eq!(rename(&mut wasi, "b", "e/b"), Ok(()));
    assert_eq!(rename(&mut wasi, "d", "e"), Err(Errno::Notempty));
    assert_eq!(rename(&mut wasi, "e", "d"), Ok(()));
    assert!(wasi.root().join("d/b").is_file());
    // Into itself.
    assert_eq!(rename(&mut wasi, "d", "d/x"), Err(Errno::Inval));
    assert_eq!(rename(&mut wasi, "d/b/", "d/c"), Err(Errno::Notdir));
    // A slash at the end is for directories.
    assert_eq!(rename(&mut wasi, "d/", "g/"), Ok(()));
    assert!(wasi.root().join("g/b").is_file());
}

#[test]
fn renaming_between_directories() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    mkdir(&mut wasi, "d").unwrap();
    let below = wasi.open("d", DIRECTORY, READ).unwrap();
    let (from, to) = (wasi.put(b"f"), wasi.put(b"g"));
    let args = [ROOT.into(), from.into(), 1, below.into(), to.into(), 1];
    assert_eq!(wasi.call("path_rename", &args), Ok(()));
    assert_eq!(std::fs::read(wasi.root().join("d/g")).unwrap(), b"abc");
}

#[test]
fn hard_links() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    assert_eq!(link(&mut wasi, false, "f", "g"), Ok(()));
    let stat = wasi.filestat(fd).unwrap();
    assert_eq!(stat.nlink, 2);
    assert_eq!(wasi.path_filestat("g", false).unwrap().ino, stat.ino);
    assert_eq!(link(&mut wasi, false, "f", "g"), Err(Errno::Exist));
    assert_eq!(link(&mut wasi, false, "no", "h"), Err(Errno::Noent));
    assert_eq!(link(&mut wasi, false, "f", "no/h"), Err(Errno::Noent));
    assert_eq!(link(&mut wasi, false, "f/", "h"), Err(Errno::Notdir));
    mkdir(&mut wasi, "d").unwrap();
    assert_eq!(link(&mut wasi, false, "d", "h"), Err(Errno::Perm));
    // A link to a symbolic link is one, unless it is to be followed.
    symlink(&mut wasi, "f", "s").unwrap();
    assert_eq!(link(&mut wasi, false, "s", "s2"), Ok(()));
    assert_eq!(wasi.path_filestat("s2", false).unwrap().filetype, 7);
    assert_eq!(link(&mut wasi, true, "s", "f2"), Ok(()));
    assert_eq!(wasi.path_filestat("f2", false).unwrap().ino, stat.ino);
    assert_eq!(link(&mut wasi, true, "f", "f3"), Ok(()));
}

#[test]
fn symbolic_links() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abc");
    assert_eq!(symlink(&mut wasi, "f", "s"), Ok(()));
    assert_eq!(symlink(&mut wasi, "f", "s"), Err(Errno::Exist));
    assert_eq!(symlink(&mut wasi, "f", "no/s"), Err(Errno::Noent));
    assert_eq!(symlink(&mut wasi, "", "empty"), Err(Errno::Noent));
    assert_eq!(readlink(&mut wasi, "s", 16), Ok("f".to_owned()));
    assert_eq!(readlink(&mut wasi, "f", 16), Err(Errno::Inval));
    assert_eq!(readlink(&mut wasi, "no", 16), Err(Errno::Noent));

    let file = wasi.filestat(fd).unwrap();
    assert_eq!(wasi.path_filestat("s", true).unwrap().ino, file.ino);
    let itself = wasi.path_filestat("s", false).unwrap();
    assert_eq!((itself.filetype, itself.size), (7, 1));

    assert!(wasi.open("s", 0, READ).is_ok());
    // Not followed at the end of a path, a link cannot be opened.
    assert_eq!(wasi.open_at(ROOT, ("s", false), 0, READ, 0), Err(Errno::Loop));
    // In the middle it always is.
    mkdir(&mut wasi, "d").unwrap();
    symlink(&mut wasi, "d", "sd").unwrap();
    assert!(wasi.open_at(ROOT, ("sd/new", false), CREAT, WRITE, 0).is_ok());
    assert!(wasi.root().join("d/new").is_file());

    // A dangling one can be made, read and removed; opening it finds nothing.
    symlink(&mut wasi, "nowhere", "dangling").unwrap();
    assert_eq!(readlink(&mut wasi, "dangling", 16), Ok("nowhere".to_owned()));
    assert_eq!(wasi.open("dangling", 0, READ), Err(Errno::Noent));
    assert_eq!(wasi.open("dangling", CREAT | EXCL, WRITE), Err(Errno::Exist));
    assert_eq!(unlink(&mut wasi, "dangling"), Ok(()));
    // A link to a directory is removed as a file.
    assert_eq!(rmdir(&mut wasi, "sd"), Err(Errno::Notdir));
    assert_eq!(unlink(&mut wasi, "sd"), Ok(()));
    assert!(wasi.root().join("d/new").is_file());

    symlink(&mut wasi, "loop", "loop").unwrap();
    assert_eq!(wasi.open("loop", 0, READ), Err(Errno::Loop));
    assert_eq!(wasi.path_filestat("loop", true), Err(Errno::Loop));
}

#[test]
fn a_link_that_does_not_fit_is_cut() {
    let mut wasi = Wasi::new();
    symlink(&mut wasi, "target", "s").unwrap();
    assert_eq!(readlink(&mut wasi, "s", 3), Ok("tar".to_owned()));
    assert_eq!(readlink(&mut wasi, "s", 6), Ok("target".to_owned()));
    assert_eq!(readlink(&mut wasi, "s", 0), Ok(String::new()));
}

#[test]
fn attributes_by_path() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    let stat = wasi.path_filestat("f", false).unwrap();
    assert_eq!((stat.filetype, stat.size, stat.nlink), (4, 3, 1));
    assert_eq!(wasi.path_filestat(".", false).unwrap().filetype, 3);
    assert_eq!(wasi.path_filestat("no", false), Err(Errno::Noent));
    assert_eq!(wasi.path_filestat("", false), Err(Errno::Noent));
    assert_eq!(wasi.path_filestat("f/", false), Err(Errno::Notdir));
}

#[test]
fn times_by_path() {
    const ATIM: u64 = 1;
    const MTIM: u64 = 4;

    let mut wasi = Wasi::new();
    wasi.file("f", b"abc");
    mkdir(&mut wasi, "d").unwrap();
    symlink(&mut wasi, "f", "s").unwrap();
    let set = |wasi: &mut Wasi, path: &str, follow: bool, time: u64, flags: u64| {
        let at = wasi.put(path.as_bytes());
        let len = path.len() as u64;
        let args = [ROOT.into(), follow.into(), at.into(), len, time, time, flags];
        wasi.call("path_filestat_set_times", &args)
    };
    assert_eq!(set(&mut wasi, "f", false, 5, ATIM | MTIM), Ok(()));
    let stat = wasi.path_filestat("f", false).unwrap();
    assert_eq!((stat.accessed, stat.modified), (5, 5));
    assert_eq!(set(&mut wasi, "d", false, 6, MTIM), Ok(()));
    assert_eq!(wasi.path_filestat("d", false).unwrap().modified, 6);
    // The link, and what it points at.
    assert_eq!(set(&mut wasi, "s", false, 7, MTIM), Ok(()));
    assert_eq!(wasi.path_filestat("s", false).unwrap().modified, 7);
    assert_eq!(wasi.path_filestat("f", false).unwrap().modified, 5);
    assert_eq!(set(&mut wasi, "s", true, 8, MTIM), Ok(()));
    assert_eq!(wasi.path_filestat("f", false).unwrap().modified, 8);

    assert_eq!(set(&mut wasi, "no", false, 1, MTIM), Err(Errno::Noent));
    assert_eq!(set(&mut wasi, "f", false, 1, 3), Err(Errno::Inval));
    assert_eq!(set(&mut wasi, "f", false, 1, 12), Err(Errno::Inval));
}

#[test]
fn what_could_block_is_not_opened() {
    let mut wasi = Wasi::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, wasi.root().join("fifo"), 0o600.into()).unwrap();
    assert_eq!(wasi.open("fifo", 0, READ), Err(Errno::Notsup));
    assert_eq!(wasi.open("fifo", 0, READ | WRITE), Err(Errno::Notsup));
    assert_eq!(wasi.path_filestat("fifo", false).unwrap().filetype, 0);
    assert_eq!(unlink(&mut wasi, "fifo"), Ok(()));
}

/// A guest that is given a directory with devices in it.
#[test]
fn devices() {
    use crate::guest::{Directory, Guest};

    let devices = Directory { host: "/dev".into(), guest: "/dev".into(), read_only: false, bytes_max: None };
    let mut wasi = Wasi::with(Guest { directories: vec![devices], ..Guest::default() }, false);
    let fd = wasi.open_at(ROOT, ("null", true), 0, READ | WRITE, 0).unwrap();
    assert_eq!(wasi.fdstat(fd).unwrap().filetype, 2);
    assert_eq!(wasi.filestat(fd).unwrap().filetype, 2);
    assert_eq!(wasi.write(fd, &[b"abc"]), Ok(3));
    assert_eq!(wasi.read(fd, &[3]), Ok(vec![]));
    let fd = wasi.open_at(ROOT, ("zero", true), 0, READ, 0).unwrap();
    assert_eq!(wasi.read(fd, &[3]), Ok(vec![0; 3]));
}
