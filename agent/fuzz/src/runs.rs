//! Runs guests where everything they could do wrong shows.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_host::http::{Answer, Body, ErrorCode, Handler};
use dunlin_host::{Directory, Ended, Guest, Limits, Listener, Observer, Program, Stdin, Stream, run};
use http::Request;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// What no guest may ever see. It begins with a byte that is rare.
const SECRET: &[u8] = b"\xd7 a secret of the host";

/// What a directory of a guest may hold: more than any input needs that does not try to fill the disk.
const DISK_BYTES_MAX: u64 = 8 << 20;

thread_local! {
    static RUNTIME: (Runtime, Arc<TcpListener>, SocketAddr) = {
        // The clock jumps to the next timer when nothing can be done: no input waits.
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().expect("a runtime");
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port of loopback");
        let address = socket.local_addr().expect("it has one");
        (runtime, Arc::new(socket), address)
    };
}

/// Bounds that no input should notice, and that end every one of them.
pub fn limits() -> Limits {
    Limits {
        memory_bytes: 4 << 20,
        table_elements: 10_000,
        call_depth: 256,
        stack_bytes: 64 << 10,
        fuel_slice: 20_000,
        // In the clock's time, so that an endless loop ends after a second of it.
        fuel_per_second: Some(1_000_000),
        wall_clock: Some(Duration::from_secs(1)),
        descriptors: 24,
        ..Limits::default()
    }
}

/// Runs a program with two directories, a listener and, if asked for, somebody who connects to it.
///
/// # Panics
///
/// If it has read or changed anything that it was not given to.
pub fn in_a_cage(program: &Program, connects: bool) -> Ended {
    let cage = Cage::new();
    let ended = RUNTIME.with(|(runtime, socket, address)| {
        let mut client = connects.then(|| {
            let mut client = std::net::TcpStream::connect(address).expect("it listens");
            // Closed without a trace, or the ports would run out.
            rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("a socket");
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("there is room");
            client
        });
        let directory = |name: &str, read_only| Directory {
            host: cage.0.path().join(name),
            guest: format!("/{name}"),
            read_only,
            bytes_max: Some(DISK_BYTES_MAX),
        };
        let guest = Guest {
            args: vec!["fuzz".to_owned(), "argument".to_owned()],
            env: vec![("NAME".to_owned(), "value".to_owned())],
            stdin: Stdin::Reader(Box::new(&b"what it reads"[..])),
            directories: vec![directory("rw", false), directory("ro", true)],
            listeners: vec![Listener { socket: socket.clone().into(), port: 7878, nonblocking: false }],
            limits: limits(),
            observer: Box::new(Lookout),
            ..Guest::default()
        };
        let ended = runtime.block_on(run(program, guest));
        // What it did not accept is not left to the next one.
        if client.take().is_some() {
            runtime.block_on(async {
                while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(1), socket.accept()).await {}
            });
        }
        ended
    });
    cage.check();
    ended
}

/// Looks whether the guest has what it should not have.
struct Lookout;

impl Observer for Lookout {
    fn output(&mut self, _: Stream, bytes: &[u8]) {
        // Not by comparing slices: libFuzzer watches each such comparison, and this is most of the time then.
        let begins = |at: usize| bytes[at] == SECRET[0] && bytes[at..].iter().zip(SECRET).all(|(a, b)| a == b);
        let end = (bytes.len() + 1).saturating_sub(SECRET.len());
        let seen = (0..end).any(begins);
        assert!(!seen, "the guest has read a file outside of its directories");
    }
}

/// Asks a program that answers requests, and takes all of its answer.
///
/// # Panics
///
/// If an answer that was given is no answer.
pub fn asked(program: &Program, data: &[u8]) -> Ended {
    RUNTIME.with(|(runtime, ..)| runtime.block_on(ask(program, data)))
}

async fn ask(program: &Program, data: &[u8]) -> Ended {
    let guest = Guest { limits: limits(), ..Guest::default() };
    let mut handler = match Handler::start(program, guest).await {
        Ok(handler) => handler,
        Err(ended) => return ended,
    };
    // The interfaces that it finds where it was not changed, by the path; the others find an input of any length.
    let paths = ["/fields", "/request", "/response", "/trailers", "/outgoing", "/twice", "/over", "/"];
    let path = paths[data.first().map_or(0, |byte| usize::from(*byte)) % paths.len()];
    let body = Full::new(Bytes::copy_from_slice(data)).map_err(|never: Infallible| -> ErrorCode { match never {} });
    let request = Request::post(path).header("host", "fuzz").body(Box::pin(body) as Body).expect("a request");
    let (sender, receiver) = oneshot::channel::<Answer>();
    let reading = async {
        if let Ok(Ok(response)) = receiver.await {
            assert!(!response.status().is_informational(), "an interim answer");
            // A body that was not finished is an error.
            let _ = response.into_body().collect().await;
        }
    };
    let (outcome, ()) = tokio::join!(handler.handle(request, sender), reading);
    outcome.map_or_else(|ended| ended, |()| Ended::Exited(0))
}

/// A directory to write, one to read, and a secret beside them.
struct Cage(TempDir);

impl Cage {
    fn new() -> Self {
        let cage = Self(tempfile::tempdir().expect("a directory"));
        cage.fill().expect("a place to write");
        cage
    }

    fn fill(&self) -> std::io::Result<()> {
        use std::os::unix::fs::symlink;

        let outside = self.0.path();
        std::fs::write(outside.join("secret"), SECRET)?;
        for directory in ["rw", "ro"] {
            let root = outside.join(directory);
            std::fs::create_dir(&root)?;
            std::fs::create_dir(root.join("d"))?;
            std::fs::write(root.join("f"), b"abc")?;
            std::fs::write(root.join("d/g"), b"defg")?;
            symlink("../secret", root.join("out"))?;
            symlink(outside.join("secret"), root.join("abs"))?;
            symlink("..", root.join("d/up"))?;
            symlink("loop", root.join("loop"))?;
        }
        Ok(())
    }

    fn check(&self) {
        let outside = self.0.path();
        assert_eq!(names(outside), ["ro", "rw", "secret"], "something was made or removed outside");
        let read = |name: &str| std::fs::read(outside.join(name)).expect("it is still there");
        assert_eq!(read("secret"), SECRET, "the secret was written to");
        assert_eq!(names(&outside.join("ro")), ["abs", "d", "f", "loop", "out"], "a read-only directory has changed");
        assert_eq!(names(&outside.join("ro/d")), ["g", "up"], "a read-only directory has changed");
        assert_eq!((read("ro/f"), read("ro/d/g")), (b"abc".to_vec(), b"defg".to_vec()), "a read-only file has changed");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is still there");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect::<Vec<_>>();
    names.sort();
    names
}
