//! Replacing a release while it serves: nothing is dropped, and what is no good goes back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;
#[path = "hostile/memory.rs"]
mod memory;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Board, Fleet, Operator, broker, free_port, get, release, within};
use dunlin_core::wire::{
    Instances, Release, Start, World,
    state::{AppState, DeviceState, Phase},
};
use dunlin_guests::{
    Artifact, ENV, HELLO, KEEP_ALIVE, SPIN, TRAP,
    component::{HTTP_CHECKS, HTTP_HELLO},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// A board that runs the first release of `app`, published on a port.
struct Scene {
    fleet: Fleet,
    broker: dunlin::link::Broker,
    operator: Operator,
    board: Board,
    port: u16,
    sequence: u64,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet) = (broker::start(), Fleet::new("flock"));
        let board = Board::start(&fleet, &broker);
        let operator = Operator::connect(&fleet, &broker).await;
        let mut scene = Self { fleet, broker, operator, board, port: free_port(), sequence: 0 };
        scene.deploy(&HELLO, |_| {}).await;
        scene.board.app("the first runs", |app| app.phase == Phase::Running).await;
        scene
    }

    /// Deploys the next release, which this guest is, as the change makes of it.
    async fn deploy(&mut self, guest: &Artifact, change: impl FnOnce(&mut Release)) -> Release {
        self.sequence += 1;
        let mut release = release("app", self.sequence, guest.bytes, Some(self.port));
        change(&mut release);
        self.operator.release(&self.fleet, &release, guest.bytes).await;
        self.operator.plan(&self.fleet, &self.fleet.plan(self.sequence, &[&release])).await;
        release
    }

    /// Deploys the next release of a component that answers requests.
    async fn deploy_http(&mut self, guest: &Artifact, change: impl FnOnce(&mut Release)) {
        self.deploy(guest, |release| {
            release.world = World::Http(Instances { max: 4, keep: false });
            release.asks.memory_bytes = 8 << 20;
            (release.trial_ms, release.drain_ms) = (0, 500);
            change(release);
        })
        .await;
    }

    /// The next release, until it has taken over and is the good one.
    async fn update_to_keep_alive(&mut self) {
        self.deploy(&KEEP_ALIVE, |release| (release.trial_ms, release.drain_ms) = (0, 500)).await;
        let expected = format!("{}.0.0", self.sequence);
        self.board.app("it took over", |app| app.phase == Phase::Running && version(app) == expected).await;
    }

    async fn reverted(&mut self) -> AppState {
        let reverted = |app: &AppState| app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted);
        self.board.app("it is reverted", reverted).await
    }
}

fn version(app: &AppState) -> &str {
    app.version.as_ref().unwrap().as_str()
}

#[tokio::test]
async fn a_release_that_is_well_takes_over_and_is_the_good_one_after_its_trial() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |_| {}).await;
    let app = scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    assert_eq!(version(&app), "2.0.0");
    scene.board.app("its trial is over", |app| app.phase == Phase::Running && version(app) == "2.0.0").await;
    assert!(get(scene.port).await.contains("Hello, WASM!"));
}

#[tokio::test]
async fn releases_that_are_no_good_are_reverted_and_say_why_while_the_old_one_serves() {
    let mut scene = Scene::new().await;
    for (guest, why) in [(&TRAP, "unreachable"), (&SPIN, "not well within 300 ms"), (&ENV, "exited")] {
        scene.deploy(guest, |release| release.health.start_ms = 300).await;
        let app = scene.reverted().await;
        assert_eq!((version(&app), app.phase), ("1.0.0", Phase::Running), "the old one runs");
        let next = app.next.unwrap();
        assert!(next.why.as_ref().unwrap().contains(why), "{next:?}");
        assert!(get(scene.port).await.contains("Hello, WASM!"));
    }
}

#[tokio::test]
async fn a_release_that_goes_wrong_after_it_took_over_is_reverted_too() {
    let mut scene = Scene::new().await;
    // It answers its first connections and then is not well any more.
    let stops = scene.deploy(&HELLO, |release| {
        release.trial_ms = 60_000;
        release.health.probe = dunlin_core::wire::Probe::Http { port: 7878, path: "/".into(), status: 200 };
        (release.health.interval_ms, release.health.failures, release.health.timeout_ms) = (50, 2, 200);
    });
    stops.await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    // Who connects and says nothing holds it up: it serves one connection at a time.
    let silent = TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    let app = scene.reverted().await;
    let next = app.next.clone().unwrap();
    assert!(next.why.as_ref().unwrap().contains("health check failed 2 times"), "{next:?}");
    drop(silent);
    scene.board.app("the old one is back", |app| app.phase == Phase::Running && version(app) == "1.0.0").await;
    assert!(get(scene.port).await.contains("Hello, WASM!"));
}

#[tokio::test]
async fn what_was_on_trial_when_the_power_went_is_not_started_again_until_the_plan_changes() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |release| release.trial_ms = 60_000).await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    let state = scene.board.kill().await;
    scene.board = Board::start_in(state, &scene.fleet, &scene.broker);
    let app = scene.reverted().await;
    assert_eq!(version(&app), "1.0.0");
    assert!(app.next.unwrap().why.unwrap().contains("lost power"));
    scene.deploy(&HELLO, |_| {}).await;
    scene.board.app("a new plan runs", |app| app.phase == Phase::Running && version(app) == "3.0.0").await;
}

#[tokio::test]
async fn who_stops_the_agent_during_a_trial_gets_another_one() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |release| release.trial_ms = 60_000).await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    let state = scene.board.stop().await;
    scene.board = Board::start_in(state, &scene.fleet, &scene.broker);
    scene.board.app("it is on trial again", |app| app.phase == Phase::Trial && version(app) == "2.0.0").await;
}

/// How often, or how many: a bench takes more than a test.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answers: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Seen {
    fn note(&self, answer: io::Result<String>) {
        match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 OK") => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
            other => self.failures.lock().unwrap().push(format!("{other:?}")),
        }
    }
}

/// Clients that ask again and again, every other one on a connection that it keeps.
struct Load {
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(port: u16) -> Self {
        let seen = Arc::<Seen>::default();
        let client = |client| {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut kept = Kept::new(port);
                while !seen.over.load(Ordering::Relaxed) {
                    let answer = if client % 2 == 0 { request(port).await } else { kept.request().await };
                    seen.note(answer);
                }
            })
        };
        let clients = (0..4).map(client).collect();
        Self { seen, clients }
    }

    fn answers(&self) -> usize {
        self.seen.answers.load(Ordering::Relaxed)
    }

    /// Ends it; how many answers there were, if there was one to each request.
    async fn over(self) -> usize {
        self.seen.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        assert_eq!(*self.seen.failures.lock().unwrap(), Vec::<String>::new());
        self.seen.answers.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn updates_under_load_drop_no_request() {
    let updates = number("DUNLIN_UPDATES", 100);
    let mut scene = Scene::new().await;
    scene.update_to_keep_alive().await;
    let load = Load::on(scene.port);
    let start = Instant::now();
    for _ in 0..updates {
        scene.update_to_keep_alive().await;
    }
    let took = start.elapsed();
    let answers = load.over().await;
    // All that goes with the agent, whatever the broker in this process keeps.
    let before = memory::held_by_all();
    scene.board.stop().await;
    let held = (before - memory::held_by_all()) / 1024;
    println!("{updates} updates in {took:?}, {answers} answers meanwhile; the agent held {held} KiB at the end");
    assert!(answers as u64 >= updates);
}

/// The board speaks HTTP, and a new release answers where the old one did; the old one's connections end in order.
#[tokio::test]
async fn updates_of_an_app_that_answers_requests_drop_none() {
    let mut scene = Scene::new().await;
    let load = Load::on(scene.port);
    for _ in 0..10 {
        scene.deploy_http(&HTTP_HELLO, |_| {}).await;
        let expected = format!("{}.0.0", scene.sequence);
        scene.board.app("it took over", |app| app.phase == Phase::Running && version(app) == expected).await;
        let before = load.answers();
        let answered = async {
            while load.answers() < before + 4 {
                tokio::task::yield_now().await;
            }
        };
        within(answered, Duration::from_secs(20)).await.expect("nobody is answered");
    }
    load.over().await;
}

/// Answers requests, when it has started: and that it does not.
const NEVER_STARTS: &str = r#"(component
    (import "wasi:http/types@0.2.0" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
    (alias export $types "incoming-request" (type $request))
    (alias export $types "response-outparam" (type $outparam))
    (core module $module
        (func $start (loop (br 0)))
        (start $start)
        (func (export "handle") (param i32 i32)))
    (core instance $instance (instantiate $module))
    (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
        (canon lift (core func $instance "handle")))
    (instance $handler (export "handle" (func $handle)))
    (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;

#[tokio::test]
async fn an_instance_that_never_starts_is_reverted_while_the_old_one_serves() {
    let mut scene = Scene::new().await;
    let bytes = wat::parse_str(NEVER_STARTS).unwrap();
    scene.deploy_http(&Artifact { bytes: bytes.leak(), ..HTTP_HELLO }, |release| release.health.start_ms = 300).await;
    let next = scene.reverted().await.next.unwrap();
    assert!(next.why.as_ref().unwrap().contains("not well within 300 ms of its start"), "{next:?}");
    assert!(get(scene.port).await.contains("Hello, WASM!"));
}

#[tokio::test]
async fn a_request_that_fails_reverts_a_trial_and_is_told_afterwards() {
    let mut scene = Scene::new().await;
    scene.deploy_http(&HTTP_CHECKS, |release| release.trial_ms = 60_000).await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    assert!(ask_for(scene.port, "/panic").await.starts_with("HTTP/1.1 500 "));
    let next = scene.reverted().await.next.unwrap();
    let why = next.why.unwrap();
    assert!(why.starts_with("GET /panic: aborted"), "{why}");
    assert!(get(scene.port).await.contains("Hello, WASM!"), "the old one serves");

    scene.deploy_http(&HTTP_CHECKS, |_| {}).await;
    scene.board.app("it runs", |app| app.phase == Phase::Running && version(app) == "3.0.0").await;
    assert!(ask_for(scene.port, "/unset").await.starts_with("HTTP/1.1 502 "));
    let told =
        |app: &AppState| app.phase == Phase::Running && app.why.as_deref() == Some("GET /unset: it gave no answer");
    scene.board.app("it says so and runs on", told).await;
}

#[tokio::test]
async fn a_module_for_another_world_than_was_signed_is_refused() {
    let mut scene = Scene::new().await;
    scene.deploy_http(&KEEP_ALIVE, |_| {}).await;
    assert_eq!(scene.operator.refusal().await, "bad-module");
    scene.deploy(&HTTP_HELLO, |release| release.world = World::Command).await;
    assert_eq!(scene.operator.refusal().await, "bad-module");
    assert!(get(scene.port).await.contains("Hello, WASM!"), "what ran goes on");
}

async fn ask_for(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// One request on a connection of its own.
async fn request(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A client that keeps its connection. One that ends before the first byte of an answer has not taken the
/// request: it is made again on a new one (RFC 9112, 9.3.1).
struct Kept {
    port: u16,
    stream: Option<TcpStream>,
}

impl Kept {
    fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    async fn request(&mut self) -> io::Result<String> {
        if let Some(stream) = &mut self.stream {
            let answer = ask(stream).await;
            if answer.as_ref().is_ok_and(|answer| !answer.is_empty()) {
                return answer;
            }
        }
        let stream = self.stream.insert(TcpStream::connect(("127.0.0.1", self.port)).await?);
        ask(stream).await
    }
}

/// An answer's head and body; nothing at all if the connection ended before it.
async fn ask(stream: &mut TcpStream) -> io::Result<String> {
    if stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.is_err() {
        return Ok(String::new());
    }
    let mut answer = Vec::new();
    while !whole(&answer) {
        match stream.read_buf(&mut answer).await {
            Ok(0) | Err(_) if answer.is_empty() => return Ok(String::new()),
            Ok(0) => return Err(io::Error::other("half an answer")),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into())
}

/// Whether all that `Content-Length` promises is there.
fn whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

#[tokio::test]
async fn on_demand_the_first_connection_starts_it_and_silence_puts_it_away() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |release| release.start = Start::OnDemand { idle_ms: 200 }).await;
    scene.board.app("its trial is over and nobody wants it", |app| app.phase == Phase::Asleep).await;
    for _ in 0..3 {
        assert!(get(scene.port).await.contains("Hello, WASM!"));
        scene.board.app("it is put away", |app| app.phase == Phase::Asleep).await;
    }
    let held = TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    scene.board.app("it runs", |app| app.phase == Phase::Running).await;
    let asleep = scene.board.app("it is put away", |app| app.phase == Phase::Asleep);
    assert!(within(asleep, Duration::from_millis(600)).await.is_none(), "not while somebody is connected");
    drop(held);
    scene.board.app("it is put away", |app| app.phase == Phase::Asleep).await;
}

#[tokio::test]
async fn many_apps_sleep_on_one_board_and_each_wakes_when_it_is_wanted() {
    let count = number("DUNLIN_APPS", 20);
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut releases = Vec::new();
    for number in 0..count {
        let mut release = release(&format!("app-{number}"), 1, HELLO.bytes, Some(free_port()));
        release.start = Start::OnDemand { idle_ms: 300 };
        operator.release(&fleet, &release, HELLO.bytes).await;
        releases.push(release);
    }
    let all: Vec<_> = releases.iter().collect();
    operator.plan(&fleet, &fleet.plan(1, &all)).await;
    let all_sleep = |state: &DeviceState| {
        state.apps.len() as u64 == count && state.apps.iter().all(|app| app.phase == Phase::Asleep)
    };
    operator.state("all sleep", all_sleep).await;
    let mut medians = Vec::new();
    // The first time a board also writes down that a release runs well.
    for _ in 0..2 {
        let mut times = Vec::new();
        for release in &releases {
            let start = Instant::now();
            assert!(get(release.asks.listen[0].host.unwrap()).await.contains("Hello, WASM!"));
            times.push(start.elapsed());
        }
        times.sort();
        medians.push(times[times.len() / 2]);
        operator.state("all are put away again", all_sleep).await;
    }
    // All that goes with the agent, divided among its apps.
    let before = memory::held_by_all();
    board.stop().await;
    let each = (before - memory::held_by_all()) / count as isize / 1024;
    println!("{count} apps: {each} KiB each asleep, an answer from there {medians:?} at the median, first and later");
}
