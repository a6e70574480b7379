//! `deploy`, `remove`, `pause`, `resume`, `rollback`: plans, one after the other.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;

use common::{World, files_below, publish};
use dunlin_core::{
    trust,
    wire::{Protocol, Publish, Topic, Version},
};

/// What the plan at the broker says, an assignment a line: app, version, selector.
fn plan(world: &World) -> Vec<String> {
    let run = world.ok(&["inspect", world.fleet("plan.dunlin").to_str().unwrap()]);
    assert!(run.out.contains("trusted  yes"), "{}", run.out);
    let ours = fs::read(world.fleet("plan.dunlin")).unwrap();
    assert_eq!(world.plan().to_bytes(), ours, "the broker has what the folder has");
    let version_of = |counter: &str| match counter {
        "1" => "one",
        "2" => "two",
        _ => "three",
    };
    let lines = run.out.lines().filter_map(|line| line.strip_prefix("app      "));
    lines
        .map(|line| {
            let (left, to) = line.split_once(" on ").unwrap();
            let counter = left.rsplit_once("counter ").unwrap().1.trim_end_matches(')');
            format!("{} {} on {to}", left.split(' ').next().unwrap(), version_of(counter))
        })
        .collect()
}

fn world_with_releases() -> World {
    let world = World::new();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        world.release("hello", version, "publish = [\"8080:7878\"]\nenv = { A = \"1\" }\nfree-args = true\n");
    }
    world
}

#[test]
fn each_deploy_is_a_plan_that_follows_the_last() {
    let world = world_with_releases();
    let line = "deploy hello@2.0.0 -p 80:7878 --env A=x --expires 2d -- -v y";
    let run = world.ok(&line.split(' ').collect::<Vec<_>>());
    assert!(run.out.starts_with("plan 1: hello 2.0.0 on every device"), "{}", run.out);
    let first = world.plan();
    assert_eq!((first.sequence, first.previous, first.assignments.len()), (1, None, 1));
    assert_eq!(first.not_after.0 - first.issued.0, 2 * 86_400);
    let assignment = &first.assignments[0];
    assert_eq!(assignment.publish, Some(vec![Publish { host: 80, guest: 7878, protocol: Protocol::Tcp }]));
    assert_eq!(assignment.env, [("A".parse().unwrap(), "x".into())]);
    assert_eq!(assignment.args, Some(vec!["-v".into(), "y".into()]));
    let (release, _) = world.fetched("hello", &assignment.release);
    assert_eq!(release.version, "2.0.0".parse::<Version>().unwrap());
    let root = world.retained(&[Topic::Root(1)]);
    assert_eq!(trust::first_root(&root[&Topic::Root(1)]).unwrap(), world.root());

    let run = world.ok(&["deploy", "hello"]);
    assert!(run.out.contains("plan 2: hello 3.0.0"), "the newest without a version: {}", run.out);
    assert!(run.err.contains("loses what its last deploy gave: --env A=… -p 80:7878 -- ARGS"), "{}", run.err);
    let second = world.plan();
    assert_eq!((second.sequence, second.previous), (2, Some(first.digest())));
    assert_eq!(second.assignments[0].publish, None);
    let accepted = trust::accept_plan(&world.root(), Some(&first.mark()), &second.to_bytes(), common::now());
    assert!(accepted.is_ok(), "a board that has the first takes the second: {accepted:?}");
}

#[test]
fn selectors_replace_themselves_and_new_ones_go_in_front() {
    let world = world_with_releases();
    world.release("other", "1.0.0", "");
    world.ok(&["deploy", "hello@1.0.0"]);
    world.ok(&["deploy", "other"]);
    world.ok(&["deploy", "hello@2.0.0", "--to", "site in (hall, kitchen)"]);
    world.ok(&["deploy", "hello@3.0.0", "--to", "device=pi-3"]);
    let expected = [
        "hello three on device=pi-3",
        "hello two on site in (hall, kitchen)",
        "hello one on every device",
        "other one on every device",
    ];
    assert_eq!(plan(&world), expected);
    world.ok(&["deploy", "hello@3.0.0", "--to", "site in (kitchen,hall)"]);
    assert_eq!(plan(&world)[..2], ["hello three on device=pi-3", "hello three on site in (hall, kitchen)"]);
    world.ok(&["remove", "hello", "--to", "device=pi-3"]);
    assert_eq!(plan(&world).len(), 3);
    world.ok(&["deploy", "hello@2.0.0"]);
    assert_eq!(plan(&world), ["hello two on every device", "other one on every device"]);
    world.ok(&["remove", "other"]);
    assert_eq!(plan(&world), ["hello two on every device"]);
    assert_eq!(world.plan().sequence, 8);
    let error = world.fails(1, &["remove", "other"]);
    assert!(error.contains("the plan does not have other: it has hello"), "{error}");
    assert_eq!(world.plan().sequence, 8, "an error is no plan");
}

#[test]
fn an_app_is_paused_and_resumed_with_all_that_it_has() {
    let world = world_with_releases();
    world.ok(&["deploy", "hello", "-p", "80:7878"]);
    let before = world.plan().assignments.clone();
    world.ok(&["pause", "hello"]);
    assert!(world.plan().assignments[0].paused);
    world.ok(&["resume", "hello"]);
    assert_eq!(world.plan().assignments, before);
}

#[test]
fn a_rollback_goes_to_what_there_was_and_never_forward() {
    let world = world_with_releases();
    world.ok(&["deploy", "hello@1.0.0", "-p", "80:7878"]);
    world.ok(&["deploy", "hello@3.0.0"]);
    let run = world.ok(&["rollback", "hello"]);
    assert!(run.out.contains("hello 1.0.0 on every device"), "what ran before, not 2.0.0: {}", run.out);
    let plan_then = world.plan();
    assert_eq!((plan_then.sequence, plan_then.assignments[0].release.counter), (3, 1));
    assert_eq!(
        plan_then.assignments[0].publish,
        Some(vec![Publish { host: 80, guest: 7878, protocol: Protocol::Tcp }]),
        "as it was"
    );
    let error = world.fails(1, &["rollback", "hello"]);
    assert!(error.contains("has no release before this one"), "{error}");

    // With no plan that knows better, it is the release before.
    let other = world_with_releases();
    other.ok(&["deploy", "hello@3.0.0"]);
    other.ok(&["rollback", "hello"]);
    assert_eq!(other.plan().assignments[0].release.counter, 2);
    other.ok(&["rollback", "hello"]);
    assert_eq!(other.plan().assignments[0].release.counter, 1);
}

#[test]
fn a_broker_that_lost_everything_gets_everything_back() {
    let mut world = world_with_releases();
    world.release("other", "1.0.0", "");
    world.ok(&["deploy", "other"]);
    world.lose_broker();
    assert!(world.retained(&[Topic::Plan, Topic::Root(1)]).is_empty());
    world.ok(&["deploy", "hello@1.0.0"]);
    let plan = world.plan();
    assert_eq!((plan.sequence, plan.assignments.len()), (2, 2), "the folder remembers");
    for assignment in &plan.assignments {
        world.fetched(assignment.app.as_str(), &assignment.release);
    }
    assert_eq!(world.retained(&[Topic::Root(1)]).len(), 1);
}

#[test]
fn a_damaged_release_at_the_broker_is_put_right() {
    let world = world_with_releases();
    world.ok(&["deploy", "hello"]);
    let order = world.plan().assignments[0].release;
    let topic = world.topics().format(&Topic::Release(order.digest));
    publish(world.port, &[(topic, b"rubbish".to_vec())]);
    world.ok(&["deploy", "hello", "--to", "site=hall"]);
    world.fetched("hello", &order);
}

#[test]
fn two_operators_go_on_from_each_other() {
    let world = world_with_releases();
    world.ok(&["deploy", "hello@1.0.0"]);
    // A second machine with the same fleet folder, as it was then.
    let copy = world.path("copy");
    for file in files_below(&world.path("flock")) {
        let to = copy.join(file.strip_prefix(world.path("flock")).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    let copy = copy.to_str().unwrap();
    world.ok(&["--fleet", copy, "deploy", "hello@2.0.0"]);
    world.ok(&["deploy", "hello@3.0.0", "--to", "site=hall"]);
    assert_eq!(plan(&world), ["hello three on site=hall", "hello two on every device"]);
    assert_eq!(world.plan().sequence, 3);
    // Both knew plan 3 and made a plan 4 while they could not see each other's.
    world.ok(&["--fleet", copy, "pause", "hello"]);
    let theirs = world.plan().to_bytes();
    let three = fs::read(world.fleet("plans/3.dunlin")).unwrap();
    publish(world.port, &[(world.topics().format(&Topic::Plan), three)]);
    world.ok(&["remove", "hello", "--to", "site=hall"]);
    publish(world.port, &[(world.topics().format(&Topic::Plan), theirs)]);
    let error = world.fails(1, &["deploy", "hello"]);
    assert!(error.contains("there are two plans 4") && error.contains("by moving"), "{error}");
    fs::rename(world.fleet("plan.dunlin"), world.path("away")).unwrap();
    world.ok(&["deploy", "hello"]);
    assert_eq!(world.plan().sequence, 5);
}

#[test]
fn what_boards_would_refuse_is_not_ordered() {
    let world = world_with_releases();
    world.release("needy", "1.0.0", "required-env = [\"TOKEN\"]\n");
    for (line, why) in [
        ("deploy nobody", "no release of nobody in"),
        ("deploy hello@9.0.0", "no release 9.0.0 of hello in"),
        ("deploy hello -p 80:1", "publishes port 1 of hello, which does not listen there"),
        ("deploy hello --env B=1", "sets B for hello, whose release does not ask for it"),
        ("deploy needy", "needs TOKEN, and the plan gives it no value"),
        ("deploy needy --env TOKEN=x -- y", "its release keeps its own"),
        ("deploy hello -p 80:7878 -p 80:7878", "this makes no good plan: "),
        ("pause hello", "this fleet has no plan yet"),
    ] {
        let args: Vec<_> = line.split(' ').collect();
        let error = world.fails(1, &args);
        assert!(error.contains(why), "{line}: {error}");
    }
    let error = world.fails(1, &["deploy", "hello@9.0.0"]);
    assert!(error.contains("there is 1.0.0, 2.0.0, 3.0.0"), "{error}");
    assert!(world.retained(&[Topic::Plan]).is_empty() && !world.fleet("plan.dunlin").exists());
    world.ok(&["deploy", "needy", "--env", "TOKEN=x"]);
}

#[test]
fn under_an_expired_root_nothing_is_ordered() {
    let world = World::without_fleet();
    let url = format!("mqtt://127.0.0.1:{}", world.port);
    world.ok(&["init", "flock", "--broker", &url, "--expires", "1s"]);
    world.release("hello", "1.0.0", "");
    let error = common::eventually("the root expires", || {
        let run = world.run(&["deploy", "hello", "--dry-run"]);
        (run.code == 1).then_some(run.err)
    });
    assert!(error.contains("boards would refuse this plan: plan 1, but root 1 has expired [root-expired]"), "{error}");
}

#[test]
fn two_at_once_make_one_plan_after_the_other() {
    let world = world_with_releases();
    let deploys = ["1.0.0", "2.0.0", "3.0.0"].map(|version| {
        let (app, to) = (format!("hello@{version}"), format!("--to=device=pi-{version}"));
        world
            .command(&["deploy", &app, &to])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    });
    for mut deploy in deploys {
        assert!(deploy.wait().unwrap().success());
    }
    let plan = world.plan();
    assert_eq!((plan.sequence, plan.assignments.len()), (3, 3), "none is lost");
}

#[test]
fn a_dry_run_orders_nothing() {
    let world = world_with_releases();
    world.ok(&["deploy", "hello@1.0.0"]);
    let before = (world.plan(), files_below(&world.path("")));
    for args in [&["deploy", "hello", "--dry-run", "--wait"][..], &["rollback", "hello", "--dry-run"]] {
        let run = world.run(args);
        assert!(run.out.starts_with("would be: plan 2") || run.err.contains("no release before"), "{run:?}");
    }
    assert_eq!((world.plan(), files_below(&world.path(""))), before);
}

#[test]
fn a_foreign_plan_at_the_broker_does_not_stop_us() {
    let (world, other) = (world_with_releases(), world_with_releases());
    other.ok(&["deploy", "hello"]);
    publish(world.port, &[(world.topics().format(&Topic::Plan), other.plan().to_bytes())]);
    let run = world.ok(&["deploy", "hello"]);
    assert!(run.err.contains("the broker keeps a plan that is not this fleet's"), "{}", run.err);
    assert_eq!(world.plan().sequence, 1);
}

#[test]
fn no_secret_leaves_the_keys_folder() {
    let world = World::new();
    let mut secrets = Vec::new();
    for role in ["root", "release", "deploy"] {
        let text = fs::read_to_string(world.fleet(&format!("keys/{role}.key"))).unwrap();
        let hex = text.lines().find_map(|line| line.strip_prefix("secret ")).unwrap().to_owned();
        let digest: dunlin_core::wire::Digest = hex.parse().unwrap();
        secrets.push((hex, digest.0));
    }
    let file = world.app("hello", "1.0.0", "", &common::module("x"));
    let damaged = world.path("damaged.key");
    let key = fs::read_to_string(world.fleet("keys/root.key")).unwrap();
    fs::write(&damaged, key.replace("public ", "public 0")).unwrap();
    let damaged_fleet = world.path("copy");
    fs::create_dir_all(damaged_fleet.join("keys")).unwrap();
    for name in ["fleet.toml", "root.dunlin"] {
        fs::copy(world.fleet(name), damaged_fleet.join(name)).unwrap();
    }
    fs::copy(&damaged, damaged_fleet.join("keys/release.key")).unwrap();
    let path = |name: &str| world.fleet(name).to_str().unwrap().to_owned();
    let (root_key, damaged) = (path("keys/root.key"), damaged.to_str().unwrap());
    let mut said = String::new();
    for args in [
        &["release", &file][..],
        &["release", &file, "--json"],
        &["deploy", "hello"],
        &["rollback", "hello"],
        &["inspect", &root_key],
        &["inspect", &root_key, "--json"],
        &["key", "show", &root_key],
        &["root", "show"],
        &["root", "expires", "9d", "--json"],
        &["inspect", damaged],
        &["inspect", &path("plan.dunlin"), "--json"],
        &["inspect", &path("root.dunlin"), "--json"],
        &["--fleet", damaged_fleet.to_str().unwrap(), "release", &file],
        &["status", "--json"],
    ] {
        let output = world.command(args).env("DUNLIN_LOG", "trace").env("RUST_BACKTRACE", "1").output().unwrap();
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    assert!(said.contains("released hello") && said.contains("is no signing key"), "{said}");
    let files = files_below(&world.path(""));
    assert!(files.iter().any(|file| file.ends_with("plan.dunlin")));
    for (hex, bytes) in secrets {
        assert!(!said.contains(&hex), "it is printed");
        for file in files.iter().filter(|file| file.extension().is_none_or(|e| e != "key")) {
            let content = fs::read(file).unwrap();
            let has = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
            assert!(!has(hex.as_bytes()) && !has(&bytes), "{}", file.display());
        }
    }
}
