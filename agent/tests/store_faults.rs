//! A full disk, a read-only one, and files with a flipped bit: what ran keeps running, the bad file is named,
//! and the board comes to what it should as soon as it can.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use common::{Board, Fleet, Operator, broker, free_port, plug::copy, release, role, sign, sign_with};
use dunlin::{
    link::Broker,
    store::{Change, Disk},
};
use dunlin_core::wire::{
    Envelope, Release, Root, Topic,
    state::{AppState, Phase},
};
use ed25519_dalek::SigningKey;
use rustix::io::Errno;
use tempfile::TempDir;
use tokio::sync::Notify;

/// A board that runs a first release, and a broker that has a second.
struct Scene {
    fleet: Fleet,
    broker: Broker,
    operator: Operator,
    port: u16,
    first: Release,
    second: Release,
    deploy_key: SigningKey,
    /// Of the last plan.
    sequence: u64,
    state: TempDir,
}

impl Scene {
    /// With a root of its own, so that there is a file of each kind.
    async fn new() -> Self {
        let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), free_port());
        let mut operator = Operator::connect(&fleet, &broker).await;
        let deploy_key = SigningKey::from_bytes(&[33; 32]);
        let root = Root { version: 2, deploy: role(&deploy_key), ..fleet.root.clone() };
        operator.publish(&Topic::Root(2), sign_with(&root, &[&fleet.root_key])).await;
        let first = release("hello", 1, dunlin_guests::HELLO.bytes, Some(port));
        operator.release(&fleet, &first, dunlin_guests::HELLO.bytes).await;
        operator.publish(&Topic::Plan, sign(&fleet.plan(1, &[&first]), &deploy_key)).await;
        let module = [dunlin_guests::HELLO.bytes, &[0, 2, 1, b'2']].concat();
        let mut second = release("hello", 2, &module, Some(port));
        second.trial_ms = 20;
        operator.release(&fleet, &second, &module).await;
        let mut board = Board::start(&fleet, &broker);
        board.app("the first runs", runs(&first)).await;
        let state = board.stop().await;
        Self { fleet, broker, operator, port, first, second, deploy_key, sequence: 1, state }
    }

    async fn order_second(&mut self) {
        self.sequence += 1;
        let plan = sign(&self.fleet.plan(self.sequence, &[&self.second]), &self.deploy_key);
        self.operator.publish(&Topic::Plan, plan).await;
    }

    fn copy_of_state(&self) -> TempDir {
        let state = tempfile::tempdir().unwrap();
        copy(self.state.path(), state.path());
        state
    }

    async fn answers(&self) {
        assert!(common::get(self.port).await.ends_with("Hello, WASM!"));
    }

    fn nowhere(&self) -> Broker {
        broker::at(free_port())
    }
}

fn runs(release: &Release) -> impl Fn(&AppState) -> bool {
    let version = release.version.clone();
    move |app| app.phase == Phase::Running && app.version.as_ref() == Some(&version)
}

/// Whether a disk that is full refuses a change: a file may always go.
fn needs_room(change: &Change<'_>) -> bool {
    match change {
        Change::Create(_) | Change::Write(..) | Change::Sync(_) => true,
        Change::Rename(..) | Change::SyncFolder(_) | Change::Remove(_) => false,
    }
}

#[tokio::test]
async fn a_disk_that_gets_full_at_any_change_leaves_what_runs() {
    let mut scene = Scene::new().await;
    scene.order_second().await;
    for full_at in 1.. {
        let (changes, is_full) = (AtomicUsize::new(0), Arc::new(Notify::new()));
        let full = Arc::clone(&is_full);
        let disk = Disk::watched(move |change| {
            if !needs_room(&change) || changes.fetch_add(1, Ordering::Relaxed) + 1 < full_at {
                return Ok(());
            }
            full.notify_one();
            Err(Errno::NOSPC.into())
        });
        let mut board = Board::start_on(disk, scene.copy_of_state(), &scene.fleet, &scene.broker);
        let full = tokio::select! {
            () = is_full.notified() => true,
            _ = board.app("the second runs", runs(&scene.second)) => false,
        };
        scene.answers().await;
        let state = board.stop().await;
        if !full {
            assert!(full_at > 8, "a plan, a module, two records are more than {full_at} changes");
            return;
        }
        let board = Board::start_in(state, &scene.fleet, &scene.nowhere());
        scene.answers().await;
        let state = board.stop().await;
        let mut board = Board::start_in(state, &scene.fleet, &scene.broker);
        let what = format!("the second runs after {full_at}");
        let reverted = |app: &AppState| app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted);
        let app = board.app(&what, |app| runs(&scene.second)(app) || reverted(app)).await;
        if reverted(&app) {
            // Its trial could not be written down as passed: only another plan tries it again.
            scene.order_second().await;
            board.app(&what, runs(&scene.second)).await;
        }
    }
}

#[tokio::test]
async fn a_board_whose_disk_was_full_says_so_and_goes_on_by_itself() {
    let mut scene = Scene::new().await;
    let full = Arc::new(AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    let refuse = move |change: Change<'_>| match is_full.load(Ordering::Relaxed) && needs_room(&change) {
        true => Err(Errno::NOSPC.into()),
        false => Ok(()),
    };
    let mut board = Board::start_on(Disk::watched(refuse), scene.copy_of_state(), &scene.fleet, &scene.broker);
    board.app("the first runs", runs(&scene.first)).await;
    scene.order_second().await;
    let in_trouble = |s: &dunlin_core::wire::state::DeviceState| s.trouble.is_some();
    let trouble = scene.operator.state("it says so", in_trouble).await.trouble.unwrap();
    let plan = board.path().join("state/plan");
    assert!(trouble.contains(plan.to_str().unwrap()) && trouble.contains("No space left"), "{trouble}");
    scene.answers().await;
    full.store(false, Ordering::Relaxed);
    board.app("the second runs", runs(&scene.second)).await;
    scene.operator.state("all is well", |s| s.trouble.is_none()).await;
}

#[tokio::test]
async fn a_board_whose_disk_became_read_only_runs_what_it_has() {
    let mut scene = Scene::new().await;
    scene.order_second().await;
    let read_only = Disk::watched(|_| Err(io::Error::from(Errno::ROFS)));
    let mut board = Board::start_on(read_only, scene.copy_of_state(), &scene.fleet, &scene.broker);
    board.app("the first runs", runs(&scene.first)).await;
    let state = scene.operator.state("it says so", |s| s.trouble.is_some()).await;
    assert!(state.trouble.unwrap().contains("Read-only file system"));
    scene.answers().await;
    let state = board.stop().await;
    let mut board = Board::start_in(state, &scene.fleet, &scene.broker);
    board.app("the second runs", runs(&scene.second)).await;
}

/// What the agents of this process log.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_names(path: &Path) -> bool {
    String::from_utf8_lossy(&LOG.lock().unwrap()).contains(path.to_str().unwrap())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_any_file_is_named_and_made_good() {
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init();
    let scene = Scene::new().await;
    let digest = Envelope::unsigned(&scene.first).digest();
    for file in [
        "roots/2".to_owned(),
        "plan".to_owned(),
        format!("releases/{digest}"),
        format!("blobs/{}", scene.first.module.sha256),
        "last/hello".to_owned(),
        "good/hello".to_owned(),
    ] {
        for at in [0, 40, usize::MAX] {
            let state = scene.copy_of_state();
            let path: PathBuf = state.path().join("state").join(&file);
            let whole = fs::read(&path).unwrap();
            flip(&path, at);
            let mut board = Board::start_in(state, &scene.fleet, &scene.broker);
            board.app(&format!("the first runs with {file} flipped at {at}"), runs(&scene.first)).await;
            scene.answers().await;
            let state = board.stop().await;
            assert!(log_names(&path), "{file} at {at} is not named");
            assert!(fs::read(&path).unwrap() == whole, "{file} at {at} is not made good");
            let board = Board::start_in(state, &scene.fleet, &scene.nowhere());
            scene.answers().await;
            board.stop().await;
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_what_is_on_its_way_costs_its_chunk() {
    let mut scene = Scene::new().await;
    let state = scene.copy_of_state();
    let module = &scene.second.module;
    let part = state.path().join("state/blobs").join(format!("{}.part", module.sha256));
    let mut bytes = dunlin_guests::HELLO.bytes[..2 * module.chunk_bytes as usize].to_vec();
    bytes[100] ^= 1;
    fs::write(&part, bytes).unwrap();
    scene.order_second().await;
    let mut board = Board::start_in(state, &scene.fleet, &scene.broker);
    board.app("the second runs", runs(&scene.second)).await;
    scene.answers().await;
    assert!(!part.exists());
}

#[tokio::test]
async fn a_root_that_was_damaged_in_the_owners_hands_is_named() {
    let (fleet, dir) = (Fleet::new("flock"), tempfile::tempdir().unwrap());
    let root = dir.path().join("root.dunlin");
    fs::write(&root, sign(&fleet.root, &fleet.root_key)).unwrap();
    flip(&root, 60);
    let config = dir.path().join("agent.toml");
    fs::write(&config, "device = \"pi-1\"\nroot = \"root.dunlin\"\nstate = \"s\"\n[broker]\nurl = \"mqtt://b\"\n")
        .unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let output = command.args(["agent", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains(root.to_str().unwrap()), "{said}");
}
