//! Datagrams: servers on published ports, and clients.

use std::sync::Arc;

use tokio::net::UdpSocket;

use super::*;
use crate::grants::{Port, PortSocket};

const GUEST: u16 = 5353;

async fn published(like: SocketAddr, connect: &[&str]) -> (Wasi, Arc<UdpSocket>, SocketAddr) {
    let socket = Arc::new(UdpSocket::bind(like).await.unwrap());
    let address = socket.local_addr().unwrap();
    let listen = vec![Port { guest: GUEST, socket: PortSocket::Udp(Arc::clone(&socket)) }];
    (granted(connect, Grants { listen, ..Grants::default() }), socket, address)
}

#[tokio::test]
async fn a_server_answers_whoever_asks() {
    for dialect in BOTH {
        for loopback in loopbacks() {
            let (mut wasi, socket, address) = published(loopback, &[]).await;
            let fd = dialect.open(&mut wasi, loopback, Datagram).unwrap();
            assert_eq!(wasi.fdstat(fd).unwrap().filetype, 5);
            let own = SocketAddr::new(loopback.ip(), GUEST);
            assert_eq!(dialect.bind(&mut wasi, fd, own), Ok(()));
            assert_eq!(dialect.local(&mut wasi, fd), Ok(own));
            let peer = UdpSocket::bind(loopback).await.unwrap();
            let from = peer.local_addr().unwrap();
            // Nobody has asked yet.
            assert_eq!(dialect.send_to(&mut wasi, fd, &[b"x"], from).await, Err(Errno::Acces));
            let (received, sent) =
                tokio::join!(dialect.recv_from(&mut wasi, fd, &[8], 0), peer.send_to(b"ping", address));
            assert_eq!((received, sent.unwrap()), (Ok((b"ping".to_vec(), from)), 4));
            assert_eq!(dialect.send_to(&mut wasi, fd, &[b"po", b"", b"ng"], from).await, Ok(4));
            let mut got = [0; 8];
            assert_eq!(peer.recv_from(&mut got).await.unwrap(), (4, address));
            assert_eq!(&got[..4], b"pong");
            // Another socket of the guest's cannot have the port as well.
            let second = dialect.open(&mut wasi, loopback, Datagram).unwrap();
            assert_eq!(dialect.bind(&mut wasi, second, own), Err(Errno::Addrinuse));
            drop(wasi);
            assert_eq!(Arc::strong_count(&socket), 1);
        }
    }
}

/// What a guest does with its handle changes nothing for the next guest.
#[tokio::test]
async fn the_agents_socket_stays_as_it_was() {
    let (mut wasi, socket, address) = published(v4(0), &["127.0.0.1:*"]).await;
    let fd = WasmEdge.open(&mut wasi, v4(0), Datagram).unwrap();
    WasmEdge.bind(&mut wasi, fd, v4(GUEST)).unwrap();
    let [friend, stranger] = [UdpSocket::bind(v4(0)).await.unwrap(), UdpSocket::bind(v4(0)).await.unwrap()];
    let (to, from) = (friend.local_addr().unwrap(), stranger.local_addr().unwrap());
    assert_eq!(WasmEdge.connect(&mut wasi, fd, to).await, Ok(()));
    assert_eq!(WasmEdge.peer(&mut wasi, fd), Ok(to));
    stranger.send_to(b"stranger", address).await.unwrap();
    friend.send_to(b"friend", address).await.unwrap();
    assert_eq!(wasi.read_waiting(fd, &[16]).await, Ok(b"friend".to_vec()));
    assert_eq!(wasi.write(fd, &[b"hello"]), Ok(5));
    let mut got = [0; 8];
    assert_eq!(friend.recv_from(&mut got).await.unwrap(), (5, address));
    let one = wasi.put(&1_u32.to_le_bytes());
    assert_eq!(wasi.call("sock_setsockopt", &[fd.into(), 0, 4, one.into(), 4]), Err(Errno::Perm));
    assert_eq!(wasi.call("sock_shutdown", &[fd.into(), 3]), Err(Errno::Notconn));
    drop(wasi);
    stranger.send_to(b"again", address).await.unwrap();
    assert_eq!(socket.recv_from(&mut got).await.unwrap(), (5, from));
}

#[tokio::test]
async fn a_client_hears_only_whom_it_may_reach() {
    for dialect in BOTH {
        for loopback in loopbacks() {
            let [friend, stranger] =
                [UdpSocket::bind(loopback).await.unwrap(), UdpSocket::bind(loopback).await.unwrap()];
            let [to, from] = [&friend, &stranger].map(|socket| socket.local_addr().unwrap());
            let mut wasi = granted(&[&to.to_string()], Grants::default());
            let fd = dialect.open(&mut wasi, loopback, Datagram).unwrap();
            assert_eq!(dialect.bind(&mut wasi, fd, loopback), Ok(()));
            assert_eq!(dialect.bind(&mut wasi, fd, SocketAddr::new(loopback.ip(), GUEST)), Err(Errno::Acces));
            assert_eq!(dialect.send_to(&mut wasi, fd, &[b"x"], from).await, Err(Errno::Acces));
            assert_eq!(dialect.send_to(&mut wasi, fd, &[b"ping"], to).await, Ok(4));
            let mut got = [0; 8];
            let (_, own) = friend.recv_from(&mut got).await.unwrap();
            assert_eq!(dialect.local(&mut wasi, fd), Ok(own));
            // More than are thrown away at once.
            for _ in 0..40 {
                stranger.send_to(b"stranger", own).await.unwrap();
            }
            friend.send_to(b"friend", own).await.unwrap();
            assert_eq!(poll(&mut wasi, fd, false).await, (0, 0));
            const PEEK: u64 = 1;
            for flags in [PEEK, 0] {
                let received = dialect.recv_from(&mut wasi, fd, &[8], flags).await;
                assert_eq!(received, Ok((b"friend".to_vec(), to)));
            }
            nonblocking(&mut wasi, fd);
            assert_eq!(dialect.recv_from(&mut wasi, fd, &[8], 0).await, Err(Errno::Again));
        }
    }
}

#[tokio::test]
async fn a_connected_client_sends_and_receives() {
    let peer = UdpSocket::bind(v4(0)).await.unwrap();
    let to = peer.local_addr().unwrap();
    let mut wasi = granted(&["127.0.0.1:*"], Grants::default());
    let fd = Wamr.open(&mut wasi, v4(0), Datagram).unwrap();
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Destaddrreq));
    assert_eq!(Wamr.peer(&mut wasi, fd), Err(Errno::Notconn));
    assert_eq!(Wamr.connect(&mut wasi, fd, to).await, Ok(()));
    assert_eq!(Wamr.peer(&mut wasi, fd), Ok(to));
    assert_eq!(wasi.write(fd, &[b"a", b"b"]), Ok(2));
    let mut got = [0; 8];
    let (n, own) = peer.recv_from(&mut got).await.unwrap();
    assert_eq!(&got[..n], b"ab");
    // A datagram that does not fit is cut, and that is said.
    peer.send_to(b"0123456789", own).await.unwrap();
    let (buf, read, out_flags) = (wasi.room(4), wasi.room(4), wasi.room(2));
    let iovs = wasi.put(&[buf.to_le_bytes(), 4_u32.to_le_bytes()].concat());
    let args = [fd, iovs, 1, 0, read, out_flags].map(u64::from);
    wasi.call_waiting("sock_recv", &args).await.unwrap();
    assert_eq!((wasi.bytes(buf, 4), wasi.u32(read), wasi.u16(out_flags)), (&b"0123"[..], 4, 1));
    // One datagram fills several buffers, and the next one is not begun.
    for bytes in [b"abcde", b"fghij"] {
        peer.send_to(bytes, own).await.unwrap();
    }
    assert_eq!(wasi.read_waiting(fd, &[2, 3, 4]).await, Ok(b"abcde".to_vec()));
    assert_eq!(wasi.read_waiting(fd, &[8]).await, Ok(b"fghij".to_vec()));
    // An empty one is one.
    peer.send_to(b"", own).await.unwrap();
    assert_eq!(wasi.read_waiting(fd, &[8]).await, Ok(vec![]));
    assert_eq!(wasi.call("sock_shutdown", &[fd.into(), 2]), Ok(()));
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Pipe));
}

#[tokio::test]
async fn too_much_for_one_datagram() {
    let mut wasi = granted(&["*:*"], Grants::default());
    let fd = WasmEdge.open(&mut wasi, v4(0), Datagram).unwrap();
    let block = vec![0; 35_000];
    assert_eq!(WasmEdge.send_to(&mut wasi, fd, &[&block, &block], v4(9)).await, Err(Errno::Msgsize));
    assert_eq!(WasmEdge.send_to(&mut wasi, fd, &[&[0; 65_530]], v4(9)).await, Err(Errno::Msgsize));
    assert_eq!(WasmEdge.send_to(&mut wasi, fd, &[b"x"], v6(9)).await, Err(Errno::Afnosupport));
}
