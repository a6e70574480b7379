//! Answers every connection with one HTTP response, with tokio.
//!
//! A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
//! descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
//! that a guest was given come next (this one asks for none), and then its listeners.

use std::io;
use std::os::fd::FromRawFd;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const LISTENER: i32 = 3;

const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 12\r\n\
    Connection: close\r\n\
    \r\n\
    Hello, WASM!";

/// Longer request heads are cut off, so that no client can fill this guest's memory.
const HEAD_BYTES_MAX: u64 = 8 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // SAFETY: the host opened it for this program, and nothing else here uses it.
    let listener = unsafe { std::net::TcpListener::from_raw_fd(LISTENER) };
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    println!("hello: listening");
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(async {
            if let Err(error) = answer(connection).await {
                eprintln!("hello: {error}");
            }
        });
    }
}

/// Reads the request's head, up to its empty line, and answers.
async fn answer(mut connection: TcpStream) -> io::Result<()> {
    let mut head = BufReader::new((&mut connection).take(HEAD_BYTES_MAX)).lines();
    while head.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    connection.write_all(RESPONSE.as_bytes()).await
}
