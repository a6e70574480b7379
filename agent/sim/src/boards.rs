//! All boards, on a few threads: each thread is a runtime like the one that an agent has on its board.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use crate::{
    Settings,
    board::{Board, Lines, ROOT, Seen},
    chance::Chance,
    line::{Line, Place},
};

/// A disk in memory, on Linux: ten thousand boards would wear out another.
const MEMORY_DISK: &str = "/dev/shm";

/// Threads that write files for the boards of one thread: as many as an agent has for itself.
const WRITERS: usize = 16;

/// Streams of a seed from this one on are lines'.
const LINES: u64 = 1 << 40;

/// Boards that run. Dropped, they lose power for good, and their state folders are gone.
pub(crate) struct Boards {
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
    orders: watch::Sender<u64>,
    seen: Arc<Seen>,
    folder: TempDir,
}

impl Drop for Boards {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(stops);
        for thread in threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Boards {
    /// The folder for boards that are to be: in memory, where that can be had.
    pub(crate) fn folder(root: &[u8]) -> anyhow::Result<TempDir> {
        let memory = Path::new(MEMORY_DISK);
        let parent = if memory.is_dir() { PathBuf::from(memory) } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("dunlin-sim-").tempdir_in(&parent);
        let folder = folder.with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        let path = folder.path().join(ROOT);
        fs::write(&path, root).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(folder)
    }

    /// Gives power to so many boards at once.
    pub(crate) fn start(
        count: usize,
        settings: &Settings,
        broker: SocketAddr,
        folder: TempDir,
    ) -> anyhow::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let among = settings.threads.unwrap_or(cores).clamp(1, count);
        let mut boards = Self { threads: Vec::new(), orders: watch::Sender::new(0), seen: Arc::default(), folder };
        for first in 0..among {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(WRITERS)
                .build()
                .context("no runtime")?;
            let chance = |kind| Chance::new(settings.seed, LINES + 2 * first as u64 + kind);
            let lossy = Place::open(Line::Lossy, broker, chance(0)).context("no lossy line to the broker")?;
            let slow = Place::open(Line::Slow, broker, chance(1)).context("no slow line to the broker")?;
            let lines = Lines { straight: broker, lossy: lossy.address()?, slow: slow.address()? };
            let (stop, stopped) = oneshot::channel();
            let numbers = (first..count).step_by(among);
            let new = |number| Board::new(number, settings, boards.folder.path(), lines);
            let mine = numbers.map(new).collect::<anyhow::Result<Vec<_>>>()?;
            let (orders, seen) = (boards.orders.subscribe(), Arc::clone(&boards.seen));
            let run = move || {
                runtime.block_on(async {
                    tokio::spawn(lossy.serve());
                    tokio::spawn(slow.serve());
                    for board in mine {
                        tokio::spawn(board.live(orders.clone(), Arc::clone(&seen)));
                    }
                    // Also when whoever would say it is gone.
                    let _ = stopped.await;
                });
            };
            let thread = thread::Builder::new().name(format!("boards-{first}")).spawn(run).context("no thread")?;
            boards.threads.push((stop, thread));
        }
        Ok(boards)
    }

    /// A plan is published: boards that are to lose power over it will.
    pub(crate) fn ordered(&self) {
        self.orders.send_modify(|orders| *orders += 1);
    }

    /// Fails if an agent has ended.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.seen.failure().map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }

    pub(crate) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn power_cuts(&self) -> u64 {
        self.seen.power_cuts.load(Ordering::Relaxed)
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.seen.refusals.load(Ordering::Relaxed)
    }
}
