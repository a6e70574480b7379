//! Inside a directory, a path means to a guest what it means to the kernel: every function over every kind of
//! path, beside the system call, and the same outcome in both trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT};

use super::harness::{READ, ROOT, WRITE, Wasi, oflags};
use crate::p1::Errno;

const PATHS: &[&str] = &[
    "f",
    "f/",
    "f/.",
    "f/x",
    "d",
    "d/",
    "d/.",
    "d//",
    "./d",
    "e",
    "e/",
    "no",
    "no/",
    "no/x",
    "d/new",
    "d/new/",
    "sf",
    "sf/",
    "sd",
    "sd/",
    "sd/f",
    "dangling",
    "dangling/",
    "loop",
    "loop/",
    "loop/x",
    ".",
    "./",
    "",
];

/// A file, a directory with something in it, an empty one, and every kind of link.
fn fill(root: &Path) {
    fs::write(root.join("f"), b"abc").unwrap();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), b"inner").unwrap();
    fs::create_dir(root.join("e")).unwrap();
    for (target, name) in [("f", "sf"), ("d", "sd"), ("nowhere", "dangling"), ("loop", "loop")] {
        symlink(target, root.join(name)).unwrap();
    }
}

/// What is there: of files the contents, of links the targets.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let file_type = fs::symlink_metadata(&path).unwrap().file_type();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let what = if file_type.is_dir() {
                left.push(path);
                "directory".to_owned()
            } else if file_type.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            all.insert(name, what);
        }
    }
    all
}

type Outcome = Result<(), Errno>;

/// Has the guest and the kernel do the same to the same; what differs.
fn compare(
    what: &str,
    guest: impl FnOnce(&mut Wasi) -> Outcome,
    kernel: impl FnOnce(&OwnedFd) -> rustix::io::Result<()>,
) -> Option<String> {
    compare_by(what, guest, kernel, |guest, kernel| guest == kernel)
}

/// The same where the name of a link or a file has a slash at its end: it is an error for both, but cap-std finds
/// another one first.
fn compare_success(
    what: &str,
    guest: impl FnOnce(&mut Wasi) -> Outcome,
    kernel: impl FnOnce(&OwnedFd) -> rustix::io::Result<()>,
) -> Option<String> {
    compare_by(what, guest, kernel, |guest, kernel| {
        guest == kernel || what.contains("/\"") && guest.is_err() && kernel.is_err()
    })
}

fn compare_by(
    what: &str,
    guest: impl FnOnce(&mut Wasi) -> Outcome,
    kernel: impl FnOnce(&OwnedFd) -> rustix::io::Result<()>,
    alike: impl FnOnce(Outcome, Outcome) -> bool,
) -> Option<String> {
    let mut wasi = Wasi::new();
    fill(&wasi.root());
    let beside = tempfile::tempdir().unwrap();
    fill(beside.path());
    let root = fs::File::open(beside.path()).unwrap().into();
    let (guest, kernel) = (guest(&mut wasi), kernel(&root).map_err(Errno::from));
    let (guests, kernels) = (tree(&wasi.root()), tree(beside.path()));
    let same = alike(guest, kernel) && guests == kernels;
    (!same).then(|| format!("{what}: {guest:?}, and of the kernel {kernel:?}; {guests:?}, {kernels:?}"))
}

#[track_caller]
fn assert_same(differences: impl IntoIterator<Item = Option<String>>) {
    let differences = differences.into_iter().flatten().collect::<Vec<_>>();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

fn two(wasi: &mut Wasi, name: &str, before: &[u64], from: &str, between: &[u64], to: &str) -> Outcome {
    let (at, target) = (wasi.put(from.as_bytes()), wasi.put(to.as_bytes()));
    let paths = ([at.into(), from.len() as u64], [target.into(), to.len() as u64]);
    wasi.call(name, &[before, &paths.0, between, &paths.1].concat())
}

#[test]
fn opening() {
    let kinds = [
        (0, READ, OFlags::RDONLY),
        (0, READ | WRITE, OFlags::RDWR),
        (oflags::CREAT, READ | WRITE, OFlags::RDWR | OFlags::CREATE),
        (oflags::CREAT | oflags::EXCL, READ | WRITE, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL),
        (oflags::TRUNC, READ | WRITE, OFlags::RDWR | OFlags::TRUNC),
        (oflags::DIRECTORY, READ, OFlags::RDONLY | OFlags::DIRECTORY),
    ];
    assert_same(PATHS.iter().flat_map(|path| {
        kinds.iter().flat_map(move |(oflags, rights, flags)| {
            [true, false].map(|follow| {
                let flags = if follow { *flags } else { *flags | OFlags::NOFOLLOW };
                compare(
                    &format!("open {path:?} {flags:?}"),
                    |wasi| wasi.open_at(ROOT, (path, follow), *oflags, *rights, 0).map(drop),
                    |root| rustix::fs::openat(root, *path, flags, Mode::from(0o600)).map(drop),
                )
            })
        })
    }));
}

#[test]
fn creating_and_removing() {
    assert_same(PATHS.iter().flat_map(|path| {
        [
            compare(
                &format!("create directory {path:?}"),
                |wasi| wasi.path("path_create_directory", ROOT, path),
                |root| rustix::fs::mkdirat(root, *path, Mode::from(0o700)),
            ),
            compare(
                &format!("remove directory {path:?}"),
                |wasi| wasi.path("path_remove_directory", ROOT, path),
                |root| rustix::fs::unlinkat(root, *path, AtFlags::REMOVEDIR),
            ),
            compare_success(
                &format!("unlink {path:?}"),
                |wasi| wasi.path("path_unlink_file", ROOT, path),
                |root| rustix::fs::unlinkat(root, *path, AtFlags::empty()),
            ),
            compare_success(
                &format!("symlink {path:?}"),
                |wasi| two(wasi, "path_symlink", &[], "f", &[ROOT.into()], path),
                |root| rustix::fs::symlinkat("f", root, *path),
            ),
        ]
    }));
}

#[test]
fn looking() {
    assert_same(PATHS.iter().flat_map(|path| {
        let read = compare(
            &format!("readlink {path:?}"),
            |wasi| {
                let (at, room) = (wasi.put(path.as_bytes()), wasi.room(64));
                wasi.call("path_readlink", &[ROOT.into(), at.into(), path.len() as u64, room.into(), 32, room.into()])
            },
            |root| rustix::fs::readlinkat(root, *path, Vec::new()).map(drop),
        );
        let looks = [true, false].into_iter().flat_map(move |follow| {
            let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
            [
                compare(
                    &format!("stat {path:?} {flags:?}"),
                    |wasi| wasi.path_filestat(path, follow).map(drop),
                    |root| rustix::fs::statat(root, *path, flags).map(drop),
                ),
                compare(
                    &format!("set times of {path:?} {flags:?}"),
                    |wasi| {
                        let at = wasi.put(path.as_bytes());
                        let args = [ROOT.into(), follow.into(), at.into(), path.len() as u64, 0, 1_000_000_000, 4];
                        wasi.call("path_filestat_set_times", &args)
                    },
                    |root| {
                        let times = Timestamps {
                            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                            last_modification: Timespec { tv_sec: 1, tv_nsec: 0 },
                        };
                        rustix::fs::utimensat(root, *path, &times, flags)
                    },
                ),
            ]
        });
        [read].into_iter().chain(looks)
    }));
}

#[test]
fn moving_and_linking() {
    const PAIRED: &[&str] = &["f", "f/", "d", "d/", "e", "no", "no/", "d/new", "sf", "sd", "sd/", "dangling/"];

    assert_same(PAIRED.iter().flat_map(|from| {
        PAIRED.iter().flat_map(move |to| {
            [
                compare(
                    &format!("rename {from:?} {to:?}"),
                    |wasi| two(wasi, "path_rename", &[ROOT.into()], from, &[ROOT.into()], to),
                    |root| rustix::fs::renameat_with(root, *from, root, *to, RenameFlags::empty()),
                ),
                compare_success(
                    &format!("link {from:?} {to:?}"),
                    |wasi| two(wasi, "path_link", &[ROOT.into(), 0], from, &[ROOT.into()], to),
                    |root| rustix::fs::linkat(root.as_fd(), *from, root.as_fd(), *to, AtFlags::empty()),
                ),
            ]
        })
    }));
}
