//! A fleet that signs, and the documents that it signs, for every test of this crate.
#![allow(clippy::unwrap_used, reason = "test helper")]
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod seeded;

use std::{fmt::Debug, path::Path, str::FromStr, sync::LazyLock};

use dunlin_core::{
    Code, Refusal, limits,
    trust::{self, Verified},
    wire::{
        Asks, Assignment, Digest, Document, Envelope, Floor, Health, Kind, Listen, Module, Plan, Protocol, PublicKey,
        Release, ReleaseRef, ReleaseRole, Restart, Role, Root, Selector, Signature, Start, Timestamp, World,
    },
};
use ed25519_dalek::{Signer, SigningKey};

/// The time of every test that does not say another: a second before [`SOON`].
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);
/// Until when the plans here may be accepted.
pub(crate) const SOON: Timestamp = Timestamp(1_800_000_001);
/// When the roots here expire.
pub(crate) const LATER: Timestamp = Timestamp(1_900_000_000);

/// A key for each number.
static KEYS: LazyLock<Vec<SigningKey>> =
    LazyLock::new(|| (0..=u8::MAX).map(|seed| SigningKey::from_bytes(&[seed; 32])).collect());

/// A key, always the same for one number.
pub(crate) fn key(seed: u8) -> &'static SigningKey {
    &KEYS[usize::from(seed)]
}

pub(crate) const ROOT: u8 = 1;
pub(crate) const DEPLOY: u8 = 2;
pub(crate) const RELEASE: u8 = 3;
/// A key that no root here knows.
pub(crate) const STRANGER: u8 = 99;

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey(key(seed).verifying_key().to_bytes())
}

pub(crate) fn role(threshold: u8, seeds: &[u8]) -> Role {
    Role { keys: seeds.iter().map(|seed| public(*seed)).collect(), threshold }
}

pub(crate) fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// The signature by one key over an envelope's message.
pub(crate) fn signature(envelope: &Envelope, seed: u8) -> Signature {
    let signature = key(seed).sign(&envelope.message());
    Signature { key: public(seed), r: *signature.r_bytes(), s: *signature.s_bytes() }
}

/// Any bytes at all, signed as a document of this kind.
pub(crate) fn sign_body(kind: Kind, body: Vec<u8>, seeds: &[u8]) -> Envelope {
    let mut envelope = Envelope { kind, body, signatures: Vec::new() };
    envelope.signatures = seeds.iter().map(|seed| signature(&envelope, *seed)).collect();
    envelope
}

/// A document in its envelope, signed by these keys.
pub(crate) fn sign<D: Document>(document: &D, seeds: &[u8]) -> Envelope {
    let envelope = Envelope::unsigned(document);
    sign_body(envelope.kind, envelope.body, seeds)
}

/// A fleet: its root, and who signs for each role.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) root: Root,
    pub(crate) root_keys: Vec<u8>,
    pub(crate) deploy_keys: Vec<u8>,
    pub(crate) release_keys: Vec<u8>,
}

impl Fleet {
    /// `flock`: one key for each role.
    pub(crate) fn new() -> Self {
        Self {
            root: Root {
                fleet: name("flock"),
                version: 1,
                expires: LATER,
                root: role(1, &[ROOT]),
                deploy: role(1, &[DEPLOY]),
                release: vec![ReleaseRole { apps: vec![], role: role(1, &[RELEASE]) }],
                grant: None,
                revoked: vec![],
                floors: vec![],
            },
            root_keys: vec![ROOT],
            deploy_keys: vec![DEPLOY],
            release_keys: vec![RELEASE],
        }
    }

    /// This fleet with another root, signed by the same keys.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Root)) -> Self {
        change(&mut self.root);
        self
    }

    pub(crate) fn sign_root(&self) -> Vec<u8> {
        sign(&self.root, &self.root_keys).encode()
    }

    pub(crate) fn sign_plan(&self, plan: &Plan) -> Vec<u8> {
        sign(plan, &self.deploy_keys).encode()
    }

    pub(crate) fn sign_release(&self, release: &Release) -> Vec<u8> {
        sign(release, &self.release_keys).encode()
    }

    /// The root as a board trusts it.
    pub(crate) fn trusted(&self) -> Verified<Root> {
        trust::first_root(&self.sign_root()).unwrap()
    }

    /// A release as a board holds it once it is verified.
    pub(crate) fn verified(&self, release: &Release) -> Verified<Release> {
        trust::verify_release(&self.trusted(), &release.app, &order(release), &self.sign_release(release)).unwrap()
    }
}

/// Version `counter` of an app that listens on 7878.
pub(crate) fn release(app: &str, counter: u64) -> Release {
    Release {
        app: name(app),
        counter,
        version: name(&format!("1.0.{counter}")),
        module: Module::describe(format!("\0asm {app} {counter}").as_bytes(), 1024),
        world: World::Preview1,
        asks: Asks {
            listen: vec![Listen { guest: 7878, host: Some(8080), protocol: Protocol::Tcp, nonblocking: false }],
            env: vec![(name("GREETING"), Some("Hello".into())), (name("SITE"), None)],
            args: vec!["--quiet".into()],
            free_args: true,
            memory_bytes: 0,
            ..Asks::default()
        },
        health: Health::default(),
        urls: vec![],
        restart: Restart::Always,
        start: Start::AtOnce,
        trial_ms: limits::TRIAL_MS,
        drain_ms: limits::DRAIN_MS,
    }
}

/// Version `counter` of the agent for the boards of a target.
pub(crate) fn agent(target: &str, counter: u64) -> Release {
    let app = format!("dunlin-{target}");
    Release { world: World::Agent, asks: Asks::default(), ..release(&app, counter) }
}

/// An assignment that gives a release nothing.
pub(crate) fn assign_plainly(release: &Release) -> Assignment {
    Assignment { env: Vec::new(), ..assign(release) }
}

/// The digest and counter with which a plan names a release.
pub(crate) fn order(release: &Release) -> ReleaseRef {
    ReleaseRef { digest: Envelope::unsigned(release).digest(), counter: release.counter }
}

/// This release for every device, with all that it needs.
pub(crate) fn assign(release: &Release) -> Assignment {
    Assignment {
        app: release.app.clone(),
        to: Selector::default(),
        release: order(release),
        paused: false,
        env: vec![(name("SITE"), "kitchen".into())],
        secrets: Vec::new(),
        args: None,
        publish: None,
    }
}

/// A plan of `flock` with these assignments, good until [`SOON`].
pub(crate) fn plan(sequence: u64, assignments: Vec<Assignment>) -> Plan {
    Plan {
        fleet: name("flock"),
        sequence,
        previous: (sequence > 1).then(|| Digest::of(&(sequence - 1).to_le_bytes())),
        issued: Timestamp(NOW.0 - 60),
        not_after: SOON,
        assignments,
        rollouts: Vec::new(),
    }
}

pub(crate) fn floor(app: &str, counter: u64) -> Floor {
    Floor { app: name(app), counter }
}

/// The code of a refusal; a panic if it was none.
#[track_caller]
pub(crate) fn refused<T: Debug>(outcome: Result<T, Refusal>) -> Code {
    outcome.unwrap_err().code
}

/// Compares a text with the file of this name in `tests/`; `BLESS=1` rewrites the file instead.
#[track_caller]
pub(crate) fn golden(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (number, (is, was)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, was, "line {} of tests/{file}; BLESS=1 rewrites it", number + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "lines of tests/{file}; BLESS=1 rewrites it");
}
