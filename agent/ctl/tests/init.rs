//! `init`, and how the program is used wrongly.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
};

use common::{World, files_below, free_port, now};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_fleet_has_its_keys_to_itself_and_a_root_that_verifies() {
    let world = World::new();
    for (name, expected) in [
        ("keys", 0o700),
        ("keys/root.key", 0o600),
        ("keys/release.key", 0o600),
        ("keys/deploy.key", 0o600),
        ("fleet.toml", 0o644),
        ("root.dunlin", 0o644),
    ] {
        assert_eq!(mode(&world.fleet(name)), expected, "{name}");
    }
    assert_eq!(files_below(&world.path("")).len(), 5, "nothing else is left");
    let root = world.root();
    assert_eq!((root.fleet.as_str(), root.version), ("flock", 1));
    let year = 365 * 86_400;
    assert!(root.expires.0.abs_diff(now().0 + year) < 3_600);
    let keys = [&root.root.keys, &root.deploy.keys, &root.release[0].role.keys];
    assert!(keys.iter().all(|keys| keys.len() == 1));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "each role has a key of its own");
    let toml = fs::read_to_string(world.fleet("fleet.toml")).unwrap();
    assert!(toml.contains("name = \"flock\"") && toml.contains("# password_file = "), "{toml}");
}

#[test]
fn keys_are_closed_to_others_whatever_the_umask_is() {
    let world = World::without_fleet();
    let program = env!("CARGO_BIN_EXE_dunlinctl");
    let line = format!("umask 000; exec {program} init flock --broker mqtt://b");
    let mut shell = std::process::Command::new("sh");
    assert!(shell.args(["-c", &line]).current_dir(world.path("")).output().unwrap().status.success());
    assert_eq!((mode(&world.fleet("keys")), mode(&world.fleet("keys/root.key"))), (0o700, 0o600));
    assert_eq!(mode(&world.path("flock")), 0o755);
}

#[test]
fn a_fleet_is_never_overwritten() {
    let world = World::new();
    let before: Vec<_> = files_below(&world.path("")).into_iter().map(|f| (fs::read(&f).unwrap(), f)).collect();
    let error = world.fails(1, &["init", "flock", "--broker", "mqtt://b"]);
    assert!(error.contains("flock is a fleet already") && error.contains("--dir"), "{error}");
    let error = world.fails(1, &["init", "other", "--dir", ".", "--broker", "mqtt://b"]);
    assert!(error.contains("not empty"), "{error}");
    let after: Vec<_> = files_below(&world.path("")).into_iter().map(|f| (fs::read(&f).unwrap(), f)).collect();
    assert_eq!(after, before);
}

#[test]
fn flags_become_settings_relative_to_where_they_were_given() {
    let world = World::without_fleet();
    fs::write(world.path("secret.txt"), "pass\n").unwrap();
    fs::create_dir(world.path("there")).unwrap();
    let line =
        "init flock --dir there --broker mqtt://b:1 --user op --password-file secret.txt --prefix x/v1 --expires 2d";
    let run = world.ok(&line.split(' ').collect::<Vec<_>>());
    assert!(run.out.contains("valid 2 days") && run.out.contains("there/root.dunlin"), "{}", run.out);
    assert_eq!(run.err, "", "nothing to warn of");
    let toml = fs::read_to_string(world.path("there/fleet.toml")).unwrap();
    let password = world.path("secret.txt");
    for line in ["url = \"mqtt://b:1\"", "user = \"op\"", "prefix = \"x/v1\"", password.to_str().unwrap()] {
        assert!(toml.contains(line), "{toml}");
    }
    let run = world.run(&["--fleet", "there", "status", "--timeout", "100ms"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("no connection to the broker mqtt://b:1"), "the file is whole: {}", run.err);
}

#[test]
fn wrong_use_exits_with_2_and_failure_with_1() {
    let world = World::new();
    for args in [
        &[][..],
        &["deplow"],
        &["init", "a/b", "--broker", "mqtt://b"],
        &["init", "x", "--broker", "http://b"],
        &["init", "x"],
        &["init", "x", "--broker", "mqtt://b", "--user", "me"],
        &["init", "x", "--broker", "mqtt://b", "--expires", "0s"],
        &["deploy", "hello", "--to", "kitchen"],
        &["deploy", "hello", "-p", "7878"],
        &["remove", "hello", "--to", "site=a,site=b"],
        &["status", "--timeout", "15"],
        &["completions", "klingon"],
    ] {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
    assert!(!world.path("x").exists());
    let error = world.fails(1, &["release", "nowhere/app.toml"]);
    assert!(error.contains("cannot read nowhere/app.toml"), "{error}");
    let error = world.fails(1, &["--fleet", "nowhere", "status"]);
    assert!(error.contains("cannot read nowhere/fleet.toml"), "{error}");
}

#[test]
fn the_fleet_is_found_from_below_and_its_absence_explained() {
    let world = World::new();
    let below = world.fleet("apps/deep");
    fs::create_dir_all(&below).unwrap();
    let run = |dir| world.command(&["status", "--json"]).env_remove("DUNLIN_FLEET").current_dir(dir).output().unwrap();
    let found = run(&below);
    assert!(found.status.success(), "{found:?}");
    let missing = run(&world.path(""));
    let error = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(error.contains("no fleet.toml in") && error.contains("--fleet DIR"), "{error}");
}

#[test]
fn a_broker_that_is_not_there_is_an_error_in_time() {
    let mut world = World::new();
    world.port = free_port();
    let toml = format!("name = \"flock\"\n[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", world.port);
    fs::write(world.fleet("fleet.toml"), toml).unwrap();
    let file = world.app("hello", "1.0.0", "", &common::module("x"));
    let at = std::time::Instant::now();
    for args in [&["status"][..], &["release", &file], &["remove", "hello"]] {
        let error = world.fails(1, &[args, &["--timeout", "300ms"]].concat());
        let url = format!("no connection to the broker mqtt://127.0.0.1:{} within 0.3 s", world.port);
        assert!(error.contains(&url) && error.contains("fleet.toml"), "{error}");
    }
    assert!(at.elapsed() < std::time::Duration::from_secs(10), "{:?}", at.elapsed());
    assert!(!world.fleet("releases").exists(), "what did not get out was not released");
}

/// A broker that answers to CONNECT with these properties, and then no more.
fn reluctant_broker(properties: &[u8]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let length = properties.len() as u8;
    let connack = [&[0x20, length + 3, 0, 0, length], properties].concat();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connect = [0; 1024];
            assert!(stream.read(&mut connect).unwrap() > 0);
            stream.write_all(&connack).unwrap();
            // Kept open until the other side has enough.
            while stream.read(&mut connect).is_ok_and(|read| read > 0) {}
        }
    });
    port
}

#[test]
fn a_broker_that_cannot_do_what_it_must_is_named() {
    let world = World::new();
    let file = world.app("hello", "1.0.0", "", &common::module("x"));
    // MQTT 5, 3.2.2.3.6 and 3.2.2.3.5: packets of at most 1,000 bytes; no retained messages.
    for (properties, why) in [
        (&[0x27, 0, 0, 0x03, 0xe8][..], "the broker takes packets of 1000 bytes at most"),
        (&[], "did not answer within 0.3 s"),
        (&[0x25, 0], "boards find what is published only while a `dunlinctl depot` runs"),
    ] {
        assert!(!world.fleet("releases").exists(), "what could not be published is not kept");
        let url = format!("mqtt://127.0.0.1:{}", reluctant_broker(properties));
        fs::write(world.fleet("fleet.toml"), format!("name = \"flock\"\n[broker]\nurl = \"{url}\"\n")).unwrap();
        let error = world.fails(1, &["release", &file, "--timeout", "300ms"]);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn completions_and_help_are_there() {
    let world = World::without_fleet();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.ok(&["completions", shell]).out.contains("dunlinctl"), "{shell}");
    }
    let help = world.ok(&["release", "--help"]).out;
    assert!(help.contains("publish = [\"8080:7878\"]") && help.contains("Examples:"), "{help}");
    assert!(world.ok(&["--help"]).out.contains("0 done, 1 the thing failed, 2 wrong use"));
}
