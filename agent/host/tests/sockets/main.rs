//! Whole programs with the socket extensions: WasmEdge's by the crate that its users use, WAMR's as
//! its header declares it. Both are built here, by one command each, in their own folders.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dunlin_host::{Ended, Grants, Guest, Limits, Listener, Observer, Port, PortSocket, Program, Stream, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

/// No guest here takes as long, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(60);

const GUEST: &str = "0.0.0.0:7878";
const GUEST_V6: &str = "[::]:7878";

static WASMEDGE: LazyLock<Program> = LazyLock::new(|| build("wasmedge-echo"));
static WAMR: LazyLock<Program> = LazyLock::new(|| build("wamr-echo"));

fn build(name: &str) -> Program {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests").join(name);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sockets");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&folder).args(["build", "--release", "--target", "wasm32-wasip1", "--target-dir"]).arg(&target);
    // What whoever runs the tests wants of their own build, and not of a guest's.
    for name in ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    let wasm = std::fs::read(target.join("wasm32-wasip1/release").join(name).with_extension("wasm")).unwrap();
    Program::compile(&wasm, &Limits::default()).unwrap()
}

/// Keeps what a guest prints.
struct Said(watch::Sender<String>);

impl Observer for Said {
    fn output(&mut self, _: Stream, bytes: &[u8]) {
        self.0.send_modify(|said| said.push_str(&String::from_utf8_lossy(bytes)));
    }
}

fn guest(args: [&str; 2], grants: Grants) -> (Guest, watch::Receiver<String>) {
    let (sender, said) = watch::channel(String::new());
    let args = ["echo"].into_iter().chain(args).map(str::to_owned).collect();
    (Guest { args, grants, observer: Box::new(Said(sender)), ..Guest::default() }, said)
}

fn reach(text: &str) -> Grants {
    Grants { connect: vec![text.parse().unwrap()], ..Grants::default() }
}

/// What a guest says that runs to its end.
async fn says(program: &Program, args: [&str; 2], grants: Grants) -> String {
    let (guest, said) = guest(args, grants);
    let ended = tokio::time::timeout(LIMIT, run(program, guest)).await.expect("the guest took too long");
    let said = said.borrow().clone();
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?}, and said {said}");
    said
}

/// Has a guest serve while a client asks it.
async fn serves(program: &Program, guest: Guest, mut said: watch::Receiver<String>, client: impl Future<Output = ()>) {
    let client = async {
        said.wait_for(|said| said.contains('\n')).await.expect("it ended before it listened");
        assert_eq!(*said.borrow(), "listening\n");
        client.await;
    };
    let both = async { tokio::join!(run(program, guest), client).0 };
    let ended = tokio::time::timeout(LIMIT, both).await.expect("the guest took too long");
    assert!(matches!(ended, Ended::Exited(0)), "{ended:?}");
}

async fn tcp_server(program: &Program, bound: &str) {
    let socket = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let (mut guest, said) = guest(["tcp-serve", bound], Grants::default());
    guest.listeners.push(Listener { socket: Arc::clone(&socket).into(), port: 7878, nonblocking: false });
    let usage = Arc::clone(&guest.usage);
    serves(program, guest, said, async {
        for words in [&["one", "two"][..], &["three", "bye"]] {
            let mut connection = TcpStream::connect(address).await.unwrap();
            for word in words {
                connection.write_all(word.as_bytes()).await.unwrap();
                let mut echo = vec![0; word.len()];
                connection.read_exact(&mut echo).await.unwrap();
                assert_eq!(echo, word.as_bytes());
            }
        }
    })
    .await;
    assert_eq!((usage.connections_accepted(), usage.connections_open()), (2, 0));
    assert_eq!(Arc::strong_count(&socket), 1, "something of the guest is left");
}

async fn udp_server(program: &Program, bound: &str) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let port = Port { guest: 7878, socket: PortSocket::Udp(Arc::clone(&socket)) };
    let (guest, said) = guest(["udp-serve", bound], Grants { listen: vec![port], ..Grants::default() });
    serves(program, guest, said, async {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for word in [&b"one"[..], b"two", b"bye"] {
            client.send_to(word, address).await.unwrap();
            let mut echo = [0; 8];
            assert_eq!(client.recv_from(&mut echo).await.unwrap(), (word.len(), address));
            assert_eq!(&echo[..word.len()], word);
        }
    })
    .await;
    assert_eq!(Arc::strong_count(&socket), 1, "something of the guest is left");
}

async fn tcp_client(program: &Program, local: &str) {
    let server = TcpListener::bind(local).await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let answer = async {
        let (mut connection, _) = server.accept().await.unwrap();
        let mut got = [0; 4];
        connection.read_exact(&mut got).await.unwrap();
        connection.write_all(&got).await.unwrap();
    };
    let (said, ()) = tokio::join!(says(program, ["tcp-ask", &address], reach(&address)), answer);
    assert_eq!(said, format!("ping from {address}\n"));
    // EACCES: not granted. ECONNREFUSED: granted, and nobody there.
    assert_eq!(says(program, ["tcp-ask", &address], Grants::default()).await, "error 2\n");
    drop(server);
    assert_eq!(says(program, ["tcp-ask", &address], reach("*:*")).await, "error 14\n");
}

async fn udp_client(program: &Program, local: &str) {
    let server = UdpSocket::bind(local).await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let answer = async {
        let mut got = [0; 8];
        let (n, from) = server.recv_from(&mut got).await.unwrap();
        server.send_to(&got[..n], from).await.unwrap();
    };
    let (said, ()) = tokio::join!(says(program, ["udp-ask", &address], reach(&address)), answer);
    assert_eq!(said, format!("ping from {address}\n"));
    assert_eq!(says(program, ["udp-ask", &address], Grants::default()).await, "error 2\n");
}

async fn resolves(program: &Program) {
    let granted = Grants { resolve: true, ..Grants::default() };
    let said = says(program, ["resolve", "localhost"], granted).await;
    assert!(said.lines().any(|line| line.parse() == Ok(SocketAddr::from(([127, 0, 0, 1], 80)))), "{said}");
    assert_eq!(says(program, ["resolve", "localhost"], Grants::default()).await, "error 2\n");
}

/// A port that nobody published is nobody's.
async fn binds_nothing_else(program: &Program) {
    for what in ["tcp-serve", "udp-serve"] {
        assert_eq!(says(program, [what, GUEST], Grants::default()).await, "error 2\n");
    }
}

fn has_v6() -> bool {
    let bound = std::net::UdpSocket::bind("[::1]:0");
    if let Err(error) = &bound {
        eprintln!("skipped for ::1, which this machine does not have: {error}");
    }
    bound.is_ok()
}

#[tokio::test]
async fn wasmedge_serves() {
    tcp_server(&WASMEDGE, GUEST).await;
    udp_server(&WASMEDGE, GUEST).await;
    binds_nothing_else(&WASMEDGE).await;
}

#[tokio::test]
async fn wasmedge_asks() {
    tcp_client(&WASMEDGE, "127.0.0.1:0").await;
    udp_client(&WASMEDGE, "127.0.0.1:0").await;
    resolves(&WASMEDGE).await;
}

#[tokio::test]
async fn wamr_serves() {
    for bound in [GUEST, GUEST_V6] {
        tcp_server(&WAMR, bound).await;
        udp_server(&WAMR, bound).await;
    }
    binds_nothing_else(&WAMR).await;
}

#[tokio::test]
async fn wamr_asks() {
    for local in ["127.0.0.1:0"].into_iter().chain(has_v6().then_some("[::1]:0")) {
        tcp_client(&WAMR, local).await;
        udp_client(&WAMR, local).await;
    }
    resolves(&WAMR).await;
}
