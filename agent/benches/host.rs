//! What the interpreter and its host calls cost: `cargo bench -p dunlin-host --bench host`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::convert::Infallible;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dunlin_guests::component::{HTTP_HELLO, PLAIN_SERVER};
use dunlin_guests::{HELLO, KERNELS};
use dunlin_host::http::{Body, ErrorCode, Handler};
use dunlin_host::{Directory, Ended, Guest, Limits, Listener, Observer, Program, run};
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};

const CALLS: u64 = 10_000;

criterion_group!(benches, host_call, write, start, answer, compile, fuel);
criterion_main!(benches);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn program(wat: &str) -> Program {
    Program::compile(&wat::parse_str(wat).unwrap(), &Limits::default()).unwrap()
}

fn run_to_end(runtime: &Runtime, program: &Program) {
    run_guest(runtime, program, Guest::default());
}

fn run_guest(runtime: &Runtime, program: &Program, guest: Guest) {
    let ended = runtime.block_on(run(program, guest));
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?}");
}

/// The same without the runtime's scheduler: its future is polled until it is done.
fn poll_to_end(runtime: &Runtime, program: &Program) {
    let _inside = runtime.enter();
    let mut run = pin!(run(program, Guest::default()));
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(ended) = run.as_mut().poll(&mut cx) {
            assert!(matches!(ended, Ended::Exited(0)), "{ended:?}");
            return;
        }
    }
}

/// A guest that makes this call over and over.
fn calling(import: &str, call: &str) -> Program {
    program(&format!(
        r#"(module
             (import "wasi_snapshot_preview1" {import}) (memory (export "memory") 1)
             (func (export "_start") (local $left i32)
               (local.set $left (i32.const {CALLS}))
               (loop
                 (drop (call {call}))
                 (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    ))
}

/// One host call: answered at once; suspending the guest, which is resumed at the next poll of its future; and
/// the same on a runtime, which gives the other tasks and the sockets their turn in between.
fn host_call(c: &mut Criterion) {
    let runtime = runtime();
    let direct =
        calling(r#""args_sizes_get" (func $f (param i32 i32) (result i32))"#, "$f (i32.const 0) (i32.const 4)");
    let suspending = calling(r#""sched_yield" (func $f (result i32))"#, "$f");
    let mut group = c.benchmark_group("host_call");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function("direct", |b| b.iter(|| poll_to_end(&runtime, &direct)));
    group.bench_function("suspend_and_resume", |b| b.iter(|| poll_to_end(&runtime, &suspending)));
    group.bench_function("suspend_turn_and_resume", |b| b.iter(|| run_to_end(&runtime, &suspending)));
    group.finish();
}

/// Four KiB to the end of a file, where the directory has a limit and where it has none.
fn write(c: &mut Criterion) {
    const WRITES: u64 = 1_000;

    let runtime = runtime();
    let data = tempfile::tempdir().unwrap();
    let program = program(&format!(
        r#"(module
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (data (i32.const 0) "file")
             (func (export "_start") (local $left i32)
               (local.set $left (i32.const {WRITES}))
               (i32.store (i32.const 16) (i32.const 1024))
               (i32.store (i32.const 20) (i32.const 4096))
               (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4)
                     (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8))
                 (then unreachable))
               (loop
                 (if (call $write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 12))
                   (then unreachable))
                 (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    ));
    let mut group = c.benchmark_group("write");
    group.throughput(Throughput::Elements(WRITES));
    for (name, bytes_max) in [("unlimited", None), ("limited", Some(64 << 20))] {
        let directory =
            Directory { host: data.path().to_owned(), guest: "/data".to_owned(), read_only: false, bytes_max };
        group.bench_function(name, |b| {
            b.iter(|| {
                let directories = vec![directory.clone()];
                run_guest(&runtime, &program, Guest { directories, ..Guest::default() });
            });
        });
    }
    group.finish();
}

/// From a compiled module to the end of an empty `_start`, and to a Rust server's first `accept`.
fn start(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("start");
    let empty = program(r#"(module (func (export "_start")))"#);
    group.bench_function("empty", |b| b.iter(|| run_to_end(&runtime, &empty)));

    let socket = Arc::new(runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap());
    for (name, server) in [("hello", HELLO), ("plain_server", PLAIN_SERVER)] {
        let hello = Program::compile(server.bytes, &Limits::default()).unwrap();
        let until_it_accepts = format!("{name}_until_it_accepts");
        group.bench_function(until_it_accepts, |b| {
            b.iter(|| {
                let ready = Arc::new(Notify::new());
                let listener = Listener { socket: socket.clone().into(), port: 7878, nonblocking: false };
                let observer = Box::new(Ready(ready.clone()));
                let guest = Guest { listeners: vec![listener], observer, ..Guest::default() };
                runtime.block_on(async {
                    tokio::select! {
                        ended = run(&hello, guest) => unreachable!("{ended:?}"),
                        () = ready.notified() => {}
                    }
                });
            })
        });
    }
    group.finish();
}

/// A request and its answer, without a connection: by a fresh instance, and by one that is kept.
fn answer(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("answer");
    let program = Program::compile(HTTP_HELLO.bytes, &Limits::default()).unwrap();
    let fresh = || runtime.block_on(Handler::start(&program, Guest::default())).unwrap();
    group.bench_function("by_a_fresh_instance", |b| b.iter(|| runtime.block_on(asked(&mut fresh()))));
    let mut kept = fresh();
    group.bench_function("by_a_kept_instance", |b| b.iter(|| runtime.block_on(asked(&mut kept))));
    group.finish();
}

async fn asked(handler: &mut Handler) {
    let body = Empty::new().map_err(|never: Infallible| -> ErrorCode { match never {} });
    let request = Request::get("/").header("host", "bench").body(Box::pin(body) as Body).unwrap();
    let (sender, receiver) = oneshot::channel();
    handler.handle(request, sender).await.unwrap();
    let body = receiver.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "Hello, WASM!");
}

struct Ready(Arc<Notify>);

impl Observer for Ready {
    fn accepting(&mut self) {
        self.0.notify_one();
    }
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    for (name, guest) in [("hello", HELLO), ("plain_server", PLAIN_SERVER)] {
        group.throughput(Throughput::Bytes(guest.bytes.len() as u64));
        group
            .bench_function(name, |b| b.iter(|| Program::compile(black_box(guest.bytes), &Limits::default()).unwrap()));
    }
    group.finish();
}

/// The interpreter by itself, with and without fuel: what the only way to interrupt a guest costs.
///
/// dunlin-host always has it on, so this asks wasmi.
fn fuel(c: &mut Criterion) {
    let mut group = c.benchmark_group("fuel");
    for (number, name) in (0..).zip(["calls", "memory", "floats", "bits", "branches"]) {
        for (mode, on) in [("off", false), ("on", true)] {
            let mut config = wasmi::Config::default();
            config.consume_fuel(on);
            let engine = wasmi::Engine::new(&config);
            let module = wasmi::Module::new(&engine, KERNELS.bytes).unwrap();
            let mut store = wasmi::Store::new(&engine, ());
            let instance = without_wasi(&mut store, &module);
            let kernel = instance.get_typed_func::<u32, u64>(&store, "kernel").unwrap();
            group.bench_function(format!("{name}_{mode}"), |b| {
                b.iter(|| {
                    if on {
                        store.set_fuel(u64::MAX).unwrap();
                    }
                    kernel.call(&mut store, black_box(number)).unwrap()
                });
            });
        }
    }
    group.finish();
}

/// An instance of which every import traps: its kernels call none.
fn without_wasi(store: &mut wasmi::Store<()>, module: &wasmi::Module) -> wasmi::Instance {
    let mut linker = wasmi::Linker::<()>::new(store.engine());
    for import in module.imports() {
        let function = import.ty().func().unwrap().clone();
        let trap = |_: wasmi::Caller<'_, ()>, _: &[wasmi::Val], _: &mut [wasmi::Val]| {
            Err(wasmi::Error::new("a kernel calls nothing"))
        };
        linker.func_new(import.module(), import.name(), function, trap).unwrap();
    }
    linker.instantiate_and_start(store, module).unwrap()
}
