//! Answers every connection with one HTTP response.
//!
//! A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
//! descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
//! that a guest was given come next (this one asks for none), and then its listeners.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::process;

const LISTENER: i32 = 3;

macro_rules! body {
    () => {
        "Hello, WASM!"
    };
}

const RESPONSE: &str =
    concat!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\n", body!());

const _: () = assert!(body!().len() == 12, "RESPONSE has to say the new Content-Length");

/// What `accept` says where the host gave no listener (EBADF).
const NO_DESCRIPTOR: i32 = 8;

/// Longer request heads are cut off, so that no client can fill this guest's memory.
const HEAD_BYTES_MAX: u64 = 8 * 1024;

fn main() {
    #[expect(unsafe_code, reason = "a descriptor that the host opened is only a number to us")]
    // SAFETY: the host opened it for this program, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(LISTENER) };
    println!("hello: listening");
    for connection in listener.incoming() {
        let Err(error) = connection.and_then(answer) else { continue };
        if error.raw_os_error() == Some(NO_DESCRIPTOR) {
            // It would fail at once, for ever.
            eprintln!("hello: there is no listener: publish its port, as `-p 8080:7878` does");
            process::exit(1);
        }
        eprintln!("hello: {error}");
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
