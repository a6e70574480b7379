//! The plug is pulled before every change of a deploy that also rotates the root, of an import, and of
//! a rollback: the board comes back with the old state or the new one, runs an app before it hears from
//! anybody, and converges.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{fs, path::Path};

use common::{
    Board, Fleet, LIMIT, Operator, broker,
    bundle::bundle,
    free_port,
    plug::{Plug, Unsynced, copy},
    release, role, sign, sign_with,
};
use dunlin::link::Broker;
use dunlin_core::wire::{
    Release, Root, Topic,
    state::{AppState, Phase},
};
use ed25519_dalek::SigningKey;
use tempfile::TempDir;
use tokio::time::timeout;

/// The guest with a custom section at its end: it does the same, and its digest is another.
fn other_module() -> Vec<u8> {
    [dunlin_guests::HELLO.bytes, &[0, 2, 1, b'2']].concat()
}

/// How a change comes to the board.
enum Way {
    Broker,
    Bundle,
}

/// A board that is about to change.
struct Scene {
    fleet: Fleet,
    broker: Broker,
    operator: Operator,
    /// The second root, which replaces the deploy key by this one.
    root: Root,
    deploy_key: SigningKey,
    /// Of the last plan.
    sequence: u64,
    way: Way,
    port: u16,
    first: Release,
    second: Release,
    /// Which of them is to run in the end.
    wanted: Release,
    /// The state folder in which the app runs as it did.
    before: TempDir,
}

impl Scene {
    /// A board that runs the first release.
    async fn new(way: Way) -> Self {
        let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), free_port());
        let mut operator = Operator::connect(&fleet, &broker).await;
        let mut first = release("hello", 1, dunlin_guests::HELLO.bytes, Some(port));
        let mut second = release("hello", 2, &other_module(), Some(port));
        second.asks.memory_bytes += 65_536;
        (first.trial_ms, second.trial_ms) = (20, 20);
        operator.release(&fleet, &first, dunlin_guests::HELLO.bytes).await;
        operator.plan(&fleet, &fleet.plan(1, &[&first])).await;
        let mut board = Board::start(&fleet, &broker);
        board.app("the first runs", runs(&first)).await;
        let before = board.stop().await;
        let deploy_key = SigningKey::from_bytes(&[33; 32]);
        let root = Root { version: 2, deploy: role(&deploy_key), ..fleet.root.clone() };
        let wanted = second.clone();
        Self { fleet, broker, operator, root, deploy_key, sequence: 1, way, port, first, second, wanted, before }
    }

    /// A new root with new deploy keys, a plan by them, a release.
    async fn deploy() -> Self {
        let mut scene = Self::new(Way::Broker).await;
        scene.publish().await;
        scene
    }

    /// All of that in a file.
    async fn import() -> Self {
        let mut scene = Self::new(Way::Bundle).await;
        let state = scene.before.path().to_owned();
        scene.order(&state).await;
        scene
    }

    /// All of that is done, and is taken back.
    async fn rollback() -> Self {
        let mut scene = Self::new(Way::Broker).await;
        scene.publish().await;
        let mut board = Board::start_in(scene.before, &scene.fleet, &scene.broker);
        board.app("the second runs", runs(&scene.second)).await;
        scene.before = board.stop().await;
        scene.wanted = scene.first.clone();
        let state = scene.before.path().to_owned();
        scene.order(&state).await;
        scene
    }

    async fn publish(&mut self) {
        self.operator.release(&self.fleet, &self.second, &other_module()).await;
        let root = sign_with(&self.root, &[&self.fleet.root_key]);
        self.operator.publish(&Topic::Root(self.root.version), root).await;
        let state = self.before.path().to_owned();
        self.order(&state).await;
    }

    /// Orders what is wanted, by the next plan of the new deploy key, for the board with this folder.
    async fn order(&mut self, board: &Path) {
        self.sequence += 1;
        let plan = sign(&self.fleet.plan(self.sequence, &[&self.wanted]), &self.deploy_key);
        match self.way {
            Way::Broker => self.operator.publish(&Topic::Plan, plan).await,
            Way::Bundle => {
                let root = (&self.root, sign_with(&self.root, &[&self.fleet.root_key]));
                let module = other_module();
                let release = (&self.second, sign(&self.second, &self.fleet.release_key), module.as_slice());
                fs::write(board.join("state/import/bundle"), bundle(&[root], plan, &[release])).unwrap();
            }
        }
    }

    /// Where the change comes from, beside the board's own folder.
    fn from(&self) -> Broker {
        match self.way {
            Way::Broker => self.broker.clone(),
            Way::Bundle => broker::at(free_port()),
        }
    }

    /// The change, with the plug pulled before the `cut`th write. False if there are fewer.
    async fn until(&mut self, cut: usize, unsynced: Unsynced) -> bool {
        let (state, remains) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy(self.before.path(), state.path());
        let plug = Plug::new(cut, unsynced, state.path(), remains.path());
        let mut board = Board::start_on(plug.disk(), state, &self.fleet, &self.from());
        let pulled = tokio::select! {
            () = plug.pulled() => true,
            _ = board.app("what is wanted runs", runs(&self.wanted)) => false,
        };
        drop(board.stop().await);
        if !pulled {
            return false;
        }

        // Alone, with what is left: it answers.
        let board = Board::start_in(remains, &self.fleet, &broker::at(free_port()));
        let answer = timeout(LIMIT, common::get(self.port)).await.unwrap_or_else(|_| panic!("cut {cut} {unsynced:?}"));
        assert!(answer.ends_with("Hello, WASM!"), "cut {cut} {unsynced:?}: {answer}");
        let remains = board.stop().await;

        // With who brings the change: it comes to what it should.
        let mut board = Board::start_in(remains, &self.fleet, &self.from());
        let converges = format!("it converges after cut {cut} {unsynced:?}");
        let is_wanted = runs(&self.wanted);
        let reverted = |app: &AppState| app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted);
        let app = board.app(&converges, |app| is_wanted(app) || reverted(app)).await;
        if reverted(&app) {
            // It was on trial when the power went: only another plan tries it again.
            self.order(board.path()).await;
            board.app(&converges, is_wanted).await;
        }
        let state = board.stop().await;
        let mut left = Vec::new();
        for folder in ["", "roots", "releases", "last", "good", "trials", "blobs", "import"] {
            let entries = fs::read_dir(state.path().join("state").join(folder)).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        let half: Vec<_> = left.iter().filter(|name| name.starts_with('.') || name.ends_with(".part")).collect();
        assert!(half.is_empty(), "cut {cut} {unsynced:?} left {half:?}");
        true
    }

    /// The change, with the plug pulled before each of its writes; how many those are.
    async fn everywhere(mut self) -> usize {
        let mut cuts = 0;
        for unsynced in [Unsynced::Kept, Unsynced::Lost] {
            cuts = 0;
            while self.until(cuts + 1, unsynced).await {
                cuts += 1;
            }
        }
        cuts
    }
}

fn runs(release: &Release) -> impl Fn(&AppState) -> bool + use<> {
    let version = release.version.clone();
    move |app| app.phase == Phase::Running && app.version.as_ref() == Some(&version)
}

#[tokio::test]
async fn the_plug_is_pulled_before_every_change_of_a_deploy() {
    let cuts = Scene::deploy().await.everywhere().await;
    assert!(cuts >= 20, "a root, a plan, a release, a trial and a module are more than {cuts} changes");
}

#[tokio::test]
async fn the_plug_is_pulled_before_every_change_of_an_import() {
    let cuts = Scene::import().await.everywhere().await;
    assert!(cuts >= 20, "a root, a plan, a release, a trial and a module are more than {cuts} changes");
}

#[tokio::test]
async fn the_plug_is_pulled_before_every_change_of_a_rollback() {
    let cuts = Scene::rollback().await.everywhere().await;
    assert!(cuts >= 10, "a plan and a trial are more than {cuts} changes");
}
