//! What a deployed app may touch besides its listeners: its own data, the board's directories, and
//! whom its release names, within what the board's owner allows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Board, Fleet, LIMIT, Operator, broker, free_port, release};
use dunlin::{config::Config, store::Disk};
use dunlin_core::wire::{Asks, Instances, Listen, Mount, Protocol, Restart, World, state::Phase};
use dunlin_guests::{FILES, component::HTTP_CLIENT};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Deploys a module that ends by itself, and waits for what the board says of its end.
async fn outcome(module: &[u8], configure: impl FnOnce(&mut Config), ask: impl FnOnce(&mut Asks)) -> String {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let state = tempfile::tempdir().unwrap();
    let mut board = Board::start_with(Disk::default(), state, &fleet, &broker, configure);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut release = release("app", 1, module, None);
    release.asks.listen.clear();
    release.restart = Restart::Never;
    ask(&mut release.asks);
    operator.release(&fleet, &release, module).await;
    operator.plan(&fleet, &fleet.plan(1, &[&release])).await;
    let over = |phase| matches!(phase, Phase::Finished | Phase::Refused);
    board.app("it is over", |app| over(app.phase)).await.why.unwrap()
}

#[tokio::test]
async fn an_app_keeps_its_data_where_the_board_says_and_shares_what_its_owner_named() {
    let media = tempfile::tempdir().unwrap();
    let path = media.path().to_owned();
    let share = |config: &mut Config| {
        config.policy.mounts = [("media".parse().unwrap(), true)].into();
        config.directories = [("media".parse().unwrap(), path)].into();
    };
    let why = outcome(FILES.bytes, share, |asks| {
        asks.data_bytes = 4 << 20;
        asks.mounts = vec![Mount { name: "media".parse().unwrap(), write: true }];
        asks.args = vec!["/media".into()];
    });
    assert_eq!(why.await, "it exited with 0");
    let why = outcome(FILES.bytes, |_| {}, |asks| asks.data_bytes = 4 << 20);
    assert_eq!(why.await, "it exited with 0", "/data is what it uses without an argument");
    let why = outcome(FILES.bytes, |_| {}, |asks| asks.data_bytes = 64 << 10).await;
    assert!(why.contains("exited with 1"), "it keeps no more than it asked for: {why}");
    let why = outcome(FILES.bytes, |_| {}, |_| {}).await;
    assert!(why.contains("exited with 1"), "there is no /data that it did not ask for: {why}");
}

#[tokio::test]
async fn a_directory_that_the_board_does_not_have_is_refused() {
    let mount = Mount { name: "media".parse().unwrap(), write: false };
    let why = outcome(FILES.bytes, |_| {}, |asks| asks.mounts = vec![mount]).await;
    assert_eq!(why, "app asks for the directory media, which this device does not have [policy]");
}

/// Connects to a port of 127.0.0.1 by WasmEdge's functions, and exits with the errno.
fn connects_to(port: u16) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "sock_connect" (func $connect (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\04\00\00\00") ;; the address: 4 bytes at 16
            (data (i32.const 16) "\7f\00\00\01")
            (func (export "_start")
                (drop (call $open (i32.const 1) (i32.const 2) (i32.const 8)))
                (call $exit (call $connect (i32.load (i32.const 8)) (i32.const 0) (i32.const {port})))))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn an_app_connects_to_whom_its_release_names_if_the_board_lets_it() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let module = connects_to(port);
    let named = |asks: &mut Asks| asks.connect = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    assert_eq!(outcome(&module, |_| {}, named).await, "it exited with 0");
    assert_eq!(outcome(&module, |_| {}, |_| {}).await, "it exited with 2", "ACCES: it named nobody");
    let elsewhere = |config: &mut Config| config.connect = Some(vec!["10.0.0.0/8:*".parse().unwrap()]);
    assert_eq!(outcome(&module, elsewhere, named).await, "it exited with 2", "ACCES: the board's owner says no");
    let nonsense = |asks: &mut Asks| asks.connect = vec!["10.0.0.1/8:80".parse().unwrap()];
    let why = outcome(&module, |_| {}, nonsense).await;
    assert!(why.starts_with("app asks for a connection:") && why.ends_with("[malformed]"), "{why}");
}

/// Binds UDP port 53 by WasmEdge's functions, and exits with the errno.
const BINDS_UDP: &str = r#"(module
    (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_bind" (func $bind (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\04\00\00\00")
    (func (export "_start")
        (drop (call $open (i32.const 1) (i32.const 1) (i32.const 8)))
        (call $exit (call $bind (i32.load (i32.const 8)) (i32.const 0) (i32.const 53)))))"#;

#[tokio::test]
async fn an_app_binds_the_ports_for_datagrams_that_are_published() {
    let module = wat::parse_str(BINDS_UDP).unwrap();
    let listen = Listen { guest: 53, host: Some(free_port()), protocol: Protocol::Udp, nonblocking: false };
    assert_eq!(outcome(&module, |_| {}, |asks| asks.listen = vec![listen]).await, "it exited with 0");
    assert_eq!(outcome(&module, |_| {}, |_| {}).await, "it exited with 2", "ACCES");
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority of this test");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server of this name by TLS, for whom this authority vouches. It counts whom it answers.
struct Server {
    port: u16,
    answers: Arc<AtomicUsize>,
}

impl Server {
    async fn start(name: &str, authority: &Authority) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.into()]).unwrap().signed_by(&key, authority).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, answers) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who does not trust it leaves here.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                count.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nby TLS").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { port, answers }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }
}

/// A board's configuration that trusts, for what apps ask, whom this authority vouches for.
fn trusting(authority: &Authority, dir: &Path) -> Config {
    std::fs::write(dir.join("apps-ca.pem"), authority.pem()).unwrap();
    let text =
        "device = \"pi-1\"\nroot = \"root.dunlin\"\n[broker]\nurl = \"mqtt://b\"\n[http]\nca = \"apps-ca.pem\"\n";
    std::fs::write(dir.join("agent.toml"), text).unwrap();
    Config::load(&dir.join("agent.toml")).unwrap()
}

#[tokio::test]
async fn an_app_asks_by_tls_whom_the_boards_owner_trusts_and_nobody_else() {
    let (ours, theirs, dir) = (authority(), authority(), tempfile::tempdir().unwrap());
    let good = Server::start("localhost", &ours).await;
    let unknown = Server::start("localhost", &theirs).await;
    let another = Server::start("another.example", &ours).await;
    let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), free_port());
    let state = tempfile::tempdir().unwrap();
    let trusts = trusting(&ours, dir.path()).http;
    let mut board = Board::start_with(Disk::default(), state, &fleet, &broker, |config| config.http = trusts);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut client = release("client", 1, HTTP_CLIENT.bytes, Some(port));
    client.world = World::Http(Instances { max: 1, keep: false });
    client.asks.memory_bytes = 8 << 20;
    client.asks.connect = vec!["localhost:*".parse().unwrap()];
    operator.release(&fleet, &client, HTTP_CLIENT.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&client])).await;
    board.app("it runs", |app| app.phase == Phase::Running).await;

    let ask = async |server: &Server| {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request =
            format!("GET /https://localhost:{}/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", server.port);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let answer = ask(&good).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("by TLS"), "{answer}");
    for refused in [&unknown, &another] {
        let answer = ask(refused).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    let why = "it has no answer: TLS-certificate-error";
    board.app("it says why", |app| app.why.as_ref().is_some_and(|said| said.ends_with(why))).await;
    assert_eq!([good, unknown, another].map(|server| server.answers()), [1, 0, 0]);
}
