//! The front door between a client and an app that are both the test's own: each byte is said and seen.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dunlin_core::wire::{
    Digest, Protocol, Timestamp,
    state::{AppState, DeviceState, Phase},
};
use dunlin_host::PortSocket;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::Front;
use crate::{
    apps::{Ports, Records},
    door::{
        serve::{Room, Service},
        settings::{FrontSettings, Place},
        view::View,
    },
    ports::free_port,
};

const LIMIT: Duration = Duration::from_secs(20);
const BODY_MAX: u64 = 1000;

/// A front door before one app, `app`, which is a listener of the test.
struct Scene {
    front: SocketAddr,
    app: Arc<TcpListener>,
    view: View,
    serving: JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scene {
    async fn new() -> Self {
        let (front, port) = (SocketAddr::from(([127, 0, 0, 1], free_port())), free_port());
        let ports = Ports::new("127.0.0.1".parse().unwrap());
        let owned = ports.listen(&"app".parse().unwrap(), Protocol::Tcp, Some(port)).await.unwrap();
        let PortSocket::Tcp(app) = owned else { unreachable!("a TCP port was asked for") };
        let view = View::new(true, Records::default(), Timestamp(1));
        view.state(&state(port));
        let place = Place::Tcp(front);
        let settings =
            FrontSettings { places: vec![place.clone()], certificate: None, body_bytes_max: BODY_MAX, log: true };
        let room = Room::Front(Arc::new(Front::new(view.clone(), &settings, ports)));
        let serving = tokio::spawn(Service { place, certificate: None, room }.run());
        Self { front, app, view, serving }
    }

    async fn client(&self) -> TcpStream {
        let connected = async {
            loop {
                match TcpStream::connect(self.front).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        timeout(LIMIT, connected).await.unwrap()
    }

    /// What the app is sent, up to the end of its head, and the connection.
    async fn heard(&self) -> (String, TcpStream) {
        let (mut stream, _) = timeout(LIMIT, self.app.accept()).await.unwrap().unwrap();
        (until(&mut stream, "\r\n\r\n").await, stream)
    }

    /// Says this at the front door and lets the app answer that; what the app heard, and what was answered.
    async fn exchange(&self, request: &str, answer: &str) -> (String, String) {
        let mut client = self.client().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let (heard, mut app) = self.heard().await;
        app.write_all(answer.as_bytes()).await.unwrap();
        drop(app);
        (heard, rest(&mut client).await)
    }

    /// What is answered where the app hears nothing.
    async fn refused(&self, request: &str) -> String {
        let mut client = self.client().await;
        // It may be refused before all of it is said.
        let _ = client.write_all(request.as_bytes()).await;
        let answer = rest(&mut client).await;
        let nothing = timeout(Duration::from_millis(50), self.app.accept()).await;
        assert!(nothing.is_err(), "the app hears of it: {request:?}");
        answer
    }
}

fn state(port: u16) -> DeviceState {
    let app = AppState {
        app: "app".parse().unwrap(),
        release: Digest([0; 32]),
        version: None,
        phase: Phase::Running,
        since: Timestamp(1),
        why: None,
        failures: 0,
        ports: vec![port],
        udp_ports: vec![],
        log: vec![],
        next: None,
    };
    DeviceState {
        device: "pi-1".parse().unwrap(),
        fleet: "flock".parse().unwrap(),
        labels: [].into(),
        agent: "0".into(),
        root: 1,
        sealing_key: None,
        plan: None,
        apps: vec![app],
        refused: None,
        broker: vec![],
        trouble: None,
        at: Timestamp(1),
    }
}

async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    let all = async {
        // One by one: what comes after it is somebody else's.
        while !read.ends_with(end.as_bytes()) {
            let byte = stream.read_u8().await;
            read.push(byte.unwrap_or_else(|_| panic!("it ended: {}", String::from_utf8_lossy(&read))));
        }
    };
    timeout(LIMIT, all).await.unwrap();
    String::from_utf8(read).unwrap()
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    // A reset is an end as well.
    let _ = timeout(LIMIT, stream.read_to_end(&mut read)).await.unwrap();
    String::from_utf8(read).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let values = head.lines().filter_map(|line| line.split_once(": "));
    values.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

const OK: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: 1\r\n\r\nok";

#[tokio::test]
async fn an_app_is_told_who_asks_by_us_alone() {
    let scene = Scene::new().await;
    let request = "GET /app/a/b?c=d HTTP/1.1\r\nHost: board:80\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n\
                   X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                   Proxy-Authorization: x\r\nTE: trailers\r\nCookie: kept\r\n\r\n";
    let (heard, answer) = scene.exchange(request, OK).await;
    assert!(heard.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{heard}");
    for (name, values) in [
        ("host", vec!["board:80"]),
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-forwarded-proto", vec!["http"]),
        ("x-forwarded-host", vec!["board:80"]),
        ("x-forwarded-prefix", vec!["/app"]),
        ("cookie", vec!["kept"]),
        ("connection", vec!["close"]),
    ] {
        assert_eq!(header(&heard, name), values, "{name}");
    }
    assert!(!heard.contains("6.6.6.6"), "{heard}");
    for gone in ["x-secret", "forwarded", "x-real-ip", "proxy-authorization", "te"] {
        assert_eq!(header(&heard, gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(
        (header(&answer, "x-end"), header(&answer, "x-hop"), header(&answer, "keep-alive")),
        (vec!["1"], vec![], vec![])
    );
}

#[tokio::test]
async fn by_name_a_path_is_as_it_was_and_places_in_an_app_stay_in_its_folder() {
    let scene = Scene::new().await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
    let request = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let (heard, answer) = scene.exchange(&request("app.board", "/app/x"), moved).await;
    assert!(heard.starts_with("GET /app/x HTTP/1.1"), "{heard}");
    assert_eq!((header(&heard, "x-forwarded-prefix"), header(&answer, "location")), (vec![], vec!["/there"]));
    let (_, answer) = scene.exchange(&request("board", "/app/x"), moved).await;
    assert_eq!(header(&answer, "location"), ["/app/there"]);
    let away = moved.replace("/there", "//evil.example/");
    let (_, answer) = scene.exchange(&request("board", "/app/x"), &away).await;
    assert_eq!(header(&answer, "location"), ["//evil.example/"], "what leads away is not ours");
}

#[tokio::test]
async fn bodies_pass_with_a_length_or_in_chunks_up_to_a_limit() {
    let scene = Scene::new().await;
    let post = |headers: &str, body: &str| {
        format!("POST /app/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n{headers}\r\n\r\n{body}")
    };
    for (headers, body) in
        [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")]
    {
        let mut client = scene.client().await;
        client.write_all(post(headers, body).as_bytes()).await.unwrap();
        let (head, mut app) = scene.heard().await;
        let (length, chunked) = (header(&head, "content-length"), header(&head, "transfer-encoding"));
        assert!(length.len() + chunked.len() == 1, "one way to tell its end: {head}");
        let end = if chunked.is_empty() { "hello" } else { "0\r\n\r\n" };
        let sent = until(&mut app, end).await;
        assert!(sent == "hello" || sent.replace(['\r', '\n', '0', '2', '3', '5'], "") == "hello", "{sent:?}");
        app.write_all(OK.as_bytes()).await.unwrap();
        assert_eq!(status(&rest(&mut client).await), "200");
    }
    let long = scene.refused(&post(&format!("Content-Length: {}", BODY_MAX + 1), "")).await;
    assert_eq!(status(&long), "413", "{long}");
    // Of one whose length is not said before, the app hears a part, and never the end.
    let mut client = scene.client().await;
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    client
        .write_all(post("Transfer-Encoding: chunked", &(chunk.clone() + &chunk + "0\r\n\r\n")).as_bytes())
        .await
        .unwrap();
    let (_, mut app) = scene.heard().await;
    let got = rest(&mut app).await;
    assert!(!got.contains("0\r\n\r\n") && got.len() < 1100, "{}", got.len());
    let answer = rest(&mut client).await;
    assert_eq!(status(&answer), "413", "{answer}");
}

/// What two parsers could read in two ways reaches the app in one way, or not at all.
#[tokio::test]
async fn nothing_is_smuggled_past_it() {
    let scene = Scene::new().await;
    let inner = "GET /app/admin HTTP/1.1\r\nHost: b\r\n\r\n";
    for (what, headers) in [
        ("two lengths", "Content-Length: 3\r\nContent-Length: 30"),
        ("a list of lengths", "Content-Length: 3, 30"),
        ("a length with a sign", "Content-Length: +3"),
        ("chunks that are not last", "Transfer-Encoding: chunked, identity"),
        ("chunks by another name", "Transfer-Encoding: xchunked"),
        ("a space before the colon", "Transfer-Encoding : chunked"),
        ("a folded header", "X: y\r\n Transfer-Encoding: chunked"),
        ("a bare line feed in a value", "X: y\nTransfer-Encoding: chunked, identity"),
    ] {
        let answer =
            scene.refused(&format!("POST /app/ HTTP/1.1\r\nHost: b\r\n{headers}\r\n\r\n0\r\n\r\n{inner}")).await;
        assert!(answer.is_empty() || status(&answer) == "400", "{what}: {answer}");
    }
    // Two lengths of which the standard says which one counts: the app is told that one, and nothing comes after it.
    for headers in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let request = format!("POST /app/ HTTP/1.1\r\nHost: b\r\n{headers}\r\n\r\n0\r\n\r\n{inner}");
        let (heard, answer) = scene.exchange(&request, OK).await;
        assert_eq!((header(&heard, "content-length"), header(&heard, "transfer-encoding")), (vec![], vec!["chunked"]));
        assert_eq!((status(&answer), answer.matches("HTTP/1.1").count()), ("200", 1), "{answer}");
        let nothing = timeout(Duration::from_millis(50), scene.app.accept()).await;
        assert!(nothing.is_err(), "what came after it was not for the app");
    }
    let old = scene.refused("POST /app/ HTTP/1.0\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(old.is_empty() || status(&old) == "400", "{old}");
    let connect = scene.refused("CONNECT app.b:80 HTTP/1.1\r\nHost: app.b:80\r\n\r\n").await;
    assert!(["400", "405"].contains(&status(&connect)), "{connect}");
}

#[tokio::test]
async fn an_app_that_is_not_there_or_talks_nonsense_is_the_apps_fault() {
    let scene = Scene::new().await;
    let request = "GET /app/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    let two_lengths = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc";
    for nonsense in ["", "SSH-2.0-x\r\n", "HTTP/1.1 200", two_lengths, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"] {
        let (_, answer) = scene.exchange(request, nonsense).await;
        assert_eq!(status(&answer), "502", "{nonsense:?}: {answer}");
    }
    let Scene { front, .. } = &scene;
    let mut client = TcpStream::connect(front).await.unwrap();
    let gone = Scene::new().await;
    client.write_all(request.as_bytes()).await.unwrap();
    drop(gone);
    let (_, app) = scene.heard().await;
    drop(app);
    assert_eq!(status(&rest(&mut client).await), "502");
}

const UPGRADE: &str = "GET /app/ws HTTP/1.1\r\nHost: b\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn a_websocket_goes_through_in_both_directions() {
    let scene = Scene::new().await;
    let mut client = scene.client().await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    let (heard, mut app) = scene.heard().await;
    assert_eq!((header(&heard, "connection"), header(&heard, "upgrade")), (vec!["upgrade"], vec!["websocket"]));
    assert_eq!(header(&heard, "sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
    // Bytes that come along with the head are the tunnel's already.
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s\r\n\r\n\x01early";
    app.write_all(answer.as_bytes()).await.unwrap();
    let head = until(&mut client, "early").await;
    assert_eq!(
        (status(&head), header(&head, "sec-websocket-accept"), header(&head, "upgrade")),
        ("101", vec!["s"], vec!["websocket"])
    );
    client.write_all(b"\x02to the app").await.unwrap();
    assert_eq!(until(&mut app, "app").await, "\x02to the app");
    app.write_all(b"\x03and back").await.unwrap();
    assert_eq!(until(&mut client, "back").await, "\x03and back");
    drop(app);
    assert_eq!(rest(&mut client).await, "", "it ends when one of them does");
}

#[tokio::test]
async fn nothing_but_a_websocket_is_switched_to() {
    let scene = Scene::new().await;
    let other = UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c").replace("keep-alive, ", "close, ");
    let (heard, answer) = scene.exchange(&other, OK).await;
    assert_eq!((header(&heard, "upgrade"), header(&heard, "connection")), (vec![], vec!["close"]));
    assert_eq!(status(&answer), "200");
    let refusing = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (_, answer) = scene.exchange(&UPGRADE.replace("keep-alive, ", "close, "), refusing).await;
    assert_eq!(status(&answer), "403", "an app may refuse it");
}

#[tokio::test]
async fn a_port_that_an_app_asked_for_and_could_not_have_is_no_way_in_to_who_has_it() {
    let scene = Scene::new().await;
    let somebody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    scene.view.state(&state(somebody.local_addr().unwrap().port()));
    let answer = scene.refused("GET /app/ HTTP/1.1\r\nHost: board\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(timeout(Duration::from_millis(50), somebody.accept()).await.is_err(), "somebody else hears of it");
}
