//! The bytes of each document, as boards in the field hold them. A change of a golden file here is
//! a new version of the wire format, and needs a new topic prefix.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{
    DEPLOY, Fleet, NOW, ROOT, SOON, assign, floor, golden, key, name, order, plan, public, release, role, sign,
};
use dunlin_core::{
    Code, trust,
    wire::{
        Bitmap, Digest, Document, Envelope, Instances, Listen, Mount, Plan, Probe, Protocol, Publish, Release,
        ReleaseRole, Restart, Rollout, Root, Sealed, SealingKey, Selector, Share, Start, Term, Timestamp, World,
        bundle::{Frame, MAGIC},
        plan::Labels,
        state::{AppState, DeviceState, Event, NextState, Phase, PlanState, Refused, What},
    },
};
use ed25519_dalek::Verifier;
use serde::{Serialize, de::DeserializeOwned};

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
    lines.collect()
}

fn from_hex(file: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    let digits: Vec<u8> = std::fs::read(path).unwrap().into_iter().filter(|c| *c != b'\n').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A root in which every field says something.
fn full_root() -> Root {
    let mut root = Fleet::new().root;
    root.deploy = role(2, &[DEPLOY, 20, 21]);
    root.release.push(ReleaseRole { apps: vec![name("hello"), name("bell")], role: role(1, &[30]) });
    root.grant = Some(role(1, &[40]));
    root.revoked = vec![Digest::of(b"bad")];
    root.floors = vec![floor("hello", 300)];
    root
}

fn sealed(device: &str) -> Sealed {
    Sealed { device: name(device), encapsulated: [5; 32], ciphertext: vec![6; 17] }
}

fn full_release() -> Release {
    let mut release = release("hello", 301);
    release.module = dunlin_core::wire::Module::describe(&[7; 2500], 1024);
    release.asks.listen.push(Listen { guest: 443, host: None, protocol: Protocol::Tcp, nonblocking: true });
    release.asks.listen.push(Listen { guest: 53, host: Some(53), protocol: Protocol::Udp, nonblocking: false });
    release.asks.connect = vec![name("db.example:5432")];
    release.asks.resolve = true;
    release.asks.data_bytes = 1 << 20;
    release.asks.mounts = vec![Mount { name: name("media"), write: true }];
    release.asks.topics_out = vec![name("room.temperature")];
    release.asks.topics_in = vec![name("set-point"), name("mode")];
    release.asks.memory_bytes = 8 << 20;
    release.health.probe = Probe::Http { port: 7878, path: "/health".into(), status: 204 };
    release.restart = Restart::OnFailure;
    release.start = Start::OnDemand { idle_ms: 300 };
    release
}

fn full_plan() -> Plan {
    let hello = full_release();
    let mut first = assign(&hello);
    let sites = vec![name("kitchen"), name("hall")];
    first.to = Selector(vec![Term::Device(vec![name("pi-1")]), Term::Label(name("site"), sites)]);
    first.args = Some(vec!["--loud".into(), String::new()]);
    first.secrets = vec![(name("TOKEN"), vec![sealed("pi-1")])];
    first.publish = Some(vec![Publish { host: 80, guest: 7878, protocol: Protocol::Tcp }]);
    let mut second = assign(&release("bell", 2));
    second.paused = true;
    plan(7, vec![first, second])
}

fn both_ways<D: Document + PartialEq + std::fmt::Debug>(document: &D, file: &str) {
    golden(file, &hex(&Envelope::unsigned(document).body));
    let envelope = Envelope { kind: D::KIND, body: from_hex(file), signatures: vec![] };
    assert_eq!(envelope.body::<D>().unwrap(), *document);
}

#[test]
fn root() {
    both_ways(&full_root(), "golden/root.hex");
}

#[test]
fn release_() {
    both_ways(&full_release(), "golden/release.hex");
}

/// The same for an app that answers requests: only its world is spelled otherwise.
#[test]
fn release_for_http() {
    let mut release = full_release();
    release.asks.listen.retain(|listen| listen.protocol == Protocol::Tcp);
    (release.asks.data_bytes, release.asks.mounts) = (0, Vec::new());
    release.world = World::Http(Instances { max: 300, keep: true });
    assert!(release.check().unwrap_err().sentence.contains("300 instances"));
    release.world = World::Http(Instances { max: 200, keep: true });
    both_ways(&release, "golden/release-http.hex");
}

#[test]
fn want() {
    let mut wanted = Bitmap::new(19);
    [0, 1, 9, 15, 18].into_iter().for_each(|index| wanted.set(index));
    golden("golden/want.hex", &hex(&wanted.encode()));
    assert_eq!(Bitmap::decode(&from_hex("golden/want.hex"), 19).unwrap(), wanted);
    assert_eq!(wanted.encode(), [0b0000_0011, 0b1000_0010, 0b0000_0100]);
}

#[test]
fn bundle() {
    let module = full_release().module;
    let frames = [
        Frame::Root { version: 2, envelope: b"a root".to_vec() },
        Frame::Plan { envelope: b"a plan".to_vec() },
        Frame::Release { digest: Digest::of(b"a release"), envelope: b"a release".to_vec() },
        Frame::Chunk { module: module.sha256, index: 2, bytes: vec![7; 452] },
        Frame::End,
    ];
    let bytes = [&MAGIC[..], &frames.map(|frame| frame.encode()).concat()].concat();
    golden("golden/bundle.hex", &hex(&bytes));
    // The root's frame by hand: its kind, its length, its version, its envelope.
    assert_eq!(&bytes[16..35], b"\x01\x0e\0\0\0\x02\0\0\0\0\0\0\0a root");
}

#[test]
fn plan_() {
    both_ways(&full_plan(), "golden/plan.hex");
}

/// The bytes of the plan without it, and then the rollout.
#[test]
fn plan_with_a_rollout() {
    let waves = vec![Share(429_496_729), Share::ALL];
    let rollout = Rollout { waves, wave: 1, soak_seconds: 120, patience_seconds: 600, halt_on: 200, held: true };
    both_ways(&Plan { rollouts: vec![(1, rollout)], ..full_plan() }, "golden/plan-rollout.hex");
    let (without, with) = (from_hex("golden/plan.hex"), from_hex("golden/plan-rollout.hex"));
    let mut rest = vec![1, 1, 2]; // one rollout, of the second assignment, in two waves
    rest.extend([0x99, 0xb3, 0xe6, 0xcc, 0x01]); // a tenth
    rest.extend([0xff, 0xff, 0xff, 0xff, 0x0f]); // all
    rest.extend([1, 120, 0xd8, 4, 0xc8, 1, 1]); // the second is in force, 120 s, 600 s, 200 of 10 000, held
    assert_eq!(hex(&with), hex(&[without, rest].concat()));
}

/// The same bytes once more, put together by hand from postcard's specification, so that the
/// golden files are known to say what they should, and not only what they did once.
#[test]
fn a_small_plan_by_hand() {
    let hello = release("hello", 300);
    let mut bytes = vec![5];
    bytes.extend(b"flock");
    bytes.extend([1, 0]); // sequence 1, no predecessor
    bytes.extend([0x80, 0xa4, 0xa7, 0xda, 0x06]); // issued 1 800 000 000 as a varint
    bytes.extend([0x81, 0xa4, 0xa7, 0xda, 0x06]); // not after 1 800 000 001
    bytes.extend([1, 5]); // one assignment
    bytes.extend(b"hello");
    bytes.extend([1, 1, 4]); // to one term: a label whose key has four bytes
    bytes.extend(b"site");
    bytes.extend([1, 7]);
    bytes.extend(b"kitchen");
    bytes.extend(order(&hello).digest.0);
    bytes.extend([0xac, 2, 1, 0, 0]); // counter 300, paused, no environment, no secrets
    bytes.extend([1, 1, 2, b'-', b'v']); // one argument
    bytes.extend([1, 1, 80, 0xc6, 0x3d, 1]); // port 80 to 7878, datagrams

    let mut one = assign(&hello);
    one.to = Selector(vec![Term::Label(name("site"), vec![name("kitchen")])]);
    one.paused = true;
    one.env.clear();
    one.args = Some(vec!["-v".into()]);
    one.publish = Some(vec![Publish { host: 80, guest: 7878, protocol: Protocol::Udp }]);
    let mut plan = plan(1, vec![one]);
    plan.issued = NOW;
    assert_eq!(hex(&Envelope::unsigned(&plan).body), hex(&bytes));
}

#[test]
fn a_signed_envelope() {
    let root = full_root();
    let envelope = sign(&root, &[ROOT]);
    golden("golden/root.envelope.hex", &hex(&envelope.encode()));
    let bytes = from_hex("golden/root.envelope.hex");
    assert_eq!(Envelope::decode(&bytes, Root::KIND), Ok(envelope));
    assert_eq!(*trust::first_root(&bytes).unwrap(), root);
    assert_eq!(trust::first_root(&bytes).unwrap().to_bytes(), bytes, "it is stored as it came");
}

/// What a signer that is not this crate (a hardware token, another language) has to sign.
#[test]
fn a_signature_is_over_the_domain_the_length_and_the_body() {
    let domains = [
        (sign(&full_root(), &[ROOT]), "dunlin/v1/root", ROOT),
        (sign(&full_release(), &[30]), "dunlin/v1/release", 30),
        (sign(&full_plan(), &[DEPLOY]), "dunlin/v1/plan", DEPLOY),
    ];
    for (envelope, domain, seed) in domains {
        let mut message = domain.as_bytes().to_vec();
        message.extend((envelope.body.len() as u64).to_le_bytes());
        message.extend(&envelope.body);
        let [signature] = &envelope.signatures[..] else { panic!("one signature") };
        let ed25519 = ed25519_dalek::Signature::from_components(signature.r, signature.s);
        key(seed).verifying_key().verify(&message, &ed25519).unwrap();
        assert_eq!(signature.key, public(seed));
    }
}

#[test]
fn the_kind_of_an_envelope_shows_without_taking_it_apart() {
    for envelope in [sign(&full_root(), &[]), sign(&full_release(), &[]), sign(&full_plan(), &[])] {
        assert_eq!(Envelope::kind_of(&envelope.encode()), Ok(envelope.kind));
    }
    for bytes in [&[][..], &[3], b"{}"] {
        assert_eq!(common::refused(Envelope::kind_of(bytes)), Code::Malformed);
    }
}

fn json_both_ways<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(values: &[T], file: &str) {
    let lines: String = values.iter().map(|value| serde_json::to_string(value).unwrap() + "\n").collect();
    golden(file, &lines);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let read: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, values);
    // Readers ignore what a newer device adds.
    for line in text.lines() {
        let newer = line.replacen('{', r#"{"novelty":[1,{"x":null}],"#, 1);
        assert!(values.contains(&serde_json::from_str::<T>(&newer).unwrap()), "{newer}");
    }
}

#[test]
fn device_state() {
    let small = DeviceState {
        device: name("pi-1"),
        fleet: name("flock"),
        labels: Labels::new(),
        agent: "0.1.0".into(),
        root: 1,
        sealing_key: Some(SealingKey([7; 32])),
        plan: None,
        apps: vec![],
        refused: None,
        broker: vec![],
        trouble: None,
        at: NOW,
    };
    let app = AppState {
        app: name("hello"),
        release: Digest::of(b"release"),
        version: Some(name("1.0.0+3")),
        phase: Phase::BackingOff,
        since: Timestamp(5),
        why: Some("exit \"3\"".into()),
        failures: 2,
        ports: vec![80, 8080],
        udp_ports: vec![53],
        log: vec!["listening".into(), "panicked".into()],
        next: Some(NextState {
            release: Digest::of(b"next"),
            phase: Phase::Refused,
            why: Some("no".into()),
            log: vec!["Oh.".into()],
        }),
    };
    let bare = AppState {
        version: None,
        why: None,
        failures: 0,
        ports: vec![],
        udp_ports: vec![],
        log: vec![],
        next: None,
        ..app.clone()
    };
    let coming = NextState { release: Digest::of(b"next"), phase: Phase::Fetching, why: None, log: vec![] };
    let replaced = AppState { next: Some(coming), ..bare.clone() };
    let full = DeviceState {
        labels: Labels::from([(name("site"), name("kitchen")), (name("model"), name("zero2"))]),
        plan: Some(PlanState { sequence: 7, digest: Digest::of(b"plan") }),
        apps: vec![app, bare, replaced],
        refused: Some(Refused { code: Code::OldPlan.to_string(), why: "it is old".into(), at: SOON }),
        broker: vec!["it keeps no retained messages".into()],
        trouble: Some("cannot write plan: the disk is full".into()),
        ..small.clone()
    };
    json_both_ways(&[small, full], "golden/state.json");
}

#[test]
fn event() {
    let app = |phase, why: Option<&str>| What::App {
        app: name("hello"),
        release: Digest::of(b"release"),
        phase,
        why: why.map(String::from),
    };
    let whats = [
        What::Accepted { sequence: 7 },
        What::Refused { code: Code::Fork.to_string(), why: "two of them".into() },
        app(Phase::Fetching, None),
        app(Phase::Starting, None),
        app(Phase::Running, None),
        app(Phase::BackingOff, Some("a trap")),
        app(Phase::Finished, Some("it exited with 0")),
        app(Phase::Paused, None),
        app(Phase::Refused, Some("no")),
    ];
    let events = whats.map(|what| Event { device: name("pi-1"), at: NOW, what });
    json_both_ways(&events, "golden/event.json");
}

#[test]
fn a_phase_and_a_code_are_one_word_everywhere() {
    use Phase::{BackingOff, Fetching, Finished, Paused, Refused, Running, Starting};
    for phase in [Fetching, Starting, Running, BackingOff, Finished, Paused, Refused] {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
    }
    let codes: Vec<_> = Code::ALL.map(|code| code.to_string()).into();
    golden("golden/codes.txt", &(codes.join("\n") + "\n"));
}
