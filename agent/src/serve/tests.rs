//! Apps that answer requests, asked over real connections: see `guests/http-checks` for what they do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dunlin_guests::{
    Artifact,
    component::{HTTP_CHECKS, HTTP_CLIENT, HTTP_ECHO, HTTP_HELLO},
};
use dunlin_host::{Directory, Gate, Grants, Guest, Limits, Program, Usage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use super::{Outbound, Serving, Times, serve};
use crate::{link::Tls, ports::free_port};

/// No event that a test waits for takes this long, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(60);

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.unwrap()
}

/// An app that is served, until it is dropped.
struct App {
    address: SocketAddr,
    gate: Gate,
    usage: Arc<Usage>,
    faults: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<String>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Kept {
    instances: usize,
    keep: bool,
    connect: &'static [&'static str],
    times: Times,
    /// Whether all instances but the first have a folder with a quota.
    counted: bool,
}

/// Longer than any test.
const LONG: Times = Times { queue: LIMIT, answer: LIMIT, silence: LIMIT, after: LIMIT };

const FRESH: Kept = Kept { instances: 2, keep: false, connect: &[], times: LONG, counted: false };

/// What a test waits for until it is over.
const SHORT: Duration = Duration::from_millis(200);

impl App {
    async fn start(guest: Artifact, kept: Kept) -> Self {
        let program = Program::compile(guest.bytes, &Limits::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, gate) = (listener.local_addr().unwrap(), Gate::from(listener));
        let (usage, ready) = (Arc::<Usage>::default(), Arc::<Notify>::default());
        let (told, faults) = mpsc::unbounded_channel();
        let (counted, accepting, outbound) = (usage.clone(), ready.clone(), Arc::new(Outbound::new(Tls::default())));
        let started = AtomicBool::new(false);
        let connect = kept.connect.iter().map(|reach| reach.parse().unwrap()).collect::<Vec<_>>();
        let serving = Serving {
            program,
            instances: kept.instances,
            keep: kept.keep,
            gates: vec![gate.clone()],
            usage: usage.clone(),
            times: kept.times,
            guest: Box::new(move || {
                let has_folder = started.swap(true, Ordering::Relaxed) && kept.counted;
                let folder = |host: &str| Directory {
                    host: host.into(),
                    guest: "/".into(),
                    read_only: true,
                    bytes_max: Some(u64::MAX),
                };
                Guest {
                    args: vec!["app".into()],
                    directories: has_folder.then(|| folder(env!("CARGO_MANIFEST_DIR"))).into_iter().collect(),
                    grants: Grants { connect: connect.clone(), ..Grants::default() },
                    client: Some(outbound.clone()),
                    usage: counted.clone(),
                    ..Guest::default()
                }
            }),
            accepting: Box::new(move || accepting.notify_one()),
            fault: Box::new(move |why| _ = told.send(why)),
        };
        let task = tokio::spawn(serve(serving));
        soon(ready.notified()).await;
        Self { address, gate, usage, faults, task }
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.unwrap()
    }

    /// The whole answer to one request, whose connection ends.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&get(path)).await
    }

    async fn fault(&mut self) -> String {
        soon(self.faults.recv()).await.unwrap()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: board\r\nConnection: close\r\n\r\n")
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // One that is cut off is looked at as far as it came.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Until an answer whose head says how long it is has come.
async fn one(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    loop {
        let mut piece = [0; 1024];
        let read = soon(stream.read(&mut piece)).await.unwrap();
        assert!(read > 0, "it ended after {answer:?}");
        answer += std::str::from_utf8(&piece[..read]).unwrap();
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| body.len() >= length.parse().unwrap()) {
                return answer;
            }
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_greeting() {
    let app = App::start(HTTP_HELLO, FRESH).await;
    let answer = app.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-type: text/plain\r\n"), "{answer}");
    assert!(answer.ends_with("Hello, WASM!") || answer.contains("Hello, WASM!\r\n"), "{answer}");
}

#[tokio::test]
async fn a_kept_connection_is_served_again_and_again() {
    for keep in [false, true] {
        let app = App::start(HTTP_CHECKS, Kept { keep, ..FRESH }).await;
        let mut stream = app.connect().await;
        for _ in 0..5 {
            stream.write_all(b"GET /response HTTP/1.1\r\nHost: board\r\n\r\n").await.unwrap();
            let answer = one(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 418 ") && answer.ends_with("four"), "{answer}");
        }
        assert_eq!((app.usage.connections_accepted(), app.usage.connections_open()), (1, 1));
        drop(stream);
        soon(app.usage.connections(|open| open == 0)).await;
    }
}

#[tokio::test]
async fn requests_at_once_wait_for_an_instance_and_none_is_lost() {
    let app = Arc::new(App::start(HTTP_CHECKS, Kept { instances: 4, ..FRESH }).await);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let app = Arc::clone(&app);
        asked.spawn(async move { app.get("/request").await });
    }
    while let Some(answer) = asked.join_next().await {
        assert_eq!(status(&answer.unwrap()), "200");
    }
    assert_eq!(app.usage.connections_accepted(), 100);
}

/// A hundred guests that wait are a hundred tasks: no thread of this process comes to be for them.
#[tokio::test]
async fn guests_that_wait_cost_no_thread() {
    let app = App::start(HTTP_CHECKS, Kept { instances: 100, ..FRESH }).await;
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let one_instance = app.usage.memory_bytes();
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = app.connect().await;
        stream.write_all(get("/silent").as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // Until each has an instance, whose memory is counted.
    soon(async {
        while app.usage.memory_bytes() < 100 * one_instance {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Other tests of this process have threads of their own, but not a hundred.
    assert!(threads() < before + 50, "{before}, then {}", threads());
    // Who leaves ends what is done for them.
    drop(streams);
    soon(async {
        while app.usage.memory_bytes() > one_instance {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_fault_has_its_status_and_its_sentence() {
    let mut app = App::start(HTTP_CHECKS, FRESH).await;
    for (path, expected, why) in [
        ("/panic", "500", "GET /panic: aborted (it ran into `unreachable`)"),
        ("/exit", "500", "GET /exit: it exited with 3"),
        ("/huge", "500", "GET /huge: made header fields of more than 64 KiB"),
        ("/unset", "502", "GET /unset: it gave no answer"),
        ("/error", "502", "GET /error: it has no answer: loop-detected"),
        ("/bodiless", "502", "GET /bodiless: it has no answer: HTTP-response-body-size"),
    ] {
        let answer = app.get(path).await;
        assert_eq!(status(&answer), expected, "{answer}");
        let fault = app.fault().await;
        assert!(fault.starts_with(why), "{fault}");
        assert_eq!(status(&app.get("/request").await), "200", "the next one has an instance of its own");
    }
}

#[tokio::test]
async fn answers_that_break_are_cut_off() {
    let app = App::start(HTTP_CHECKS, FRESH).await;
    for path in ["/unfinished", "/kept", "/short", "/long", "/over"] {
        let answer = app.get(path).await;
        // Neither the last chunk nor as many bytes as were announced.
        assert!(!answer.contains("\r\n0\r\n") && !answer.ends_with("too many"), "{path}: {answer}");
    }
    let mut twice = App::start(HTTP_CHECKS, FRESH).await;
    let answer = twice.get("/twice").await;
    assert!(answer.contains("first") && !answer.contains("second"), "{answer}");
    let fault = twice.fault().await;
    assert!(fault.contains("used a handle that is not open"), "{fault}");
}

#[tokio::test]
async fn who_never_answers_is_late() {
    let times = Times { answer: SHORT, ..LONG };
    let mut app = App::start(HTTP_CHECKS, Kept { times, ..FRESH }).await;
    for path in ["/silent", "/spin"] {
        let answer = app.get(path).await;
        assert_eq!(status(&answer), "504", "{answer}");
        assert_eq!(app.fault().await, format!("GET {path}: did not answer within 200ms"));
    }
}

/// The files of a folder with a quota are counted before an instance starts, which nobody gets to here.
#[test]
fn an_instance_that_does_not_come_to_be_is_late() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (goes_on, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    runtime.block_on(async {
        let times = Times { answer: SHORT, ..LONG };
        let mut app = App::start(HTTP_CHECKS, Kept { instances: 1, times, counted: true, ..FRESH }).await;
        assert_eq!(status(&app.get("/request").await), "200", "the first one has no folder");
        assert_eq!(status(&app.get("/request").await), "504");
        assert_eq!(app.fault().await, "GET /request: did not answer within 200ms");
    });
    drop(goes_on);
}

#[tokio::test]
async fn who_stops_to_read_keeps_neither_an_instance_nor_a_place() {
    let times = Times { silence: SHORT, ..LONG };
    let app = App::start(HTTP_CHECKS, Kept { instances: 1, times, ..FRESH }).await;
    let mut stream = app.connect().await;
    stream.write_all(get("/endless").as_bytes()).await.unwrap();
    assert_eq!(status(&app.get("/request").await), "200");
    soon(app.usage.connections(|open| open == 0)).await;
}

#[tokio::test]
async fn where_no_part_of_a_body_goes_either_way_the_instance_is_ended() {
    let times = Times { silence: SHORT, ..LONG };
    let mut app = App::start(HTTP_ECHO, Kept { instances: 1, times, ..FRESH }).await;
    let mut stream = app.connect().await;
    let request = b"POST / HTTP/1.1\r\nHost: board\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(app.fault().await, "POST /: neither said nor took anything for 200ms");
}

#[tokio::test]
async fn who_goes_on_after_its_answer_is_ended() {
    let times = Times { after: SHORT, ..LONG };
    let mut app = App::start(HTTP_CHECKS, Kept { instances: 1, keep: true, times, ..FRESH }).await;
    assert!(app.get("/lingers").await.contains("ok"));
    assert_eq!(app.fault().await, "GET /lingers: went on for 200ms after its answer");
    assert_eq!(status(&app.get("/request").await), "200");
}

#[tokio::test]
async fn who_finds_no_instance_is_asked_to_come_again() {
    let times = Times { queue: SHORT, ..LONG };
    let app = App::start(HTTP_CHECKS, Kept { instances: 1, times, ..FRESH }).await;
    let mut first = app.connect().await;
    first.write_all(get("/silent").as_bytes()).await.unwrap();
    let answer = app.get("/request").await;
    assert!(status(&answer) == "503" && answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let app = App::start(HTTP_CHECKS, FRESH).await;
    let long = "x".repeat(64 * 1024);
    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\nHost: board\r\nX: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: board\r\n{}\r\n", "X: 1\r\n".repeat(200)), "431"),
        ("POST / HTTP/1.1\r\nHost: board\r\nContent-Length: 67108865\r\nConnection: close\r\n\r\n".into(), "413"),
        ("GET /\x01 HTTP/1.1\r\n\r\n".into(), "400"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n".into(), "405"),
    ] {
        let answer = app.ask(&request).await;
        assert_eq!(status(&answer), expected, "{} …: {answer}", &request[..30]);
    }
}

#[tokio::test]
async fn a_body_streams_back_before_all_of_it_was_sent() {
    let app = App::start(HTTP_ECHO, FRESH).await;
    let mut stream = app.connect().await;
    let head = b"POST / HTTP/1.1\r\nHost: board\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    for piece in ["one", "two", "six"] {
        stream.write_all(format!("3\r\n{piece}\r\n").as_bytes()).await.unwrap();
        let mut seen = String::new();
        while !seen.contains(piece) {
            let mut bytes = [0; 1024];
            let read = soon(stream.read(&mut bytes)).await.unwrap();
            seen += std::str::from_utf8(&bytes[..read]).unwrap();
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work() {
    let app = App::start(HTTP_CHECKS, Kept { instances: 1, ..FRESH }).await;
    for path in ["/silent", "/endless"] {
        let mut stream = app.connect().await;
        stream.write_all(get(path).as_bytes()).await.unwrap();
        if path == "/endless" {
            soon(stream.read_u8()).await.unwrap();
        }
        drop(stream);
        // There is one instance: it is free again.
        assert_eq!(status(&app.get("/request").await), "200", "{path}");
    }
}

#[tokio::test]
async fn a_shut_gate_lets_connections_go_on_and_the_last_call_ends_them() {
    let app = App::start(HTTP_CHECKS, FRESH).await;
    let (mut asks, mut idle) = (app.connect().await, app.connect().await);
    for stream in [&mut asks, &mut idle] {
        stream.write_all(b"GET /response HTTP/1.1\r\nHost: board\r\n\r\n").await.unwrap();
        one(stream).await;
    }
    app.gate.shut();
    asks.write_all(b"GET /response HTTP/1.1\r\nHost: board\r\n\r\n").await.unwrap();
    let answer = rest(&mut asks).await;
    assert!(answer.contains("connection: close") && answer.ends_with("four"), "{answer}");
    app.gate.last_call();
    assert_eq!(rest(&mut idle).await, "");
    soon(app.usage.connections(|open| open == 0)).await;
}

#[tokio::test]
async fn an_app_that_cannot_be_started_says_why() {
    let limits = Limits { memory_bytes: 64 * 1024, ..Limits::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = Serving {
        program: Program::compile(HTTP_HELLO.bytes, &Limits::default()).unwrap(),
        instances: 1,
        keep: false,
        gates: vec![listener.into()],
        usage: Arc::default(),
        times: LONG,
        guest: Box::new(move || Guest { limits: limits.clone(), ..Guest::default() }),
        accepting: Box::new(|| panic!("it accepts")),
        fault: Box::new(|_| ()),
    };
    let why = soon(serve(serving)).await;
    assert!(why.starts_with("out of memory: asked for"), "{why}");
}

#[tokio::test]
async fn an_app_asks_another_one() {
    let echo = App::start(HTTP_ECHO, FRESH).await;
    let checks = App::start(HTTP_CHECKS, Kept { connect: &["127.0.0.1:*"], ..FRESH }).await;
    let answer = checks.get(&format!("/ask/{}", echo.address)).await;
    assert!(answer.contains("ok"), "{answer}");
    // Passed on as it is, with its status; what nobody serves is told by its name.
    let mut client = App::start(HTTP_CLIENT, Kept { connect: &["127.0.0.1:*"], ..FRESH }).await;
    let answer = client.get(&format!("/{}/response", checks.address)).await;
    assert!(status(&answer) == "418" && answer.contains("four"), "{answer}");
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    assert_eq!(status(&client.get(&format!("/{closed}/")).await), "502");
    assert_eq!(client.fault().await, format!("GET /{closed}/: it has no answer: connection-refused"));
    assert_eq!(status(&client.get("/10.0.0.1:80/").await), "502");
    assert_eq!(client.fault().await, "GET /10.0.0.1:80/: it has no answer: HTTP-request-denied");
}

#[tokio::test]
async fn a_redirect_is_the_guests_to_follow_and_no_proxy_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let client = App::start(HTTP_CLIENT, Kept { connect: &["127.0.0.1:*"], ..FRESH }).await;
    let answer = client.get(&format!("/{address}/a/../b?c")).await;
    assert!(status(&answer) == "302" && answer.contains("location: http://127.0.0.1:1/"), "{answer}");
    let asked = soon(server).await.unwrap();
    assert_eq!(
        asked,
        format!("GET /a/../b?c HTTP/1.1\r\nhost: {address}\r\n\r\n"),
        "as the guest said it, and nothing else"
    );
}
