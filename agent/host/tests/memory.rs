//! What the interpreter holds of a program that rests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../tests/hostile/memory.rs"]
mod memory;

use dunlin_host::{Guest, Limits, Listener, Program, run};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const KIB: isize = 1024;

#[tokio::test]
async fn what_translating_took_is_given_back() {
    let program = Program::compile(dunlin_guests::HELLO.bytes, &Limits::default()).unwrap();
    answer_once(&program).await;

    let translated = memory::held_by_all();
    program.give_back();
    let rested = memory::held_by_all();
    assert!(translated - rested > 32 * KIB, "{translated} bytes, and then {rested}");

    program.give_back();
    assert_eq!(memory::held_by_all(), rested, "it left something behind a second time");

    // It goes on as before, and translates.
    answer_once(&program).await;
}

/// One run of a program, until it has answered a connection.
async fn answer_once(program: &Program) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listeners = vec![Listener { socket: socket.into(), port: 7878, nonblocking: false }];
    let answered = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("Hello, WASM!"), "{answer}");
    };
    tokio::select! {
        ended = run(program, Guest { listeners, ..Guest::default() }) => panic!("{ended:?}"),
        () = answered => {}
    }
}
