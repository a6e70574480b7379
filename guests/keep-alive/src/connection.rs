//! One client: the bytes that came, and the answers that have not left yet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// No client can fill this guest's memory with what is no request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

pub(crate) struct Connection {
    stream: TcpStream,
    /// The beginning of a request.
    input: Vec<u8>,
    /// Answers, and how much of them was sent.
    output: Vec<u8>,
    sent: usize,
    /// Whether it ends when they are sent.
    closing: bool,
    last_turn: u64,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, turn: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, input: Vec::new(), output: Vec::new(), sent: 0, closing: false, last_turn: turn })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// While a client does not read its answers, nothing more is read from it.
    pub(crate) fn has_to_write(&self) -> bool {
        self.sent < self.output.len()
    }

    /// When it last had something to do.
    pub(crate) fn last_turn(&self) -> u64 {
        self.last_turn
    }

    /// Goes on as far as it can without waiting: one read, the answers, one write. `false` when it is over.
    pub(crate) fn advance(&mut self, turn: u64, buffer: &mut [u8]) -> bool {
        self.last_turn = turn;
        match self.try_advance(buffer) {
            Ok(open) => open,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn try_advance(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.has_to_write() {
            let read = self.stream.read(buffer)?;
            if read == 0 {
                return Ok(false);
            }
            self.input.extend_from_slice(&buffer[..read]);
            self.answer();
        }
        self.sent += self.stream.write(&self.output[self.sent..])?;
        if self.has_to_write() {
            return Ok(true);
        }
        self.output.clear();
        self.sent = 0;
        Ok(!self.closing)
    }

    /// Answers every whole request that has come: a client may send several at once.
    fn answer(&mut self) {
        const END: &[u8] = b"\r\n\r\n";

        let mut done = 0;
        while let Some(len) = self.input[done..].windows(END.len()).position(|bytes| bytes == END)
            && !self.closing
        {
            self.closing = !respond(&self.input[done..done + len], &mut self.output);
            done += len + END.len();
        }
        self.input.drain(..done);
        if self.input.len() > HEAD_BYTES_MAX && !self.closing {
            write_answer(&mut self.output, "431 Request Header Fields Too Large", "", true, false);
            self.closing = true;
        }
    }
}

/// Answers one request; whether the connection is kept.
fn respond(head: &[u8], output: &mut Vec<u8>) -> bool {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, version) = (words.next(), words.nth(1));
    // What comes with a body is refused, so that no body has to be read to find the next request.
    let (status, body) = match method {
        Some("GET" | "HEAD") => ("200 OK", "Hello, WASM!"),
        _ => ("405 Method Not Allowed", ""),
    };
    let closes = lines
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close"));
    let kept = version == Some("HTTP/1.1") && !closes && !body.is_empty();
    write_answer(output, status, body, method != Some("HEAD"), kept);
    kept
}

fn write_answer(output: &mut Vec<u8>, status: &str, body: &str, with_body: bool, kept: bool) {
    let connection = if kept { "" } else { "Connection: close\r\n" };
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n{connection}\r\n");
    output.extend_from_slice(head.as_bytes());
    if with_body {
        output.extend_from_slice(body.as_bytes());
    }
}
