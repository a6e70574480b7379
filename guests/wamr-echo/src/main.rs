//! Echoes over TCP and UDP with WAMR's socket extension, and asks others to.
//!
//! `wamr-echo tcp-serve ADDRESS`, `tcp-ask ADDRESS`, `udp-serve ADDRESS`, `udp-ask ADDRESS` or `resolve
//! NAME`. Servers stop when they are asked for `bye`. In C, `wasi_socket_ext.h` of WAMR stands where
//! `wamr.rs` does here.

mod wamr;

use std::env;
use std::net::SocketAddr;

use wamr::{Result, Socket, Type, resolve};

fn main() {
    let mut args = env::args().skip(1);
    let (what, of) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let address = of.parse::<SocketAddr>().ok();
    let outcome = match (what.as_str(), address) {
        ("tcp-serve", Some(address)) => tcp_serve(address),
        ("tcp-ask", Some(address)) => tcp_ask(address),
        ("udp-serve", Some(address)) => udp_serve(address),
        ("udp-ask", Some(address)) => udp_ask(address),
        ("resolve", None) => resolve(&of).map(|found| found.iter().for_each(|address| println!("{address}"))),
        _ => panic!("tcp-serve, tcp-ask, udp-serve, udp-ask or resolve?"),
    };
    if let Err(errno) = outcome {
        println!("error {errno}");
    }
}

fn tcp_serve(address: SocketAddr) -> Result<()> {
    let listener = Socket::open(address, Type::Stream)?;
    listener.bind(address)?;
    listener.listen()?;
    println!("listening");
    loop {
        let connection = listener.accept()?;
        let mut buffer = [0; 64];
        loop {
            let (n, _) = connection.recv_from(&mut buffer)?;
            connection.send_to(&buffer[..n], address)?;
            match &buffer[..n] {
                b"" => break,
                b"bye" => return Ok(()),
                _ => {}
            }
        }
    }
}

fn tcp_ask(address: SocketAddr) -> Result<()> {
    let connection = Socket::open(address, Type::Stream)?;
    connection.connect(address)?;
    connection.send_to(b"ping", address)?;
    let mut buffer = [0; 64];
    let (n, _) = connection.recv_from(&mut buffer)?;
    println!("{} from {}", String::from_utf8_lossy(&buffer[..n]), connection.remote()?);
    Ok(())
}

fn udp_serve(address: SocketAddr) -> Result<()> {
    let socket = Socket::open(address, Type::Datagram)?;
    socket.bind(address)?;
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

fn udp_ask(address: SocketAddr) -> Result<()> {
    let socket = Socket::open(address, Type::Datagram)?;
    socket.send_to(b"ping", address)?;
    let mut buffer = [0; 64];
    let (n, from) = socket.recv_from(&mut buffer)?;
    println!("{} from {from}", String::from_utf8_lossy(&buffer[..n]));
    Ok(())
}
