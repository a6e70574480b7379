//! `dunlinctl bundle`: one file that holds what boards need, and what `inspect` says of it.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;

use common::World;

/// A fleet with two apps and two roots, whose broker is of no matter.
fn world() -> World {
    let world = World::new();
    world.release_large("large", 300_000);
    world.release("hello", "1.0.0", "");
    world.ok(&["deploy", "large"]);
    world.ok(&["deploy", "hello"]);
    world.ok(&["root", "expires", "90d"]);
    world
}

#[test]
fn a_bundle_holds_the_roots_the_plan_and_what_it_orders() {
    let mut world = world();
    world.lose_broker();
    let made = world.ok(&["bundle"]);
    assert!(made.out.starts_with("flock-2.bundle: root 1, root 2, plan 2, "), "{}", made.out);
    let held = world.json(&["inspect", "flock-2.bundle", "--json"]);
    let mut what: Vec<_> =
        held["holds"].as_array().unwrap().iter().map(|h| (h["what"].as_str().unwrap(), h["outcome"].clone())).collect();
    what.sort_by_key(|(what, _)| *what);
    let good = |what| (what, "accepted".into());
    let expected =
        [good("hello 1.0.0"), good("large 1.0.0"), good("plan 2"), ("root 1", "known".into()), good("root 2")];
    assert_eq!(what, expected);
    assert_eq!((&held["kind"], &held["trusted"]), (&"bundle".into(), &true.into()));
    let large = fs::metadata(world.path("flock-2.bundle")).unwrap().len();
    assert!((300_000..320_000).contains(&large), "{large}");

    // One app of them; elsewhere nobody knows whose it is.
    world.ok(&["bundle", "hello", "-o", "small.bundle"]);
    assert!(fs::metadata(world.path("small.bundle")).unwrap().len() < 10_000);
    let mut inspect = world.command(&["inspect", "small.bundle"]);
    let output = inspect.env_remove("DUNLIN_FLEET").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("trusted  not asked") && said.contains("holds    hello 1.0.0"), "{said}");
    assert!(!said.contains("large"), "{said}");
}

#[test]
fn what_cannot_be_bundled_is_said_and_no_file_is_left() {
    let world = World::new();
    assert!(world.fails(1, &["bundle"]).contains("there is no plan here yet"));
    world.release_large("large", 100_000);
    world.ok(&["deploy", "large"]);
    assert!(world.fails(1, &["bundle", "hello"]).contains("plan 1 does not have hello"));
    let modules = common::files_below(&world.fleet("modules"));
    let mut bytes = fs::read(&modules[0]).unwrap();
    bytes[60_000] ^= 1;
    fs::write(&modules[0], bytes).unwrap();
    assert!(world.fails(1, &["bundle"]).contains("is damaged"));
    fs::remove_file(&modules[0]).unwrap();
    assert!(world.fails(1, &["bundle"]).contains("the module of large 1.0.0 is not here"));
    assert!(!world.path("flock-1.bundle").exists());
}
