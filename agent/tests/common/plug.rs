//! A disk that loses its power before a given change.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use dunlin::store::{Change, Disk};
use tokio::sync::Notify;

/// What a disk makes of the changes that were not synced when the power went.
#[derive(Clone, Copy, Debug)]
pub enum Unsynced {
    /// All of it is there.
    Kept,
    /// Bytes are torn, names are the old ones.
    Lost,
}

/// A disk whose power is cut before its `cut`th change.
pub struct Plug {
    cut: usize,
    unsynced: Unsynced,
    state: PathBuf,
    /// What the disk has after the cut.
    remains: PathBuf,
    done: Mutex<Done>,
    pulled: Notify,
}

#[derive(Default)]
struct Done {
    changes: usize,
    written: BTreeSet<PathBuf>,
    /// Names that were given: from, to, and what was there before.
    renamed: Vec<(PathBuf, PathBuf, Option<Vec<u8>>)>,
}

impl Plug {
    /// For a disk with this folder, of which that one is what it has after the cut.
    pub fn new(cut: usize, unsynced: Unsynced, state: &Path, remains: &Path) -> Arc<Self> {
        let (state, remains) = (state.into(), remains.into());
        Arc::new(Self { cut, unsynced, state, remains, done: Mutex::default(), pulled: Notify::new() })
    }

    /// Waits until the power is cut.
    pub async fn pulled(&self) {
        self.pulled.notified().await;
    }

    pub fn disk(self: &Arc<Self>) -> Disk {
        let plug = Arc::clone(self);
        Disk::watched(move |change| plug.before(change))
    }

    fn before(&self, change: Change<'_>) -> io::Result<()> {
        let mut done = self.done.lock().unwrap();
        done.changes += 1;
        if done.changes == self.cut {
            copy(&self.state, &self.remains);
            if let Unsynced::Lost = self.unsynced {
                self.lose(&done);
            }
            self.pulled.notify_one();
        }
        if done.changes >= self.cut {
            return Err(io::Error::other("the power is gone"));
        }
        match change {
            Change::Create(_) | Change::Remove(_) => {}
            Change::Write(path, _) => drop(done.written.insert(path.into())),
            Change::Sync(path) => drop(done.written.remove(path)),
            Change::Rename(from, to) => {
                let torn = done.written.remove(from);
                assert!(!torn, "{} gets a name before its bytes are synced", from.display());
                done.renamed.push((from.into(), to.into(), fs::read(to).ok()));
            }
            Change::SyncFolder(folder) => done.renamed.retain(|(_, to, _)| to.parent() != Some(folder)),
        }
        Ok(())
    }

    fn lose(&self, done: &Done) {
        let remains = |path: &Path| self.remains.join(path.strip_prefix(&self.state).unwrap());
        for (from, to, before) in done.renamed.iter().rev() {
            let new = fs::read(remains(to)).unwrap();
            fs::write(remains(from), new).unwrap();
            match before {
                Some(bytes) => fs::write(remains(to), bytes).unwrap(),
                None => fs::remove_file(remains(to)).unwrap(),
            }
        }
        for path in done.written.iter().filter(|path| remains(path).exists()) {
            let mut bytes = fs::read(remains(path)).unwrap();
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
            fs::write(remains(path), bytes).unwrap();
        }
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
