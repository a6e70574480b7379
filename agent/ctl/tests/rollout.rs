//! Rollouts in waves with real agents: to the end, halted, continued by somebody else, and by two at once.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Stdio,
    thread,
    time::Duration,
};

use common::{LIMIT, Running, World, board::Board, eventually};
use dunlin::link::Event;
use dunlin_core::wire::{Topic, state::Phase};
use serde_json::{Value, json};

/// Runs for ever; its text makes it unlike others.
fn runs(text: &str) -> String {
    format!(
        "(module (memory (export \"memory\") 1) (data (i32.const 0) \"{text}\") \
         (func (export \"_start\") (loop $l (br $l))))"
    )
}

const TRAPS: &str = "(module (memory (export \"memory\") 1) (func (export \"_start\") unreachable))";

/// A short trial, so that a wave does not take long.
const APP: &str = "trial = \"500ms\"\n";

/// Three boards that run hello 1.0.0.
struct Scene {
    world: World,
    boards: Vec<Board>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let boards = (1..=3).map(|number| Board::start(&world, &format!("pi-{number}"), "hall")).collect();
        let scene = Self { world, boards };
        scene.release("1.0.0", &runs("1"));
        let run = scene.world.ok(&["deploy", "hello", "--wait", "50s"]);
        assert!(run.out.ends_with("3 devices run hello\n"), "{}", run.out);
        scene
    }

    fn release(&self, version: &str, wat: &str) {
        let file = self.world.app("hello", version, APP, wat);
        self.world.ok(&["release", &file]);
    }

    /// Which version of hello each board runs, and how.
    fn running(&self) -> Vec<(String, String)> {
        let status = self.world.json(&["status", "--json"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let one = |device: &Value| (text(&device["apps"][0]["version"]), text(&device["apps"][0]["phase"]));
        status.as_array().unwrap().iter().map(one).collect()
    }

    /// Waits until so many boards run this version.
    fn until(&self, count: usize, version: &str) {
        let running = Phase::Running.as_str();
        eventually("boards run it", || {
            (self.running().iter().filter(|(v, phase)| v == version && phase == running).count() == count).then_some(())
        });
    }

    /// How far the one rollout is, counted from 0.
    fn wave(&self) -> Option<u32> {
        self.world.plan().rollouts.first().map(|(_, rollout)| rollout.wave)
    }

    /// A rollout of 2.0.0 that goes on by itself, with a long soak, when its first wave has arrived.
    fn begun(&self) -> (Running, BufReader<std::process::ChildStderr>) {
        self.release("2.0.0", &runs("2"));
        let mut command = self.world.command(&["deploy", "hello", "--waves", "1,100%", "--soak", "1h"]);
        let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut said = BufReader::new(running.0.stderr.take().unwrap());
        until_line(&mut said, "wave 1 of 2: 1 of 1 well; next wave in ");
        (running, said)
    }
}

/// Reads lines until one has this in it.
fn until_line(said: &mut impl BufRead, text: &str) {
    let mut all = String::new();
    loop {
        let from = all.len();
        assert_ne!(said.read_line(&mut all).unwrap(), 0, "{text:?} was not said: {all}");
        if all[from..].contains(text) {
            return;
        }
    }
}

/// Waits for a program that ends by itself; its exit code and the rest of what it said.
fn ended(mut running: Running, mut said: impl Read) -> (i32, String) {
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    (running.0.wait().unwrap().code().unwrap(), rest)
}

#[test]
fn a_rollout_reaches_all_in_waves() {
    let scene = Scene::new();
    scene.release("2.0.0", &runs("2"));
    let run = scene.world.ok(&["deploy", "hello", "--waves", "1,50%,100%", "--soak", "1s"]);
    assert!(run.out.contains("plan 2: hello 2.0.0 on every device in 3 waves;"), "{}", run.out);
    assert!(run.out.ends_with("plan 5: the rollout of hello is over: 3 devices\n"), "{}", run.out);
    for line in ["wave 1 of 3: 1 of 1 well; next wave in 1 s", "wave 2 of 3: 2 of 2 well", "wave 3 of 3: 3 of 3 well"] {
        assert!(run.err.contains(line), "{}", run.err);
    }
    assert_eq!(scene.running(), vec![("2.0.0".into(), "running".into()); 3]);
    let plan = scene.world.plan();
    assert_eq!((plan.sequence, plan.assignments.len(), plan.rollouts.len()), (5, 1, 0));
    // Nothing of it is left but a release that went before.
    scene.world.ok(&["rollback", "hello"]);
    scene.until(3, "1.0.0");
}

#[test]
fn a_failing_board_halts_it_and_rollback_takes_it_back() {
    let scene = Scene::new();
    scene.release("2.0.0", TRAPS);
    let error = scene.world.fails(1, &["deploy", "hello", "--waves", "1,100%", "--soak", "1s"]);
    assert!(error.contains("halted in wave 1 of 2: 1 of 1 devices fail, and none may: pi-"), "{error}");
    assert!(error.contains("went back to what ran before: ") && error.contains("unreachable"), "{error}");
    assert!(error.contains("`dunlinctl rollback hello` takes it back"), "{error}");
    assert_eq!((scene.wave(), scene.world.plan().assignments.len()), (Some(0), 2));
    assert_eq!(scene.running(), vec![("1.0.0".into(), "running".into()); 3], "what ran runs");
    let shown = scene.world.json(&["rollout", "show", "--json"]);
    let expected = json!([0, 1, 1]);
    assert_eq!(json!([shown[0]["well"], shown[0]["failing"], shown[0]["devices"]]), expected, "{shown}");
    assert_eq!(shown[0]["to"], json!([]), "every device");
    // Who goes on without changing anything is told the same.
    assert!(scene.world.fails(1, &["rollout", "continue", "hello"]).contains("halted in wave 1 of 2"));
    let run = scene.world.ok(&["rollback", "hello"]);
    assert!(run.out.contains("rolls back hello") && run.out.contains("hello 1.0.0 on every device"), "{}", run.out);
    let plan = scene.world.plan();
    assert_eq!((plan.rollouts.len(), plan.assignments.len(), plan.assignments[0].release.counter), (0, 1, 1));
    assert!(scene.world.ok(&["rollout", "show"]).err.contains("nothing is being rolled out"));
}

#[test]
fn another_machine_goes_on_where_one_died() {
    let scene = Scene::new();
    let (running, _) = scene.begun();
    // Killed, as by a power cut.
    drop(running);
    assert_eq!(scene.wave(), Some(0));
    let other = scene.world.other_folder();
    let other = other.to_str().unwrap();
    let run = scene.world.ok(&["--fleet", other, "rollout", "continue", "hello", "--soak", "1s"]);
    assert!(run.out.ends_with("the rollout of hello is over: 3 devices\n"), "{}", run.out);
    scene.until(3, "2.0.0");
    assert_eq!(scene.wave(), None);
    // The first machine knows nothing of that yet, and loses nothing.
    scene.world.ok(&["deploy", "hello", "--to", "site=attic"]);
    assert_eq!(scene.world.plan().assignments.len(), 2);
}

#[test]
fn who_is_interrupted_is_told_how_to_go_on() {
    let scene = Scene::new();
    let (mut running, said) = scene.begun();
    let (code, took) = running.interrupt();
    let (_, said) = ended(running, said);
    assert_eq!(code, 1);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(said.contains("`dunlinctl rollout continue hello` goes on") && said.contains("wave 1 of 2"), "{said}");
}

#[test]
fn of_two_operators_each_is_told_what_the_other_does() {
    let scene = Scene::new();
    let (running, mut said) = scene.begun();
    scene.world.release("bell", "1.0.0", "");
    let other = scene.world.other_folder();
    let other = other.to_str().unwrap();
    scene.world.ok(&["--fleet", other, "deploy", "bell", "--to", "site=attic"]);
    until_line(&mut said, "the plan changed: somebody else published plan 3; the rollout goes on in it");
    scene.world.ok(&["--fleet", other, "rollout", "hold", "hello"]);
    let (code, said) = ended(running, said);
    assert_eq!(code, 1);
    assert!(said.contains("the plan changed: plan 4 holds the rollout"), "{said}");
    scene.world.ok(&["rollout", "continue", "hello", "--soak", "1s"]);
    scene.until(3, "2.0.0");
    assert_eq!(scene.world.assignments(), ["bell 1 1 false", "hello 2 0 false"]);
}

#[test]
fn who_deploys_at_the_same_time_is_followed_and_not_overwritten() {
    let world = World::new();
    world.release_large("hello", 3 << 20);
    world.release("bell", "1.0.0", "");
    world.ok(&["deploy", "hello"]);
    let first = fs::read(world.fleet("plan.dunlin")).unwrap();
    let other = world.other_folder();
    world.ok(&["--fleet", other.to_str().unwrap(), "deploy", "bell"]);
    let theirs = fs::read(other.join("plan.dunlin")).unwrap();
    // Back to before that: it comes again while we publish the module that the broker has lost.
    let plan_topic = world.topics().format(&Topic::Plan);
    let hello = world.plan().assignments[0].release;
    let release_topic = world.topics().format(&Topic::Release(hello.digest));
    let module = world.fetched("hello", &hello).0.module.sha256;
    common::publish(world.port, &[(plan_topic.clone(), first), (release_topic, Vec::new())]);
    let chunk = world.topics().format(&Topic::Blob(module, 1));
    common::publish(world.port, &[(chunk.clone(), Vec::new())]);
    let port = world.port;
    let (ready, is_ready) = std::sync::mpsc::channel();
    let meanwhile = thread::spawn(move || {
        common::wait_for(async {
            let mut link = common::link(port);
            loop {
                match link.next().await {
                    Event::Connected(_) => link.subscribe(chunk.clone()),
                    Event::Subscribed { .. } => ready.send(()).unwrap(),
                    Event::Message { payload, .. } if !payload.is_empty() => {
                        link.publish(plan_topic.clone(), theirs.clone(), true);
                    }
                    Event::Acknowledged(_) => break,
                    Event::Message { .. } => {}
                    event @ (Event::Disconnected { .. } | Event::Undeliverable { .. }) => panic!("{event:?}"),
                }
            }
        });
    });
    is_ready.recv_timeout(LIMIT).unwrap();
    let run = world.ok(&["deploy", "hello", "--to", "site=hall"]);
    meanwhile.join().unwrap();
    assert!(run.err.contains("the plan changed: somebody else published plan 2; ours follows it"), "{}", run.err);
    assert!(run.out.contains("plan 3: hello 1.0.0 on site=hall"), "{}", run.out);
    assert_eq!(world.assignments(), ["hello 1 1 false", "hello 1 0 false", "bell 1 0 false"]);
}

#[test]
fn however_two_deploys_meet_both_are_in_the_plan() {
    let world = World::new();
    world.release("hello", "1.0.0", "");
    world.ok(&["deploy", "hello"]);
    let other = world.other_folder();
    for round in 0..4 {
        let (a, b) = (format!("site=a{round}"), format!("site=b{round}"));
        let mut theirs = world.command(&["--fleet", other.to_str().unwrap(), "deploy", "hello", "--to", &b]);
        let theirs = theirs.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let ours = world.run(&["deploy", "hello", "--to", &a]);
        let theirs = common::Run::from(theirs.wait_with_output().unwrap());
        assert_eq!((ours.code, theirs.code), (0, 0), "{ours:?} {theirs:?}");
        let plan = world.plan();
        assert_eq!(
            (plan.sequence, plan.assignments.len()),
            (1 + 2 * (round + 1), 1 + 2 * (round as usize + 1)),
            "{ours:?} {theirs:?}"
        );
    }
}

#[test]
fn a_dry_run_says_who_would_change_and_what_is_granted() {
    let scene = Scene::new();
    let file = scene.world.app("hello", "2.0.0", "connect = [\"db.example:5432\"]\n", &runs("2"));
    scene.world.ok(&["release", &file]);
    let out = scene.world.ok(&["deploy", "hello", "--waves", "1,100%", "--dry-run"]).out;
    assert!(out.contains("would be: plan 2: hello 2.0.0 on every device in 2 waves"), "{out}");
    assert!(out.contains("  wave 1: 1 device from 1.0.0 to 2.0.0 (pi-"), "{out}");
    assert!(out.contains("  wave 2: 2 devices from 1.0.0 to 2.0.0 (pi-"), "{out}");
    assert!(out.contains("; is granted connections to db.example:5432"), "{out}");
    let preview = scene.world.json(&["deploy", "hello", "--to", "site=hall", "--dry-run", "--json"]);
    let change = &preview["changes"][0];
    assert_eq!((&preview["plan"], &change["device"], &change["online"]), (&json!(2), &json!("pi-1"), &json!(true)));
    assert_eq!((&change["from"]["version"], &change["to"]["version"]), (&json!("1.0.0"), &json!("2.0.0")));
    assert_eq!(change["grants"], "connections to db.example:5432");
    let out = scene.world.ok(&["deploy", "hello@1.0.0", "--dry-run"]).out;
    assert!(out.contains("no device that is known would change"), "{out}");
    assert_eq!(scene.world.plan().sequence, 1, "nothing was published");
    assert_eq!(scene.boards.len(), 3);
}

#[test]
fn waves_that_cannot_be_meant_are_refused() {
    let world = World::new();
    world.release("hello", "1.0.0", "");
    for (args, why) in [
        (&["--waves", "1,10%"][..], "the last of --waves is 100%"),
        (&["--soak", "1m"], "go with --waves"),
        (&["--waves", "0,100%"], "no device is no wave"),
        (&["--waves", "1,100%", "--wait"], "cannot be used with"),
        (&["--json"], "--dry-run"),
    ] {
        let run = world.run(&[&["deploy", "hello"], args].concat());
        assert!(run.code == 2 && run.err.contains(why), "{args:?}: {run:?}");
    }
    assert!(world.fails(1, &["deploy", "hello", "--waves", "1,100%"]).contains("no device of every device is online"));
    assert!(world.fails(1, &["rollout", "continue", "hello"]).contains("the plan has no rollout of hello"));
}
