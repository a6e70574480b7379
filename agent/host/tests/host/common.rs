//! What the tests share: guests that record what they do, and waiting for events with a limit.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dunlin_host::{Directory, Ended, Guest, Limits, Listener, Observer, Program, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// No event that a test waits for takes this long, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.expect("what the test waits for did not happen")
}

pub(crate) fn compile(wasm: &[u8]) -> Program {
    Program::compile(wasm, &Limits::default()).unwrap()
}

pub(crate) fn compile_wat(text: &str) -> Program {
    compile(&wat::parse_str(text).unwrap())
}

/// What a guest said and did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) accepting: bool,
}

/// The reader's end of a [`Recorder`].
#[derive(Clone)]
pub(crate) struct Record(watch::Receiver<Said>);

impl Record {
    pub(crate) fn now(&self) -> Said {
        self.0.borrow().clone()
    }

    pub(crate) async fn until(&mut self, condition: impl FnMut(&Said) -> bool) -> Said {
        soon(self.0.wait_for(condition)).await.expect("the guest ended before that").clone()
    }

    pub(crate) async fn accepting(&mut self) {
        self.until(|said| said.accepting).await;
    }
}

struct Recorder(watch::Sender<Said>);

impl Observer for Recorder {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.0.send_modify(|said| match stream {
            Stream::Stdout => said.stdout.push_str(&text),
            Stream::Stderr => said.stderr.push_str(&text),
        });
    }

    fn accepting(&mut self) {
        self.0.send_modify(|said| said.accepting = true);
    }
}

/// A guest of these arguments that is recorded.
pub(crate) fn guest(args: &[&str]) -> (Guest, Record) {
    let (sender, receiver) = watch::channel(Said::default());
    let args = args.iter().map(|argument| (*argument).to_owned()).collect();
    let guest = Guest { args, observer: Box::new(Recorder(sender)), ..Guest::default() };
    (guest, Record(receiver))
}

/// Runs a guest of these arguments to its end.
pub(crate) async fn run(program: &Program, args: &[&str]) -> (Ended, Said) {
    let (guest, record) = guest(args);
    let ended = soon(dunlin_host::run(program, guest)).await;
    (ended, record.now())
}

/// A directory to read and write, without a limit.
pub(crate) fn directory(host: &Path, guest: &str) -> Directory {
    Directory { host: host.to_owned(), guest: guest.to_owned(), read_only: false, bytes_max: None }
}

pub(crate) async fn listen() -> (Listener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (Listener { socket: socket.into(), port: 7878, nonblocking: false }, address)
}

/// The whole answer to one GET.
pub(crate) async fn get(address: SocketAddr) -> String {
    soon(async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

pub(crate) const HELLO: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\nHello, WASM!";
