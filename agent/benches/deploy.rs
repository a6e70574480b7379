//! From an operator's plan to the first answer: `cargo bench -p dunlin --bench deploy`.
//!
//! Everything is on loopback: a broker, an agent and the operator. Each round releases another app, whose module of
//! 100 KiB the board does not have, and then publishes the plan that orders it. The clock runs from there until
//! somebody has an answer of the new app: verifying, fetching, hashing, writing, compiling and starting.
//! The broker in this process leaves Nagle's algorithm on, which costs 44 ms a turn. One that does not is taken with
//! `DUNLIN_TEST_BROKER='printf "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n" > m.conf; mosquitto -c m.conf'`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on says where")]
#![allow(dead_code, reason = "of what the tests share, this uses a part")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{Board, Fleet, Operator, broker, free_port, release};

const ROUNDS: usize = 50;
const MODULE_BYTES: usize = 100 * 1024;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut times = runtime.block_on(deploys());
    times.sort();
    let [half, most] = [times.len() / 2, times.len() * 99 / 100].map(|at| times[at].as_secs_f64() * 1e3);
    println!("plan published until the first answer, {ROUNDS} modules of {MODULE_BYTES} bytes:");
    println!("median {half:.1} ms, 99th percentile {most:.1} ms");
}

async fn deploys() -> Vec<Duration> {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let _board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        let (module, port) = (module(round), free_port());
        let release = release(&format!("app-{round}"), 1, &module, Some(port));
        operator.release(&fleet, &release, &module).await;
        let begin = Instant::now();
        // It orders nothing else: the app of the last round ends.
        operator.plan(&fleet, &fleet.plan(round as u64, &[&release])).await;
        let answered = tokio::task::spawn_blocking(move || answered(port)).await.unwrap();
        times.push(answered - begin);
    }
    times
}

/// hello, made longer by a custom section that is another in each round.
fn module(round: usize) -> Vec<u8> {
    // A section: its number, its length in five bytes, and the length of its name, which is empty.
    let content = MODULE_BYTES - dunlin_guests::HELLO.bytes.len() - 6;
    let length: [u8; 5] = std::array::from_fn(|at| (content >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 });
    let mut filling = vec![round as u8; content];
    filling[0] = 0;
    [dunlin_guests::HELLO.bytes, &[0], &length, &filling].concat()
}

/// When somebody has an answer on this port.
fn answered(port: u16) -> Instant {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then(Instant::now)
    };
    loop {
        match ask() {
            Some(at) => return at,
            None => thread::sleep(Duration::from_micros(200)),
        }
    }
}
