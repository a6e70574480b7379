//! `dunlinctl enroll` makes one file, and `dunlin join` makes a board of it, once.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, FromArgMatches};
use common::{World, files_below};
use dunlin::{
    config::Config,
    join::{JoinArgs, JoinError, Joined, join},
};

const ENROLL: [&str; 5] = ["enroll", "pi-1", "--labels", "site=kitchen,model=zero2", "--new-password"];

/// `dunlin join FILE --config etc/agent.toml`, with these flags too.
fn joins(world: &World, file: &str, flags: &[&str]) -> Result<Joined, JoinError> {
    let (file, config) = (world.path(file), config(world));
    let line = ["join", file.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let matches = JoinArgs::augment_args(clap::Command::new("join")).get_matches_from([&line, flags].concat());
    join(&JoinArgs::from_arg_matches(&matches).unwrap())
}

fn config(world: &World) -> PathBuf {
    world.path("etc/agent.toml")
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_board_is_made_of_one_file() {
    let world = World::new();
    let said = world.ok(&ENROLL).out;
    assert_eq!(mode(&world.path("pi-1.enroll")), 0o600);
    let joined = joins(&world, "pi-1.enroll", &[]).unwrap();
    assert_eq!(joined.to_string(), "this board is pi-1 of the fleet flock");

    let config = Config::load(&config(&world)).unwrap();
    assert_eq!(config.device.as_str(), "pi-1");
    assert_eq!(config.broker.url.port, world.port);
    assert_eq!(config.read_root().unwrap().to_bytes(), fs::read(world.fleet("root.dunlin")).unwrap());
    let labels: Vec<_> = config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["model=zero2", "site=kitchen"]);
    let credentials = config.broker.credentials.unwrap();
    let told = format!("user {}, password {}", credentials.user, credentials.password);
    assert!(credentials.user == "pi-1" && said.contains(&told), "{said}");

    for (name, expected) in
        [("", 0o755), ("agent.toml", 0o644), ("root.dunlin", 0o644), ("secrets", 0o700), ("secrets/password", 0o600)]
    {
        assert_eq!(mode(&world.path("etc").join(name)) & !0o022, expected & !0o022, "{name}");
    }
}

#[test]
fn a_board_may_know_the_broker_by_another_name() {
    let world = World::new();
    world.ok(&[&ENROLL[..], &["--broker", "mqtt://10.0.0.2:1884"]].concat());
    joins(&world, "pi-1.enroll", &[]).unwrap();
    let broker = Config::load(&config(&world)).unwrap().broker;
    assert_eq!((broker.url.host.as_str(), broker.url.port), ("10.0.0.2", 1884));
}

#[test]
fn an_identity_is_never_replaced_silently() {
    let world = World::new();
    world.ok(&ENROLL);
    joins(&world, "pi-1.enroll", &[]).unwrap();
    let before = contents(&world.path("etc"));

    let again = joins(&world, "pi-1.enroll", &[]).unwrap();
    assert_eq!(again.to_string(), "this board is pi-1 of the fleet flock already: nothing was changed");
    assert_eq!(contents(&world.path("etc")), before);
    fs::remove_file(world.path("etc/secrets/password")).unwrap();
    joins(&world, "pi-1.enroll", &[]).unwrap();
    assert_eq!(contents(&world.path("etc")), before, "what is missing is made again");

    // The same name, but another password; another name; another fleet.
    world.ok(&[&ENROLL[..], &["-o", "new-password.enroll"]].concat());
    world.ok(&["enroll", "pi-2"]);
    world.ok(&["init", "other", "--broker", "mqtt://b"]);
    world.ok(&["--fleet", "other", "enroll", "pi-1", "-o", "other.enroll"]);
    for file in ["new-password.enroll", "pi-2.enroll", "other.enroll"] {
        let error = joins(&world, file, &[]).unwrap_err().to_string();
        let whose = "is there already (this board is pi-1 of the fleet flock) and differs";
        assert!(error.contains(whose) && error.contains("--replace"), "{file}: {error}");
        assert_eq!(contents(&world.path("etc")), before, "{file}");
    }

    let joined = joins(&world, "pi-2.enroll", &["--replace"]).unwrap();
    assert_eq!(joined.to_string(), "this board is pi-2 of the fleet flock");
    let after = contents(&world.path("etc"));
    let old = world.path("etc/agent.toml.old");
    assert_eq!(after[&old], before[&config(&world)], "what was there is kept");
    assert!(Config::load(&config(&world)).unwrap().broker.credentials.is_none());
}

#[test]
fn half_an_identity_is_not_taken_over() {
    let world = World::new();
    world.ok(&ENROLL);
    let password = world.path("etc/secrets/password");
    fs::create_dir_all(password.parent().unwrap()).unwrap();
    fs::write(&password, "of somebody else").unwrap();
    let error = joins(&world, "pi-1.enroll", &[]).unwrap_err().to_string();
    assert!(error.contains("secrets/password is there already and differs"), "{error}");
    assert_eq!(contents(&world.path("etc")).len(), 1);
}

#[test]
fn an_enrolment_is_made_once_and_its_mistakes_are_named() {
    let world = World::new();
    world.ok(&ENROLL);
    let error = world.fails(1, &ENROLL);
    assert!(error.contains("pi-1.enroll is there already and is not overwritten"), "{error}");
    let error = world.fails(1, &["enroll", "pi-2", "--password-file", "nowhere"]);
    assert!(error.contains("cannot read nowhere"), "{error}");
    for wrong in [&["enroll", "pi/2"][..], &["enroll", "pi-2", "--labels", "kitchen"], &["enroll", "p", "--key", "k"]] {
        assert_eq!(world.run(wrong).code, 2, "{wrong:?}");
    }

    let text = fs::read_to_string(world.path("pi-1.enroll")).unwrap();
    for (from, to, why) in [
        ("device = \"pi-1\"", "device = \"pi/1\"", "edited:4:10: \"pi/1\" is not a device's id"),
        ("root = \"", "root = \"*", "the root is not base64"),
        ("root = \"", "root = \"AAAA", "the root: "),
        ("[broker]", "[brokre]", "unknown field `brokre`"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        fs::write(world.path("edited"), text.replacen(from, to, 1)).unwrap();
        let error = joins(&world, "edited", &[]).unwrap_err().to_string();
        assert!(error.contains(why), "{to}: {error}");
    }
    assert!(!world.path("etc").exists(), "nothing is made of a broken file");
}
