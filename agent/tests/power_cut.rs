//! The plug is pulled before every change of a deploy that also rotates the root: the board comes
//! back with the old state or the new one, runs an app before it hears from anybody, and converges.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use common::{Board, Fleet, LIMIT, Operator, broker, free_port, release, role, sign_with};
use dunlin::store::{Change, Disk};
use dunlin_core::wire::{
    Release, Root, Topic,
    state::{AppState, Phase},
};
use ed25519_dalek::SigningKey;
use tempfile::TempDir;
use tokio::{sync::Notify, time::timeout};

/// What a disk makes of the changes that were not synced when the power went.
#[derive(Clone, Copy, Debug)]
enum Unsynced {
    /// All of it is there.
    Kept,
    /// Bytes are torn, names are the old ones.
    Lost,
}

/// A disk whose power is cut before its `cut`th change.
struct Plug {
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
    fn disk(self: &Arc<Self>) -> Disk {
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
            Change::Write(path) => drop(done.written.insert(path.into())),
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

fn copy(from: &Path, to: &Path) {
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

/// The guest with a custom section at its end: it does the same, and its digest is another.
fn other_module() -> Vec<u8> {
    [dunlin_guests::HELLO.bytes, &[0, 2, 1, b'2']].concat()
}

struct Scene {
    fleet: Fleet,
    broker: dunlin::link::Broker,
    nowhere: dunlin::link::Broker,
    operator: Operator,
    deploy_key: SigningKey,
    sequence: u64,
    port: u16,
    second: Release,
    /// A state folder in which the first release runs.
    first_state: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), free_port());
        let mut operator = Operator::connect(&fleet, &broker).await;
        let first = release("hello", 1, dunlin_guests::HELLO.bytes, Some(port));
        operator.release(&fleet, &first, dunlin_guests::HELLO.bytes).await;
        operator.plan(&fleet, &fleet.plan(1, &[&first])).await;
        let board = Board::start(&fleet, &broker);
        operator.state("hello runs", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;
        let first_state = board.stop().await;

        // From now on the broker has a new root with new deploy keys, a plan by them, a release.
        let deploy_key = SigningKey::from_bytes(&[33; 32]);
        let root = Root { version: 2, deploy: role(&deploy_key), ..fleet.root.clone() };
        let module = other_module();
        let mut second = release("hello", 2, &module, Some(port));
        second.asks.memory_bytes += 65_536;
        second.trial_ms = 20;
        operator.release(&fleet, &second, &module).await;
        operator.publish(&Topic::Root(2), sign_with(&root, &[&fleet.root_key])).await;
        let mut nowhere = broker.clone();
        nowhere.url = format!("mqtt://127.0.0.1:{}", free_port()).parse().unwrap();
        let mut scene = Self { fleet, broker, nowhere, operator, deploy_key, sequence: 2, port, second, first_state };
        scene.plan().await;
        scene
    }

    /// Orders the second release, by a plan of the new deploy keys.
    async fn plan(&mut self) {
        let plan = self.fleet.plan(self.sequence, &[&self.second]);
        self.operator.publish(&Topic::Plan, sign_with(&plan, &[&self.deploy_key])).await;
    }

    /// Deploys with the plug pulled before the `cut`th change. False if there are fewer.
    async fn deploy_until(&mut self, cut: usize, unsynced: Unsynced) -> bool {
        let state = tempfile::tempdir().unwrap();
        copy(self.first_state.path(), state.path());
        let remains = tempfile::tempdir().unwrap();
        let plug = Arc::new(Plug {
            cut,
            unsynced,
            state: state.path().into(),
            remains: remains.path().into(),
            done: Mutex::default(),
            pulled: Notify::new(),
        });
        let mut board = Board::start_on(plug.disk(), state, &self.fleet, &self.broker);
        let version = Some(self.second.version.clone());
        let second_runs = |app: &AppState| app.phase == Phase::Running && app.version == version;
        let pulled = tokio::select! {
            () = plug.pulled.notified() => true,
            _ = board.app("the second runs", second_runs) => false,
        };
        drop(board.stop().await);
        if !pulled {
            return false;
        }

        // Alone, with what is left: it answers.
        let board = Board::start_in(remains, &self.fleet, &self.nowhere);
        let answer = timeout(LIMIT, common::get(self.port)).await.unwrap_or_else(|_| panic!("cut {cut} {unsynced:?}"));
        assert!(answer.ends_with("Hello, WASM!"), "cut {cut} {unsynced:?}: {answer}");
        let remains = board.stop().await;

        // With the broker: it comes to what it should.
        let mut board = Board::start_in(remains, &self.fleet, &self.broker);
        let converges = format!("it converges after cut {cut} {unsynced:?}");
        let reverted = |app: &AppState| app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted);
        let app = board.app(&converges, |app| second_runs(app) || reverted(app)).await;
        if reverted(&app) {
            // It was on trial when the power went: only another plan tries it again.
            self.sequence += 1;
            self.plan().await;
            board.app(&converges, second_runs).await;
        }
        let state = board.stop().await;
        let mut left = Vec::new();
        for folder in ["", "roots", "releases", "last", "trials", "blobs"] {
            let entries = fs::read_dir(state.path().join("state").join(folder)).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        let half: Vec<_> = left.iter().filter(|name| name.starts_with('.') || name.ends_with(".part")).collect();
        assert!(half.is_empty(), "cut {cut} {unsynced:?} left {half:?}");
        true
    }
}

#[tokio::test]
async fn the_plug_is_pulled_before_every_change() {
    let mut scene = Scene::new().await;
    for unsynced in [Unsynced::Kept, Unsynced::Lost] {
        let mut cut = 1;
        while scene.deploy_until(cut, unsynced).await {
            cut += 1;
        }
        assert!(cut > 20, "a root, a plan, a release, a grant and a module are more than {cut} changes");
    }
}
