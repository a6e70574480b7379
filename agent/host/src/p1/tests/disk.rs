//! The bytes that a guest may keep in a directory: every way to grow, to give back, and to get around it.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::harness::{READ, ROOT, WRITE, Wasi, fdflags, oflags};
use crate::guest::{Directory, Guest};
use crate::p1::Errno;

use oflags::{CREAT, EXCL, TRUNC};

const BLOCK: usize = 4096;
/// Of a name.
const NAME: u64 = 4096;

fn limited(blocks: u64) -> Wasi {
    Wasi::limited(blocks * BLOCK as u64, |_| {})
}

/// What is counted, in blocks.
#[track_caller]
fn used(wasi: &Wasi) -> u64 {
    let bytes = wasi.state.quota.usage().disk_bytes();
    assert_eq!(bytes % BLOCK as u64, 0);
    bytes / BLOCK as u64
}

fn create(wasi: &mut Wasi, path: &str) -> Result<u32, Errno> {
    wasi.open(path, CREAT, READ | WRITE)
}

fn set_size(wasi: &mut Wasi, fd: u32, size: u64) -> Result<(), Errno> {
    wasi.call("fd_filestat_set_size", &[fd.into(), size])
}

fn two(wasi: &mut Wasi, name: &str, before: &[u64], from: &str, between: &[u64], to: &str) -> Result<(), Errno> {
    let (at, target) = (wasi.put(from.as_bytes()), wasi.put(to.as_bytes()));
    let paths = ([at.into(), from.len() as u64], [target.into(), to.len() as u64]);
    wasi.call(name, &[before, &paths.0, between, &paths.1].concat())
}

fn rename(wasi: &mut Wasi, from: &str, to: &str) -> Result<(), Errno> {
    two(wasi, "path_rename", &[ROOT.into()], from, &[ROOT.into()], to)
}

fn link(wasi: &mut Wasi, from: &str, to: &str) -> Result<(), Errno> {
    two(wasi, "path_link", &[ROOT.into(), 0], from, &[ROOT.into()], to)
}

fn symlink(wasi: &mut Wasi, target: &str, link: &str) -> Result<(), Errno> {
    two(wasi, "path_symlink", &[], target, &[ROOT.into()], link)
}

fn remove(wasi: &mut Wasi, path: &str) -> Result<(), Errno> {
    wasi.path("path_unlink_file", ROOT, path)
}

#[test]
fn writing_ends_where_the_room_does() {
    let mut wasi = limited(4);
    let fd = create(&mut wasi, "f").unwrap();
    assert_eq!(used(&wasi), 1);
    let block = [b'x'; BLOCK];
    assert_eq!(wasi.write(fd, &[&block, b"y"]), Ok(BLOCK + 1));
    assert_eq!(used(&wasi), 3);
    // What is left of the last block is paid for.
    assert_eq!(wasi.write(fd, &[b"z"]), Ok(1));
    assert_eq!(used(&wasi), 3);
    // As much as fits, and then nothing.
    let left = 3 * BLOCK - (BLOCK + 2);
    assert_eq!(wasi.write(fd, &[&block, b"", &block, &block]), Ok(left));
    assert_eq!(wasi.write(fd, &[b"z"]), Err(Errno::Dquot));
    assert_eq!(wasi.write(fd, &[]), Ok(0));
    assert_eq!((wasi.filestat(fd).unwrap().size, used(&wasi)), (3 * BLOCK as u64, 4));
    // What is there can be read, and written over.
    assert_eq!(wasi.pread(fd, 3, BLOCK as u64 - 1), Ok(b"xyz".to_vec()));
    assert_eq!(wasi.pwrite(fd, &[b'n'; 2 * BLOCK], 0), Ok(2 * BLOCK));
    assert_eq!(wasi.seek(fd, 0, 0), Ok(0));
    assert_eq!(wasi.write(fd, &[&block, &block, &block, &block]), Ok(3 * BLOCK));
    assert_eq!(create(&mut wasi, "g"), Err(Errno::Dquot));
}

#[test]
fn holes_are_no_way_around_it() {
    let mut wasi = limited(4);
    let fd = create(&mut wasi, "f").unwrap();
    assert_eq!(wasi.pwrite(fd, b"x", 3 * BLOCK as u64), Err(Errno::Dquot));
    assert_eq!(wasi.seek(fd, 1 << 40, 0), Ok(1 << 40));
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Dquot));
    assert_eq!(wasi.pwrite(fd, b"x", 3 * BLOCK as u64 - 1), Ok(1));
    assert_eq!(used(&wasi), 4);
    // All of the hole is paid for.
    assert_eq!(wasi.pwrite(fd, &[b'y'; 2 * BLOCK], 0), Ok(2 * BLOCK));
    assert_eq!(used(&wasi), 4);

    assert_eq!(set_size(&mut wasi, fd, 0), Ok(()));
    assert_eq!(used(&wasi), 1);
    assert_eq!(set_size(&mut wasi, fd, 3 * BLOCK as u64 + 1), Err(Errno::Dquot));
    assert_eq!(set_size(&mut wasi, fd, u64::MAX), Err(Errno::Dquot));
    assert_eq!((wasi.filestat(fd).unwrap().size, used(&wasi)), (0, 1));
    assert_eq!(set_size(&mut wasi, fd, 3 * BLOCK as u64), Ok(()));
    assert_eq!(used(&wasi), 4);
    assert_eq!(set_size(&mut wasi, fd, BLOCK as u64 + 1), Ok(()));
    assert_eq!(used(&wasi), 3);
}

#[test]
fn room_that_is_made_sure_of_counts() {
    let mut wasi = limited(4);
    let fd = create(&mut wasi, "f").unwrap();
    let allocate = |wasi: &mut Wasi, offset: u64, len: u64| wasi.call("fd_allocate", &[fd.into(), offset, len]);
    assert_eq!(allocate(&mut wasi, 0, 3 * BLOCK as u64 + 1), Err(Errno::Dquot));
    assert_eq!(allocate(&mut wasi, 1 << 40, 1 << 40), Err(Errno::Dquot));
    assert_eq!(used(&wasi), 1);
    assert_eq!(allocate(&mut wasi, BLOCK as u64, 1), Ok(()));
    assert_eq!(allocate(&mut wasi, 0, 10), Ok(()));
    assert_eq!(used(&wasi), 3);
}

#[test]
fn appending_counts_from_the_end() {
    let mut wasi = limited(3);
    wasi.file("f", &[b'x'; BLOCK]);
    let fd = wasi.open_at(ROOT, ("f", true), 0, WRITE, fdflags::APPEND).unwrap();
    assert_eq!(wasi.write(fd, &[&[b'y'; 2 * BLOCK]]), Ok(BLOCK));
    assert_eq!(wasi.write(fd, &[b"y"]), Err(Errno::Dquot));
    // Set later, and given up.
    assert_eq!(wasi.call("fd_fdstat_set_flags", &[fd.into(), 0]), Ok(()));
    assert_eq!(wasi.seek(fd, 0, 0), Ok(0));
    assert_eq!(wasi.write(fd, &[b"z"]), Ok(1));
    assert_eq!(used(&wasi), 3);
}

#[test]
fn every_name_counts() {
    let mut wasi = limited(8);
    create(&mut wasi, "f").unwrap();
    wasi.path("path_create_directory", ROOT, "d").unwrap();
    create(&mut wasi, "d/f").unwrap();
    link(&mut wasi, "f", "d/g").unwrap();
    assert_eq!(used(&wasi), 4);
    // Where it points is kept as bytes are.
    symlink(&mut wasi, "f", "s").unwrap();
    assert_eq!(used(&wasi), 6);
    // A link that leads nowhere makes the file that it points to.
    symlink(&mut wasi, "new", "s2").unwrap();
    assert_eq!(create(&mut wasi, "s2"), Err(Errno::Dquot));
    remove(&mut wasi, "d/g").unwrap();
    create(&mut wasi, "s2").unwrap();
    assert!(wasi.root().join("new").exists());

    assert_eq!(used(&wasi), 8);
    assert_eq!(create(&mut wasi, "g"), Err(Errno::Dquot));
    assert_eq!(link(&mut wasi, "f", "g"), Err(Errno::Dquot));
    assert_eq!(symlink(&mut wasi, "f", "g"), Err(Errno::Dquot));
    assert_eq!(wasi.path("path_create_directory", ROOT, "e"), Err(Errno::Dquot));
    // What is there can be opened, whatever the flags, and moved.
    assert!(create(&mut wasi, "f").is_ok() && wasi.open("f", CREAT | TRUNC, WRITE).is_ok());
    assert_eq!(rename(&mut wasi, "d", "e"), Ok(()));
    assert_eq!(used(&wasi), 8);

    for path in ["e/f", "f", "s", "s2", "new"] {
        remove(&mut wasi, path).unwrap();
    }
    for fd in 4..11 {
        let _ = wasi.close(fd);
    }
    assert_eq!(wasi.path("path_remove_directory", ROOT, "e/"), Ok(()));
    assert_eq!(used(&wasi), 0);
}

#[test]
fn what_fails_costs_nothing() {
    let mut wasi = limited(10);
    wasi.file("f", b"x");
    wasi.path("path_create_directory", ROOT, "d").unwrap();
    let before = used(&wasi);
    assert_eq!(wasi.open("f", CREAT | EXCL, WRITE), Err(Errno::Exist));
    assert_eq!(wasi.open("no/f", CREAT, WRITE), Err(Errno::Noent));
    assert_eq!(wasi.open(&"n".repeat(300), CREAT, WRITE), Err(Errno::Nametoolong));
    assert_eq!(wasi.open("../f", CREAT, WRITE), Err(Errno::Perm));
    assert_eq!(wasi.path("path_create_directory", ROOT, "d"), Err(Errno::Exist));
    assert_eq!(symlink(&mut wasi, "f", "d"), Err(Errno::Exist));
    assert_eq!(link(&mut wasi, "f", "d"), Err(Errno::Exist));
    assert_eq!(rename(&mut wasi, "no", "f"), Err(Errno::Noent));
    assert_eq!(rename(&mut wasi, "f", "d"), Err(Errno::Isdir));
    assert_eq!(remove(&mut wasi, "no"), Err(Errno::Noent));
    assert_eq!(wasi.path("path_remove_directory", ROOT, "f"), Err(Errno::Notdir));
    let readable = wasi.open("f", 0, READ).unwrap();
    assert_eq!(wasi.write(readable, &[b"x"]), Err(Errno::Notcapable));
    assert_eq!(used(&wasi), before);
}

#[test]
fn truncating_gives_back() {
    let mut wasi = limited(4);
    wasi.file("f", &[b'x'; 3 * BLOCK]);
    assert_eq!(used(&wasi), 4);
    symlink(&mut wasi, "f", "s").unwrap_err();
    wasi.open("f", TRUNC, WRITE).unwrap();
    assert_eq!(used(&wasi), 1);
    // Through a link.
    symlink(&mut wasi, "f", "s").unwrap();
    wasi.pwrite(4, b"x", 0).unwrap();
    assert_eq!(used(&wasi), 4);
    wasi.open("s", CREAT | TRUNC, WRITE).unwrap();
    assert_eq!(used(&wasi), 3);
}

#[test]
fn a_removed_file_counts_until_nobody_has_it_open() {
    let mut wasi = limited(4);
    let fd = wasi.file("f", &[b'x'; 2 * BLOCK]);
    let again = wasi.open("f", 0, READ | WRITE).unwrap();
    link(&mut wasi, "f", "g").unwrap();
    assert_eq!(used(&wasi), 4);
    remove(&mut wasi, "f").unwrap();
    assert_eq!(used(&wasi), 3);
    remove(&mut wasi, "g").unwrap();
    assert_eq!(used(&wasi), 2);
    // It goes on growing, up to the limit.
    assert_eq!(wasi.pwrite(fd, &[b'y'; 4 * BLOCK], 2 * BLOCK as u64), Ok(2 * BLOCK));
    assert_eq!(create(&mut wasi, "h"), Err(Errno::Dquot));
    wasi.close(fd).unwrap();
    assert_eq!(used(&wasi), 4);
    // Another descriptor takes its number: that closes it as well.
    let stdout = 1_u32;
    wasi.call("fd_renumber", &[stdout.into(), again.into()]).unwrap();
    assert_eq!(used(&wasi), 0);
}

#[test]
fn what_is_renamed_over_is_given_back() {
    let mut wasi = limited(10);
    let fd = wasi.file("f", &[b'x'; BLOCK]);
    wasi.file("g", &[b'x'; 2 * BLOCK]);
    wasi.close(fd + 1).unwrap();
    assert_eq!(used(&wasi), 5);
    rename(&mut wasi, "f", "g").unwrap();
    assert_eq!(used(&wasi), 2);
    // Two names of one file stay, and a name stays itself.
    link(&mut wasi, "g", "h").unwrap();
    rename(&mut wasi, "g", "h").unwrap();
    rename(&mut wasi, "h", "h").unwrap();
    assert_eq!((used(&wasi), counted_names(&wasi)), (3, 2));
    // Of two names one goes, with all of another file.
    wasi.file("i", b"x");
    rename(&mut wasi, "i", "h").unwrap();
    assert_eq!(used(&wasi), 4);
    for name in ["d", "e"] {
        wasi.path("path_create_directory", ROOT, name).unwrap();
    }
    rename(&mut wasi, "d", "e").unwrap();
    assert_eq!(used(&wasi), 5);
}

fn counted_names(wasi: &Wasi) -> usize {
    fs::read_dir(wasi.root()).unwrap().count()
}

#[test]
fn what_is_there_at_the_start_counts() {
    let fill = |root: &Path| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        fs::write(root.join("a/b/f"), [0; BLOCK + 1]).unwrap();
        fs::hard_link(root.join("a/b/f"), root.join("c/g")).unwrap();
        std::os::unix::fs::symlink("/somewhere/else", root.join("s")).unwrap();
    };
    let wasi = Wasi::limited(1 << 20, fill);
    // Three directories, two names of a file of two blocks, and a link.
    assert_eq!(used(&wasi), 3 + 2 + 2 + 2);

    // More than is allowed: it can only become less.
    let mut wasi = Wasi::limited(8 * BLOCK as u64, fill);
    let fd = wasi.open("a/b/f", 0, READ | WRITE).unwrap();
    assert_eq!(wasi.write(fd, &[&[b'x'; BLOCK]]), Ok(BLOCK));
    assert_eq!(wasi.pwrite(fd, b"x", 2 * BLOCK as u64), Err(Errno::Dquot));
    assert_eq!(create(&mut wasi, "new"), Err(Errno::Dquot));
    remove(&mut wasi, "s").unwrap();
    assert!(create(&mut wasi, "new").is_ok());
    drop(wasi);
}

#[test]
fn who_may_not_write_is_not_counted() {
    let wasi = Wasi::read_only();
    fs::write(wasi.root().join("f"), [0; BLOCK]).unwrap();
    assert_eq!(used(&wasi), 0);
}

/// To each other, directories with limits of their own are other disks.
#[test]
fn no_file_has_names_under_two_limits() {
    let other = tempfile::tempdir().unwrap();
    for bytes_max in [None, Some(1 << 20)] {
        let given = Directory { host: other.path().into(), guest: "/other".into(), read_only: false, bytes_max };
        let mut wasi = Wasi::limited(1 << 20, |_| {});
        // Its descriptor is the one after the harness's own.
        let own = Directory { host: wasi.root(), guest: "/data".into(), read_only: false, bytes_max: Some(1 << 20) };
        let guest = Guest { directories: vec![own, given], ..Guest::default() };
        wasi.state = crate::state::State::new(guest).unwrap();
        wasi.file("f", b"x");
        let before = used(&wasi);
        assert_eq!(two(&mut wasi, "path_rename", &[3], "f", &[4], "f"), Err(Errno::Xdev));
        assert_eq!(two(&mut wasi, "path_link", &[3, 0], "f", &[4], "f"), Err(Errno::Xdev));
        assert_eq!(two(&mut wasi, "path_rename", &[4], "no", &[3], "f"), Err(Errno::Xdev));
        assert_eq!(used(&wasi), before);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open { name: usize, oflags: u32, append: bool },
    Close { fd: u32 },
    Write { fd: u32, len: usize },
    WriteAt { fd: u32, len: usize, offset: u64 },
    Read { fd: u32, len: usize },
    Seek { fd: u32, to: i64, whence: u32 },
    SetSize { fd: u32, size: u64 },
    Allocate { fd: u32, offset: u64, len: u64 },
    Rename { from: usize, to: usize },
    Link { from: usize, to: usize },
    Symlink { to: usize, name: usize },
    CreateDirectory { name: usize },
    Remove { name: usize },
    RemoveDirectory { name: usize },
}

const NAMES: &[&str] = &["a", "b", "c", "d", "a/a", "a/b", "b/a", "b/b/a"];

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let fd = || 4..9_u32;
    let offset = || 0..6 * BLOCK as u64;
    let len = || 0..3 * BLOCK;
    let oflags = proptest::sample::select(vec![0, CREAT, CREAT | TRUNC, CREAT | EXCL, TRUNC]);
    prop_oneof![
            4 => (name(), oflags, any::<bool>()).prop_map(|(name, oflags, append)| Step::Open { name, oflags, append }),
            1 => fd().prop_map(|fd| Step::Close { fd }),
            3 => (fd(), len()).prop_map(|(fd, len)| Step::Write { fd, len }),
            3 => (fd(), len(), offset()).prop_map(|(fd, len, offset)| Step::WriteAt { fd, len, offset }),
    1 => (fd(), len()).prop_map(|(fd, len)| Step::Read { fd, len }),
            1 => (fd(), -1000..3 * BLOCK as i64, 0..3_u32).prop_map(|(fd, to, whence)| Step::Seek { fd, to, whence }),
            1 => (fd(), offset()).prop_map(|(fd, size)| Step::SetSize { fd, size }),
            1 => (fd(), offset(), offset()).prop_map(|(fd, offset, len)| Step::Allocate { fd, offset, len }),
            2 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
            1 => (name(), name()).prop_map(|(from, to)| Step::Link { from, to }),
            1 => (name(), name()).prop_map(|(to, name)| Step::Symlink { to, name }),
            2 => name().prop_map(|name| Step::CreateDirectory { name }),
            2 => name().prop_map(|name| Step::Remove { name }),
            1 => name().prop_map(|name| Step::RemoveDirectory { name }),
        ]
}

/// Whether it worked is another test's business.
fn apply(wasi: &mut Wasi, step: &Step) {
    let _ = match *step {
        Step::Open { name, oflags, append } => {
            let flags = if append { fdflags::APPEND } else { 0 };
            wasi.open_at(ROOT, (NAMES[name], true), oflags, READ | WRITE, flags).map(drop)
        }
        Step::Close { fd } => wasi.close(fd),
        Step::Write { fd, len } => wasi.write(fd, &[&vec![b'x'; len / 2], &vec![b'y'; len - len / 2]]).map(drop),
        Step::WriteAt { fd, len, offset } => wasi.pwrite(fd, &vec![b'z'; len], offset).map(drop),
        Step::Read { fd, len } => wasi.read(fd, &[len]).map(drop),
        Step::Seek { fd, to, whence } => wasi.seek(fd, to, whence).map(drop),
        Step::SetSize { fd, size } => set_size(wasi, fd, size),
        Step::Allocate { fd, offset, len } => wasi.call("fd_allocate", &[fd.into(), offset, len]),
        Step::Rename { from, to } => rename(wasi, NAMES[from], NAMES[to]),
        Step::Link { from, to } => link(wasi, NAMES[from], NAMES[to]),
        Step::Symlink { to, name } => symlink(wasi, NAMES[to], NAMES[name]),
        Step::CreateDirectory { name } => wasi.path("path_create_directory", ROOT, NAMES[name]),
        Step::Remove { name } => remove(wasi, NAMES[name]),
        Step::RemoveDirectory { name } => wasi.path("path_remove_directory", ROOT, NAMES[name]),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever a guest does, what it is charged for is what is there.
    #[test]
    fn it_is_charged_for_what_is_there(steps in proptest::collection::vec(step(), 1..60)) {
        const MAX: u64 = 24;

        let mut wasi = limited(MAX);
        let room = wasi.room(8);
        for step in &steps {
            apply(&mut wasi, step);
            wasi.reset(room);
            prop_assert!(used(&wasi) <= MAX, "{step:?}");
        }
        for fd in 4..64 {
            let _ = wasi.close(fd);
        }
        prop_assert_eq!(used(&wasi), fresh_count(&wasi));
    }
}

/// As the next start would count it.
fn fresh_count(wasi: &Wasi) -> u64 {
    let root = Directory { host: wasi.root(), guest: "/data".into(), read_only: false, bytes_max: Some(NAME) };
    let next = crate::state::State::new(Guest { directories: vec![root], ..Guest::default() }).unwrap();
    next.quota.usage().disk_bytes() / BLOCK as u64
}
