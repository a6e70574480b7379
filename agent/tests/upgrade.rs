//! The agent becomes another program by a plan's word: real processes that replace themselves, and are started again
//! by whoever started them, as systemd does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Fleet, LIMIT, Operator, agent_release, broker, device, free_port, get, release, sign};
use dunlin::link;
use dunlin_core::wire::{
    Digest, Release, Root, Topic,
    state::{AppState, DeviceState, Phase},
};
use dunlin_guests::HELLO;
use tempfile::TempDir;

/// A board: its folder, and the process that it was started with.
struct Board {
    dir: TempDir,
    process: Child,
}

impl Board {
    fn start(fleet: &Fleet, broker: &link::Broker) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("root.dunlin"), sign(&fleet.root, &fleet.root_key)).unwrap();
        let text = format!(
            "device = \"{}\"\nroot = \"root.dunlin\"\nstate = \"state\"\nbind = \"127.0.0.1\"\n[broker]\nurl = \"{}\"\n",
            device(),
            broker.url
        );
        fs::write(dir.path().join("agent.toml"), text).unwrap();
        let process = start(dir.path());
        Self { dir, process }
    }

    /// As a service manager does when the process has ended.
    fn start_again(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
        self.process = start(self.dir.path());
    }

    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it has not ended: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The file that this process is.
    fn runs(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.process.id())).unwrap()
    }

    fn program(&self, sha256: Digest) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join("state/agent").join(sha256.to_string())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

fn start(dir: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["agent", "--config"]).arg(dir.join("agent.toml")).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This agent with other bytes at its end, which no loader looks at: another program that does the same.
fn another(number: u8) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("dunlin");
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(env!("CARGO_BIN_EXE_dunlin")).status().unwrap();
    assert!(stripped.success());
    let mut program = fs::read(small).unwrap();
    program.push(number);
    program
}

/// A fleet, its broker, its operator, and one board that runs `hello`.
struct Scene {
    fleet: Fleet,
    operator: Operator,
    board: Board,
    hello: Release,
    port: u16,
    sequence: u64,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet, port) = (broker::start(), Fleet::with_agents("flock"), free_port());
        let mut operator = Operator::connect(&fleet, &broker).await;
        let board = Board::start(&fleet, &broker);
        let hello = release("hello", 1, HELLO.bytes, Some(port));
        operator.release(&fleet, &hello, HELLO.bytes).await;
        let mut scene = Self { fleet, operator, board, hello, port, sequence: 0 };
        scene.order(&[]).await;
        assert!(get(port).await.ends_with("Hello, WASM!"));
        scene
    }

    /// Orders `hello` and these agents.
    async fn order(&mut self, agents: &[&Release]) {
        self.sequence += 1;
        let releases: Vec<_> = agents.iter().copied().chain([&self.hello]).collect();
        self.operator.plan(&self.fleet, &self.fleet.plan(self.sequence, &releases)).await;
    }

    async fn deploy(&mut self, agent: &Release, program: &[u8]) {
        self.operator.release(&self.fleet, agent, program).await;
        self.order(&[agent]).await;
    }

    /// Waits until the board says this of an agent.
    async fn agent(&mut self, agent: &Release, phase: Phase) -> AppState {
        let release = common::everywhere(agent).release.digest;
        let is = |app: &AppState| app.app == agent.app && app.release == release && app.phase == phase;
        let state = self.operator.state(phase.as_str(), |state: &DeviceState| state.apps.iter().any(is)).await;
        state.apps.into_iter().find(is).unwrap()
    }

    async fn hello_answers(&self) {
        assert!(get(self.port).await.ends_with("Hello, WASM!"));
    }
}

#[tokio::test]
async fn an_agent_becomes_the_one_that_the_plan_orders_and_stays_it() {
    let mut scene = Scene::new().await;
    let packaged = scene.board.runs();
    let pid = scene.board.process.id();
    let (one, two) = (another(1), another(2));
    let (first, second) = (agent_release(1, &one), agent_release(2, &two));

    scene.deploy(&first, &one).await;
    scene.agent(&first, Phase::Running).await;
    let program = scene.board.program(first.module.sha256);
    assert_eq!(scene.board.runs(), program, "another program");
    assert_eq!(scene.board.process.id(), pid, "in the same process");
    scene.hello_answers().await;

    scene.board.start_again();
    scene.hello_answers().await;
    assert_eq!(scene.board.runs(), program, "it is started at once the next time");

    scene.deploy(&second, &two).await;
    scene.agent(&second, Phase::Running).await;
    assert_eq!(scene.board.runs(), scene.board.program(second.module.sha256));
    assert!(!program.exists(), "what is not needed is not kept");
    scene.order(&[&first]).await;
    scene.agent(&first, Phase::Running).await;
    assert_eq!(scene.board.runs(), program, "back by the operator's word");

    // A root that bans it: what was installed is there for that.
    let revoked = vec![first.module.sha256];
    let root = Root { version: 2, revoked, ..scene.fleet.root.clone() };
    scene.operator.publish(&Topic::Root(2), sign(&root, &scene.fleet.root_key)).await;
    scene.agent(&first, Phase::Refused).await;
    scene.hello_answers().await;
    let deadline = Instant::now() + LIMIT;
    while scene.board.runs() != packaged {
        assert!(Instant::now() < deadline, "{:?} is banned: {}", scene.board.runs(), scene.board.log());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_that_crashes_is_started_once() {
    let mut scene = Scene::new().await;
    let packaged = scene.board.runs();
    // A program that ends at once, and not well.
    let program = fs::read("/bin/false").unwrap();
    let agent = agent_release(1, &program);
    scene.deploy(&agent, &program).await;
    assert!(!scene.board.end().success());
    scene.board.start_again();
    let state = scene.agent(&agent, Phase::Reverted).await;
    assert!(state.why.unwrap().contains("before it had reached the broker"));
    scene.hello_answers().await;
    assert_eq!(scene.board.runs(), packaged);

    // It is not tried again, whatever else the plan says; until the plan has given it up in between.
    scene.order(&[&agent]).await;
    scene.agent(&agent, Phase::Reverted).await;
    assert_eq!(scene.board.runs(), packaged);
    scene.order(&[]).await;
    scene.operator.state("it is given up", |state| state.apps.len() == 1).await;
    scene.order(&[&agent]).await;
    assert!(!scene.board.end().success(), "tried again");
}

#[tokio::test]
async fn one_that_does_not_reach_the_broker_in_time_makes_place_by_itself() {
    let mut scene = Scene::new().await;
    let packaged = scene.board.runs();
    let program = another(1);
    // No connection is made in a millisecond.
    let agent = Release { trial_ms: 1, ..agent_release(1, &program) };
    scene.deploy(&agent, &program).await;
    let state = scene.agent(&agent, Phase::Reverted).await;
    assert_eq!(state.why.as_deref(), Some("it did not reach the broker within 1 ms"));
    scene.hello_answers().await;
    assert_eq!(scene.board.runs(), packaged);
    assert!(scene.board.process.try_wait().unwrap().is_none(), "in the same process");
}

#[tokio::test]
async fn one_that_cannot_be_started_is_not_missed() {
    let mut scene = Scene::new().await;
    let pid = scene.board.process.id();
    let agent = agent_release(1, b"no program at all");
    scene.deploy(&agent, b"no program at all").await;
    let state = scene.agent(&agent, Phase::Reverted).await;
    assert_eq!(state.why.as_deref(), Some("it is no program"));
    scene.hello_answers().await;
    assert_eq!(scene.board.process.id(), pid);
}

#[tokio::test]
async fn what_was_damaged_on_the_disk_is_not_started() {
    let mut scene = Scene::new().await;
    let packaged = scene.board.runs();
    let program = another(1);
    let agent = agent_release(1, &program);
    scene.deploy(&agent, &program).await;
    scene.agent(&agent, Phase::Running).await;
    let path = scene.board.program(agent.module.sha256);
    scene.board.process.kill().unwrap();
    scene.board.process.wait().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    scene.board.start_again();
    scene.hello_answers().await;
    // What was installed puts it right: the module is there, and whole.
    let deadline = Instant::now() + LIMIT;
    while scene.board.runs() != path {
        assert!(Instant::now() < deadline, "{}", scene.board.log());
        tokio::task::yield_now().await;
    }
    assert_ne!(scene.board.runs(), packaged);
    scene.agent(&agent, Phase::Running).await;
}

#[tokio::test]
async fn a_key_that_releases_apps_releases_no_agents() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let mut operator = Operator::connect(&fleet, &broker).await;
    let board = Board::start(&fleet, &broker);
    let packaged = board.runs();
    let agent = agent_release(1, b"program");
    operator.release(&fleet, &agent, b"program").await;
    operator.plan(&fleet, &fleet.plan(1, &[&agent])).await;
    assert_eq!(operator.refusal().await, "unsigned");
    assert_eq!(board.runs(), packaged);
}
