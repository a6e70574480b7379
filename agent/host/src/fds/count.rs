//! What there is below a directory, in the bytes of a [`Budget`](super::budget::Budget).

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat, fstat, openat, seek, statat};
use rustix::io::Errno;

use super::budget::{Inode, NAME_BYTES, blocks};

/// Names after which it ends: seconds on a slow card. No guest can have made as many with its budget, and
/// whoever has more is told that there is no room.
const NAMES_MAX: u64 = 1_000_000;

/// Counts names and bytes. It takes one descriptor, whatever the depth, and remembers of each directory
/// above the place where it left it.
pub(super) fn count(root: impl AsFd) -> io::Result<u64> {
    let mut directory = below(root, c".")?;
    let mut above = Vec::new();
    let mut linked = BTreeSet::new();
    let (mut names, mut total) = (0, 0_u64);
    let mut batch = [MaybeUninit::uninit(); 4096];
    'directory: loop {
        let mut entries = RawDir::new(&directory, &mut batch);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let stat = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Somebody else has removed it.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            names += 1;
            if names > NAMES_MAX {
                return Ok(u64::MAX);
            }
            total = total.saturating_add(NAME_BYTES);
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                match below(&directory, name) {
                    Ok(inner) => {
                        above.push((inode(&fstat(&directory)?), entry.next_entry_cookie()));
                        directory = inner;
                        continue 'directory;
                    }
                    // The guest cannot look into it either.
                    Err(Errno::ACCESS) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if stat.st_nlink <= 1 || linked.insert(inode(&stat)) {
                total = total.saturating_add(blocks(stat.st_size as u64));
            }
        }
        let Some((expected, place)) = above.pop() else { return Ok(total) };
        directory = below(&directory, c"..")?;
        if inode(&fstat(&directory)?) != expected {
            return Err(io::Error::other("it was moved while it was counted"));
        }
        seek(&directory, SeekFrom::Start(place))?;
    }
}

fn below(directory: impl AsFd, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

fn inode(stat: &Stat) -> Inode {
    Inode { device: stat.st_dev, number: stat.st_ino }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const NAME: u64 = NAME_BYTES;

    fn counted(path: &std::path::Path) -> u64 {
        count(fs::File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn names_and_lengths() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(counted(root), 0);
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        assert_eq!(counted(root), 3 * NAME);
        fs::write(root.join("a/b/f"), b"x").unwrap();
        fs::write(root.join("c/empty"), b"").unwrap();
        assert_eq!(counted(root), 5 * NAME + 4096);
        // Only the length says what may be written without growing it.
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(counted(root), 6 * NAME + 4096 + (1 << 30));
        fs::remove_file(root.join("sparse")).unwrap();
        // Wherever it leads: it is not followed.
        symlink("/", root.join("c/root")).unwrap();
        symlink("..", root.join("c/up")).unwrap();
        assert_eq!(counted(root), 7 * NAME + 3 * 4096);
    }

    #[test]
    fn a_file_with_two_names_is_one_file() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join("f"), [0; 10_000]).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        for name in ["g", "d/h"] {
            fs::hard_link(root.join("f"), root.join(name)).unwrap();
        }
        assert_eq!(counted(root), 4 * NAME + 3 * 4096);
    }

    /// So deep that no path leads there.
    #[test]
    fn it_goes_as_deep_as_a_guest_can() {
        const DEPTH: usize = 40;

        let root = tempfile::tempdir().unwrap();
        let mut directory: OwnedFd = fs::File::open(root.path()).unwrap().into();
        let name = "n".repeat(200);
        for level in 0..DEPTH {
            rustix::fs::mkdirat(&directory, &name, 0o700.into()).unwrap();
            // Files before and after the way down.
            for file in ["a", "z"].into_iter().cycle().take(level % 7) {
                let flags = OFlags::CREATE | OFlags::WRONLY;
                openat(&directory, format!("{file}{level}"), flags, 0o600.into()).unwrap();
            }
            directory = openat(&directory, &name, OFlags::RDONLY, Mode::empty()).unwrap();
        }
        let files = (0..DEPTH).map(|level| (level % 7).min(2) as u64).sum::<u64>();
        assert_eq!(counted(root.path()), (DEPTH as u64 + files) * NAME);
    }

    #[test]
    fn more_entries_than_the_kernel_tells_at_once() {
        let root = tempfile::tempdir().unwrap();
        for name in 0..500 {
            fs::create_dir(root.path().join(format!("{name}"))).unwrap();
            fs::write(root.path().join(format!("{name}/f")), b"").unwrap();
        }
        assert_eq!(counted(root.path()), 1000 * NAME);
    }
}
