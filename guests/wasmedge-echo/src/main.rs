//! Echoes over TCP and UDP with WasmEdge's socket extension, and asks others to.
//!
//! `wasmedge-echo tcp-serve ADDRESS`, `tcp-ask ADDRESS`, `udp-serve ADDRESS`, `udp-ask ADDRESS` or
//! `resolve NAME`. Servers stop when they are asked for `bye`.

use std::env;
use std::io::{self, Read, Write};

use wasmedge_wasi_socket::{TcpListener, TcpStream, UdpSocket, nslookup};

fn main() {
    let mut args = env::args().skip(1);
    let (what, of) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let outcome = match what.as_str() {
        "tcp-serve" => tcp_serve(&of),
        "tcp-ask" => tcp_ask(&of),
        "udp-serve" => udp_serve(&of),
        "udp-ask" => udp_ask(&of),
        "resolve" => resolve(&of),
        _ => Err(io::Error::other("tcp-serve, tcp-ask, udp-serve, udp-ask or resolve?")),
    };
    if let Err(error) = outcome {
        // The numbers are WASI's.
        println!("error {}", error.raw_os_error().unwrap_or(-1));
    }
}

fn tcp_serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address, false)?;
    println!("listening");
    loop {
        let (mut connection, _) = listener.accept(false)?;
        let mut buffer = [0; 64];
        loop {
            let n = connection.read(&mut buffer)?;
            connection.write_all(&buffer[..n])?;
            match &buffer[..n] {
                b"" => break,
                b"bye" => return Ok(()),
                _ => {}
            }
        }
    }
}

fn tcp_ask(address: &str) -> io::Result<()> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"ping")?;
    let mut buffer = [0; 64];
    let n = connection.read(&mut buffer)?;
    println!("{} from {}", String::from_utf8_lossy(&buffer[..n]), connection.peer_addr()?);
    Ok(())
}

fn udp_serve(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    println!("listening");
    loop {
        let mut buffer = [0; 64];
        let (n, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..n], from)?;
        if &buffer[..n] == b"bye" {
            return Ok(());
        }
    }
}

fn udp_ask(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(b"ping", address)?;
    let mut buffer = [0; 64];
    let (n, from) = socket.recv_from(&mut buffer)?;
    println!("{} from {from}", String::from_utf8_lossy(&buffer[..n]));
    Ok(())
}

fn resolve(name: &str) -> io::Result<()> {
    for address in nslookup(name, "http")? {
        println!("{address}");
    }
    Ok(())
}
