//! `status` and `deploy --wait`: what devices say, as the operator sees it.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use common::{LIMIT, Running, World, board::Board};
use dunlin_core::wire::{
    Digest, ReleaseRef, Timestamp,
    state::{AppState, DeviceState, Phase, PlanState},
};
use serde_json::{Value, json};

fn state(device: &str, sequence: u64, release: Digest, phase: Phase, why: Option<&str>) -> DeviceState {
    DeviceState {
        device: device.parse().unwrap(),
        fleet: "flock".parse().unwrap(),
        labels: [("site".parse().unwrap(), "hall".parse().unwrap())].into(),
        agent: "0.1.0".into(),
        root: 1,
        sealing_key: None,
        plan: Some(PlanState { sequence, digest: Digest::of(b"plan") }),
        apps: [AppState {
            app: "hello".parse().unwrap(),
            release,
            version: Some("1.0.0".parse().unwrap()),
            phase,
            since: Timestamp(common::now().0 - 300),
            why: why.map(Into::into),
            failures: 0,
            ports: [8080].into(),
            udp_ports: Vec::new(),
            log: Vec::new(),
            next: None,
        }]
        .into(),
        refused: None,
        broker: vec![],
        trouble: None,
        at: common::now(),
    }
}

#[test]
fn status_shows_what_devices_said() {
    let world = World::new();
    assert_eq!(world.json(&["status", "--json"]), json!([]));
    assert!(world.ok(&["status"]).err.contains("no device of flock has said anything yet"));
    let up = state("pi-1", 3, Digest::of(b"r"), Phase::Running, None);
    world.device("pi-1", true, Some(&up));
    world.device("pi-2", false, Some(&state("pi-2", 2, Digest::of(b"r"), Phase::Refused, Some("too large"))));
    world.device("pi-3", true, None);
    let mut expected = serde_json::to_value(&up).unwrap();
    expected["online"] = true.into();
    let shown = world.json(&["status", "--json"]);
    assert_eq!(shown[0], expected, "what it said, and online");
    assert_eq!((&shown[1]["device"], &shown[1]["online"]), (&json!("pi-2"), &json!(false)));
    assert_eq!(shown[2], json!({ "device": "pi-3", "online": true }));
    assert_eq!(shown.as_array().map(Vec::len), Some(3));
    let table = world.ok(&["status"]).out;
    let expected = "\
DEVICE  LABELS     ONLINE  AGENT  PLAN  APP    RELEASE  STATE    SINCE  WHY
pi-1    site=hall  yes     0.1.0  3     hello  1.0.0    running  5m     port 8080
pi-2    site=hall  no      0.1.0  2     hello  1.0.0    refused  5m     port 8080; too large
pi-3    -          yes     -      -     -      -        -        -\n";
    assert_eq!(table, expected, "and no colours where there is no terminal");
}

#[test]
fn status_watch_shows_every_change_until_it_is_interrupted() {
    let world = World::new();
    world.device("pi-1", true, Some(&state("pi-1", 1, Digest::of(b"r"), Phase::Starting, None)));
    let child = world.command(&["status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()[0]["apps"][0]["phase"], "starting");
    world.device("pi-1", true, Some(&state("pi-1", 1, Digest::of(b"r"), Phase::Running, None)));
    assert_eq!(next()[0]["apps"][0]["phase"], "running");
    let (code, took) = running.interrupt();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn wait_ends_when_the_boards_that_it_is_for_run_it() {
    let world = World::new();
    let _kitchen = Board::start(&world, "pi-1", "kitchen");
    let _hall = Board::start(&world, "pi-2", "hall");
    let spin = "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $l (br $l))))";
    let file = world.app("hello", "1.0.0", "", spin);
    world.ok(&["release", &file]);
    let run = world.ok(&["deploy", "hello", "--to", "site=kitchen", "--wait", "50s"]);
    assert!(run.out.ends_with("1 device runs hello\n"), "{}", run.out);
    let order = world.plan().assignments[0].release;
    let status = world.json(&["status", "--json"]);
    let apps = |device: usize| status[device]["apps"].clone();
    assert_eq!(apps(0)[0]["phase"], "running");
    assert_eq!(apps(0)[0]["release"], order.digest.to_string());
    assert_eq!(apps(1), json!([]), "the other one does not have it");
    let run = world.ok(&["deploy", "hello", "--wait=50s"]);
    assert!(run.out.ends_with("2 devices run hello\n"), "{}", run.out);
}

#[test]
fn wait_says_which_board_does_not_run_it_and_why() {
    let world = World::new();
    let _board = Board::start(&world, "pi-1", "hall");
    let trap = "(module (memory (export \"memory\") 1) (func (export \"_start\") unreachable))";
    let file = world.app("hello", "1.0.0", "", trap);
    world.ok(&["release", &file]);
    let at = Instant::now();
    let error = world.fails(1, &["deploy", "hello", "--wait", "50s"]);
    assert!(error.contains("hello does not run on 1 of 1 devices:\n  pi-1: ended "), "{error}");
    assert!(error.contains("unreachable"), "{error}");
    assert!(at.elapsed() < LIMIT, "it did not wait for the time to pass");
}

#[test]
fn wait_gives_up_in_its_time() {
    let world = World::new();
    world.release("hello", "1.0.0", "");
    let error = world.fails(1, &["deploy", "hello", "--wait", "1500ms"]);
    assert!(error.contains("no device of every device was online within 1.5 s"), "{error}");
    // One that is connected, and never says that it has the plan.
    world.device("pi-1", true, Some(&state("pi-1", 1, Digest::of(b"old"), Phase::Running, None)));
    let error = world.fails(1, &["deploy", "hello", "--wait", "1500ms"]);
    assert!(error.contains("1 of 1 devices within 1.5 s:\n  pi-1: has plan 1"), "{error}");
    assert_eq!(world.plan().sequence, 2, "the plans are out all the same");
}

#[test]
fn inspect_says_what_a_file_is() {
    let world = World::new();
    world.release("hello", "1.0.0", "publish = [\"8080:7878\"]\n");
    world.ok(&["deploy", "hello", "--to", "site=hall"]);
    let inspect = |name: &str| world.json(&["inspect", world.fleet(name).to_str().unwrap(), "--json"]);
    let root = inspect("root.dunlin");
    assert_eq!(
        (&root["kind"], &root["trusted"], &root["document"]["fleet"]),
        (&json!("root"), &json!(true), &json!("flock"))
    );
    let order: ReleaseRef = world.plan().assignments[0].release;
    let release = inspect("releases/hello/1.0.0.release");
    assert_eq!((&release["kind"], &release["trusted"]), (&json!("release"), &json!(true)));
    assert_eq!(release["digest"], order.digest.to_string());
    assert_eq!(release["document"]["asks"]["listen"][0]["host"], 8080);
    let plan = inspect("plan.dunlin");
    assert_eq!((&plan["kind"], &plan["document"]["sequence"]), (&json!("plan"), &json!(1)));
    let key = inspect("keys/deploy.key");
    assert_eq!(key, json!({ "kind": "key", "public": world.root().deploy.keys[0] }));
    assert_eq!(plan["signatures"], json!([world.root().deploy.keys[0]]));

    let wat =
        "(module (import \"env\" \"teleport\" (func)) (memory (export \"memory\") 2 5) (func (export \"_start\")))";
    let file = world.app("bad", "1.0.0", "", wat).replace("app.toml", "app.wasm");
    let bytes = fs::read(&file).unwrap();
    let module = world.json(&["inspect", &file, "--json"]);
    let why = module["why"].as_str().unwrap().to_owned();
    assert!(why.contains("env.teleport"), "{why}");
    let expected = json!({
        "kind": "module", "sha256": Digest::of(&bytes), "bytes": bytes.len(), "imports": ["env.teleport"],
        "exports": [{ "name": "memory", "kind": "memory" }, { "name": "_start", "kind": "function" }],
        "memories": [{ "initial_bytes": 2 * 65_536, "max_bytes": 5 * 65_536 }], "component": false,
        "runs": false, "why": why,
    });
    assert_eq!(module, expected);
    let text = world.ok(&["inspect", &file]).out;
    assert!(text.contains("import   env.teleport\n") && text.contains("runs     no: "), "{text}");

    // Of another fleet, damaged, or something else.
    let stranger = World::new();
    let foreign = stranger.run(&["inspect", world.fleet("root.dunlin").to_str().unwrap()]);
    assert!(foreign.code == 0 && foreign.out.contains("trusted  no: "), "a root fits itself: {foreign:?}");
    let nobody = World::without_fleet().ok(&["inspect", world.fleet("root.dunlin").to_str().unwrap()]).out;
    assert!(nobody.contains("trusted  not asked"), "{nobody}");
    let foreign = stranger.run(&["inspect", world.fleet("plan.dunlin").to_str().unwrap()]);
    assert!(foreign.code == 0 && foreign.out.contains("trusted  no: "), "{foreign:?}");
    let mut bytes = fs::read(world.fleet("plan.dunlin")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(world.path("bent"), &bytes).unwrap();
    assert!(world.ok(&["inspect", "bent"]).out.contains("[bad-signature]"));
    fs::write(world.path("cut"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(world.fails(1, &["inspect", "cut"]).contains("cut: this is not a whole plan [malformed]"));
    fs::write(world.path("text"), "hello").unwrap();
    assert!(
        world.fails(1, &["inspect", "text"]).contains("text is no envelope, no bundle, no wasm module and no key file")
    );
}

#[test]
fn events_are_shown_as_they_happen() {
    let world = World::new();
    let _board = Board::start(&world, "pi-1", "hall");
    let spin = "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop $l (br $l))))";
    let file = world.app("hello", "1.0.0", "", spin);
    world.ok(&["release", &file]);
    let listen = |args: &[&str]| {
        let mut command = world.command(&[&["events", "-f"], args].concat());
        let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut heard = String::new();
        BufReader::new(running.0.stderr.take().unwrap()).read_line(&mut heard).unwrap();
        assert!(heard.contains("listening for what happens in flock"), "{heard}");
        let lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        (running, lines)
    };
    let (mut all, mut words) = listen(&[]);
    let (_json, mut values) = listen(&["--json", "--device", "pi-1", "--app", "hello"]);
    world.ok(&["deploy", "hello"]);
    let order = world.plan().assignments[0].release.digest;
    let first = words.next().unwrap().unwrap();
    assert!(first.ends_with("pi-1  accepted plan 1"), "{first}");
    let runs = words.map(Result::unwrap).find(|line| line.ends_with(" is running")).unwrap();
    assert!(runs.contains(&format!("pi-1  hello {} is running", order.short())), "{runs}");
    // Only of the app: that a plan was accepted is not.
    let first: Value = serde_json::from_str(&values.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["app"], &first["release"]), (&json!("app"), &json!("hello"), &json!(order)));
    assert_eq!(all.interrupt().0, 0);
}

#[test]
fn a_code_is_explained() {
    let world = World::without_fleet();
    let one = world.ok(&["explain", "[fork]"]).out;
    assert!(
        one.starts_with("fork\n  refused: the last plan's sequence with other content\n  to do:   `dunlinctl"),
        "{one}"
    );
    assert_eq!(world.json(&["explain", "--json"]).as_array().map(Vec::len), Some(dunlin_core::Code::ALL.len()));
    let run = world.run(&["explain", "spoon"]);
    assert!(run.code == 2 && run.err.contains("there is oversized, malformed, "), "{run:?}");
}

#[test]
fn status_shows_what_is_asked_for() {
    let world = World::new();
    world.device("pi-1", true, Some(&state("pi-1", 3, Digest::of(b"r"), Phase::Running, None)));
    world.device("pi-2", false, Some(&state("pi-2", 2, Digest::of(b"r"), Phase::Refused, Some("too large"))));
    let devices = |args: &[&str]| {
        let status = world.json(&[&["status", "--json"], args].concat());
        status.as_array().unwrap().iter().map(|device| device["device"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(devices(&["--state", "refused,reverted"]), ["pi-2"]);
    assert_eq!(devices(&["--to", "device=pi-1"]), ["pi-1"]);
    assert_eq!(devices(&["--app", "bell"]), [""; 0]);
    assert_eq!((devices(&["--online"]), devices(&["--offline"])), (vec![json!("pi-1")], vec![json!("pi-2")]));
    assert!(world.ok(&["status", "--app", "bell"]).err.contains("no device of flock is meant by that"));
    let run = world.run(&["status", "--state", "happy"]);
    assert!(run.code == 2 && run.err.contains("there is fetching, starting, "), "{run:?}");
}

/// Prints this, and then runs for ever.
fn printer(text: &str) -> String {
    let length = text.len() + 1;
    format!(
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $w (param i32 i32 i32 i32) (result i32))) \
         (memory (export \"memory\") 1) (data (i32.const 0) \"\\10\\00\\00\\00\\{length:02x}\\00\\00\\00\") \
         (data (i32.const 16) \"{text}\\0a\") (func (export \"_start\") \
         (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (loop $l (br $l))))"
    )
}

#[test]
fn logs_show_the_last_lines_and_those_that_come() {
    let world = World::new();
    let _board = Board::start(&world, "pi-1", "hall");
    let file = world.app("hello", "1.0.0", "trial = \"200ms\"\n", &printer("the first line"));
    world.ok(&["release", &file]);
    world.ok(&["deploy", "hello", "--wait", "50s"]);
    assert_eq!(world.ok(&["logs", "pi-1/hello"]).out, "the first line\n");
    let mut follow = world.command(&["logs", "pi-1/hello", "-f", "--json"]);
    let mut running = Running(follow.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    assert_eq!((&first["number"], &first["stream"]), (&json!(1), &json!("stdout")));
    let file = world.app("hello", "2.0.0", "trial = \"200ms\"\n", &printer("the second line"));
    world.ok(&["release", &file]);
    world.ok(&["deploy", "hello"]);
    let second = next();
    assert_eq!((&second["number"], &second["text"]), (&json!(2), &json!("the second line")));
    assert_eq!(running.interrupt().0, 0);
    // An app that prints nothing answers, too; one that is not there doesn't.
    world.release("bell", "1.0.0", "restart = \"never\"\n");
    world.ok(&["deploy", "bell", "--wait", "50s"]);
    assert_eq!(world.ok(&["logs", "pi-1/bell"]).out, "");
    let error = world.fails(1, &["--timeout", "2s", "logs", "pi-1/nothing"]);
    assert!(error.contains("pi-1 does not answer: is it online, does it have nothing,"), "{error}");
    assert_eq!(world.run(&["logs", "pi-1"]).code, 2);
}
