//! `release`: what reaches the broker, and what is refused before it does.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;

use common::{World, module};
use dunlin_core::wire::{Digest, Health, Probe, ReleaseRef, Restart, Topic};
use serde_json::{Value, json};

/// The order that a plan would have for what `release --json` says.
fn order(report: &Value) -> ReleaseRef {
    let digest = report["digest"].as_str().unwrap().parse().unwrap();
    ReleaseRef { digest, counter: report["counter"].as_u64().unwrap() }
}

/// A module of several chunks.
fn large() -> String {
    let text: String = (0..12_000).map(|i| format!("{i:09}.")).collect();
    module(&text)
}

#[test]
fn what_is_released_is_what_a_board_accepts() {
    let world = World::new();
    let more = "publish = [\"8080:7878\", \"9000\"]\nenv = { GREETING = \"Hello\" }\nrequired-env = [\"TOKEN\"]\n\
                memory = \"4MiB\"\nrestart = \"on-failure\"\n\
                urls = [\"https://b/{app}/{version}/{sha256}.wasm\"]\n[health]\nhttp = \"/\"\n";
    let file = world.app("hello", "1.0.0", more, &large());
    let report = world.json(&["release", &file, "--json"]);
    let wasm = fs::read(world.path("hello/app.wasm")).unwrap();
    let expected = json!({
        "app": "hello", "version": "1.0.0", "counter": 1, "digest": report["digest"],
        "module": { "sha256": Digest::of(&wasm).to_string(), "bytes": wasm.len(), "chunks": 3 },
        "published": true, "again": false,
    });
    assert_eq!(report, expected);
    let (release, module) = world.fetched("hello", &order(&report));
    assert_eq!(module, wasm);
    assert_eq!(release.version.as_str(), "1.0.0");
    let ports: Vec<_> = release.asks.listen.iter().map(|l| (l.guest, l.host, l.nonblocking)).collect();
    assert_eq!(ports, [(7878, Some(8080), false), (9000, None, false)]);
    let env: Vec<_> = release.asks.env.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
    assert_eq!(env, [("GREETING", Some("Hello")), ("TOKEN", None)]);
    assert_eq!((release.asks.memory_bytes, release.restart), (4 << 20, Restart::OnFailure));
    let probe = Probe::Http { port: 7878, path: "/".into(), status: 200 };
    assert_eq!(release.health, Health { probe, ..Health::default() });
    assert_eq!(release.urls, [format!("https://b/hello/1.0.0/{}.wasm", Digest::of(&wasm))]);
    let record = fs::read(world.fleet("releases/hello/1.0.0.release")).unwrap();
    assert_eq!(record, release.to_bytes());
    let kept = world.fleet(&format!("modules/{}.wasm", Digest::of(&wasm)));
    assert_eq!(fs::read(kept).unwrap(), wasm);
}

#[test]
fn counters_grow_with_each_version() {
    let world = World::new();
    for (version, counter) in [("1.0.0", 1), ("1.1.0", 2), ("0.9.0", 3)] {
        let file = world.app("hello", version, "", &module(version));
        assert_eq!(world.json(&["release", &file, "--json"])["counter"], counter);
    }
    let other = world.app("other", "1.0.0", "", &module("x"));
    assert_eq!(world.json(&["release", &other, "--json"])["counter"], 1, "each app has its own");
}

#[test]
fn the_same_again_fills_a_broker_that_lost_it() {
    let mut world = World::new();
    let file = world.app("hello", "1.0.0", "", &large());
    let first = world.json(&["release", &file, "--json"]);
    world.lose_broker();
    assert!(world.retained(&[Topic::Release(order(&first).digest)]).is_empty());
    let second = world.json(&["release", &file, "--json"]);
    assert_eq!((&second["digest"], &second["counter"], &second["again"]), (&first["digest"], &json!(1), &json!(true)));
    let (_, module) = world.fetched("hello", &order(&first));
    assert_eq!(module, fs::read(world.path("hello/app.wasm")).unwrap());
}

#[test]
fn a_version_never_changes() {
    let world = World::new();
    let first = world.app("hello", "1.0.0", "", &module("one"));
    let report = world.json(&["release", &first, "--json"]);
    let record = fs::read(world.fleet("releases/hello/1.0.0.release")).unwrap();
    let other = world.app("hello", "1.0.0", "", &module("two"));
    let error = world.fails(1, &["release", &other]);
    assert!(error.contains("hello 1.0.0 was released before with another module"), "{error}");
    assert!(error.contains("raise `version` in app.toml"), "{error}");
    let other = world.app("hello", "1.0.0", "args = [\"x\"]", &module("one"));
    let error = world.fails(1, &["release", &other]);
    assert!(error.contains("with other settings in app.toml"), "{error}");
    assert_eq!(fs::read(world.fleet("releases/hello/1.0.0.release")).unwrap(), record);
    world.fetched("hello", &order(&report));
}

#[test]
fn a_dry_run_leaves_nothing() {
    let world = World::new();
    let file = world.app("hello", "1.0.0", "", &module("x"));
    let before = common::files_below(&world.path(""));
    let report = world.json(&["release", &file, "--json", "--dry-run"]);
    assert_eq!((&report["published"], &report["counter"]), (&json!(false), &json!(1)));
    assert_eq!(common::files_below(&world.path("")), before);
    assert!(world.retained(&[Topic::Release(order(&report).digest)]).is_empty());
    assert_eq!(world.json(&["release", &file, "--json"])["digest"], report["digest"], "it said what would be");
}

#[test]
fn what_no_board_could_run_is_refused_by_name() {
    let world = World::new();
    let import = "(module (import \"env\" \"teleport\" (func)) (func (export \"_start\")))";
    for (wat, more, why) in [
        (import, "", "env.teleport"),
        ("(module)", "", "_start"),
        ("(module (memory 100) (func (export \"_start\")))", "memory = \"1MiB\"", "memory"),
    ] {
        let file = world.app("bad", "1.0.0", more, wat);
        let error = world.fails(1, &["release", &file]);
        assert!(error.contains("bad/app.wasm: ") && error.contains(why), "{error}");
    }
    let file = world.app("bad", "1.0.0", "", "(module)");
    fs::write(world.path("bad/app.wasm"), "#!/bin/sh\n").unwrap();
    let error = world.fails(1, &["release", &file]);
    assert!(error.contains("not WebAssembly"), "{error}");
    fs::remove_file(world.path("bad/app.wasm")).unwrap();
    let error = world.fails(1, &["release", &file]);
    assert!(error.contains("the module that app.toml names: cannot read") && error.contains("bad/app.wasm"), "{error}");
    assert!(!world.fleet("releases").exists() && !world.fleet("modules").exists(), "nothing is kept of them");
}

#[test]
fn a_typo_in_app_toml_has_a_place() {
    let world = World::new();
    let file = world.app("hello", "1.0.0", "\n[helth]\nhttp = \"/\"\n", &module("x"));
    let error = world.fails(1, &["release", &file]);
    assert!(error.contains("hello/app.toml:5:2: unknown field `helth`, expected one of `name`"), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let key = world.fleet("keys/release.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let file = world.app("hello", "1.0.0", "", &module("x"));
    let run = world.ok(&["release", &file]);
    assert!(run.err.contains("warning: ") && run.err.contains("chmod 600"), "{}", run.err);
}

#[test]
fn a_release_signed_by_a_stranger_is_not_made() {
    let (world, stranger) = (World::new(), World::new());
    fs::copy(stranger.fleet("keys/release.key"), world.fleet("keys/release.key")).unwrap();
    let file = world.app("hello", "1.0.0", "", &module("x"));
    let error = world.fails(1, &["release", &file]);
    assert!(error.contains("root 1 of flock does not know this release key"), "{error}");
}
