//! Writes the corpus of every target that is kept in the repository: `cargo run --bin seeds`.
//!
//! They are small honest inputs, each near something that could go wrong. What fuzzing finds beyond
//! them stays in the target folder; an input that once crashed belongs here, with a name.

use std::error::Error;
use std::fs;
use std::path::Path;

use dunlin_core::limits;
use dunlin_core::wire::{
    Asks, Assignment, Digest, Document, Envelope, Floor, Health, Listen, Module, Mount, Plan, Probe, Protocol, Publish,
    Release, ReleaseRef, Restart, Role, Root, Sealed, Selector, Start, Term, Timestamp, World,
};
use dunlin_fuzz::{calls, fleet};
use dunlin_guests::Artifact;

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let targets = [
        ("envelope", envelopes()),
        ("root", documents(vec![("first", fleet::root()), ("next", next_root()), ("full", full_root())], fleet::ROOT)),
        ("release", documents(vec![("small", release()), ("full", full_release())], fleet::RELEASE)),
        ("plan", documents(vec![("empty", plan(vec![])), ("two", plan(assignments()))], fleet::DEPLOY)),
        ("chunk", chunks()),
        ("want", wants()),
        ("host_calls", host_calls()),
        ("module", modules()?),
        ("component", components()?),
    ];
    for (target, seeds) in targets {
        let folder = corpus.join(target);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

type Seeds = Vec<(String, Vec<u8>)>;

/// Each as a body to be signed, and as an envelope that is.
fn documents<D: Document>(documents: Vec<(&str, D)>, key: u8) -> Seeds {
    let mut seeds = Seeds::new();
    for (name, document) in documents {
        let body = Envelope::unsigned(&document).body;
        // As anybody would send it: with a signature, but not by a key that may.
        seeds.push((format!("{name}-unsigned"), [&[1][..], &fleet::sign(D::KIND, &body, key + 90)].concat()));
        seeds.push((format!("{name}-signed"), [&[0][..], &body].concat()));
    }
    seeds
}

fn envelopes() -> Seeds {
    let sign = |envelope: Envelope, key| fleet::sign(envelope.kind, &envelope.body, key);
    vec![
        ("root".to_owned(), sign(Envelope::unsigned(&full_root()), fleet::ROOT)),
        ("release".to_owned(), sign(Envelope::unsigned(&full_release()), fleet::RELEASE)),
        ("plan".to_owned(), sign(Envelope::unsigned(&plan(assignments())), fleet::DEPLOY)),
        ("unsigned".to_owned(), Envelope::unsigned(&plan(vec![])).encode()),
    ]
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a good name")
}

fn next_root() -> Root {
    Root { version: 2, ..fleet::root() }
}

fn full_root() -> Root {
    let mut root = next_root();
    let mut two = fleet::role(fleet::DEPLOY);
    two.keys.extend(fleet::role(20).keys);
    root.deploy = Role { threshold: 2, ..two };
    root.release[0].apps = vec![name("hello"), name("bell")];
    root.grant = Some(fleet::role(40));
    root.revoked = vec![Digest::of(b"bad")];
    root.floors = vec![Floor { app: name("hello"), counter: 300 }];
    root
}

fn release() -> Release {
    Release {
        app: name("hello"),
        counter: 1,
        version: name("1.0.1"),
        module: Module::describe(b"\0asm", 1024),
        world: World::Preview1,
        asks: Asks::default(),
        health: Health::default(),
        urls: vec![],
        restart: Restart::Always,
        start: Start::AtOnce,
        trial_ms: limits::TRIAL_MS,
        drain_ms: limits::DRAIN_MS,
    }
}

fn full_release() -> Release {
    let mut release = release();
    release.module = Module::describe(&[7; 2500], 1024);
    let port = |guest, host, protocol, nonblocking| Listen { guest, host, protocol, nonblocking };
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    release.asks.listen =
        vec![port(7878, Some(8080), tcp, false), port(443, None, tcp, true), port(53, Some(53), udp, false)];
    release.asks.connect = vec![name("db.example:5432")];
    release.asks.data_bytes = 1 << 20;
    release.asks.mounts = vec![Mount { name: name("media"), write: true }];
    release.start = Start::OnDemand { idle_ms: 60_000 };
    release.asks.env = vec![(name("GREETING"), Some("Hello".into())), (name("SITE"), None)];
    release.asks.args = vec!["--quiet".into()];
    release.asks.memory_bytes = 8 << 20;
    release.health.probe = Probe::Http { port: 7878, path: "/health".into(), status: 204 };
    release.urls = vec!["https://example.org/hello.wasm".into()];
    release.restart = Restart::OnFailure;
    release
}

fn assignments() -> Vec<Assignment> {
    let release = full_release();
    let order = ReleaseRef { digest: Envelope::unsigned(&release).digest(), counter: release.counter };
    let sites = vec![name("kitchen"), name("hall")];
    let sealed = Sealed { device: name("pi-1"), encapsulated: [5; 32], ciphertext: vec![6; 17] };
    let first = Assignment {
        app: release.app,
        to: Selector(vec![Term::Device(vec![name("pi-1")]), Term::Label(name("site"), sites)]),
        release: order,
        paused: false,
        env: vec![(name("SITE"), "kitchen".into())],
        secrets: vec![(name("TOKEN"), vec![sealed])],
        args: Some(vec!["--loud".into(), String::new()]),
        publish: Some(vec![Publish { host: 80, guest: 7878, protocol: Protocol::Tcp }]),
    };
    let second = Assignment { to: Selector::default(), paused: true, args: None, publish: None, ..first.clone() };
    vec![first, second]
}

fn plan(assignments: Vec<Assignment>) -> Plan {
    Plan {
        fleet: name("flock"),
        sequence: 5,
        previous: Some(Digest::of(b"the fourth")),
        issued: Timestamp(fleet::NOW.0 - 60),
        not_after: Timestamp(fleet::NOW.0 + 1),
        assignments,
        rollouts: Vec::new(),
    }
}

/// What a transfer is told: `fuzz_targets/chunk.rs` reads it.
fn chunks() -> Seeds {
    // Chunks of 200 bytes, 700 in all; then the numbers of a module that is none.
    let mut head = vec![200, 0xbc, 0x02];
    head.extend([1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x80]);
    let with = |rest: &[&[u8]]| [&[&head[..]], rest].concat().concat();
    vec![
        ("in-order".to_owned(), with(&[&[0], &[1, 0, 1], &[1, 2], &[1, 5, 0, 1, 5, 1, 1, 5, 2, 1, 5, 3], &[1, 2]])),
        ("one-was-there".to_owned(), with(&[&[1, 2, 0], &[0, 0, 1], &[0, 2], &[0, 5, 3, 0, 5, 0, 0, 5, 1], &[255, 2]])),
        ("broken-session".to_owned(), with(&[&[0], &[0, 0, 1, 0, 2, 0, 5, 1, 9, 1, 9, 2, 9, 0, 1, 9, 2, 9, 5, 1]])),
        ("silence".to_owned(), with(&[&[0], &[0, 0, 1], &[[255, 2].repeat(12)].concat()])),
        ("wrong".to_owned(), with(&[&[0], &[0, 0, 1, 0, 4, 1, 0, 0, 0, 5], b"wrong", &[0, 4, 255, 255, 255, 255, 0]])),
        ("all-at-once".to_owned(), with(&[&[0], &[0, 0, 0, 0, 2, 255, 2, 0, 5, 3, 0, 5, 0, 0, 5, 1, 0, 5, 2, 0, 2]])),
        ("nothing".to_owned(), vec![1, 0, 0]),
    ]
}

/// What a depot is asked: `fuzz_targets/want.rs` reads it.
fn wants() -> Seeds {
    // Two things, of 11 chunks and of one.
    let with = |rest: &[&[u8]]| [&[&[11, 0, 1, 0][..]], rest].concat().concat();
    let want = |thing: u8, bitmap: &[u8]| [&[0, 0, thing, bitmap.len() as u8], bitmap].concat();
    vec![
        ("one".to_owned(), with(&[&want(0, &[0xff, 0x07]), &[0, 1, 0, 1, 0, 1]])),
        ("twice".to_owned(), with(&[&want(0, &[1, 0]), &want(0, &[3, 0]), &want(1, &[1]), &[9, 1, 9, 1, 9, 1]])),
        ("again".to_owned(), with(&[&want(0, &[1, 0]), &[0, 1, 255, 1], &want(0, &[1, 0]), &[0, 1]])),
        ("nonsense".to_owned(), with(&[&want(0, &[0, 0xff]), &want(1, &[]), &want(1, &[1, 1])])),
        ("lost".to_owned(), with(&[&want(0, &[0xff, 0]), &[0, 2, 0], &[0, 1]])),
    ]
}

/// Where the calls below find their strings and lists, all of them behind [`calls::DATA`].
fn memory() -> Vec<u8> {
    let mut memory = vec![0; 192];
    let mut put = |at: usize, bytes: &[u8]| memory[at - calls::DATA as usize..][..bytes.len()].copy_from_slice(bytes);
    for (at, path) in [
        (64, "f"),
        (66, "d"),
        (68, "d/g"),
        (72, "out"),
        (76, "abs"),
        (80, "loop"),
        (86, "../secret"),
        (96, "new"),
        (100, "d/up/rw"),
        (108, "/etc/passwd"),
        (120, "d/../../secret"),
    ] {
        put(at, path.as_bytes());
    }
    // Two buffers: 16 bytes at 512, and 300 at 1024.
    put(136, &[512_u32.to_le_bytes(), 16_u32.to_le_bytes(), 1024_u32.to_le_bytes(), 300_u32.to_le_bytes()].concat());
    // A subscription to a relative clock (1 ms), and one to descriptor 5 for reading.
    put(152, &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f]);
    put(200, &[8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5]);
    memory
}

fn host_calls() -> Seeds {
    const ALL: u64 = 0x1fff_ffff;
    const RW: u64 = 3;
    const RO: u64 = 4;
    const LISTENER: u64 = 5;
    const OPENED: u64 = 6;
    // What is written there is a descriptor, a size, or a time.
    const OUT: u64 = 400;
    let open = |fd, path: u64, len, oflags, flags| ("path_open", vec![fd, 1, path, len, oflags, ALL, ALL, flags, OUT]);
    type Calls = Vec<(&'static str, Vec<u64>)>;
    let seeds: Vec<(&str, Calls)> = vec![
        (
            "strings",
            vec![
                ("args_sizes_get", vec![400, 404]),
                ("args_get", vec![400, 512]),
                ("environ_sizes_get", vec![400, 404]),
                ("environ_get", vec![400, 512]),
            ],
        ),
        (
            "clocks",
            vec![
                ("clock_res_get", vec![0, OUT]),
                ("clock_time_get", vec![1, 1, OUT]),
                ("clock_time_get", vec![9, 0, OUT]),
                ("random_get", vec![512, 64]),
                ("sched_yield", vec![]),
            ],
        ),
        (
            "file",
            vec![
                open(RW, 96, 3, 9, 0),
                ("fd_write", vec![OPENED, 136, 2, OUT]),
                ("fd_seek", vec![OPENED, 0, 0, OUT]),
                ("fd_read", vec![OPENED, 136, 2, OUT]),
                ("fd_pwrite", vec![OPENED, 136, 1, 5000, OUT]),
                ("fd_pread", vec![OPENED, 136, 1, 5000, OUT]),
                ("fd_tell", vec![OPENED, OUT]),
                ("fd_filestat_set_size", vec![OPENED, 10]),
                ("fd_allocate", vec![OPENED, 0, 70_000]),
                ("fd_advise", vec![OPENED, 0, 9, 2]),
                ("fd_sync", vec![OPENED]),
                ("fd_datasync", vec![OPENED]),
                ("fd_filestat_get", vec![OPENED, OUT]),
                ("fd_filestat_set_times", vec![OPENED, 0, 0, 5]),
                ("fd_fdstat_set_flags", vec![OPENED, 1]),
                ("fd_fdstat_set_rights", vec![OPENED, 2, 2]),
                ("fd_fdstat_get", vec![OPENED, OUT]),
                ("fd_renumber", vec![OPENED, 1]),
                ("fd_close", vec![1]),
            ],
        ),
        (
            "directory",
            vec![
                ("fd_prestat_get", vec![RW, OUT]),
                ("fd_prestat_dir_name", vec![RW, 512, 3]),
                ("fd_readdir", vec![RW, 512, 200, 0, OUT]),
                ("fd_readdir", vec![RW, 512, 30, 2, OUT]),
                ("path_create_directory", vec![RW, 96, 3]),
                ("path_rename", vec![RW, 96, 3, RW, 66, 1]),
                ("path_link", vec![RW, 0, 64, 1, RW, 96, 3]),
                ("path_symlink", vec![86, 9, RW, 96, 3]),
                ("path_unlink_file", vec![RW, 64, 1]),
                ("path_remove_directory", vec![RW, 66, 1]),
            ],
        ),
        (
            "escapes",
            vec![
                open(RW, 86, 9, 0, 0),
                open(RW, 72, 3, 0, 0),
                open(RW, 76, 3, 0, 0),
                open(RW, 100, 7, 2, 0),
                open(RW, 108, 11, 0, 0),
                open(RW, 120, 14, 8, 0),
                open(RW, 80, 4, 0, 0),
                ("path_readlink", vec![RW, 72, 3, 512, 64, OUT]),
                ("path_filestat_get", vec![RW, 1, 72, 3, 512]),
                ("path_link", vec![RW, 1, 72, 3, RW, 96, 3]),
                ("path_rename", vec![RW, 64, 1, RW, 86, 9]),
                ("path_symlink", vec![86, 9, RW, 96, 3]),
                open(RW, 96, 3, 1, 0),
                ("fd_read", vec![OPENED, 136, 2, OUT]),
            ],
        ),
        (
            "read-only",
            vec![
                open(RO, 64, 1, 0, 0),
                ("fd_read", vec![OPENED, 136, 2, OUT]),
                ("fd_write", vec![OPENED, 136, 1, OUT]),
                open(RO, 64, 1, 8, 0),
                open(RO, 96, 3, 1, 0),
                ("path_unlink_file", vec![RO, 64, 1]),
                ("path_rename", vec![RW, 64, 1, RO, 64, 1]),
                ("path_link", vec![RO, 0, 64, 1, RW, 96, 3]),
                ("path_filestat_set_times", vec![RO, 1, 64, 1, 0, 0, 10]),
                ("path_create_directory", vec![RO, 96, 3]),
            ],
        ),
        (
            "socket",
            vec![
                ("sock_accept", vec![LISTENER, 4, OUT]),
                ("sock_recv", vec![OPENED, 136, 2, 1, OUT, 404]),
                ("sock_recv", vec![OPENED, 136, 2, 0, OUT, 404]),
                ("sock_send", vec![OPENED, 136, 2, 0, OUT]),
                ("poll_oneoff", vec![200, 512, 1, OUT]),
                ("fd_fdstat_get", vec![OPENED, OUT]),
                ("sock_shutdown", vec![OPENED, 3]),
                ("fd_close", vec![OPENED]),
                ("fd_close", vec![LISTENER]),
            ],
        ),
        (
            "poll",
            vec![
                ("poll_oneoff", vec![152, 512, 2, OUT]),
                ("poll_oneoff", vec![152, 512, 1, OUT]),
                ("poll_oneoff", vec![152, 512, 0, OUT]),
                ("fd_read", vec![0, 136, 2, OUT]),
                ("fd_write", vec![2, 136, 1, OUT]),
            ],
        ),
        ("exit", vec![("fd_write", vec![2, 136, 1, OUT]), ("proc_exit", vec![7])]),
        ("raise", vec![("proc_raise", vec![6])]),
        (
            "far-away",
            vec![
                ("fd_read", vec![0, u64::from(u32::MAX), 1, OUT]),
                ("fd_read", vec![0, 136, u64::from(u32::MAX), OUT]),
                ("fd_write", vec![1, 136, 1 << 29, OUT]),
                ("random_get", vec![65_535, 2]),
                ("poll_oneoff", vec![152, 512, 1 << 28, OUT]),
                ("fd_seek", vec![RW, u64::MAX, 2, OUT]),
            ],
        ),
    ];
    let encode = |(name, list): (&str, Calls)| {
        let list = list.iter().map(|(call, arguments)| (*call, &arguments[..])).collect::<Vec<_>>();
        (name.to_owned(), calls::input(&memory(), &list))
    };
    seeds.into_iter().map(encode).collect()
}

fn modules() -> Result<Seeds, Box<dyn Error>> {
    let mut seeds = Seeds::new();
    for (name, text) in [
        ("nothing", "(func (export \"_start\"))"),
        ("endless", "(func (export \"_start\") (loop (br 0)))"),
        ("deep", "(func $f (export \"_start\") (call $f))"),
        ("unreachable", "(func (export \"_start\") unreachable)"),
        (
            "grow",
            "(memory (export \"memory\") 1) (func (export \"_start\")
            (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)",
        ),
        (
            "bulk",
            "(memory (export \"memory\") 1 4) (data $d \"abc\") (func (export \"_start\")
            (memory.init $d (i32.const 8) (i32.const 0) (i32.const 3)) (data.drop $d)
            (memory.fill (i32.const 9) (i32.const 1) (i32.const 60000))
            (loop (memory.copy (i32.const 0) (i32.const 7) (i32.const 65000)) (br 0)))",
        ),
        (
            "table",
            "(type $t (func)) (table $t 4 10 funcref) (elem (i32.const 0) $g $g) (func $g) (func (export \"_start\")
            (call_indirect (type $t) (i32.const 1)) (drop (table.grow (ref.null func) (i32.const 3)))
            (table.set (i32.const 2) (ref.func $g)) (table.fill (i32.const 0) (ref.null func) (i32.const 2))
            (call_indirect (type $t) (i32.const 0)))",
        ),
        (
            "numbers",
            "(global $n (mut i64) (i64.const 7)) (func (export \"_start\") (local f64 i32)
            (local.set 0 (f64.div (f64.const 1) (f64.const 0)))
            (global.set $n (i64.trunc_sat_f64_s (local.get 0)))
            (local.set 1 (i32.wrap_i64 (i64.rotl (global.get $n) (i64.const 33))))
            (drop (i32.div_s (local.get 1) (i32.sub (local.get 1) (local.get 1)))))",
        ),
        (
            "branches",
            "(func $f (param i32) (result i32 i64) (block (block (block
            (br_table 0 1 2 (local.get 0))) (return (i32.const 1) (i64.const 2))) (return (i32.const 3) (i64.const 4)))
            (if (result i32 i64) (local.get 0) (then (i32.const 5) (i64.const 6)) (else unreachable)))
            (func (export \"_start\") (call $f (i32.const 2)) (drop) (drop) (call $f (i32.const 0)) (drop) (drop))",
        ),
        (
            "calls-out",
            "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $w (param i32 i32 i32 i32) (result i32)))
            (import \"wasi_snapshot_preview1\" \"sched_yield\" (func $y (result i32))) (memory (export \"memory\") 1)
            (data (i32.const 0) \"\\08\\00\\00\\00\\05\\00\\00\\00hello\") (func (export \"_start\") (loop
            (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))) (drop (call $y)) (br 0)))",
        ),
        ("much-memory", "(memory (export \"memory\") 65536) (func (export \"_start\"))"),
        ("start-section", "(func $s) (start $s) (func (export \"_start\"))"),
        ("tail-call", "(func $f (export \"_start\") (return_call $f))"),
        ("far-data", "(memory 1) (data (i32.const 65535) \"ab\") (func (export \"_start\"))"),
    ] {
        seeds.push((name.to_owned(), [&[0][..], &wat::parse_str(format!("(module {text})"))?].concat()));
    }
    seeds.push(("component".to_owned(), b"\0\0asm\x0d\0\x01\0".to_vec()));
    seeds.push(("no-magic".to_owned(), b"\0ELF".to_vec()));
    seeds.extend(guests(dunlin_guests::ALL));
    Ok(seeds)
}

/// Each guest as it is, and with one byte of its code changed, a third of the way in.
fn guests(all: &[Artifact]) -> Seeds {
    let mut seeds = Seeds::new();
    for (index, guest) in all.iter().enumerate() {
        let which = 128 + index as u8;
        seeds.push((format!("guest-{}", guest.name), vec![which]));
        let at = (guest.bytes.len() / 3) as u32;
        seeds.push((format!("guest-{}-edited", guest.name), [&[which][..], &at.to_le_bytes(), &[1, 0x41]].concat()));
    }
    seeds
}

fn components() -> Result<Seeds, Box<dyn Error>> {
    const RUN: &str =
        "(core instance $m (instantiate $m ARGS)) (func $run (result (result)) (canon lift (core func $m \"run\")))
        (instance $e (export \"run\" (func $run))) (export \"wasi:cli/run@0.2.0\" (instance $e))";
    let mut seeds = guests(dunlin_guests::component::ALL);
    for (name, text, args) in [
        ("nothing", "(core module $m (func (export \"run\") (result i32) (i32.const 0)))", ""),
        ("endless", "(core module $m (func (export \"run\") (result i32) (loop (br 0)) unreachable))", ""),
        (
            "start",
            "(core module $a (func (export \"f\"))) (core instance $a (instantiate $a))
            (core module $m (import \"a\" \"f\" (func)) (start 0) (func (export \"run\") (result i32) (i32.const 0)))",
            "(with \"a\" (instance $a))",
        ),
        (
            "resource",
            "(type $r (resource (rep i32))) (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
            (core module $m (import \"r\" \"new\" (func (param i32) (result i32))) (import \"r\" \"drop\" (func (param i32)))
            (func (export \"run\") (result i32) (call 1 (call 0 (i32.const 7))) (i32.const 0)))",
            "(with \"r\" (instance (export \"new\" (func $new)) (export \"drop\" (func $drop))))",
        ),
        (
            "arguments",
            "(import \"wasi:cli/environment@0.2.0\" (instance $env (export \"get-arguments\" (func (result (list string))))))
            (core module $l (memory (export \"memory\") 1) (func (export \"realloc\") (param i32 i32 i32 i32) (result i32)
            (i32.const 1024))) (core instance $l (instantiate $l))
            (core func $args (canon lower (func $env \"get-arguments\") (memory (core memory $l \"memory\")) (realloc (core func $l \"realloc\"))))
            (core module $m (import \"w\" \"args\" (func (param i32))) (func (export \"run\") (result i32)
            (call 0 (i32.const 16)) (i32.const 0)))",
            "(with \"w\" (instance (export \"args\" (func $args))))",
        ),
        (
            "poll",
            "(import \"wasi:io/poll@0.2.0\" (instance $poll (export \"pollable\" (type $p (sub resource)))
            (export \"[method]pollable.block\" (func (param \"self\" (borrow $p)))))) (alias export $poll \"pollable\" (type $p))
            (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance $clock (alias outer 1 $p (type $o))
            (export \"pollable\" (type $q (eq $o)))
            (export \"subscribe-duration\" (func (param \"when\" u64) (result (own $q))))))
            (core func $sub (canon lower (func $clock \"subscribe-duration\")))
            (core func $block (canon lower (func $poll \"[method]pollable.block\"))) (core func $drop (canon resource.drop $p))
            (core module $m (import \"w\" \"sub\" (func (param i64) (result i32))) (import \"w\" \"block\" (func (param i32)))
            (import \"w\" \"drop\" (func (param i32))) (func (export \"run\") (result i32) (local i32)
            (local.set 0 (call 0 (i64.const 1000000))) (call 1 (local.get 0)) (call 2 (local.get 0)) (i32.const 0)))",
            "(with \"w\" (instance (export \"sub\" (func $sub)) (export \"block\" (func $block)) (export \"drop\" (func $drop))))",
        ),
    ] {
        let text = format!("(component {text} {})", RUN.replace("ARGS", args));
        seeds.push((name.to_owned(), [&[0][..], &wat::parse_str(text)?].concat()));
    }
    Ok(seeds)
}
