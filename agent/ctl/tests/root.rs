//! `root` on one machine: rotated keys, revoked releases, floors, and what boards make of them.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{World, publish};
use dunlin_core::{
    trust::{self, Accepted, Chain, PlanMark},
    wire::{Digest, Envelope, Plan, PublicKey, Signature, Topic},
};
use ed25519_dalek::{Signer, SigningKey};

/// A fleet that runs hello 1.0.0.
fn world() -> World {
    let world = World::new();
    world.release("hello", "1.0.0", "");
    world.ok(&["deploy", "hello"]);
    world
}

fn held(world: &World, file: &str) -> PublicKey {
    world.ok(&["key", "show", world.fleet(file).to_str().unwrap()]).out.trim().parse().unwrap()
}

/// A board that was given this root walks through what the broker has.
fn walk(world: &World, given: &[u8]) -> Chain {
    let mut chain = Chain::new(trust::first_root(given).unwrap());
    loop {
        let topic = Topic::Root(chain.next_version());
        let Some(bytes) = world.retained(std::slice::from_ref(&topic)).remove(&topic) else { return chain };
        let next = chain.verify_next(&bytes).unwrap();
        chain.adopt(next);
    }
}

fn root_file(world: &World) -> Vec<u8> {
    fs::read(world.fleet("root.dunlin")).unwrap()
}

#[test]
fn each_key_is_rotated_and_boards_follow_without_a_gap() {
    let mut world = world();
    let first = root_file(&world);
    let before = world.plan();
    let release = before.assignments[0].release;
    for (n, role) in ["root", "release", "deploy", "root"].into_iter().enumerate() {
        let key = format!("keys/{role}.key");
        let old = held(&world, &key);
        let run = world.ok(&["root", "rotate", role]);
        let version = n as u64 + 2;
        assert!(
            run.out.starts_with(&format!("root {version} is in force: the {role} role has the key ")),
            "{}",
            run.out
        );
        assert_ne!(held(&world, &key), old);
        let kept = format!("{key}.old-{}", if n == 3 { 2 } else { 1 });
        assert_eq!(held(&world, &kept), old);
        let mode = fs::metadata(world.fleet(&kept)).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, world.root().version), (0o600, version));
        world.fetched("hello", &release);
    }
    let chain = walk(&world, &first);
    assert_eq!((chain.current(), root_file(&world)), (&world.root(), chain.current().to_bytes()));
    // The plan says the same under the new keys; a board that has the old one takes it.
    let plan = world.plan();
    assert_eq!((plan.sequence, plan.previous), (2, Some(before.digest())));
    assert_eq!(plan.assignments, before.assignments);
    assert_eq!(plan.not_after.0 - plan.issued.0, before.not_after.0 - before.issued.0);
    let mark: Option<PlanMark> = before.mark_under(chain.current());
    let taken = trust::accept_plan(chain.current(), mark.as_ref(), &plan.to_bytes(), common::now()).unwrap();
    assert!(matches!(taken, Accepted::New(_)));
    // Everything goes on, with a broker that lost all, too.
    world.lose_broker();
    world.release("hello", "2.0.0", "");
    world.ok(&["deploy", "hello"]);
    assert_eq!(walk(&world, &first).current().version, 5);
    world.ok(&["rollback", "hello"]);
    assert_eq!(world.plan().assignments[0].release, release, "an old release is signed again when it is needed");
    world.fetched("hello", &release);
}

#[test]
fn boards_before_the_root_take_what_is_signed_again() {
    let world = world();
    let old = world.root();
    let order = world.plan().assignments[0].release;
    world.ok(&["root", "rotate", "release"]);
    let topic = Topic::Release(order.digest);
    let bytes = world.retained(std::slice::from_ref(&topic)).remove(&topic).unwrap();
    for root in [old, world.root()] {
        assert!(trust::verify_release(&root, &"hello".parse().unwrap(), &order, &bytes).is_ok());
    }
}

#[test]
fn a_thiefs_plan_is_not_signed_again() {
    let world = world();
    // Somebody with a copy of the deploy key orders something else.
    let copy = world.path("copy");
    for file in common::files_below(&world.path("flock")) {
        let to = copy.join(file.strip_prefix(world.path("flock")).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    let ours = world.plan();
    world.ok(&["--fleet", copy.to_str().unwrap(), "pause", "hello"]);
    let (key, root) = (held(&world, "keys/deploy.key"), root_file(&world));
    let error = world.fails(1, &["root", "rotate", "deploy"]);
    assert!(error.contains("has plan 2 where this folder has plan 1") && error.contains("--plan folder"), "{error}");
    assert_eq!((root_file(&world), world.root().version), (root, 1), "nothing is done yet");
    assert_eq!(held(&world, "keys/deploy.key"), key);
    world.ok(&["root", "rotate", "deploy", "--plan", "folder"]);
    assert_eq!(world.plan().assignments, ours.assignments);
    let error = world.fails(1, &["--fleet", copy.to_str().unwrap(), "root", "rotate", "deploy"]);
    assert!(error.contains("`dunlinctl root pull` takes it"), "{error}");
}

#[test]
fn a_rotation_that_did_not_come_to_its_end_is_done_again() {
    let world = world();
    let key = world.fleet("keys/deploy.key");
    fs::rename(&key, world.fleet("keys/deploy.key.old-1")).unwrap();
    world.ok(&["key", "new", key.to_str().unwrap()]);
    world.ok(&["deploy", "hello"]);
    world.ok(&["root", "rotate", "deploy"]);
    assert!(world.fleet("keys/deploy.key.old-2").exists());
    assert_eq!(world.root().deploy.keys, [held(&world, "keys/deploy.key")]);
    assert_eq!(world.plan().sequence, 3);
}

#[test]
fn what_is_revoked_is_not_deployed() {
    let world = world();
    world.release("hello", "2.0.0", "");
    let run = world.ok(&["root", "revoke", "hello@1.0.0"]);
    assert!(run.err.contains("the plan orders hello 1.0.0: hello 1.0.0, which root 2 revokes"), "{}", run.err);
    assert_eq!(world.root().revoked, [world.plan().assignments[0].release.digest]);
    let error = world.fails(1, &["deploy", "hello@1.0.0"]);
    assert!(error.contains("boards would refuse hello 1.0.0") && error.contains("[revoked]"), "{error}");
    world.ok(&["deploy", "hello"]);
    assert!(world.fails(1, &["root", "revoke", "hello@1.0.0"]).contains("is revoked already"));
    world.release("hello", "3.0.0", "");
    world.ok(&["root", "floor", "hello", "@3.0.0"]);
    assert_eq!(world.root().floor(&"hello".parse().unwrap()), 3);
    assert!(world.fails(1, &["deploy", "hello@2.0.0"]).contains("[below-floor]"));
    assert!(world.fails(1, &["root", "floor", "hello", "2"]).contains("floors only rise"));
    let module = format!("{}", world.root().revoked[0]);
    assert_eq!(world.run(&["root", "revoke", &module, "--module"]).code, 2);
    world.ok(&["root", "revoke", "hello@3.0.0", "--module"]);
    assert_eq!(world.root().revoked.len(), 2);
}

#[test]
fn the_root_is_shown_with_what_is_held_here() {
    let world = World::new();
    world.ok(&["root", "expires", "2d"]);
    let stranger = world.ok(&["key", "new", "stranger.key"]).out.trim().to_owned();
    world.ok(&["root", "add-key", "release", &stranger, "--apps", "hello,clock"]);
    world.ok(&["root", "floor", "hello", "4"]);
    let shown = world.json(&["root", "show", "--json"]);
    assert_eq!((&shown["fleet"], &shown["version"]), (&"flock".into(), &4.into()));
    let left = shown["expires"].as_u64().unwrap() - common::now().0;
    assert!(left <= 2 * 86_400 && left > 2 * 86_400 - 600, "{left}");
    let roles: Vec<_> = shown["roles"].as_array().unwrap().iter().map(|r| r["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["root", "release", "release", "deploy"]);
    let limited = &shown["roles"][2];
    assert_eq!((&limited["apps"][0], &limited["apps"][1]), (&"hello".into(), &"clock".into()));
    assert_eq!(limited["keys"][0]["public"], stranger);
    assert_eq!((&limited["keys"][0]["held"], &shown["roles"][0]["keys"][0]["held"]), (&false.into(), &true.into()));
    let run = world.ok(&["root", "show"]);
    assert!(
        run.out.contains("release   of hello, clock") && run.out.contains("floor    hello at counter 4"),
        "{}",
        run.out
    );
    assert_eq!(run.out.matches("held here").count(), 3, "{}", run.out);
    let secret = fs::read_to_string(world.path("stranger.key")).unwrap();
    assert!(secret.contains("secret ") && !run.out.contains(secret.lines().nth(2).unwrap()));
    assert_eq!(fs::metadata(world.path("stranger.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(world.fails(1, &["key", "new", "stranger.key"]).contains("is there already"));
}

#[test]
fn a_role_cannot_lose_its_last_key() {
    let world = World::new();
    for role in ["root", "release", "deploy"] {
        let key = held(&world, &format!("keys/{role}.key")).to_string();
        let error = world.fails(1, &["root", "remove-key", role, &key[..8]]);
        assert!(error.contains("it is the last"), "{error}");
        assert!(world.fails(1, &["root", "add-key", role, &key]).contains("has this key already"));
    }
    for args in [
        &["root", "rotate", "king"][..],
        &["root", "remove-key", "deploy", "xyz"],
        &["root", "floor", "hello", "low"],
        &["root", "revoke", "hello"],
        &["root", "add-key", "deploy", "x.key", "--apps", "a"],
    ] {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
    assert!(world.fails(1, &["root", "add-key", "deploy", "x.key"]).contains("neither a file nor a public key"));
    assert!(world.fails(1, &["root", "rotate", "grant"]).contains("keys/grant.key"));
    assert_eq!(world.root().version, 1);
}

#[test]
fn a_stranger_at_the_broker_stops_no_root() {
    let world = world();
    publish(world.port, &[(world.topics().format(&Topic::Root(2)), b"rubbish".to_vec())]);
    let run = world.ok(&["root", "expires", "30d"]);
    assert!(run.err.contains("the broker keeps a root 2 that boards refuse"), "{}", run.err);
    assert_eq!(world.retained(&[Topic::Root(2)])[&Topic::Root(2)], root_file(&world));
}

#[test]
fn the_highest_sequence_there_is_stops_nobody() {
    let world = world();
    let text = fs::read_to_string(world.fleet("keys/deploy.key")).unwrap();
    let secret: Digest = text.lines().find_map(|line| line.strip_prefix("secret ")).unwrap().parse().unwrap();
    let key = SigningKey::from_bytes(&secret.0);
    let last = world.plan();
    let mut envelope =
        Envelope::unsigned(&Plan { sequence: u64::MAX, previous: Some(last.digest()), ..Plan::clone(&last) });
    let signature = key.sign(&envelope.message());
    let (r, s) = (*signature.r_bytes(), *signature.s_bytes());
    envelope.signatures = vec![Signature { key: PublicKey(key.verifying_key().to_bytes()), r, s }];
    publish(world.port, &[(world.topics().format(&Topic::Plan), envelope.encode())]);
    let thiefs = world.plan();
    assert!(world.fails(1, &["deploy", "hello"]).contains("`dunlinctl root rotate deploy` frees them"));
    world.ok(&["root", "rotate", "deploy", "--plan", "broker"]);
    let plan = world.plan();
    assert_eq!((plan.sequence, &plan.assignments), (1, &last.assignments));
    assert_eq!(thiefs.mark_under(&world.root()), None, "so that boards take what follows");
    world.ok(&["deploy", "hello"]);
    assert_eq!(world.plan().sequence, 2);
}
