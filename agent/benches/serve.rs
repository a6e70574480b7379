//! Whole guests beside whole native servers: `cargo bench -p dunlin-host --bench serve [-- WHAT]`.
//!
//! ```text
//! requests   requests per second of guests and of native servers of the same shape, one after the other
//! memory     what an idle guest costs beyond its linear memory
//! fairness   what an endless loop does to fifty guests that serve on the same thread
//! ```
//!
//! Without WHAT, all of them. It prints ratios, because they hold on other machines too; each part takes
//! less than a minute.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dunlin_guests::component::PLAIN_SERVER;
use dunlin_guests::{Artifact, HELLO, KEEP_ALIVE, SPIN};
use dunlin_host::{Guest, Limits, Listener, Observer, Program, Usage, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    // Memory first: what the others leave in the heap would be counted.
    for (name, part) in [("memory", memory as fn()), ("requests", requests), ("fairness", fairness)] {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            part();
        }
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

const CLOSE: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 12\r\n\
    Connection: close\r\n\
    \r\n\
    Hello, WASM!";

const KEPT: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 12\r\n\
    \r\n\
    Hello, WASM!";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn bind() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A guest that serves on this socket.
fn server(socket: TcpListener) -> Guest {
    socket.set_nonblocking(true).unwrap();
    let socket = Arc::new(tokio::net::TcpListener::from_std(socket).unwrap());
    Guest { listeners: vec![Listener { socket: socket.into(), port: 7878, nonblocking: false }], ..Guest::default() }
}

// --- requests ---

const CLIENTS: usize = 4;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);

fn requests() {
    println!("\nrequests per second, {ROUNDS} rounds of {ROUND:?} in turn, median");
    let close = Program::compile(HELLO.bytes, &Limits::default()).unwrap();
    let kept = Program::compile(KEEP_ALIVE.bytes, &Limits::default()).unwrap();
    let servers = [guest_server(close), native_server(native_close)];
    compare("a connection each request", servers, CLIENTS, close_client);
    let servers = [guest_server(kept), native_server(|socket| keep_alive::serve(socket).unwrap())];
    compare("kept, one connection", servers, 1, kept_client);
    compare("kept, four connections", servers, CLIENTS, kept_client);
    // The same shape again: each reads a request, writes an answer, and closes.
    let component = Program::compile(PLAIN_SERVER.bytes, &Limits::default()).unwrap();
    let module = Program::compile(HELLO.bytes, &Limits::default()).unwrap();
    let servers = [guest_server(component), guest_server(module)];
    compare("component, beside a module", servers, CLIENTS, plain_client);
}

/// Both servers live on threads of their own, which end with the program.
fn guest_server(program: Program) -> SocketAddr {
    let (socket, address) = bind();
    thread::spawn(move || {
        runtime().block_on(async { run(&program, server(socket)).await });
    });
    address
}

fn native_server(serve: fn(TcpListener)) -> SocketAddr {
    let (socket, address) = bind();
    thread::spawn(move || serve(socket));
    address
}

/// `guests/hello`, word for word.
fn native_close(socket: TcpListener) {
    for connection in socket.incoming() {
        // As in the guest: a client that goes away is no reason to stop.
        let _ = connection.and_then(answer);
    }
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let head = BufReader::new((&connection).take(8 * 1024)).lines();
    for line in head {
        if line?.is_empty() {
            break;
        }
    }
    connection.write_all(CLOSE.as_bytes())
}

fn compare(name: &str, [guest, native]: [SocketAddr; 2], clients: usize, client: fn(SocketAddr, Instant) -> usize) {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (address, rates) in [guest, native].into_iter().zip(&mut rates) {
            let until = Instant::now() + ROUND;
            let done = thread::scope(|scope| {
                let clients = (0..clients).map(|_| scope.spawn(move || client(address, until))).collect::<Vec<_>>();
                clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
            });
            rates.push(done as f64 / ROUND.as_secs_f64());
        }
    }
    let [guest, native] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    println!("  {name:26} guest {guest:8.0}  beside {native:8.0}  ratio {:.2}", guest / native);
}

fn close_client(address: SocketAddr, until: Instant) -> usize {
    let (mut answer, mut done) = (Vec::new(), 0);
    while Instant::now() < until {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(REQUEST).unwrap();
        answer.clear();
        connection.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, CLOSE.as_bytes());
        done += 1;
    }
    done
}

/// For servers that answer otherwise, each in its way.
fn plain_client(address: SocketAddr, until: Instant) -> usize {
    let (mut answer, mut done) = (Vec::new(), 0);
    while Instant::now() < until {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(REQUEST).unwrap();
        answer.clear();
        connection.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        done += 1;
    }
    done
}

fn kept_client(address: SocketAddr, until: Instant) -> usize {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    let mut answer = [0; KEPT.len()];
    let mut done = 0;
    while Instant::now() < until {
        connection.write_all(REQUEST).unwrap();
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *KEPT.as_bytes());
        done += 1;
    }
    done
}

// --- memory ---

fn memory() {
    for guest in [HELLO, PLAIN_SERVER] {
        memory_of(guest);
    }
}

fn memory_of(guest: Artifact) {
    println!("\nmemory of idle guests, each in accept: {}", guest.name);
    let runtime = runtime();
    runtime.block_on(async {
        let program = Program::compile(guest.bytes, &Limits::default()).unwrap();
        let ready = Arc::new(AtomicUsize::new(0));
        let usage = Arc::new(Usage::default());
        let mut started: usize = 0;
        let mut first = 0.0;
        for count in [1, 50, 100] {
            while started < count {
                let observer = Box::new(Counter(ready.clone()));
                let guest = Guest { observer, usage: usage.clone(), ..server(bind().0) };
                let program = program.clone();
                tokio::spawn(async move { run(&program, guest).await });
                started += 1;
            }
            while ready.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
            let pss = proportional_kib();
            let linear = usage.memory_bytes() as f64 / 1024.0 / f64::from(count as u32);
            let threads = fs::read_dir("/proc/self/task").unwrap().count();
            print!("  {count:3} guests: {pss:6.0} KiB in all, {threads} thread");
            if count == 1 {
                first = pss;
                println!("; each has {linear:.0} KiB of linear memory");
            } else {
                let each = (pss - first) / f64::from(u32::try_from(count - 1).unwrap());
                println!("; one more costs {each:.1} KiB, {:.1} beyond its linear memory", each - linear);
            }
        }
    });
}

fn proportional_kib() -> f64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

struct Counter(Arc<AtomicUsize>);

impl Observer for Counter {
    fn accepting(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// --- fairness ---

const SERVING: usize = 50;
const MEASURED: usize = 7;

fn fairness() {
    println!("\nlatency of {SERVING} guests on one thread, without and with an endless loop beside them");
    for (name, clients) in [("one request at a time", 1), ("ten", 10), ("every guest busy", SERVING)] {
        // In turn, and the median of each: another program that takes the processor spoils a round, not the result.
        let mut rounds = [(); 2].map(|()| [const { Vec::new() }; 2]);
        for _ in 0..MEASURED {
            for (spinning, rounds) in [false, true].into_iter().zip(&mut rounds) {
                let latencies = latencies(spinning, clients);
                for (at, of) in [50, 99].into_iter().zip(rounds) {
                    of.push(percentile(&latencies, at));
                }
            }
        }
        let [without, with] = rounds.map(|rounds| {
            rounds.map(|mut round| {
                round.sort();
                round[MEASURED / 2].as_secs_f64() * 1e6
            })
        });
        for ((part, from), to) in ["50th", "99th"].iter().zip(without).zip(with) {
            println!("  {name:22} {part} percentile {from:6.0} us, {to:6.0} us with it: ratio {:.2}", to / from);
        }
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[sorted.len() * percent / 100]
}

/// Of requests to all guests in turn, so many at a time, sorted.
fn latencies(spinning: bool, clients: usize) -> Vec<Duration> {
    let sockets = (0..SERVING).map(|_| bind()).collect::<Vec<_>>();
    let addresses = sockets.iter().map(|(_, address)| *address).collect::<Vec<_>>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let guests = thread::spawn(move || {
        let hello = Program::compile(HELLO.bytes, &Limits::default()).unwrap();
        let spin = Program::compile(SPIN.bytes, &Limits::default()).unwrap();
        runtime().block_on(async {
            for (socket, _) in sockets {
                let (program, guest) = (hello.clone(), server(socket));
                tokio::spawn(async move { run(&program, guest).await });
            }
            if spinning {
                tokio::spawn(async move { run(&spin, Guest::default()).await });
            }
            let _ = stopped.await;
        });
    });

    let mut latencies = runtime().block_on(async {
        let until = Instant::now() + ROUND;
        let tasks = (0..clients).map(|client| {
            let addresses = addresses.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                // Each client has guests of its own.
                for address in addresses.iter().skip(client).step_by(clients).cycle() {
                    let from = Instant::now();
                    if from > until {
                        break;
                    }
                    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
                    connection.write_all(REQUEST).await.unwrap();
                    let mut answer = Vec::with_capacity(256);
                    connection.read_to_end(&mut answer).await.unwrap();
                    assert_eq!(answer, CLOSE.as_bytes());
                    latencies.push(from.elapsed());
                }
                latencies
            })
        });
        let mut all = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            all.extend(task.await.unwrap());
        }
        all
    });
    let _ = stop.send(());
    guests.join().unwrap();
    latencies.sort();
    latencies
}
