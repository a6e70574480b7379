//! The server that every introduction to std::net begins with. Nothing in it knows of WebAssembly.

#![expect(clippy::unused_io_amount, reason = "as the introductions have it: one read, one write")]

use std::io::{Read, Write};
use std::net::TcpListener;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7878")?;
    println!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut buffer = [0; 512];
        stream.read(&mut buffer)?;
        stream.write(RESPONSE)?;
        stream.flush()?;
    }
    Ok(())
}
