//! Answers every connection with one HTTP response.
//!
//! A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
//! descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
//! that a guest was given come next (this one asks for none), and then its listeners.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;

const LISTENER: i32 = 3;

const RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 12\r\n\
    Connection: close\r\n\
    \r\n\
    Hello, WASM!";

/// Longer request heads are cut off, so that no client can fill this guest's memory.
const HEAD_BYTES_MAX: u64 = 8 * 1024;

fn main() {
    #[expect(unsafe_code, reason = "a descriptor that the host opened is only a number to us")]
    // SAFETY: the host opened it for this program, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(LISTENER) };
    println!("hello: listening");
    for connection in listener.incoming() {
        if let Err(error) = connection.and_then(answer) {
            eprintln!("hello: {error}");
        }
    }
}

/// Reads the request's head, up to its empty line, and answers.
fn answer(mut connection: TcpStream) -> io::Result<()> {
    let head = BufReader::new((&connection).take(HEAD_BYTES_MAX)).lines();
    for line in head {
        if line?.is_empty() {
            break;
        }
    }
    connection.write_all(RESPONSE.as_bytes())
}
