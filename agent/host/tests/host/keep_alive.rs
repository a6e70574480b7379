//! `guests/keep-alive`: many connections at once, each kept, and no client that holds up another one.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::common::{compile, guest, listen, soon};
use dunlin_host::{Guest, Usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nHello, WASM!";

/// Connections that the guest keeps.
const CONNECTIONS_MAX: usize = 64;

struct Server {
    address: SocketAddr,
    usage: Arc<Usage>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let program = compile(dunlin_guests::KEEP_ALIVE.bytes);
        let (listener, address) = listen().await;
        let (guest, mut record) = guest(&["keep-alive"]);
        let usage = Arc::clone(&guest.usage);
        let task = tokio::spawn(async move {
            let ended = dunlin_host::run(&program, Guest { listeners: vec![listener], ..guest }).await;
            panic!("it ended: {ended:?}");
        });
        record.accepting().await;
        Self { address, usage, task }
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        assert!(!self.task.is_finished(), "the guest did not survive its clients");
        self.task.abort();
    }
}

async fn send(client: &mut TcpStream, bytes: &[u8]) {
    soon(client.write_all(bytes)).await.unwrap();
}

async fn answered(client: &mut TcpStream) {
    let mut answer = vec![0; ANSWER.len()];
    soon(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), ANSWER);
}

#[tokio::test]
async fn what_it_answers_and_the_bytes_of_it_are_counted() {
    let server = Server::start().await;
    for (connection, requests) in [(1, 3_u64), (2, 2)] {
        let mut client = server.connect().await;
        for _ in 0..requests {
            // In two pieces: it is one request all the same.
            send(&mut client, &REQUEST[..10]).await;
            send(&mut client, &REQUEST[10..]).await;
            answered(&mut client).await;
        }
        assert_eq!(server.usage.connections_accepted(), connection);
    }
    assert_eq!(server.usage.http_answers(), 5);
    assert_eq!(server.usage.received_bytes(), 5 * REQUEST.len() as u64);
    assert_eq!(server.usage.sent_bytes(), 5 * ANSWER.len() as u64);
}

/// Everything until the guest closes the connection.
async fn rest(client: &mut TcpStream) -> String {
    let mut rest = String::new();
    soon(client.read_to_string(&mut rest)).await.unwrap();
    rest
}

#[tokio::test]
async fn two_clients_take_turns_on_connections_that_are_kept() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    for _ in 0..3 {
        for client in [&mut one, &mut two] {
            send(client, REQUEST).await;
            answered(client).await;
        }
    }
    // Both have asked before either is answered.
    for client in [&mut one, &mut two] {
        send(client, REQUEST).await;
    }
    for client in [&mut two, &mut one] {
        answered(client).await;
    }
    assert_eq!((server.usage.connections_accepted(), server.usage.connections_open()), (2, 2));
}

#[tokio::test]
async fn several_requests_at_once_are_answered_in_their_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let last = b"GET / HTTP/1.1\r\nconnection: Close\r\n\r\n";
    send(&mut client, &[REQUEST, REQUEST, b"HEAD / HTTP/1.1\r\n\r\n", last, REQUEST].concat()).await;
    for _ in 0..2 {
        answered(&mut client).await;
    }
    let rest = rest(&mut client).await;
    let (head, closing) = rest.split_once("\r\n\r\n").unwrap();
    assert_eq!(format!("{head}\r\n\r\n"), ANSWER.strip_suffix("Hello, WASM!").unwrap());
    assert!(closing.contains("Connection: close\r\n") && closing.ends_with("\r\n\r\nHello, WASM!"), "{closing}");
}

#[tokio::test]
async fn nobody_waits_for_slow_clients() {
    let server = Server::start().await;
    // One that stops in the middle of a request.
    let mut slow = server.connect().await;
    let (begin, end) = REQUEST.split_at(10);
    send(&mut slow, begin).await;
    // One that asks and asks, and reads nothing, until nobody takes any more of it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let deaf = soon(socket.connect(server.address)).await.unwrap();
    let requests = REQUEST.repeat(1000);
    let (mut sent, mut refused) = (0, 0);
    let mut other = server.connect().await;
    while refused < 3 {
        match deaf.try_write(&requests[sent % REQUEST.len()..]) {
            Ok(n) => (sent, refused) = (sent + n, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                // Meanwhile, and afterwards, others are answered.
                send(&mut other, REQUEST).await;
                answered(&mut other).await;
            }
        }
    }
    // The slow one ends its request after all.
    send(&mut slow, end).await;
    answered(&mut slow).await;
    assert_eq!(server.usage.connections_open(), 3);
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = Server::start().await;
    for (request, status) in [
        (&b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"[..], "HTTP/1.1 405 "),
        (&[b'x'; 9000], "HTTP/1.1 431 "),
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK"),
    ] {
        let mut client = server.connect().await;
        send(&mut client, request).await;
        let mut answer = [0; 16];
        soon(client.read_exact(&mut answer[..status.len()])).await.unwrap();
        assert_eq!(&answer[..status.len()], status.as_bytes());
    }
}

#[tokio::test]
async fn the_silent_make_room_for_the_new() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut client = server.connect().await;
        send(&mut client, REQUEST).await;
        answered(&mut client).await;
        clients.push(client);
    }
    // The first is not the one that was silent longest any more.
    send(&mut clients[0], REQUEST).await;
    answered(&mut clients[0]).await;
    let mut new = server.connect().await;
    send(&mut new, REQUEST).await;
    answered(&mut new).await;
    assert_eq!(rest(&mut clients[1]).await, "");
    for index in [0, 2, CONNECTIONS_MAX - 1] {
        send(&mut clients[index], REQUEST).await;
        answered(&mut clients[index]).await;
    }
    assert_eq!(server.usage.connections_open(), CONNECTIONS_MAX);
}
