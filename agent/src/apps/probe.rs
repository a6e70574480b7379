//! Looks whether a guest is well, from outside, as its users would.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Bytes of a status line that are waited for.
const STATUS_LINE_BYTES_MAX: usize = 256;

/// Connects, and where a path and a status are given asks `GET path` and compares.
pub(super) async fn look(
    listener: SocketAddr,
    request: Option<(String, u16)>,
    patience: Duration,
) -> Result<(), String> {
    let address = reachable(listener);
    let look = async {
        let mut stream = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
        let Some((path, expected)) = request else { return Ok(()) };
        let status = get(&mut stream, &path).await.map_err(|error| format!("GET {path}: {error}"))?;
        if status == expected { Ok(()) } else { Err(format!("GET {path} says {status}, not {expected}")) }
    };
    let late = |_| Err(format!("no answer within {} ms", patience.as_millis()));
    timeout(patience, look).await.unwrap_or_else(late)
}

async fn get(stream: &mut TcpStream, path: &str) -> io::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: dunlin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    let mut limited = stream.take(STATUS_LINE_BYTES_MAX as u64);
    while !line.contains(&b'\n') && limited.read_buf(&mut line).await? > 0 {}
    status(&line).ok_or_else(|| io::Error::other("that is not an HTTP answer"))
}

/// `HTTP/1.1 200 OK` (RFC 9112, section 4).
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line.split(|byte| *byte == b'\r' || *byte == b'\n').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// A listener on every address is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_understood_and_nothing_else() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 404\r\n"), Some(404));
        for bad in ["", "SSH-2.0-x\r\n", "HTTP/1.1\r\n", "HTTP/1.1 x\r\n"] {
            assert_eq!(status(bad.as_bytes()), None, "{bad}");
        }
    }
}
