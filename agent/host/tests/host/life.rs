//! A guest's life: it serves, ends, faults or is killed, and harms nobody.

use std::sync::Arc;

use crate::common::{HELLO, compile, compile_wat, directory, get, guest, listen, run, soon};
use dunlin_host::{Directory, Ended, Fault, FaultKind, Guest, Limits, Listener, Program};

fn fault(ended: Ended) -> Fault {
    match ended {
        Ended::Fault(fault) => fault,
        Ended::Exited(_) | Ended::NotStarted(_) => panic!("no fault: {ended:?}"),
    }
}

#[track_caller]
fn exited(ended: &Ended, code: u32) {
    assert!(matches!(ended, Ended::Exited(got) if *got == code), "{ended:?}");
}

#[tokio::test]
async fn hello_answers_over_tcp() {
    let program = compile(dunlin_guests::HELLO.bytes);
    let (listener, address) = listen().await;
    let (guest, mut record) = guest(&["hello"]);
    let usage = Arc::clone(&guest.usage);
    let task =
        tokio::spawn(async move { dunlin_host::run(&program, Guest { listeners: vec![listener], ..guest }).await });
    record.accepting().await;
    for _ in 0..3 {
        assert_eq!(get(address).await, HELLO);
    }
    assert_eq!(record.now().stdout, "hello: listening\n");
    assert_eq!(usage.connections_accepted(), 3);
    assert!(usage.fuel() > 0);
    assert_eq!(usage.memory_bytes(), 128 * 1024);
    assert!(!task.is_finished());
    task.abort();
}

#[tokio::test]
async fn arguments_and_environment_arrive() {
    let program = compile(dunlin_guests::ENV.bytes);
    let (guest, record) = guest(&["env", "", "two words", "ünïcödé"]);
    let env = vec![("KEY".to_owned(), "a=b".to_owned()), ("LISTEN_FDS".to_owned(), "9".to_owned())];
    let (listener, _) = listen().await;
    let ended = soon(dunlin_host::run(&program, Guest { env, listeners: vec![listener], ..guest })).await;
    exited(&ended, 0);
    assert_eq!(record.now().stdout, "env\n\ntwo words\nünïcödé\nKEY=a=b\nLISTEN_FDS=1\n");
}

/// Two socket libraries in one program, and one import that stands there twice.
#[tokio::test]
async fn one_name_may_be_imported_with_several_types() {
    let program = compile_wat(
        r#"(module
             (import "wasi_snapshot_preview1" "sock_accept" (func $wasmedge (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "sock_accept" (func $standard (param i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "sock_accept" (func $again (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start")
               (if (call $wasmedge (i32.const 3) (i32.const 0)) (then unreachable))
               (if (call $standard (i32.const 3) (i32.const 0) (i32.const 4)) (then unreachable))
               (if (call $again (i32.const 3) (i32.const 8)) (then unreachable))
               (call $exit (i32.add
                 (i32.mul (i32.const 100) (i32.load (i32.const 0)))
                 (i32.add (i32.mul (i32.const 10) (i32.load (i32.const 4))) (i32.load (i32.const 8)))))))"#,
    );
    let (listener, address) = listen().await;
    let connections = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
    let (guest, _) = guest(&["two"]);
    let ended = soon(dunlin_host::run(&program, Guest { listeners: vec![listener], ..guest })).await;
    exited(&ended, 456);
    drop(connections);
}

#[tokio::test]
async fn an_exit_code_is_the_guests_own() {
    let program = compile(dunlin_guests::EXIT.bytes);
    exited(&run(&program, &["exit"]).await.0, 0);
    exited(&run(&program, &["exit", "7"]).await.0, 7);
    exited(&run(&program, &["exit", "-1"]).await.0, u32::MAX);
}

#[tokio::test]
async fn files_are_used_through_the_standard_library() {
    let program = compile(dunlin_guests::FILES.bytes);
    let data = tempfile::tempdir().unwrap();
    let directories = vec![directory(data.path(), "/somewhere/data")];
    let (guest, record) = guest(&["files", "/somewhere/data"]);
    let ended = soon(dunlin_host::run(&program, Guest { directories, ..guest })).await;
    assert_eq!(record.now().stdout, "files: ok\n", "{ended:?}");
    exited(&ended, 0);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

/// Writes blocks to a new file in its directory until it may not.
#[tokio::test]
async fn a_directory_with_a_limit_is_never_fuller() {
    const LIMIT: u64 = 100_000;

    let program = compile_wat(
        r#"(module
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (data (i32.const 0) "new")
             (func (export "_start") (local $errno i32)
               (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3)
                     (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8))
                 (then unreachable))
               (i32.store (i32.const 16) (i32.const 1024))
               (i32.store (i32.const 20) (i32.const 4096))
               (loop $more
                 ;; Twice: whoever polls several futures need not begin with the same one each time.
                 (drop (call $yield))
                 (drop (call $yield))
                 (local.set $errno (call $write (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 12)))
                 (br_if $more (i32.eqz (local.get $errno))))
               (call $exit (local.get $errno))))"#,
    );
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("old"), [0; 20_000]).unwrap();
    let directories = vec![Directory { bytes_max: Some(LIMIT), ..directory(data.path(), "/data") }];
    let (guest, _) = guest(&["fill"]);
    let usage = Arc::clone(&guest.usage);
    let run = dunlin_host::run(&program, Guest { directories, ..guest });
    let watched = async {
        let mut most = 0;
        while usage.disk_bytes() < LIMIT / 4096 * 4096 {
            most = usage.disk_bytes().max(most);
            tokio::task::yield_now().await;
        }
        most
    };
    let (ended, most) = soon(async { tokio::join!(run, watched) }).await;
    const DQUOT: u32 = 19;
    exited(&ended, DQUOT);
    assert!(most >= 20_000, "what was there is counted");
    // Two names, and the blocks of the old file: the rest is the new one's.
    assert_eq!(std::fs::metadata(data.path().join("new")).unwrap().len(), (24 - 2 - 5) * 4096);
}

#[tokio::test]
async fn clocks_are_used_through_the_standard_library() {
    let (ended, said) = run(&compile(dunlin_guests::CLOCK.bytes), &["clock"]).await;
    assert_eq!(said.stdout, "clock: ok\n", "{ended:?}");
    exited(&ended, 0);
}

#[tokio::test]
async fn a_trap_is_named() {
    let program = compile(dunlin_guests::TRAP.bytes);
    let (ended, said) = run(&program, &["trap"]).await;
    let fault = fault(ended);
    assert_eq!(said.stdout, "trap: about to abort\n");
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert_eq!(fault.last_call, Some("fd_write"));
    assert_eq!(fault.to_string(), "aborted (it ran into `unreachable`), after its last host call, fd_write");
}

#[tokio::test]
async fn a_panic_says_where() {
    let program = compile(dunlin_guests::PANIC.bytes);
    let fault = fault(run(&program, &["panic"]).await.0);
    assert_eq!(fault.kind, FaultKind::Unreachable);
    let first = "thread 'main' (1) panicked at guests/panic/src/main.rs:6:5:\na guest's last words\n";
    assert!(fault.last_words.starts_with(first), "{fault}");
    let sentence = "after its last host call, fd_write; its last words: thread 'main' (1) panicked at \
                    guests/panic/src/main.rs:6:5: / a guest's last words / note: ";
    assert!(fault.to_string().contains(sentence), "{fault}");
}

#[tokio::test]
async fn only_the_end_of_long_last_words_is_kept() {
    let lines = (0..100).map(|n| format!("line {n}\n")).collect::<String>();
    let program = compile_wat(&format!(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (data (i32.const 0) "\10\00\00\00\{:02x}\{:02x}\00\00")
             (data (i32.const 16) "{}")
             (func (export "_start")
               (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
               unreachable))"#,
        lines.len() & 0xff,
        lines.len() >> 8,
        lines.replace('\n', "\\n")
    ));
    let words = fault(run(&program, &[]).await.0).last_words;
    assert!(words.starts_with("line ") && words.ends_with("\nline 99"), "{words}");
    assert!((400..=512).contains(&words.len()), "{}", words.len());
}

#[tokio::test]
async fn endless_recursion_is_named() {
    let program = compile(dunlin_guests::OVERFLOW.bytes);
    let fault = fault(run(&program, &["overflow"]).await.0);
    let Limits { call_depth, stack_bytes, .. } = Limits::default();
    assert_eq!(fault.kind, FaultKind::StackOverflow { depth_limit: call_depth, bytes_limit: stack_bytes });
}

/// What a call does after it has waited, and beyond the slice, is not for nothing.
#[tokio::test]
async fn the_work_of_calls_is_counted() {
    const BYTES: u64 = 500_000;

    let program = compile_wat(&format!(
        r#"(module
             (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
             (memory (export "memory") 8)
             (func (export "_start") (if (call $random (i32.const 0) (i32.const {BYTES})) (then unreachable))))"#
    ));
    let limits = Limits { fuel_slice: 10_000, ..Limits::default() };
    let (guest, _) = guest(&["random"]);
    let usage = Arc::clone(&guest.usage);
    exited(&soon(dunlin_host::run(&program, Guest { limits, ..guest })).await, 0);
    assert!((BYTES..BYTES + 10_000).contains(&usage.fuel()), "{}", usage.fuel());
}

#[tokio::test]
async fn a_memory_eater_is_refused_at_its_limit() {
    let program = compile(dunlin_guests::EAT_MEMORY.bytes);
    let (ended, said) = run(&program, &["eat-memory"]).await;
    exited(&ended, 0);
    // Of 16 MiB, one is for what the guest is besides.
    assert_eq!(said.stdout, "eat-memory: had 15 MiB\n");
}

#[tokio::test]
async fn a_memory_eater_that_does_not_look_is_named() {
    let program = compile(dunlin_guests::EAT_MEMORY.bytes);
    let fault = fault(run(&program, &["eat-memory", "abort"]).await.0);
    let limit = Limits::default().memory_bytes;
    assert!(
        matches!(fault.kind, FaultKind::MemoryLimit { wanted_bytes, limit_bytes }
            if wanted_bytes > limit && limit_bytes == limit),
        "{fault}"
    );
}

#[tokio::test]
async fn memory_is_counted_and_given_back() {
    let program = compile(dunlin_guests::EAT_MEMORY.bytes);
    let (guest, _) = guest(&["eat-memory"]);
    let usage = Arc::clone(&guest.usage);
    let limits = Limits { memory_bytes: 2 * 1024 * 1024, ..Limits::default() };
    exited(&soon(dunlin_host::run(&program, Guest { limits, ..guest })).await, 0);
    assert_eq!(usage.memory_bytes(), 0);
}

#[tokio::test]
async fn a_spinning_guest_stops_nobody() {
    // A current-thread runtime: they share the one thread there is.
    let spin = compile(dunlin_guests::SPIN.bytes);
    let hello = compile(dunlin_guests::HELLO.bytes);
    let (spinning, mut spinning_record) = guest(&["spin"]);
    let spun = Arc::clone(&spinning.usage);
    let spinner = tokio::spawn(async move { dunlin_host::run(&spin, spinning).await });
    spinning_record.until(|said| said.stdout == "spin: spinning\n").await;

    let (listener, address) = listen().await;
    let (serving, mut serving_record) = guest(&["hello"]);
    let server =
        tokio::spawn(async move { dunlin_host::run(&hello, Guest { listeners: vec![listener], ..serving }).await });
    serving_record.accepting().await;
    let before = spun.fuel();
    for _ in 0..20 {
        assert_eq!(get(address).await, HELLO);
    }
    assert!(spun.fuel() > before, "the other guest did not run beside it");
    assert!(!spinner.is_finished());
    spinner.abort();
    server.abort();
}

#[tokio::test]
async fn a_share_of_fuel_holds() {
    let program = compile(dunlin_guests::SPIN.bytes);
    let (guest, _) = guest(&["spin"]);
    let usage = Arc::clone(&guest.usage);
    let second = std::time::Duration::from_secs(1);
    let limits = Limits { fuel_per_second: Some(5_000_000), wall_clock: Some(second), ..Limits::default() };
    let fault = fault(soon(dunlin_host::run(&program, Guest { limits, ..guest })).await);
    assert_eq!(fault.kind, FaultKind::WallClock { limit: second });
    // One second's share, the burst before it, and the slice that ran over.
    let most = 5_000_000 + 500_000 + 200_000;
    assert!((500_000..most).contains(&usage.fuel()), "{} of {most}", usage.fuel());
}

#[tokio::test]
async fn dropping_the_future_kills_the_guest() {
    let program = compile(dunlin_guests::HELLO.bytes);
    let socket = Arc::new(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let listener = Listener { socket: Arc::clone(&socket).into(), port: 7878, nonblocking: false };
    let (guest, mut record) = guest(&["hello"]);
    let usage = Arc::clone(&guest.usage);
    let task =
        tokio::spawn(async move { dunlin_host::run(&program, Guest { listeners: vec![listener], ..guest }).await });
    record.accepting().await;
    // A client that says nothing keeps the guest in a read.
    let mut idle = soon(tokio::net::TcpStream::connect(address)).await.unwrap();
    while usage.connections_open() == 0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(soon(task).await.unwrap_err().is_cancelled());

    assert_eq!(usage.connections_open(), 0);
    assert_eq!(usage.memory_bytes(), 0);
    let mut rest = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut rest);
    assert_eq!(soon(read).await.unwrap(), 0, "the guest's end of the connection is still open");
    assert_eq!(Arc::strong_count(&socket), 1, "the guest still holds the listener");
    // And the owner's socket is as it was: the next guest takes over.
    let connect = tokio::net::TcpStream::connect(address);
    let (accepted, connected) = soon(async { tokio::join!(socket.accept(), connect) }).await;
    assert!(accepted.is_ok() && connected.is_ok());
}

#[tokio::test]
async fn a_connection_that_was_not_accepted_waits_for_the_next_guest() {
    let program = compile(dunlin_guests::HELLO.bytes);
    let (listener, address) = listen().await;
    let (first, mut record) = guest(&["hello"]);
    let (running, listeners) = (program.clone(), vec![listener.clone()]);
    let task = tokio::spawn(async move { dunlin_host::run(&running, Guest { listeners, ..first }).await });
    record.accepting().await;
    task.abort();
    assert!(soon(task).await.unwrap_err().is_cancelled());

    let answer = tokio::spawn(get(address));
    let (second, _) = guest(&["hello"]);
    let listeners = vec![listener];
    let task = tokio::spawn(async move { dunlin_host::run(&program, Guest { listeners, ..second }).await });
    assert_eq!(soon(answer).await.unwrap(), HELLO);
    task.abort();
}

#[tokio::test]
async fn what_cannot_be_given_is_said_before_the_start() {
    let program = compile(dunlin_guests::EXIT.bytes);
    let missing = directory("/nonexistent/dunlin".as_ref(), "/data");
    let ended = dunlin_host::run(&program, Guest { directories: vec![missing], ..Guest::default() }).await;
    let Ended::NotStarted(error) = ended else { panic!("{ended:?}") };
    assert_eq!(error.to_string(), "cannot open the directory /nonexistent/dunlin");

    let guest = Guest { args: vec!["a\0b".into()], ..Guest::default() };
    let ended = dunlin_host::run(&program, guest).await;
    let Ended::NotStarted(error) = ended else { panic!("{ended:?}") };
    assert_eq!(error.to_string(), "\"a\\0b\" contains a NUL byte");
}

#[test]
fn a_run_can_be_moved_between_threads() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let program = Program::compile(dunlin_guests::EXIT.bytes, &Limits::default()).unwrap();
    drop(send(dunlin_host::run(&program, Guest::default())));
}
