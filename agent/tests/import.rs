//! `dunlin import`: a bundle reaches a board without a network, and one that was tampered with does not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{Board, Fleet, broker, bundle::bundle, free_port, plug::copy, release, sign, sign_with};
use dunlin::{
    bundle::{Check, NotRead, Outcome},
    link::Broker,
};
use dunlin_core::{
    Code, limits,
    trust::{Chain, first_root},
    wire::{Release, Root, Timestamp, state::Phase},
};
use tempfile::TempDir;

/// A fleet with a second root and a plan for one app, and the bundle of all that.
struct Scene {
    fleet: Fleet,
    nowhere: Broker,
    port: u16,
    hello: Release,
    bundle: Vec<u8>,
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let (fleet, port) = (Fleet::new("flock"), free_port());
        let hello = release("hello", 1, dunlin_guests::HELLO.bytes, Some(port));
        let second = Root { version: 2, ..fleet.root.clone() };
        let roots =
            [(&fleet.root, sign(&fleet.root, &fleet.root_key)), (&second, sign_with(&second, &[&fleet.root_key]))];
        let plan = sign(&fleet.plan(1, &[&hello]), &fleet.deploy_key);
        let releases = [(&hello, sign(&hello, &fleet.release_key), dunlin_guests::HELLO.bytes)];
        let bundle = bundle(&roots, plan, &releases);
        let nowhere = broker::at(free_port());
        let dir = tempfile::tempdir().unwrap();
        Self { nowhere, port, hello, bundle, dir, fleet }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("a.bundle");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `dunlin import` for the board with this folder.
    fn import(&self, board: &Path, file: &Path) -> Output {
        let config = self.dir.path().join("agent.toml");
        let board = board.display();
        let text = format!(
            "device = \"pi-1\"\nroot = \"{board}/root.dunlin\"\nstate = \"{board}/state\"\n\
             [labels]\nsite = \"kitchen\"\n[broker]\nurl = \"{}\"\n",
            self.nowhere.url
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.arg("import").arg(file).arg("--config").arg(config).output().unwrap()
    }

    /// What a board with nothing but the first root says to these bytes.
    fn check(&self, bytes: &[u8]) -> Result<Vec<Outcome>, NotRead> {
        let root = first_root(&sign(&self.fleet.root, &self.fleet.root_key)).unwrap();
        let check = Check::new(Chain::new(root), None, None, Timestamp(1));
        Ok(check.read(&self.file(bytes))?.into_iter().map(|finding| finding.outcome).collect())
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn gone(path: &Path) {
    let gone = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(common::LIMIT, gone).await.expect("what was imported is removed");
}

#[tokio::test]
async fn a_board_without_a_network_runs_what_is_imported() {
    let scene = Scene::new();
    let board = Board::start(&scene.fleet, &scene.nowhere);
    let imported = scene.import(board.path(), &scene.file(&scene.bundle));
    assert!(imported.status.success(), "{imported:?}");
    let said = "root 1: known already\nroot 2: good\nplan 1: good\nhello 1.0.0: good\n";
    assert!(text(&imported.stdout).starts_with(said), "{}", text(&imported.stdout));
    assert!(common::get(scene.port).await.ends_with("Hello, WASM!"));
    gone(&board.path().join("state/import/bundle")).await;

    // The same once more changes nothing.
    let imported = scene.import(board.path(), &scene.file(&scene.bundle));
    assert!(text(&imported.stdout).contains("root 2: known already\nplan 1: known already\n"), "{imported:?}");
    gone(&board.path().join("state/import/bundle")).await;
    assert!(common::get(scene.port).await.ends_with("Hello, WASM!"));
}

#[tokio::test]
async fn what_was_imported_while_no_agent_ran_is_there_at_its_next_start() {
    let scene = Scene::new();
    let board = tempfile::tempdir().unwrap();
    fs::write(board.path().join("root.dunlin"), sign(&scene.fleet.root, &scene.fleet.root_key)).unwrap();
    let imported = scene.import(board.path(), &scene.file(&scene.bundle));
    assert!(imported.status.success(), "{imported:?}");
    let state = tempfile::tempdir().unwrap();
    copy(board.path(), state.path());
    let mut board = Board::start_in(state, &scene.fleet, &scene.nowhere);
    board.app("hello runs", |app| app.phase == Phase::Running).await;
    assert!(common::get(scene.port).await.ends_with("Hello, WASM!"));
}

#[test]
fn a_bundle_with_a_flipped_bit_anywhere_is_refused() {
    let scene = Scene::new();
    let known_root = 16 + 5 + 8 + sign(&scene.fleet.root, &scene.fleet.root_key).len();
    let whole = scene.check(&scene.bundle).unwrap();
    for at in (0..1_100).chain((1_100..scene.bundle.len()).step_by(499)) {
        let mut bytes = scene.bundle.clone();
        bytes[at] ^= 1 << (at % 8);
        match scene.check(&bytes) {
            Err(NotRead::Refused { .. }) => {}
            Err(NotRead::Failed(failure)) => panic!("{failure}"),
            Ok(outcomes) => {
                let refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
                // The root that the board has already is not looked at.
                let unread = at < known_root && outcomes == whole;
                assert!(refused || unread, "byte {at}: {outcomes:?}");
            }
        }
    }
}

#[test]
fn a_bundle_that_is_cut_short_or_goes_on_is_refused() {
    let scene = Scene::new();
    let end = scene.bundle.len();
    let cuts = (0..1_100).chain((1_100..end).step_by(499)).chain(end - 6..end);
    for bytes in cuts.map(|at| scene.bundle[..at].to_vec()).chain([[&scene.bundle[..], b"x"].concat()]) {
        let NotRead::Refused { refusal, .. } = scene.check(&bytes).unwrap_err() else { panic!("{}", bytes.len()) };
        assert_eq!(refusal.code, Code::Malformed, "{} of {end}", bytes.len());
    }
}

#[test]
fn refusals_have_their_codes_and_leave_nothing_behind() {
    let scene = Scene::new();
    let board = tempfile::tempdir().unwrap();
    fs::write(board.path().join("root.dunlin"), sign(&scene.fleet.root, &scene.fleet.root_key)).unwrap();
    let (fleet, hello) = (&scene.fleet, &scene.hello);
    let module = dunlin_guests::HELLO.bytes;
    let with = |plan: Vec<u8>, release: Vec<u8>, module: &[u8]| bundle(&[], plan, &[(hello, release, module)]);
    let plan = || sign(&fleet.plan(1, &[hello]), &fleet.deploy_key);
    let release = || sign(hello, &fleet.release_key);
    let mut torn = module.to_vec();
    torn[9_000] ^= 1;
    let oversized = [&scene.bundle[..16], &[2, 0xff, 0xff, 0xff, 0xff]].concat();
    let elsewhere = Fleet::new("herd").plan(1, &[hello]);
    for (bytes, code) in [
        (with(sign(&fleet.plan(1, &[hello]), &fleet.release_key), release(), module), "unsigned"),
        (with(sign(&elsewhere, &fleet.deploy_key), release(), module), "wrong-fleet"),
        (with(plan(), sign(hello, &fleet.deploy_key), module), "unsigned"),
        (with(plan(), release(), &torn), "wrong-chunk"),
        (with(plan(), release(), &module[..8_192]), "wrong-module"),
        (oversized, "oversized"),
        (b"dunlin bundle 2\n".to_vec(), "malformed"),
    ] {
        let output = scene.import(board.path(), &scene.file(&bytes));
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(output.status.code() == Some(1) && said.contains(&format!("[{code}]")), "{code}: {said}");
        assert!(!board.path().join("state/import/bundle").exists(), "{code}");
    }
    let file = scene.file(&scene.bundle);
    fs::File::options().write(true).open(&file).unwrap().set_len(limits::BUNDLE_BYTES_MAX + 1).unwrap();
    let output = scene.import(board.path(), &file);
    assert!(text(&output.stderr).contains("[oversized]"), "{output:?}");
}
