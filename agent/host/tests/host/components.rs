//! Components that toolchains build: the plain server, and what std does with files, arguments and time.

use dunlin_guests::component;
use dunlin_host::{Directory, Ended, Guest};

use crate::common::{compile, get, guest, listen, run, soon};

#[tokio::test]
async fn the_plain_server_serves_on_a_published_port() {
    let program = compile(component::PLAIN_SERVER.bytes);
    let (listener, address) = listen().await;
    let (guest, mut record) = guest(&["plain-server"]);
    let running =
        tokio::spawn(async move { dunlin_host::run(&program, Guest { listeners: vec![listener], ..guest }).await });
    record.accepting().await;
    assert_eq!(record.now().stdout, "listening on http://127.0.0.1:7878\n");
    for _ in 0..3 {
        assert!(get(address).await.ends_with("\r\n\r\nHello, world!\n"));
    }
    running.abort();
}

#[tokio::test]
async fn without_a_published_port_it_is_refused_one() {
    let (ended, said) = run(&compile(component::PLAIN_SERVER.bytes), &["plain-server"]).await;
    assert!(matches!(ended, Ended::Exited(1)), "{ended:?}");
    assert!(said.stderr.contains("PermissionDenied"), "{}", said.stderr);
}

/// The world has only two ways to end, and std takes those: with a code or without makes no difference to it.
#[tokio::test]
async fn ends_well_or_not() {
    for (argument, code) in [("0", 0), ("1", 1), ("7", 1)] {
        let (ended, _) = run(&compile(component::EXIT.bytes), &["exit", argument]).await;
        assert!(matches!(ended, Ended::Exited(found) if found == code), "{argument}: {ended:?}");
    }
}

#[tokio::test]
async fn a_panic_is_a_fault_with_its_message() {
    let (ended, _) = run(&compile(component::PANIC.bytes), &["panic"]).await;
    let Ended::Fault(fault) = ended else { panic!("{ended:?}") };
    assert!(fault.to_string().starts_with("aborted"), "{fault}");
    assert!(fault.last_words.contains("panicked"), "{fault}");
}

#[tokio::test]
async fn files_are_files() {
    let dir = tempfile::tempdir().unwrap();
    let directory =
        Directory { host: dir.path().to_owned(), guest: "/data".to_owned(), read_only: false, bytes_max: None };
    let (guest, record) = guest(&["files", "/data"]);
    let program = compile(component::FILES.bytes);
    let ended = soon(dunlin_host::run(&program, Guest { directories: vec![directory], ..guest })).await;
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?} {:?}", record.now());
}

/// As `wasm-tools component new --adapt` makes them: four core modules, of which one is the adapter.
#[tokio::test]
async fn modules_for_preview_1_run_wrapped_as_components() {
    use wasi_preview1_component_adapter_provider as adapter;

    let wrapped = |module: &[u8]| {
        let (name, bytes) =
            (adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER);
        let mut encoder = wit_component::ComponentEncoder::default();
        compile(&encoder.module(module).unwrap().adapter(name, bytes).unwrap().encode().unwrap())
    };
    let dir = tempfile::tempdir().unwrap();
    let data =
        || Directory { host: dir.path().to_owned(), guest: "/data".to_owned(), read_only: false, bytes_max: None };
    for (guest_program, says) in [
        (dunlin_guests::ENV, "/data\nNAME=value\n"),
        (dunlin_guests::FILES, "files: ok\n"),
        (dunlin_guests::CLOCK, "clock: ok\n"),
    ] {
        let (guest, record) = guest(&[guest_program.name, "/data"]);
        let env = vec![("NAME".to_owned(), "value".to_owned())];
        let guest = Guest { env, directories: vec![data()], ..guest };
        let ended = soon(dunlin_host::run(&wrapped(guest_program.bytes), guest)).await;
        let said = record.now();
        assert!(matches!(ended, Ended::Exited(0)), "{}: {ended:?} {said:?}", guest_program.name);
        assert!(said.stdout.ends_with(says), "{}: {said:?}", guest_program.name);
    }
}

#[tokio::test]
async fn the_environment_and_the_clock_are_there() {
    let (mut guest, record) = guest(&["env", "one", "two"]);
    guest.env = vec![("NAME".to_owned(), "va=lue".to_owned())];
    let ended = soon(dunlin_host::run(&compile(component::ENV.bytes), guest)).await;
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?}");
    let said = record.now().stdout;
    assert!(said.contains("NAME=va=lue") && said.contains("two"), "{said}");

    let (ended, said) = run(&compile(component::CLOCK.bytes), &["clock"]).await;
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?} {said:?}");
}
