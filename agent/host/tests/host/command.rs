//! The world `wasi:cli/command`, as a guest that knows its documents finds it: see `guests/command`.

use std::net::{TcpListener as StdListener, UdpSocket as StdUdp};
use std::sync::Arc;

use dunlin_guests::component::COMMAND;
use dunlin_host::{Directory, Ended, FaultKind, Grants, Guest, Port, PortSocket, Stdin};
use tokio::net::UdpSocket;

use crate::common::{Said, compile, guest, listen, soon};

/// Runs one of the guest's parts to its end.
async fn end_of(args: &[&str], change: impl FnOnce(Guest) -> Guest) -> (Ended, Said) {
    let args = [&["command"], args].concat();
    let (guest, record) = guest(&args);
    let ended = soon(dunlin_host::run(&compile(COMMAND.bytes), change(guest))).await;
    (ended, record.now())
}

/// A part that finds all as documented.
#[track_caller]
fn passes(args: &[&str], change: impl FnOnce(Guest) -> Guest) -> Said {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ended, said) = runtime.block_on(end_of(args, change));
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?}\n{}", said.stderr);
    said
}

fn reach(port: u16) -> Grants {
    Grants { connect: vec![format!("127.0.0.1:{port}").parse().unwrap()], ..Grants::default() }
}

#[test]
fn arguments_environment_stdio_and_random() {
    let said = passes(&["cli", "ünï"], |guest| {
        let env = [("A", "b=c"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Guest { env: env.into(), stdin: Stdin::Reader(Box::new(&b"hello"[..])), ..guest }
    });
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("out", "err"));
}

#[tokio::test]
async fn a_code_to_exit_with() {
    for code in [0, 7, 255] {
        let (ended, _) = end_of(&["exit", &code.to_string()], |guest| guest).await;
        assert!(matches!(ended, Ended::Exited(got) if got == code), "{ended:?}");
    }
}

#[test]
fn clocks_and_polling() {
    passes(&["clocks"], |guest| guest);
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let directory =
        |read_only| Directory { host: dir.path().to_owned(), guest: "/data".to_owned(), read_only, bytes_max: None };
    for part in ["files", "paths"] {
        passes(&[part], |guest| Guest { directories: vec![directory(false)], ..guest });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{part} leaves nothing");
    }
    let directories = vec![Directory { bytes_max: Some(16 << 10), ..directory(false) }];
    passes(&["quota"], |guest| Guest { directories, ..guest });
    std::fs::write(dir.path().join("file"), "contents").unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    passes(&["read-only"], |guest| Guest { directories: vec![directory(true)], ..guest });
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"contents");
}

#[test]
fn streams() {
    let said = passes(&["streams"], |guest| guest);
    assert_eq!(said.stdout, format!("ab\0\0\0{}", "c".repeat(4096)));
}

#[tokio::test]
async fn tcp() {
    for part in ["tcp-states", "tcp"] {
        let (listener, address) = listen().await;
        let (ended, said) = end_of(&[part, &address.port().to_string()], |guest| Guest {
            listeners: vec![listener],
            grants: if part == "tcp" { reach(address.port()) } else { Grants::default() },
            ..guest
        })
        .await;
        assert!(matches!(ended, Ended::Exited(0)), "{part}: {ended:?}\n{}", said.stderr);
    }
}

#[test]
fn a_connection_that_is_refused() {
    // Bound and not listening: nobody else gets the port meanwhile.
    let socket = StdListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    passes(&["tcp-refused", &port.to_string()], |guest| Guest { grants: reach(port), ..guest });
}

#[tokio::test]
async fn udp() {
    let socket = StdUdp::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    let socket = PortSocket::Udp(Arc::new(UdpSocket::from_std(socket).unwrap()));
    let (ended, said) = end_of(&["udp", &port.to_string()], |guest| Guest {
        grants: Grants { listen: vec![Port { guest: 7878, socket }], ..reach(port) },
        ..guest
    })
    .await;
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?}\n{}", said.stderr);
}

#[test]
fn names() {
    passes(&["lookup"], |guest| Guest { grants: Grants { resolve: true, ..Grants::default() }, ..guest });
    passes(&["lookup-denied"], |guest| guest);
}

#[tokio::test]
async fn who_breaks_a_rule_ends() {
    for (which, why) in [
        ("poll-nothing", "polled an empty list"),
        ("write-unasked", "wrote more to a stream than check-write permitted"),
        ("write-too-much", "wrote more to a stream than check-write permitted"),
        ("write-more-than-left", "wrote more to a stream than check-write permitted"),
        ("blocking-write-too-much", "wrote more than 4096 bytes in one blocking call"),
        ("blocking-zeroes-too-much", "wrote more than 4096 zeroes in one blocking call"),
        ("drop-parent", "dropped a resource before what was made from it"),
        ("drop-socket-with-pollable", "dropped a resource before what was made from it"),
        ("drop-twice", "used a handle that is not open, or of another type"),
        ("use-after-drop", "used a handle that is not open, or of another type"),
        ("random-without-end", "asked for more random bytes than its memory holds"),
        ("too-many-handles", "has too many handles open"),
        ("send-unasked", "sent more datagrams than check-send permitted"),
    ] {
        let (ended, _) = end_of(&[which], |guest| guest).await;
        let Ended::Fault(fault) = ended else { panic!("{which}: {ended:?}") };
        assert_eq!(fault.kind, FaultKind::BrokenRule { what: why }, "{which}");
    }
}
