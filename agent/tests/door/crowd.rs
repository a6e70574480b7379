//! Very many clients, and very bad ones: an app goes on answering as if they were not there.

use std::time::{Duration, Instant};

use dunlin_guests::KEEP_ALIVE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{
    ask::{Answer, raw_unix, request},
    scene::Scene,
};
use crate::common::{LIMIT, get as ask_app};

/// Connections at once, to both doors together.
const CROWD: usize = 5_000;

/// Answers of the app that are waited for meanwhile.
const ANSWERS: usize = 200;

/// What one of them does.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Connects and says nothing.
    Silent,
    /// Says a request byte by byte, and never its end.
    Slow,
    /// Asks for much and reads nothing.
    Deaf,
    /// Says what is no request.
    Babbling,
}

const HABITS: [Habit; 4] = [Habit::Silent, Habit::Slow, Habit::Deaf, Habit::Babbling];

async fn behave(habit: Habit, port: u16) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let said = match habit {
        Habit::Silent => Ok(()),
        Habit::Slow => stream.write_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: lo").await,
        // All of it is pipelined; the answers fill every buffer there is.
        Habit::Deaf => stream.write_all("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100).as_bytes()).await,
        Habit::Babbling => stream.write_all(&[b'\x80'; 512]).await,
    };
    if said.is_ok() && !matches!(habit, Habit::Deaf) {
        // Until it is shown out.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    } else {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn an_app_answers_while_thousands_misbehave_at_the_doors() {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let enough = descriptors.current.is_none_or(|current| current as usize > 2 * CROWD + 500);
    if !enough {
        let wanted = rustix::process::Rlimit { current: descriptors.maximum, ..descriptors };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();
    }
    let mut scene = Scene::new().await;
    let port = scene.deploy("keep", &KEEP_ALIVE, |_| {}).await;
    scene.running("keep").await;
    let alone = answers(port).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let door = if number % 2 == 0 { scene.door } else { scene.front };
        crowd.spawn(behave(HABITS[number / 2 % HABITS.len()], door));
    }
    let among = answers(port).await;
    println!("{ANSWERS} answers in {alone:?} alone, in {among:?} among {CROWD} others");
    // The door that they crowd before is one place; the other one is not theirs.
    let status = raw_unix(&scene.socket(), request("GET", "/v1/apps/keep", "").as_bytes()).await;
    let app = Answer::parse(&status).json();
    assert_eq!((&app["phase"], &app["figures"]["restarts"]), (&"running".into(), &0.into()));
    assert!(!crowd.is_empty(), "they were still there");
    drop(crowd);
    // And when they are gone, so is what they held.
    let healthy = async {
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", scene.door)).await {
                let bytes = request("GET", "/healthz", "");
                if super::ask::through(stream, bytes.as_bytes()).await.starts_with("HTTP/1.1 200 OK") {
                    return;
                }
            }
        }
    };
    timeout(LIMIT, healthy).await.expect("the crowded door answers again");
}

/// How long so many answers of the app take.
async fn answers(port: u16) -> Duration {
    let start = Instant::now();
    for _ in 0..ANSWERS {
        assert!(ask_app(port).await.contains("Hello, WASM!"));
    }
    start.elapsed()
}

/// One client takes as long as it may, and not longer: its place is somebody else's then.
#[tokio::test]
async fn who_says_nothing_is_shown_out() {
    let scene = Scene::new().await;
    let mut silent = TcpStream::connect(("127.0.0.1", scene.door)).await.unwrap();
    let mut slow = TcpStream::connect(("127.0.0.1", scene.door)).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    // One who reads nothing of what it asked for, and asks for more than waits here, is cut off. It does not have to
    // read to be told.
    let mut deaf = TcpStream::connect(("127.0.0.1", scene.door)).await.unwrap();
    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5_000);
    // It is cut off while it still asks, or afterwards.
    let asked = timeout(LIMIT, async { deaf.write_all(requests.as_bytes()).await });
    if asked.await.expect("an end within its time").is_ok() {
        timeout(LIMIT, deaf.ready(tokio::io::Interest::ERROR)).await.expect("an end within its time").unwrap();
    }
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let ended = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("an end within its time");
        assert!(
            ended.is_err() || rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
            "{:?}",
            String::from_utf8_lossy(&rest)
        );
    }
}
