//! What a guest may keep in a directory: names and bytes, held against one number.
//!
//! A file counts with its length, rounded up to blocks, and holes are no cheaper: how many blocks a file has
//! is told late by some file systems and changes later on others, and then the bound would not hold. A
//! name counts as much as a block, so that a million empty files are not free.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Metadata, MetadataExt};
use rustix::io::Errno;

use super::count::count;
use crate::quota::Usage;

/// What a file's bytes are counted in.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// What a name costs, whatever it names: its inode, and its share of the directory.
pub(crate) const NAME_BYTES: u64 = BLOCK_BYTES;

/// What a file of this length costs, besides its names.
pub(crate) fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// One directory's bound, shared by all that is opened below it.
pub(crate) struct Budget {
    max: u64,
    accounts: Mutex<Accounts>,
    usage: Arc<Usage>,
}

struct Accounts {
    used: u64,
    /// Files that the guest has open: without a name they still count.
    open: BTreeMap<Inode, Open>,
}

struct Open {
    descriptors: usize,
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), number: metadata.ino() }
    }
}

impl Budget {
    /// Counts what is there already, which may be more than is allowed: then nothing grows. This reads every
    /// directory below.
    pub(crate) fn count(directory: impl AsFd, max: u64, usage: &Arc<Usage>) -> io::Result<Self> {
        let used = count(directory)?;
        usage.disk_grew(used);
        let accounts = Mutex::new(Accounts { used, open: BTreeMap::new() });
        Ok(Self { max, accounts, usage: Arc::clone(usage) })
    }

    /// What is left.
    pub(crate) fn room(&self) -> u64 {
        self.max.saturating_sub(self.accounts().used)
    }

    /// Does what takes so many bytes, if they are left. What fails has taken none.
    pub(crate) fn spend<T>(&self, bytes: u64, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.take(bytes)?;
        let outcome = operation();
        if outcome.is_err() {
            self.give_back(bytes);
        }
        outcome
    }

    pub(crate) fn take(&self, bytes: u64) -> io::Result<()> {
        let mut accounts = self.accounts();
        // Who asks for nothing gets it, even where there is too much already.
        if bytes > 0 && bytes > self.max.saturating_sub(accounts.used) {
            return Err(Errno::DQUOT.into());
        }
        self.add(&mut accounts, bytes);
        Ok(())
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.subtract(&mut self.accounts(), bytes);
    }

    /// A name is gone, and with its last one a file that nobody has open.
    pub(crate) fn removed(&self, what: &Metadata) {
        let last = !what.is_dir() && what.nlink() <= 1 && !self.accounts().open.contains_key(&Inode::of(what));
        self.give_back(if last { NAME_BYTES + blocks(what.len()) } else { NAME_BYTES });
    }

    /// A file has one more descriptor, and is so long. If it was cut when it was opened, it was longer before.
    pub(crate) fn opened(&self, file: Inode, before: Option<u64>, len: u64) {
        let known = {
            let mut accounts = self.accounts();
            let known = accounts.open.entry(file).or_insert(Open { descriptors: 0, len: before.unwrap_or(len) });
            known.descriptors += 1;
            known.len
        };
        if known != len {
            self.resized(file, len);
        }
    }

    /// How long a file is that the guest has open.
    pub(crate) fn len(&self, file: Inode) -> u64 {
        self.accounts().open.get(&file).map_or(0, |open| open.len)
    }

    /// An open file has become longer or shorter.
    pub(crate) fn resized(&self, file: Inode, len: u64) {
        let mut accounts = self.accounts();
        let Some(open) = accounts.open.get_mut(&file) else { return };
        let before = blocks(mem::replace(&mut open.len, len));
        let after = blocks(len);
        match after.checked_sub(before) {
            Some(more) => self.add(&mut accounts, more),
            None => self.subtract(&mut accounts, before - after),
        }
    }

    /// A file has one descriptor less. With the last, what has no name is gone.
    pub(crate) fn closed(&self, file: Inode, nameless: impl FnOnce() -> bool) {
        let mut accounts = self.accounts();
        let Some(open) = accounts.open.get_mut(&file) else { return };
        open.descriptors -= 1;
        if open.descriptors > 0 {
            return;
        }
        let bytes = blocks(open.len);
        accounts.open.remove(&file);
        if nameless() {
            self.subtract(&mut accounts, bytes);
        }
    }

    fn add(&self, accounts: &mut Accounts, bytes: u64) {
        let bytes = bytes.min(u64::MAX - accounts.used);
        accounts.used += bytes;
        self.usage.disk_grew(bytes);
    }

    fn subtract(&self, accounts: &mut Accounts, bytes: u64) {
        // Less than it was, if somebody else added to the directory meanwhile.
        let bytes = bytes.min(accounts.used);
        accounts.used -= bytes;
        self.usage.disk_shrank(bytes);
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.usage.disk_shrank(self.accounts().used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_BYTES;

    fn budget(max: u64) -> (Budget, Arc<Usage>) {
        let (empty, usage) = (tempfile::tempdir().unwrap(), Arc::default());
        let budget = Budget::count(std::fs::File::open(empty.path()).unwrap(), max, &usage).unwrap();
        (budget, usage)
    }

    #[track_caller]
    fn refused(outcome: io::Result<()>) {
        assert_eq!(Errno::from_io_error(&outcome.unwrap_err()), Some(Errno::DQUOT));
    }

    #[test]
    fn bytes_are_blocks() {
        assert_eq!([0, 1, BLOCK, BLOCK + 1].map(blocks), [0, BLOCK, BLOCK, 2 * BLOCK]);
        // No sum overflows.
        assert_eq!(blocks(u64::MAX), u64::MAX);
    }

    #[test]
    fn no_more_is_taken_than_there_is() {
        let (budget, usage) = budget(2 * BLOCK);
        refused(budget.take(2 * BLOCK + 1));
        refused(budget.take(u64::MAX));
        budget.take(2 * BLOCK).unwrap();
        assert_eq!((budget.room(), usage.disk_bytes()), (0, 2 * BLOCK));
        refused(budget.take(1));
        budget.take(0).unwrap();
        budget.give_back(BLOCK);
        assert_eq!((budget.room(), usage.disk_bytes()), (BLOCK, BLOCK));
        // Somebody else put more there, and the guest removed it.
        budget.give_back(5 * BLOCK);
        assert_eq!((budget.room(), usage.disk_bytes()), (2 * BLOCK, 0));
    }

    #[test]
    fn what_fails_has_taken_nothing() {
        let (budget, _) = budget(2 * BLOCK);
        let failed: io::Result<()> = budget.spend(BLOCK, || Err(io::ErrorKind::NotFound.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(budget.room(), 2 * BLOCK);
        assert_eq!(budget.spend(BLOCK, || Ok(7)).unwrap(), 7);
        // Nothing is tried that there is no room for.
        refused(budget.spend(2 * BLOCK, || panic!("it was tried")));
        assert_eq!(budget.room(), BLOCK);
    }

    #[test]
    fn a_file_without_a_name_is_gone_with_its_last_descriptor() {
        let (budget, _) = budget(10 * BLOCK);
        let file = Inode { device: 1, number: 1 };
        budget.take(3 * BLOCK).unwrap();
        // It was cut when it was opened, and then again.
        budget.opened(file, Some(3 * BLOCK), 2 * BLOCK + 1);
        assert_eq!((budget.len(file), budget.room()), (2 * BLOCK + 1, 7 * BLOCK));
        budget.opened(file, Some(2 * BLOCK + 1), 1);
        assert_eq!((budget.len(file), budget.room()), (1, 9 * BLOCK));
        budget.resized(file, 2 * BLOCK);
        assert_eq!(budget.room(), 8 * BLOCK);
        budget.closed(file, || panic!("it is still open"));
        budget.closed(file, || true);
        assert_eq!((budget.len(file), budget.room()), (0, 10 * BLOCK));
        budget.closed(file, || panic!("it was not open"));
    }

    #[test]
    fn a_file_with_a_name_stays() {
        let (budget, _) = budget(2 * BLOCK);
        let file = Inode { device: 1, number: 1 };
        budget.opened(file, None, 0);
        budget.resized(file, 1);
        budget.closed(file, || false);
        assert_eq!(budget.room(), BLOCK);
    }

    #[test]
    fn nothing_of_it_stays_when_the_guest_has_ended() {
        let (budget, usage) = budget(2 * BLOCK);
        budget.take(BLOCK).unwrap();
        drop(budget);
        assert_eq!(usage.disk_bytes(), 0);
    }
}
