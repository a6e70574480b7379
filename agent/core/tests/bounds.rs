//! Every limit of every document at its edge: the largest value is taken, one more is refused.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{
    DEPLOY, Fleet, NOW, RELEASE, STRANGER, agent, assign, floor, name, order, plan, public, refused, release, role,
    sign, signature,
};
use dunlin_core::{
    Code, limits,
    trust::{accept_plan, check_chunk, check_module, first_root, verify_release},
    wire::{
        Assignment, Bitmap, Digest, Document, Envelope, Instances, Listen, Module, Mount, Plan, Probe, Protocol,
        Publish, Release, ReleaseRole, Root, Sealed, Start, Term, World,
    },
};

/// Nothing, or the code with which a document is refused when its body is parsed.
#[track_caller]
fn outcome<D: Document>(document: &D) -> Option<Code> {
    Envelope::unsigned(document).body::<D>().err().map(|refusal| refusal.code)
}

#[track_caller]
fn takes_up_to<D: Document>(max: usize, code: Code, of: impl Fn(usize) -> D) {
    assert_eq!(outcome(&of(max)), None, "{max}");
    assert_eq!(outcome(&of(max + 1)), Some(code), "{}", max + 1);
}

fn digests(count: usize) -> Vec<Digest> {
    (0..count).map(|i| Digest::of(&i.to_le_bytes())).collect()
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

mod envelope {
    use super::*;

    #[test]
    fn an_oversized_one_is_refused_before_anything_else() {
        let max = limits::ENVELOPE_BYTES_MAX;
        for (length, code) in [(max, Code::Malformed), (max + 1, Code::Oversized)] {
            let (root, bytes) = (Fleet::new().trusted(), vec![0xff; length]);
            assert_eq!(refused(first_root(&bytes)), code);
            assert_eq!(refused(accept_plan(&root, None, &bytes, NOW)), code);
            let order = order(&release("hello", 1));
            assert_eq!(refused(verify_release(&root, &name("hello"), &order, &bytes)), code);
        }
    }

    #[test]
    fn too_many_signatures() {
        let max = u8::try_from(limits::SIGNATURES_MAX).unwrap();
        let with = |strangers: u8| {
            let seeds: Vec<u8> = (100..100 + strangers).chain([DEPLOY]).collect();
            accept_plan(&Fleet::new().trusted(), None, &sign(&plan(1, vec![]), &seeds).encode(), NOW)
        };
        assert!(with(max - 1).is_ok());
        assert_eq!(refused(with(max)), Code::Oversized);
    }

    #[test]
    fn two_signatures_by_one_key() {
        let mut envelope = sign(&plan(1, vec![]), &[DEPLOY, STRANGER]);
        envelope.signatures.push(signature(&envelope, STRANGER));
        assert_eq!(refused(accept_plan(&Fleet::new().trusted(), None, &envelope.encode(), NOW)), Code::Malformed);
    }

    /// What `limits::ENVELOPE_BYTES_MAX` promises of the largest module.
    #[test]
    fn the_release_of_the_largest_module_fits() {
        let mut largest = release("hello", 1);
        let count = limits::MODULE_BYTES_MAX.div_ceil(u64::from(limits::CHUNK_BYTES));
        largest.module.bytes = limits::MODULE_BYTES_MAX;
        largest.module.chunk_bytes = limits::CHUNK_BYTES;
        largest.module.chunks = digests(usize::try_from(count).unwrap());
        let bytes = sign(&largest, &[RELEASE]).encode();
        let order = order(&largest);
        assert!(verify_release(&Fleet::new().trusted(), &largest.app, &order, &bytes).is_ok());
    }
}

mod root {
    use super::*;

    fn with(change: impl FnOnce(&mut Root)) -> Root {
        Fleet::new().with(change).root
    }

    #[test]
    fn lists() {
        let keys = |count: usize| (0..count).map(|i| 100 + u8::try_from(i).unwrap()).collect::<Vec<_>>();
        let bad = Code::Malformed;
        takes_up_to(limits::ROLE_KEYS_MAX, bad, |n| with(|root| root.root = role(1, &keys(n))));
        takes_up_to(limits::ROLE_KEYS_MAX, bad, |n| with(|root| root.deploy = role(1, &keys(n))));
        takes_up_to(limits::ROLE_KEYS_MAX, bad, |n| with(|root| root.grant = Some(role(1, &keys(n)))));
        takes_up_to(limits::ROLE_KEYS_MAX, bad, |n| with(|root| root.release[0].role = role(1, &keys(n))));
        takes_up_to(limits::RELEASE_ROLES_MAX, bad, |n| with(|root| root.release = vec![root.release[0].clone(); n]));
        takes_up_to(limits::LIST_MAX, bad, |n| with(|root| root.release[0].apps = vec![name("hello"); n]));
        takes_up_to(limits::ROOT_LIST_MAX, bad, |n| with(|root| root.revoked = digests(n)));
        takes_up_to(limits::ROOT_LIST_MAX, bad, |n| with(|root| root.floors = vec![floor("hello", 1); n]));
    }

    #[test]
    fn values() {
        let roots = [
            with(|root| root.version = 0),
            with(|root| root.release.clear()),
            with(|root| root.root = role(0, &[1])),
            with(|root| root.root = role(2, &[1])),
            with(|root| root.deploy = role(0, &[])),
            with(|root| root.deploy = role(1, &[])),
            with(|root| root.deploy = role(1, &[1, 1])),
            with(|root| root.grant = Some(role(2, &[1]))),
            with(|root| root.release.push(ReleaseRole { apps: vec![], role: role(3, &[1, 2]) })),
        ];
        for root in &roots {
            assert_eq!(outcome(root), Some(Code::Malformed), "{root:?}");
        }
        assert_eq!(outcome(&with(|root| root.deploy = role(2, &[1, 2]))), None);
    }
}

mod plan_ {
    use super::*;

    fn with(change: impl FnOnce(&mut Assignment)) -> Plan {
        let mut assignment = assign(&release("hello", 1));
        change(&mut assignment);
        plan(1, vec![assignment])
    }

    fn port(n: usize) -> u16 {
        u16::try_from(n).unwrap()
    }

    #[test]
    fn lists_and_texts() {
        let bad = Code::Malformed;
        let env = |n| (0..n).map(|i| (name(&format!("V{i}")), String::new())).collect();
        let ports = |n| (1..=n).map(|i| Publish { host: port(i), guest: port(i), protocol: Protocol::Tcp }).collect();
        takes_up_to(limits::ASSIGNMENTS_MAX, bad, |n| plan(1, vec![assign(&release("hello", 1)); n]));
        takes_up_to(limits::SELECTOR_MAX, bad, |n| with(|a| a.to.0 = vec![Term::Device(vec![]); n]));
        takes_up_to(limits::SELECTOR_MAX, bad, |n| with(|a| a.to.0 = vec![Term::Device(vec![name("pi"); n])]));
        takes_up_to(limits::SELECTOR_MAX, bad, |n| {
            with(|a| a.to.0 = vec![Term::Label(name("site"), vec![name("hall"); n])])
        });
        takes_up_to(limits::LIST_MAX, bad, |n| with(|a| a.env = env(n)));
        let secrets = |n| (0..n).map(|i| (name(&format!("S{i}")), vec![])).collect();
        takes_up_to(limits::LIST_MAX, bad, |n| with(|a| a.secrets = secrets(n)));
        let seal =
            |device: &str, bytes| Sealed { device: name(device), encapsulated: [0; 32], ciphertext: vec![0; bytes] };
        let devices = |n| (0..n).map(|i| seal(&format!("d{i}"), 0)).collect();
        takes_up_to(limits::SELECTOR_MAX, bad, |n| with(|a| a.secrets = vec![(name("S"), devices(n))]));
        let most = limits::TEXT_BYTES_MAX + limits::SEAL_BYTES;
        takes_up_to(most, bad, |n| with(|a| a.secrets = vec![(name("S"), vec![seal("d", n)])]));
        takes_up_to(limits::LIST_MAX, bad, |n| with(|a| a.args = Some(vec![String::new(); n])));
        takes_up_to(limits::LIST_MAX, bad, |n| with(|a| a.publish = Some(ports(n))));
        takes_up_to(limits::TEXT_BYTES_MAX, bad, |n| with(|a| a.env = vec![(name("V"), text(n))]));
        takes_up_to(limits::TEXT_BYTES_MAX, bad, |n| with(|a| a.args = Some(vec![text(n)])));
    }

    #[test]
    fn values() {
        let publish = |pairs: &[(u16, u16)]| {
            let publish = |(host, guest): &(u16, u16)| Publish { host: *host, guest: *guest, protocol: Protocol::Tcp };
            let ports = pairs.iter().map(publish).collect();
            with(|a| a.publish = Some(ports))
        };
        let plans = [
            Plan { sequence: 0, ..plan(1, vec![]) },
            Plan { previous: Some(Digest::of(b"")), ..plan(1, vec![]) },
            Plan { previous: None, ..plan(2, vec![]) },
            publish(&[(0, 1)]),
            publish(&[(1, 0)]),
            publish(&[(80, 1), (80, 2)]),
            publish(&[(80, 1), (81, 1)]),
            with(|a| a.args = Some(vec!["a\0".into()])),
            with(|a| a.env = vec![(name("V"), "\0".into())]),
            with(|a| a.env = vec![(name("V"), "1".into()), (name("W"), "2".into()), (name("V"), "1".into())]),
        ];
        for plan in &plans {
            assert_eq!(outcome(plan), Some(Code::Malformed), "{plan:?}");
        }
        assert_eq!(outcome(&publish(&[(80, 1), (81, 2)])), None);
        assert_eq!(outcome(&plan(u64::MAX, vec![])), None);
    }
}

mod release_ {
    use super::*;

    fn with(change: impl FnOnce(&mut Release)) -> Release {
        let mut release = release("hello", 1);
        change(&mut release);
        release
    }

    fn listen(guest: u16, host: Option<u16>) -> Listen {
        Listen { guest, host, protocol: Protocol::Tcp, nonblocking: false }
    }

    fn module(bytes: u64, chunk_bytes: u32, chunks: usize) -> Release {
        with(|r| r.module = Module { bytes, chunk_bytes, chunks: digests(chunks), ..r.module.clone() })
    }

    #[test]
    fn lists_and_texts() {
        let bad = Code::Malformed;
        let listens = |n| (1..=u16::try_from(n).unwrap()).map(|port| listen(port, None)).collect();
        let env = |n| (0..n).map(|i| (name(&format!("V{i}")), None)).collect();
        let path = |n| Probe::Http { port: 7878, path: format!("/{}", text(n - 1)), status: 200 };
        takes_up_to(limits::LIST_MAX, bad, |n| with(|r| r.asks.listen = listens(n)));
        let hosts = |n| (1..=n).map(|i| name(&format!("host:{i}"))).collect();
        takes_up_to(limits::LIST_MAX, bad, |n| with(|r| r.asks.connect = hosts(n)));
        let mounts = |n| (1..=n).map(|i| Mount { name: name(&format!("m{i}")), write: false }).collect();
        takes_up_to(limits::LIST_MAX, bad, |n| with(|r| r.asks.mounts = mounts(n)));
        let topics = |n| (1..=n).map(|i| name(&format!("t{i}"))).collect();
        takes_up_to(limits::LIST_MAX, bad, |n| with(|r| r.asks.topics_out = topics(n)));
        takes_up_to(limits::TOPICS_IN_MAX, bad, |n| with(|r| r.asks.topics_in = topics(n)));
        takes_up_to(limits::LIST_MAX, bad, |n| with(|r| r.asks.env = env(n)));
        takes_up_to(limits::LIST_MAX, bad, |n| with(|r| r.asks.args = vec![String::new(); n]));
        takes_up_to(limits::TEXT_BYTES_MAX, bad, |n| with(|r| r.asks.env = vec![(name("V"), Some(text(n)))]));
        takes_up_to(limits::TEXT_BYTES_MAX, bad, |n| with(|r| r.asks.args = vec![text(n)]));
        takes_up_to(limits::TEXT_BYTES_MAX, bad, |n| with(|r| r.health.probe = path(n)));
    }

    #[test]
    fn an_app_is_never_an_agent_nor_an_agent_an_app() {
        let agent = agent("armv7-unknown-linux-gnueabihf", 1);
        assert_eq!(outcome(&agent), None);
        for other in [
            Release { app: name("hello"), ..agent.clone() },
            Release { world: World::Preview1, ..agent.clone() },
            Release { world: World::Command, ..agent.clone() },
            Release { asks: release("hello", 1).asks, ..agent.clone() },
            with(|r| r.world = World::Agent),
            with(|r| r.app = name("dunlin-hello")),
        ] {
            assert_eq!(outcome(&other), Some(Code::Malformed), "{other:?}");
        }
    }

    #[test]
    fn values() {
        let probe =
            |path: &str, status| with(|r| r.health.probe = Probe::Http { port: 7878, path: path.into(), status });
        let releases = [
            with(|r| r.asks.listen.push(listen(0, None))),
            with(|r| r.asks.listen.push(listen(1, Some(0)))),
            with(|r| r.asks.listen.push(listen(7878, None))),
            with(|r| r.asks.listen.push(listen(1, Some(8080)))),
            with(|r| r.asks.env.push((name("SITE"), None))),
            with(|r| r.asks.args.push("\0".into())),
            with(|r| r.asks.topics_out = vec![name("t"), name("t")]),
            with(|r| r.asks.topics_in = vec![name("t"), name("t")]),
            with(|r| r.asks.memory_bytes = limits::GUEST_MEMORY_BYTES_MAX + 1),
            with(|r| r.health.probe = Probe::Tcp { port: 7879 }),
            with(|r| r.health.interval_ms = 0),
            with(|r| r.health.timeout_ms = 0),
            with(|r| r.health.start_ms = 0),
            with(|r| r.health.failures = 0),
            with(|r| r.health.successes = 0),
            with(|r| r.start = Start::OnDemand { idle_ms: 0 }),
            with(|r| (r.start, r.asks.listen) = (Start::OnDemand { idle_ms: 1 }, vec![])),
            probe("health", 200),
            probe("", 200),
            probe("/a b", 200),
            probe("/a\r\nHost: x", 200),
            probe("/\u{e4}", 200),
            probe("/", 99),
            probe("/", 600),
        ];
        for release in &releases {
            assert_eq!(outcome(release), Some(Code::Malformed), "{release:?}");
        }
        for good in [probe("/", 100), probe("/a?b=c", 599), with(|r| r.asks.memory_bytes = 4 << 30)] {
            assert_eq!(outcome(&good), None);
        }
    }

    #[test]
    fn modules() {
        let (min, max) = (limits::CHUNK_BYTES_MIN, limits::CHUNK_BYTES);
        for (bytes, chunk_bytes, chunks, code) in [
            (1, min, 1, None),
            (1024, min, 1, None),
            (1025, min, 2, None),
            (1025, max, 1, None),
            (limits::MODULE_BYTES_MAX, max, 1366, None),
            (limits::MODULE_BYTES_MAX + 1, max, 1366, Some(Code::Oversized)),
            (u64::MAX, max, 1, Some(Code::Oversized)),
            (0, min, 0, Some(Code::Malformed)),
            (1025, min, 1, Some(Code::Malformed)),
            (1024, min, 2, Some(Code::Malformed)),
            (1, min - 1, 1, Some(Code::Malformed)),
            (1, 0, 1, Some(Code::Malformed)),
            (1, max + 1, 1, Some(Code::Malformed)),
        ] {
            assert_eq!(outcome(&module(bytes, chunk_bytes, chunks)), code, "{bytes} in {chunks} of {chunk_bytes}");
        }
    }
}

mod module {
    use super::*;

    #[test]
    fn ranges_cover_it_and_end_with_it() {
        for (bytes, last) in [(1usize, (0, 1)), (1024, (0, 1024)), (1025, (1024, 1)), (3000, (2048, 952))] {
            let module = Module::describe(&vec![1; bytes], 1024);
            assert_eq!(module.range(module.count() - 1), Some(last), "{bytes}");
            assert_eq!(module.range(module.count()), None, "{bytes}");
            assert_eq!(module.range(u32::MAX), None, "{bytes}");
            let covered: usize = (0..module.count()).map(|index| module.range(index).unwrap().1).sum();
            assert_eq!(covered, bytes);
        }
        assert_eq!(Module::describe(&[], 1024).range(0), None);
    }

    /// Values that no release may have, but that are asked about before anybody knows.
    #[test]
    fn ranges_of_impossible_modules_do_not_overflow() {
        let module = |chunk_bytes| Module { sha256: Digest::of(b""), bytes: u64::MAX, chunk_bytes, chunks: vec![] };
        let far = u64::from(u32::MAX) * u64::from(u32::MAX);
        assert_eq!(module(u32::MAX).range(u32::MAX), Some((far, u32::MAX as usize)));
        assert_eq!(module(0).range(0), None);
        assert_eq!(refused(check_chunk(&module(1024), 0, &[0; 1024])), Code::WrongChunk, "it has no hash");
    }

    #[test]
    fn a_chunk_of_another_place_does_not_pass() {
        let bytes: Vec<u8> = (0..2500).map(|i| u8::try_from(i / 10).unwrap()).collect();
        let module = Module::describe(&bytes, 1024);
        for (index, chunk) in (0..).zip(bytes.chunks(1024)) {
            assert_eq!(check_chunk(&module, index, chunk), Ok(()));
            assert_eq!(refused(check_chunk(&module, (index + 1) % 3, chunk)), Code::WrongChunk);
        }
    }

    #[test]
    fn a_whole_one_hashes_to_what_its_release_says() {
        let module = release("hello", 3).module;
        assert_eq!(check_module(&module, module.bytes, module.sha256), Ok(()));
        assert_eq!(refused(check_module(&module, module.bytes + 1, module.sha256)), Code::WrongModule);
        assert_eq!(refused(check_module(&module, module.bytes, Digest::of(b"other"))), Code::WrongModule);
    }

    #[test]
    fn what_is_wanted_is_what_is_missing_and_nothing_beyond_the_last_chunk() {
        let mut have = Bitmap::new(11);
        for index in [0, 7, 8, 11, 15, 16, u32::MAX] {
            have.set(index);
        }
        assert_eq!(have.missing().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 9, 10]);
        assert_eq!(have.wanted().encode(), [0b0111_1110, 0b0000_0110]);
        assert_eq!(Bitmap::new(0).wanted().encode(), []);
    }

    #[test]
    fn a_bitmap_has_the_length_that_its_chunks_need_and_nothing_behind_the_last() {
        for (bytes, count, code) in [
            (&[0xff, 0x07][..], 11, None),
            (&[0xff], 8, None),
            (&[], 0, None),
            (&[0xff, 0x0f], 11, Some(Code::Malformed)),
            (&[0xff], 11, Some(Code::Malformed)),
            (&[0xff, 0, 0], 11, Some(Code::Malformed)),
            (&[0], 0, Some(Code::Malformed)),
            (&[0; limits::WANT_BYTES_MAX + 1], u32::MAX, Some(Code::Oversized)),
        ] {
            let decoded = Bitmap::decode(bytes, count);
            assert_eq!(decoded.as_ref().err().map(|refusal| refusal.code), code, "{bytes:?} for {count}");
            if let Ok(bitmap) = decoded {
                assert_eq!((bitmap.encode().as_slice(), bitmap.present().count()), (bytes, count as usize));
            }
        }
        let all = Bitmap::new(65_536).wanted();
        assert_eq!(Bitmap::decode(&all.encode(), 65_536).unwrap(), all, "the largest module's");
    }
}

#[test]
fn a_key_is_its_own_id() {
    assert_eq!(public(DEPLOY).to_string().parse(), Ok(public(DEPLOY)));
}

/// What an app that answers requests can't ask for: `release.world` says why.
#[test]
fn answering_requests() {
    let max = usize::from(limits::INSTANCES_MAX);
    let with = |max: usize, change: &dyn Fn(&mut Release)| {
        let mut release = release("hello", 1);
        release.world = World::Http(Instances { max: u16::try_from(max).unwrap(), keep: false });
        change(&mut release);
        release
    };
    takes_up_to(max, Code::Malformed, |max| with(max, &|_| {}));
    assert_eq!(outcome(&with(0, &|_| {})), Some(Code::Malformed));
    let changes: [&dyn Fn(&mut Release); 4] = [
        &|release| release.asks.listen.clear(),
        &|release| release.asks.listen[0].protocol = Protocol::Udp,
        &|release| release.asks.data_bytes = 1,
        &|release| release.asks.mounts = vec![Mount { name: name("media"), write: false }],
    ];
    for change in changes {
        assert_eq!(outcome(&with(1, change)), Some(Code::Malformed));
    }
    let world = World::Http(Instances { max: 4, keep: true });
    assert_eq!((world.memory_bytes(16), World::Command.memory_bytes(16)), (4, 16));
}
