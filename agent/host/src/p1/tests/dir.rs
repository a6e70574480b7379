//! Listing directories, whole, in parts and while they change.

use std::collections::BTreeSet;

use super::harness::{READ, ROOT, Wasi, oflags};
use crate::p1::Errno;

#[derive(Clone, Debug)]
struct Entry {
    next: u64,
    inode: u64,
    filetype: u8,
    name: String,
}

/// One call: the bytes it gave.
fn readdir(wasi: &mut Wasi, fd: u32, room: usize, cookie: u64) -> Result<Vec<u8>, Errno> {
    let free = wasi.room(0);
    let (buf, used) = (wasi.put(&vec![0xaa; room + 8]), wasi.room(4));
    wasi.call("fd_readdir", &[fd.into(), buf.into(), room as u64, cookie, used.into()])?;
    let used = wasi.u32(used) as usize;
    assert!(used <= room);
    assert_eq!(wasi.bytes(buf + room as u32, 8), [0xaa; 8], "wrote beyond the buffer");
    let bytes = wasi.bytes(buf, used).to_vec();
    wasi.reset(free);
    Ok(bytes)
}

/// The whole entries at the front of the bytes.
fn entries(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(24) {
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        let len = u32::from_le_bytes(header[16..20].try_into().unwrap()) as usize;
        let Some((name, rest)) = rest.split_at_checked(len) else { break };
        let name = String::from_utf8(name.to_vec()).unwrap();
        entries.push(Entry { next: number(0), inode: number(8), filetype: header[20], name });
        bytes = rest;
    }
    entries
}

/// Lists from a cookie to the end as a C library does: whole entries are taken, and a cut one is
/// asked for again, with a larger buffer if there was none before it.
fn list(wasi: &mut Wasi, fd: u32, mut room: usize, mut cookie: u64) -> Vec<Entry> {
    let mut all = Vec::new();
    loop {
        let bytes = readdir(wasi, fd, room, cookie).unwrap();
        let (some, full) = (entries(&bytes), bytes.len() == room);
        match some.last() {
            Some(last) => cookie = last.next,
            None => room *= 2,
        }
        all.extend(some);
        if !full {
            return all;
        }
    }
}

fn names(entries: &[Entry]) -> BTreeSet<String> {
    let names = entries.iter().map(|entry| entry.name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), entries.len(), "listed twice: {entries:?}");
    names
}

#[test]
fn an_empty_directory_has_itself_and_the_one_above() {
    let mut wasi = Wasi::new();
    let own = wasi.filestat(ROOT).unwrap().ino;
    let all = list(&mut wasi, ROOT, 4096, 0);
    assert_eq!(names(&all), [".", ".."].map(str::to_owned).into());
    assert!(all.iter().all(|entry| entry.filetype == 3 && entry.inode == own), "{all:?}");
}

#[test]
fn entries_have_types_and_inodes() {
    let mut wasi = Wasi::new();
    wasi.file("file", b"abc");
    wasi.path("path_create_directory", ROOT, "directory").unwrap();
    std::os::unix::fs::symlink("file", wasi.root().join("link")).unwrap();
    let all = list(&mut wasi, ROOT, 4096, 0);
    for (name, filetype) in [("file", 4), ("directory", 3), ("link", 7)] {
        let entry = all.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.filetype, filetype, "{name}");
        assert_eq!(entry.inode, wasi.path_filestat(name, false).unwrap().ino, "{name}");
    }
}

#[test]
fn any_size_of_buffer_lists_everything_once() {
    let mut wasi = Wasi::new();
    let mut expected = BTreeSet::from([".".to_owned(), "..".to_owned()]);
    for n in 0..150 {
        let name = format!("{n}-{}", "x".repeat(n));
        std::fs::write(wasi.root().join(&name), b"").unwrap();
        expected.insert(name);
    }
    for room in [24, 25, 64, 100, 1000, 4096, 65_536] {
        assert_eq!(names(&list(&mut wasi, ROOT, room, 0)), expected, "{room} bytes at a time");
    }
    // The last entry is cut where the buffer ends, and the buffer is full as long as there is more.
    for room in 0..200 {
        assert_eq!(readdir(&mut wasi, ROOT, room, 0).unwrap().len(), room);
    }
}

/// So many that they would hold up the others: in turns, and still one call.
#[tokio::test]
async fn a_large_directory_is_listed_in_turns() {
    const ROOM: u64 = 100_000;

    let mut wasi = Wasi::new();
    let mut expected = BTreeSet::from([".".to_owned(), "..".to_owned()]);
    for n in 0..1200 {
        std::fs::write(wasi.root().join(format!("{n}")), b"").unwrap();
        expected.insert(format!("{n}"));
    }
    let (buf, used) = (wasi.room(ROOM as usize), wasi.room(4));
    let args = [ROOT.into(), buf.into(), ROOM, 0, used.into()];
    assert_eq!(wasi.call_waiting("fd_readdir", &args).await, Ok(()));
    assert_eq!(wasi.attempts, 3);
    let all = entries(wasi.bytes(buf, wasi.u32(used) as usize));
    assert_eq!(names(&all), expected);
    // The next call begins where it is told to.
    assert_eq!(wasi.call("fd_readdir", &[ROOT.into(), buf.into(), 300, all[700].next, used.into()]), Ok(()));
    assert_eq!(entries(wasi.bytes(buf, 300))[0].name, all[701].name);
}

#[test]
fn a_cookie_goes_on_where_its_entry_ended() {
    let mut wasi = Wasi::new();
    for n in 0..40 {
        std::fs::write(wasi.root().join(format!("f{n}")), b"").unwrap();
    }
    let all = list(&mut wasi, ROOT, 4096, 0);
    for (index, entry) in all.iter().enumerate() {
        let rest = list(&mut wasi, ROOT, 300, entry.next);
        assert_eq!(names(&rest), names(&all[index + 1..]));
    }
    // Two listings of one directory do not disturb each other.
    let other = wasi.open(".", oflags::DIRECTORY, READ).unwrap();
    let middle = all[20].next;
    list(&mut wasi, other, 100, 0);
    assert_eq!(names(&list(&mut wasi, ROOT, 4096, middle)), names(&all[21..]));
}

#[test]
fn a_directory_that_changes_meanwhile() {
    let mut wasi = Wasi::new();
    for n in 0..200 {
        std::fs::write(wasi.root().join(format!("f{n}")), b"").unwrap();
    }
    let first = entries(&readdir(&mut wasi, ROOT, 1000, 0).unwrap());
    let last = first.last().unwrap().next;
    let seen = names(&first);
    // Half of what was not seen is removed, and something new comes.
    let unseen = (0..200).map(|n| format!("f{n}")).filter(|name| !seen.contains(name));
    let unseen = unseen.collect::<Vec<_>>();
    let (removed, kept) = unseen.split_at(unseen.len() / 2);
    for name in removed {
        std::fs::remove_file(wasi.root().join(name)).unwrap();
    }
    std::fs::write(wasi.root().join("new"), b"").unwrap();
    let rest = names(&list(&mut wasi, ROOT, 1000, last));
    assert!(kept.iter().all(|name| rest.contains(name)), "what stayed is listed");
    assert!(rest.is_disjoint(&seen), "nothing is listed twice");
    assert!(rest.iter().all(|name| !removed.contains(name)), "what is gone is not listed");
    // From the start, it is as it is now.
    let now = names(&list(&mut wasi, ROOT, 1000, 0));
    assert!(now.contains("new") && now.len() == 200 - removed.len() + 3);
}

#[test]
fn cookies_that_nobody_gave() {
    let mut wasi = Wasi::new();
    wasi.file("f", b"");
    for cookie in [1, 12_345, i64::MAX as u64, u64::MAX, 1 << 63] {
        // What they mean is the file system's business; only that it is harmless is ours.
        let outcome = readdir(&mut wasi, ROOT, 4096, cookie);
        assert!(matches!(outcome, Ok(_) | Err(Errno::Inval | Errno::Noent)), "{cookie}: {outcome:?}");
    }
}

#[test]
fn names_that_no_guest_can_say_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;

    let mut wasi = Wasi::new();
    std::fs::write(wasi.root().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), b"").unwrap();
    std::fs::write(wasi.root().join("grün"), b"").unwrap();
    let all = list(&mut wasi, ROOT, 4096, 0);
    assert_eq!(names(&all), [".", "..", "grün"].map(str::to_owned).into());
}

#[test]
fn what_is_no_directory() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"");
    assert_eq!(readdir(&mut wasi, fd, 64, 0), Err(Errno::Notdir));
    assert_eq!(readdir(&mut wasi, 1, 64, 0), Err(Errno::Notdir));
    assert_eq!(readdir(&mut wasi, 99, 64, 0), Err(Errno::Badf));
}
