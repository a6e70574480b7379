//! Sockets that the service manager opened for the agent (sd_listen_fds(3)): how an account without
//! privileges publishes ports below 1024.

use std::{io, sync::Arc};

use dunlin_host::PortSocket;
use listenfd::ListenFd;
use tokio::net::{TcpListener, UdpSocket};

/// Those of them that apps can use; the others are said and left alone.
pub(super) fn sockets() -> Vec<PortSocket> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        match take(&mut passed, index) {
            Ok(socket) => sockets.push(socket),
            Err(error) => tracing::warn!("socket {index} of the service manager is of no use: {error}"),
        }
    }
    sockets
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<PortSocket> {
    if let Ok(Some(socket)) = passed.take_udp_socket(index) {
        socket.set_nonblocking(true)?;
        return Ok(PortSocket::Udp(Arc::new(UdpSocket::from_std(socket)?)));
    }
    let listener = passed.take_tcp_listener(index)?.ok_or(io::ErrorKind::NotFound)?;
    listener.set_nonblocking(true)?;
    Ok(PortSocket::Tcp(Arc::new(TcpListener::from_std(listener)?)))
}
