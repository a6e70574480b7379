//! The plug is pulled before every change that replacing the agent makes: the board always has a program to start, never
//! starts one twice that was not confirmed, and comes to the one that is ordered.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{
    Fleet, LIMIT, Operator, agent_release, broker, device,
    plug::{Plug, Unsynced, copy},
    sign,
};
use dunlin::{
    agent::{self, End},
    config::{Config, Places},
    link::{self, Broker},
    store::Disk,
    upgrade::{self, Itself},
};
use dunlin_core::{
    policy::Policy,
    upgrade::Record,
    wire::{
        Digest, Release,
        state::{AppState, Phase},
        topic,
    },
};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};

/// A plan that replaces the agent of a board which has one that a plan brought already.
struct Scene {
    fleet: Fleet,
    broker: Broker,
    operator: Operator,
    sequence: u64,
    old: Release,
    new: Release,
    /// The state folder of the board that runs the old one.
    before: TempDir,
}

/// What becomes of it: several lives of one board, until it says what is waited for.
struct Lives<'a> {
    scene: &'a Scene,
    disk: Disk,
    dir: &'a Path,
    /// What was started, in its order: the digests of programs that were brought, or nothing.
    starts: Vec<Option<Digest>>,
}

struct Apps(mpsc::UnboundedSender<AppState>);

impl agent::Watch for Apps {
    fn app(&self, state: &AppState) {
        let _ = self.0.send(state.clone());
    }
}

impl Lives<'_> {
    /// Lives on until the board says this of its agent; what it said.
    async fn until(&mut self, phases: &[Phase], release: &Release) -> AppState {
        let digest = common::everywhere(release).release.digest;
        loop {
            let (watch, mut apps) = mpsc::unbounded_channel();
            let itself = self.choose();
            let said = async {
                loop {
                    let Some(state): Option<AppState> = apps.recv().await else { std::future::pending().await };
                    if state.release == digest && phases.contains(&state.phase) {
                        return state;
                    }
                }
            };
            let mut state = None;
            let shutdown = async { state = Some(said.await) };
            let config = self.scene.config(self.dir);
            let life = agent::run_as(Some(itself), self.disk.clone(), config, Arc::new(Apps(watch)), shutdown);
            let end =
                timeout(LIMIT, life).await.unwrap_or_else(|_| panic!("it says nothing: {:?}", self.starts)).unwrap();
            match state {
                Some(state) => return state,
                None => assert_eq!(end, End::Replaced),
            }
        }
    }

    /// What the installed program does at its start, but for becoming another.
    fn choose(&mut self) -> Itself {
        let launcher = launcher(self.dir);
        let places = Places { state_dir: self.dir.join("state"), root: self.dir.join("root.dunlin") };
        let chosen = upgrade::choose(self.disk.clone(), &places, &launcher, |program, _| Ok(program.sha256)).unwrap();
        self.starts.push(chosen);
        Itself { launcher, brought: chosen, has_sockets: false }
    }
}

fn launcher(dir: &Path) -> PathBuf {
    dir.join("installed")
}

fn program(number: u8) -> Vec<u8> {
    [b"\x7fELF".as_slice(), &[number; 100_000]].concat()
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet) = (broker::start(), Fleet::with_agents("flock"));
        let operator = Operator::connect(&fleet, &broker).await;
        let [old, new] = [1, 2].map(|number| agent_release(number.into(), &program(number)));
        let before = tempfile::tempdir().unwrap();
        fs::write(before.path().join("root.dunlin"), sign(&fleet.root, &fleet.root_key)).unwrap();
        fs::write(launcher(before.path()), program(0)).unwrap();
        let mut scene = Self { fleet, broker, operator, sequence: 0, old, new, before };
        let old = scene.old.clone();
        scene.operator.release(&scene.fleet, &old, &program(1)).await;
        scene.order(&[&old]).await;
        let dir = scene.before.path().to_owned();
        let mut lives = scene.lives(Disk::default(), &dir);
        lives.until(&[Phase::Running], &old).await;
        assert_eq!(lives.starts, [None, Some(old.module.sha256)]);
        let new = scene.new.clone();
        scene.operator.release(&scene.fleet, &new, &program(2)).await;
        scene.order(&[&new]).await;
        scene
    }

    fn lives<'a>(&'a self, disk: Disk, dir: &'a Path) -> Lives<'a> {
        Lives { scene: self, disk, dir, starts: Vec::new() }
    }

    async fn order(&mut self, releases: &[&Release]) {
        self.sequence += 1;
        self.operator.plan(&self.fleet, &self.fleet.plan(self.sequence, releases)).await;
    }

    fn config(&self, dir: &Path) -> Config {
        Config {
            device: device(),
            labels: BTreeMap::new(),
            state_dir: dir.join("state"),
            root: dir.join("root.dunlin"),
            broker: self.broker.clone(),
            http: link::Tls::default(),
            door: None,
            front: None,
            home_assistant: None,
            prefix: topic::PREFIX.into(),
            policy: Policy::default(),
            connect: None,
            directories: BTreeMap::new(),
            bind: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// The change, with the plug pulled before the `cut`th write. False if there are fewer.
    async fn cut(&mut self, cut: usize, unsynced: Unsynced) -> bool {
        let (dir, remains) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy(self.before.path(), dir.path());
        let plug = Plug::new(cut, unsynced, dir.path(), remains.path());
        let new = self.new.clone();
        let mut lives = self.lives(plug.disk(), dir.path());
        let pulled = tokio::select! {
            () = plug.pulled() => true,
            _ = lives.until(&[Phase::Running], &new) => false,
        };
        let starts = lives.starts;
        if !pulled {
            return false;
        }

        let what = format!("cut {cut} {unsynced:?}, started {starts:?}");
        let record = fs::read(remains.path().join("state/agent/programs")).unwrap();
        let good = Record::decode(&record).unwrap().good.map(|good| good.sha256);
        let confirmed = good == Some(new.module.sha256);
        let mut lives = self.lives(Disk::default(), remains.path());
        let state = lives.until(&[Phase::Running, Phase::Reverted], &new).await;
        let tried =
            |starts: &[Option<Digest>]| starts.iter().filter(|start| **start == Some(new.module.sha256)).count();
        let later = lives.starts;
        assert!(confirmed || tried(&starts) + tried(&later) <= 1, "{what}, then {later:?}");
        if state.phase == Phase::Reverted {
            assert_ne!(later.last(), Some(&Some(new.module.sha256)), "{what}, then {later:?}");
            // It was on trial when the power went. Once something else was ordered, it may be tried again.
            let old = self.old.clone();
            self.order(&[&old]).await;
            self.lives(Disk::default(), remains.path()).until(&[Phase::Running], &old).await;
            self.order(&[&new]).await;
            self.lives(Disk::default(), remains.path()).until(&[Phase::Running], &new).await;
        }
        let left = fs::read_dir(remains.path().join("state/agent")).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut wanted = ["programs".to_owned(), new.module.sha256.to_string()];
        wanted.sort();
        assert_eq!(left, wanted, "{what}");
        true
    }
}

#[tokio::test]
async fn the_plug_is_pulled_before_every_change_of_an_upgrade() {
    let mut scene = Scene::new().await;
    for unsynced in [Unsynced::Kept, Unsynced::Lost] {
        let mut cuts = 0;
        while scene.cut(cuts + 1, unsynced).await {
            cuts += 1;
        }
        assert!(cuts >= 30, "a plan, a release, a program twice and three records are more than {cuts} changes");
    }
}
