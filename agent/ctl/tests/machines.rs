//! Keys on different machines: a root that several sign, and folders that follow each other.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;

use common::World;
use dunlin_core::{trust, wire::Topic};

/// A fleet whose root asks for two signatures: one key is in the folder, the other in `anna.key`.
fn world() -> World {
    let world = World::new();
    world.release("hello", "1.0.0", "");
    world.ok(&["deploy", "hello"]);
    world.ok(&["key", "new", "anna.key"]);
    world.ok(&["root", "add-key", "root", "anna.key", "--threshold", "2"]);
    assert_eq!((world.root().version, world.root().root.threshold), (2, 2));
    world
}

#[test]
fn a_root_waits_until_enough_have_signed() {
    let world = world();
    let anna = world.ok(&["key", "show", "anna.key"]).out.trim().to_owned();
    let report = world.json(&["root", "rotate", "deploy", "--json"]);
    assert_eq!((&report["version"], &report["published"]), (&3.into(), &false.into()));
    assert_eq!((&report["lacks"][0]["signatures"], &report["lacks"][0]["keys"][0]), (&1.into(), &anna.as_str().into()));
    let file = report["file"].as_str().unwrap();
    assert!(world.retained(&[Topic::Root(3)]).is_empty() && world.root().version == 2);
    // The fleet goes on with the old deploy key, which is beside the new one.
    world.ok(&["deploy", "hello", "--to", "site=hall"]);
    assert!(world.fails(1, &["root", "expires", "9d"]).contains("a root 3 waits in"));
    let run = world.run(&["root", "publish", file]);
    assert!(run.code == 1 && run.out.contains(&anna) && run.out.contains("dunlinctl root sign "), "{run:?}");

    // On Anna's machine there is no broker and no fleet's folder.
    let away = world.path("away");
    fs::create_dir(&away).unwrap();
    fs::copy(file, away.join("root-3")).unwrap();
    fs::copy(world.path("anna.key"), away.join("anna.key")).unwrap();
    let mut sign = world.command(&["root", "sign", "root-3", "--key", "anna.key"]);
    let output = sign.env_remove("DUNLIN_FLEET").current_dir(&away).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("version  3") && said.contains(&anna), "{said}");

    let signed = away.join("root-3");
    let run = world.ok(&["root", "publish", signed.to_str().unwrap()]);
    assert!(run.out.contains("root 3 is in force") && run.err.contains("signed the plan again, as plan 3"), "{run:?}");
    assert_eq!((world.root().version, world.plan().sequence), (3, 3));
    assert_eq!(world.plan().assignments.len(), 2);
    assert!(!std::path::Path::new(file).exists(), "it waits no more");
    world.ok(&["root", "publish", world.fleet("root.dunlin").to_str().unwrap()]);
    world.ok(&["deploy", "hello"]);
}

#[test]
fn a_key_that_is_not_asked_for_signs_nothing() {
    let world = world();
    let file = world.json(&["root", "expires", "9d", "--json"])["file"].as_str().unwrap().to_owned();
    let before = fs::read(&file).unwrap();
    world.ok(&["key", "new", "eve.key"]);
    assert!(world.fails(1, &["root", "sign", &file, "--key", "eve.key"]).contains("none of these keys is asked for"));
    assert_eq!(fs::read(&file).unwrap(), before);
    let other = World::new();
    assert!(other.fails(1, &["root", "sign", &file]).contains("only the direct successor of root 1"));
    let run = world.ok(&["root", "sign", &file, "--key", "anna.key"]);
    assert!(run.out.contains("it is complete") && !run.out.contains("lacks"), "{}", run.out);
    let again = world.ok(&["root", "sign", &file, "--key", "anna.key"]);
    assert!(!again.out.contains("signed by"), "once is enough: {}", again.out);
    world.ok(&["root", "publish", &file]);
    assert_eq!(world.root().version, 3);
}

#[test]
fn sign_only_needs_no_broker() {
    let mut world = World::new();
    let port = world.port;
    let text = fs::read_to_string(world.fleet("fleet.toml")).unwrap();
    world.port = common::free_port();
    fs::write(world.fleet("fleet.toml"), text.replace(&format!(":{port}"), &format!(":{}", world.port))).unwrap();
    let run = world.ok(&["root", "rotate", "root", "--sign-only"]);
    assert!(run.out.contains("root 2 is complete") && run.out.contains("dunlinctl root publish"), "{}", run.out);
    assert_eq!(world.root().version, 1);
    let bytes = fs::read(world.fleet("root-2.draft.dunlin")).unwrap();
    assert!(trust::next_root(&world.root(), &bytes).is_ok());
}

#[test]
fn another_folder_pulls_what_was_made_elsewhere() {
    let world = World::new();
    world.release("hello", "1.0.0", "");
    world.ok(&["deploy", "hello"]);
    // One machine has the deploy key, the other all but that.
    let copy = world.path("copy");
    for file in common::files_below(&world.path("flock")) {
        let to = copy.join(file.strip_prefix(world.path("flock")).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    let copy = copy.to_str().unwrap();
    let new = format!("{copy}/keys/deploy-new.key");
    let public = world.ok(&["key", "new", &new]).out.trim().to_owned();
    let old = world.ok(&["key", "show", &format!("{copy}/keys/deploy.key")]).out.trim().to_owned();
    world.ok(&["root", "add-key", "deploy", &public]);
    let run = world.ok(&["root", "remove-key", "deploy", &old[..10]]);
    assert!(run.err.contains("plan 1 is by keys that root 3 does not know"), "{}", run.err);
    let run = world.ok(&["--fleet", copy, "root", "pull"]);
    assert!(run.out.contains("root 3 is in force") && run.err.contains("as plan 2"), "{run:?}");
    assert_eq!(world.plan().sequence, 2);
    assert!(world.ok(&["--fleet", copy, "root", "pull"]).out.contains("root 3 was in force already"));
    world.ok(&["--fleet", copy, "deploy", "hello"]);
    assert!(world.fails(1, &["deploy", "hello"]).contains("does not know this deploy key"));
}

#[test]
fn a_release_that_asks_for_more_is_granted() {
    let world = World::new();
    world.ok(&["key", "new", world.fleet("keys/grant.key").to_str().unwrap()]);
    assert!(world.fails(1, &["grant", "hello@1.0.0"]).contains("has no grant role"));
    world.ok(&["root", "add-key", "grant", world.fleet("keys/grant.key").to_str().unwrap()]);
    let granted = |world: &World, version: &str| {
        let bytes = fs::read(world.fleet(&format!("releases/hello/{version}.release"))).unwrap();
        let envelope = dunlin_core::wire::Envelope::decode(&bytes, dunlin_core::wire::Kind::Release).unwrap();
        let order = dunlin_core::wire::ReleaseRef {
            digest: envelope.digest(),
            counter: envelope.body::<dunlin_core::wire::Release>().unwrap().counter,
        };
        trust::may_widen(&world.root(), &world.fetched("hello", &order).0)
    };
    // The folder holds the grant key: `release` signs with it too.
    world.release("hello", "1.0.0", "publish = [\"8080:7878\"]");
    assert!(granted(&world, "1.0.0"));
    // Then it is on another machine.
    fs::rename(world.fleet("keys/grant.key"), world.path("grant.key")).unwrap();
    let file = world.app("hello", "2.0.0", "publish = [\"8080:7878\"]", &common::module("2"));
    assert_eq!(world.ok(&["release", &file]).err, "", "it asks for no more");
    let file = world.app("hello", "3.0.0", "publish = [\"80:7878\"]", &common::module("3"));
    let run = world.ok(&["release", &file]);
    assert!(run.err.contains("(port 80:7878)") && run.err.contains("dunlinctl grant hello@3.0.0"), "{}", run.err);
    assert!(!granted(&world, "3.0.0"));
    assert!(world.fails(1, &["grant", "hello@3.0.0"]).contains("there is no grant key here"));
    assert_eq!(world.run(&["grant", "hello"]).code, 2);
    fs::rename(world.path("grant.key"), world.fleet("keys/grant.key")).unwrap();
    let run = world.ok(&["grant", "hello@3.0.0"]);
    assert!(run.out.contains("granted hello 3.0.0: port 80:7878"), "{}", run.out);
    assert!(granted(&world, "3.0.0"));
    // With the key in the folder nobody is asked, and it is said.
    let file = world.app("hello", "4.0.0", "publish = [\"81:7878\"]", &common::module("4"));
    let run = world.ok(&["release", &file]);
    assert!(run.err.contains("(port 81:7878): the grant keys in this folder have agreed"), "{}", run.err);
    assert!(granted(&world, "4.0.0"));
}
