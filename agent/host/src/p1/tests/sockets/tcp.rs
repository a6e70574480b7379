//! Streams: servers on published ports, and clients.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::grants::{Port, PortSocket};
use crate::guest::Listener;
use crate::quota::Limits;

const ERROR: u64 = 2;
const GUEST: u16 = 7878;

/// A guest with a published port, and where that really is.
async fn published(like: SocketAddr) -> (Wasi, SocketAddr) {
    let socket = TcpListener::bind(like).await.unwrap();
    let address = socket.local_addr().unwrap();
    let listeners = vec![Listener { socket: socket.into(), port: GUEST, nonblocking: false }];
    (Wasi::with(Guest { listeners, ..Guest::default() }, false), address)
}

#[tokio::test]
async fn a_server_answers_on_a_published_port() {
    for dialect in BOTH {
        for loopback in loopbacks() {
            let (mut wasi, address) = published(loopback).await;
            let fd = dialect.open(&mut wasi, loopback, Stream).unwrap();
            assert_eq!(wasi.fdstat(fd).unwrap().filetype, 6);
            let own = SocketAddr::new(loopback.ip(), GUEST);
            assert_eq!(dialect.bind(&mut wasi, fd, own), Ok(()));
            assert_eq!(wasi.call("sock_listen", &[fd.into(), 8]), Ok(()));
            assert_eq!(wasi.call("sock_listen", &[fd.into(), 8]), Ok(()), "again");
            assert_eq!(dialect.local(&mut wasi, fd), Ok(own));
            assert_eq!(dialect.peer(&mut wasi, fd), Err(Errno::Notconn));

            let (accepted, peer) = tokio::join!(dialect.accept(&mut wasi, fd), TcpStream::connect(address));
            let (accepted, mut peer) = (accepted.unwrap(), peer.unwrap());
            assert_eq!(dialect.local(&mut wasi, accepted), Ok(own));
            assert_eq!(dialect.peer(&mut wasi, accepted), Ok(peer.local_addr().unwrap()));
            peer.write_all(b"ping").await.unwrap();
            let (got, from) = dialect.recv_from(&mut wasi, accepted, &[8], 0).await.unwrap();
            assert_eq!((&got[..], from), (&b"ping"[..], peer.local_addr().unwrap()));
            // Where a connection sends to is settled.
            assert_eq!(dialect.send_to(&mut wasi, accepted, &[b"po", b"ng"], v4(1)).await, Ok(4));
            wasi.close(accepted).unwrap();
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"pong");
        }
    }
}

#[tokio::test]
async fn the_descriptor_that_was_there_serves_as_well() {
    let (mut wasi, address) = published(v4(0)).await;
    let fd = WasmEdge.open(&mut wasi, v4(0), Stream).unwrap();
    WasmEdge.bind(&mut wasi, fd, v4(GUEST)).unwrap();
    wasi.call("sock_listen", &[fd.into(), 8]).unwrap();
    for listener in [4, fd] {
        let (accepted, _peer) = tokio::join!(Wamr.accept(&mut wasi, listener), TcpStream::connect(address));
        let local = SocketAddr::new(address.ip(), GUEST);
        assert_eq!(Wamr.local(&mut wasi, accepted.unwrap()), Ok(local));
    }
}

#[tokio::test]
async fn a_granted_port_is_published_too() {
    let socket = Arc::new(TcpListener::bind(v4(0)).await.unwrap());
    let address = socket.local_addr().unwrap();
    let listen = vec![Port { guest: GUEST, socket: PortSocket::Tcp(Arc::clone(&socket)) }];
    let mut wasi = granted(&[], Grants { listen, ..Grants::default() });
    // Any address of the guest's own family is good.
    let fd = Wamr.open(&mut wasi, v6(0), Stream).unwrap();
    let own = (Ipv6Addr::UNSPECIFIED, GUEST).into();
    assert_eq!(Wamr.bind(&mut wasi, fd, own), Ok(()));
    wasi.call("sock_listen", &[fd.into(), 8]).unwrap();
    let (accepted, peer) = tokio::join!(Wamr.accept(&mut wasi, fd), TcpStream::connect(address));
    // It sees its peers in its family.
    let port = peer.unwrap().local_addr().unwrap().port();
    let mapped = (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into();
    assert_eq!(Wamr.peer(&mut wasi, accepted.unwrap()), Ok(mapped));
    drop(wasi);
    assert_eq!(Arc::strong_count(&socket), 1);
}

#[tokio::test]
async fn ports_that_are_not_its_own() {
    for dialect in BOTH {
        let (mut wasi, _) = published(v4(0)).await;
        let fd = dialect.open(&mut wasi, v4(0), Stream).unwrap();
        assert_eq!(dialect.bind(&mut wasi, fd, v4(GUEST + 1)), Err(Errno::Acces));
        assert_eq!(dialect.bind(&mut wasi, fd, v6(GUEST)), Err(Errno::Afnosupport));
        assert_eq!(wasi.call("sock_listen", &[fd.into(), 8]), Err(Errno::Acces));
        // Port 0 is its own, but nobody could find it there.
        assert_eq!(dialect.bind(&mut wasi, fd, v4(0)), Ok(()));
        assert_ne!(dialect.local(&mut wasi, fd).unwrap().port(), 0);
        assert_eq!(wasi.call("sock_listen", &[fd.into(), 8]), Err(Errno::Acces));
        // A datagram socket is published apart.
        let datagram = dialect.open(&mut wasi, v4(0), Datagram).unwrap();
        assert_eq!(dialect.bind(&mut wasi, datagram, v4(GUEST)), Err(Errno::Acces));
        assert_eq!(wasi.call("sock_listen", &[datagram.into(), 8]), Err(Errno::Notsup));
        // One socket each.
        let [first, second] = [(); 2].map(|()| dialect.open(&mut wasi, v4(0), Stream).unwrap());
        assert_eq!(dialect.bind(&mut wasi, first, v4(GUEST)), Ok(()));
        assert_eq!(dialect.bind(&mut wasi, first, v4(GUEST)), Err(Errno::Inval));
        assert_eq!(dialect.bind(&mut wasi, second, v4(GUEST)), Err(Errno::Addrinuse));
        wasi.close(first).unwrap();
        assert_eq!(dialect.bind(&mut wasi, second, v4(GUEST)), Ok(()));
    }
}

#[tokio::test]
async fn a_client_connects_where_it_may() {
    for dialect in BOTH {
        for loopback in loopbacks() {
            let server = TcpListener::bind(loopback).await.unwrap();
            let address = server.local_addr().unwrap();
            let mut wasi = granted(&[&address.to_string()], Grants::default());
            let fd = dialect.open(&mut wasi, address, Stream).unwrap();
            assert_eq!(wasi.read(fd, &[1]), Err(Errno::Notconn));
            assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Notconn));
            assert_eq!(dialect.peer(&mut wasi, fd), Err(Errno::Notconn));
            let (connected, accepted) = tokio::join!(dialect.connect(&mut wasi, fd, address), server.accept());
            assert_eq!(connected, Ok(()));
            let (mut peer, from) = accepted.unwrap();
            assert_eq!((dialect.local(&mut wasi, fd), dialect.peer(&mut wasi, fd)), (Ok(from), Ok(address)));
            assert_eq!(dialect.connect(&mut wasi, fd, address).await, Err(Errno::Isconn));
            assert_eq!(dialect.bind(&mut wasi, fd, address), Err(Errno::Inval));
            assert_eq!(wasi.call("sock_listen", &[fd.into(), 8]), Err(Errno::Inval));
            assert_eq!(wasi.write(fd, &[b"ping"]), Ok(4));
            let mut got = [0; 4];
            peer.read_exact(&mut got).await.unwrap();
            peer.write_all(&got).await.unwrap();
            assert_eq!(wasi.read_waiting(fd, &[8]).await, Ok(b"ping".to_vec()));
            drop(wasi);
            assert_eq!(peer.read(&mut got).await.unwrap(), 0, "it is still open");
        }
    }
}

#[tokio::test]
async fn a_client_does_not_connect_where_it_may_not() {
    let server = TcpListener::bind(v4(0)).await.unwrap();
    let address = server.local_addr().unwrap();
    let elsewhere = v4(if address.port() == 1 { 2 } else { 1 }).to_string();
    for dialect in BOTH {
        for grants in [&[][..], &[elsewhere.as_str()], &["10.0.0.0/8:*"], &["localhost:*"]] {
            let mut wasi = granted(grants, Grants { resolve: true, ..Grants::default() });
            for ty in [Stream, Datagram] {
                let fd = dialect.open(&mut wasi, address, ty).unwrap();
                assert_eq!(dialect.connect(&mut wasi, fd, address).await, Err(Errno::Acces), "{grants:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_connection_says_so_and_the_socket_can_be_used_again() {
    let gone = std::net::TcpListener::bind(v4(0)).unwrap().local_addr().unwrap();
    for dialect in BOTH {
        let server = TcpListener::bind(v4(0)).await.unwrap();
        let address = server.local_addr().unwrap();
        let mut wasi = granted(&["127.0.0.1:*"], Grants::default());
        let fd = dialect.open(&mut wasi, address, Stream).unwrap();
        assert_eq!(dialect.connect(&mut wasi, fd, gone).await, Err(Errno::Connrefused));
        assert_eq!(dialect.connect(&mut wasi, fd, address).await, Ok(()));
    }
}

#[tokio::test]
async fn connecting_without_waiting() {
    let gone = std::net::TcpListener::bind(v4(0)).unwrap().local_addr().unwrap();
    for dialect in BOTH {
        let server = TcpListener::bind(v4(0)).await.unwrap();
        let address = server.local_addr().unwrap();
        let mut wasi = granted(&["127.0.0.1:*"], Grants::default());
        let fd = dialect.open(&mut wasi, address, Stream).unwrap();
        nonblocking(&mut wasi, fd);
        // Loopback can be there at once.
        match dialect.connect(&mut wasi, fd, address).await {
            Ok(()) => {}
            outcome => {
                assert_eq!(outcome, Err(Errno::Inprogress));
                assert_eq!(poll(&mut wasi, fd, true).await, (0, 0));
            }
        }
        assert_eq!(option(&mut wasi, fd, ERROR), Ok(0));
        assert_eq!(dialect.peer(&mut wasi, fd), Ok(address));
        assert_eq!(wasi.read(fd, &[1]), Err(Errno::Again));
        let (mut peer, _) = server.accept().await.unwrap();
        peer.write_all(b"x").await.unwrap();
        assert_eq!(poll(&mut wasi, fd, false).await, (0, 0));
        assert_eq!(wasi.read(fd, &[1]), Ok(b"x".to_vec()));

        let fd = dialect.open(&mut wasi, address, Stream).unwrap();
        nonblocking(&mut wasi, fd);
        match dialect.connect(&mut wasi, fd, gone).await {
            Err(Errno::Inprogress) => {
                let (errno, flags) = poll(&mut wasi, fd, true).await;
                assert_eq!((errno, flags), (0, 1));
                assert_eq!(option(&mut wasi, fd, ERROR), Ok(Errno::Connrefused as u32));
            }
            outcome => assert_eq!(outcome, Err(Errno::Connrefused)),
        }
    }
}

#[tokio::test]
async fn an_unconnected_socket_does_not_keep_a_poll_waiting() {
    let mut wasi = granted(&[], Grants::default());
    let fd = WasmEdge.open(&mut wasi, v4(0), Stream).unwrap();
    for write in [false, true] {
        assert_eq!(poll(&mut wasi, fd, write).await, (0, 1));
    }
    assert_eq!(wasi.call("sock_shutdown", &[fd.into(), 3]), Err(Errno::Notconn));
    assert_eq!(WasmEdge.accept(&mut wasi, fd).await, Err(Errno::Inval));
}

#[tokio::test]
async fn sockets_are_descriptors_and_there_are_only_so_many() {
    let limits = Limits { descriptors: 6, ..Limits::default() };
    for dialect in BOTH {
        let mut wasi = Wasi::with(Guest { limits: limits.clone(), ..Guest::default() }, false);
        // Stdio and a directory are there.
        for ty in [Stream, Datagram] {
            dialect.open(&mut wasi, v4(0), ty).unwrap();
        }
        assert_eq!(dialect.open(&mut wasi, v4(0), Stream), Err(Errno::Mfile));
        let close = if dialect == Wamr { "sock_close" } else { "fd_close" };
        wasi.call(close, &[5]).unwrap();
        assert_eq!(dialect.open(&mut wasi, v4(0), Stream), Ok(5));
    }
}
