//! No path, symbolic link, rename or race leads out of the directory that a guest was given.

use std::os::unix::fs::symlink as host_symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::{READ, ROOT, WRITE, Wasi, oflags};
use crate::p1::Errno;

const SECRET: &[u8] = b"what no guest may see";

/// A guest with a secret beside its directory.
fn wasi() -> Wasi {
    let wasi = Wasi::new();
    std::fs::write(wasi.outside().join("secret"), SECRET).unwrap();
    std::fs::create_dir(wasi.outside().join("private")).unwrap();
    wasi
}

fn untouched(wasi: &Wasi) {
    assert_eq!(std::fs::read(wasi.outside().join("secret")).unwrap(), SECRET);
    let mut beside = std::fs::read_dir(wasi.outside())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    beside.sort();
    assert_eq!(beside, ["private", "root", "secret"]);
    assert_eq!(std::fs::read_dir(wasi.outside().join("private")).unwrap().count(), 0);
}

/// Every function that takes a path, at this path.
fn try_everything(wasi: &mut Wasi, path: &str) {
    let at = u64::from(wasi.put(path.as_bytes()));
    let inside = u64::from(wasi.put(b"inside"));
    let room = u64::from(wasi.room(64));
    let (fd, len) = (u64::from(ROOT), path.len() as u64);
    for follow in [0, 1] {
        let calls: &[(&str, &[u64])] = &[
            ("path_open", &[fd, follow, at, len, 0, READ, 0, 0, room]),
            ("path_open", &[fd, follow, at, len, 0, READ | WRITE, 0, 0, room]),
            ("path_open", &[fd, follow, at, len, oflags::CREAT.into(), WRITE, 0, 0, room]),
            ("path_open", &[fd, follow, at, len, oflags::TRUNC.into(), WRITE, 0, 0, room]),
            ("path_open", &[fd, follow, at, len, oflags::DIRECTORY.into(), READ, 0, 0, room]),
            ("path_filestat_get", &[fd, follow, at, len, room]),
            ("path_filestat_set_times", &[fd, follow, at, len, 1, 1, 5]),
            ("path_link", &[fd, follow, at, len, fd, inside, 6]),
            ("path_link", &[fd, follow, inside, 6, fd, at, len]),
        ];
        for (name, args) in calls {
            let outcome = wasi.call(name, args);
            assert_eq!(outcome, Err(Errno::Perm), "{name} {args:?} at {path}");
        }
    }
    let calls: &[(&str, &[u64])] = &[
        ("path_create_directory", &[fd, at, len]),
        ("path_readlink", &[fd, at, len, room, 64, room]),
        ("path_remove_directory", &[fd, at, len]),
        ("path_rename", &[fd, at, len, fd, inside, 6]),
        ("path_rename", &[fd, inside, 6, fd, at, len]),
        ("path_symlink", &[inside, 6, fd, at, len]),
        ("path_unlink_file", &[fd, at, len]),
    ];
    for (name, args) in calls {
        let outcome = wasi.call(name, args);
        assert_eq!(outcome, Err(Errno::Perm), "{name} {args:?} at {path}");
    }
}

#[test]
fn paths_that_go_up_or_start_at_the_top() {
    let mut wasi = wasi();
    wasi.file("inside", b"x");
    wasi.path("path_create_directory", ROOT, "d").unwrap();
    for path in ["../secret", "../private/x", "d/../../secret", "./../secret", "/secret", "//secret"] {
        try_everything(&mut wasi, path);
    }
    let absolute = wasi.outside().join("secret").display().to_string();
    try_everything(&mut wasi, &absolute);
    untouched(&wasi);
}

#[test]
fn the_directory_above() {
    let mut wasi = wasi();
    for path in ["..", "../", "/", "../root"] {
        assert_eq!(wasi.open(path, oflags::DIRECTORY, READ), Err(Errno::Perm), "{path}");
        assert_eq!(wasi.path_filestat(path, true), Err(Errno::Perm), "{path}");
    }
    // From further down as well, and from a descriptor of its own.
    wasi.path("path_create_directory", ROOT, "d").unwrap();
    let below = wasi.open("d", oflags::DIRECTORY, READ).unwrap();
    assert_eq!(wasi.open_at(below, ("..", true), oflags::DIRECTORY, READ, 0), Err(Errno::Perm));
}

/// Links that the host put there, or that came with the data.
#[test]
fn links_that_lead_out() {
    let mut wasi = wasi();
    wasi.file("inside", b"x");
    let root = wasi.root();
    host_symlink("../secret", root.join("relative")).unwrap();
    host_symlink(wasi.outside().join("secret"), root.join("absolute")).unwrap();
    host_symlink("..", root.join("up")).unwrap();
    host_symlink("up/secret", root.join("twice")).unwrap();
    for path in ["relative", "absolute", "twice", "up"] {
        assert_eq!(wasi.open(path, 0, READ), Err(Errno::Perm), "{path}");
        assert_eq!(wasi.open(path, oflags::TRUNC, WRITE), Err(Errno::Perm), "{path}");
        assert_eq!(wasi.path_filestat(path, true), Err(Errno::Perm), "{path}");
        // The link itself is inside.
        assert_eq!(wasi.path_filestat(path, false).unwrap().filetype, 7, "{path}");
    }
    try_everything(&mut wasi, "up/secret");
    try_everything(&mut wasi, "up/root/inside");
    untouched(&wasi);
}

/// A guest's own links cannot lead out either.
#[test]
fn links_that_a_guest_makes() {
    let mut wasi = wasi();
    let link = |wasi: &mut Wasi, target: &str, name: &str| {
        let (at, link) = (wasi.put(target.as_bytes()), wasi.put(name.as_bytes()));
        let (len, link_len) = (target.len() as u64, name.len() as u64);
        wasi.call("path_symlink", &[at.into(), len, ROOT.into(), link.into(), link_len])
    };
    assert_eq!(link(&mut wasi, "/etc/passwd", "absolute"), Err(Errno::Perm));
    // A relative one may be made: what it means depends on where it is. It does not open.
    assert_eq!(link(&mut wasi, "../secret", "relative"), Ok(()));
    assert_eq!(wasi.open("relative", 0, READ), Err(Errno::Perm));
    // Moved to where it would mean something inside, it does.
    wasi.file("secret", b"my own");
    wasi.path("path_create_directory", ROOT, "d").unwrap();
    let (from, to) = (wasi.put(b"relative"), wasi.put(b"d/relative"));
    wasi.call("path_rename", &[ROOT.into(), from.into(), 8, ROOT.into(), to.into(), 10]).unwrap();
    let fd = wasi.open("d/relative", 0, READ).unwrap();
    assert_eq!(wasi.read(fd, &[64]), Ok(b"my own".to_vec()));
    untouched(&wasi);
}

/// An open directory that the host moves away takes the guest nowhere.
#[test]
fn a_directory_that_is_moved_away() {
    let mut wasi = wasi();
    wasi.path("path_create_directory", ROOT, "d").unwrap();
    let below = wasi.open("d", oflags::DIRECTORY, READ).unwrap();
    let elsewhere = wasi.outside().join("private/d");
    std::fs::rename(wasi.root().join("d"), &elsewhere).unwrap();
    assert_eq!(wasi.open_at(below, ("../../secret", true), 0, READ, 0), Err(Errno::Perm));
    assert_eq!(wasi.open_at(below, ("..", true), oflags::DIRECTORY, READ, 0), Err(Errno::Perm));
    std::fs::remove_dir(elsewhere).unwrap();
    untouched(&wasi);
}

/// A name that is a directory at one moment and a link out of it at the next.
#[test]
fn a_race_is_not_won() {
    let mut wasi = wasi();
    let root = wasi.root();
    std::fs::create_dir(root.join("real")).unwrap();
    std::fs::write(root.join("real/secret"), b"decoy").unwrap();
    host_symlink("..", root.join("link")).unwrap();
    std::fs::rename(root.join("real"), root.join("name")).unwrap();

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::fs::rename(root.join("name"), root.join("real")).unwrap();
                std::fs::rename(root.join("link"), root.join("name")).unwrap();
                std::fs::rename(root.join("name"), root.join("link")).unwrap();
                std::fs::rename(root.join("real"), root.join("name")).unwrap();
            }
        });
        let mut decoys = 0;
        let path = wasi.put(b"name/secret");
        let opened = wasi.room(4);
        let args = [ROOT.into(), 1, path.into(), 11, 0, READ, 0, 0, opened.into()];
        let buf = wasi.room(64);
        let iovs = wasi.put(&[buf.to_le_bytes(), 64_u32.to_le_bytes()].concat());
        let read = wasi.room(4);
        // Often enough that both were met, on any machine.
        for _ in 0..20_000 {
            if wasi.call("path_open", &args).is_ok() {
                let fd = wasi.u32(opened);
                wasi.call("fd_read", &[fd.into(), iovs.into(), 1, read.into()]).unwrap();
                assert_eq!(wasi.bytes(buf, wasi.u32(read) as usize), b"decoy");
                wasi.close(fd).unwrap();
                decoys += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!((1..20_000).contains(&decoys), "the race was not run: {decoys}");
    });
}
