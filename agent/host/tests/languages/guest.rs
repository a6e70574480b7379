//! Running a module: a guest whose words are kept, files and loopback connections for it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dunlin_host::{Directory, Guest, Limits, Listener, Observer, Program, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Room for Go's garbage collector: guests have 16 MiB where nobody says otherwise.
pub(crate) fn limits() -> Limits {
    Limits { memory_bytes: 64 * 1024 * 1024, ..Limits::default() }
}

pub(crate) fn compile(wasm: &[u8]) -> Program {
    Program::compile(wasm, &limits()).unwrap()
}

/// One thread, as the agent has for its guests; what takes too long fails.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(crate::LIMIT, test).await.expect("the guest took too long") });
}

/// What a guest printed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Said {
    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }
}

impl Observer for Said {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let said = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        // Guests here print ASCII, however it is cut.
        said.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
    }
}

pub(crate) fn recorded(name: &str) -> (Guest, Said) {
    let said = Said::default();
    let observer = Box::new(said.clone());
    (Guest { args: vec![name.to_owned()], limits: limits(), observer, ..Guest::default() }, said)
}

pub(crate) fn directory(host: &Path, guest: &str) -> Directory {
    Directory { host: host.to_owned(), guest: guest.to_owned(), read_only: false, bytes_max: None }
}

pub(crate) async fn listen(nonblocking: bool) -> (Listener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (Listener { socket: socket.into(), port: address.port(), nonblocking }, address)
}

/// The whole answer to one GET.
pub(crate) async fn get(address: SocketAddr) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}
