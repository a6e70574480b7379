//! Listeners and connections.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::harness::{ROOT, Wasi, fdflags};
use crate::gate::Gate;
use crate::guest::{Guest, Listener};
use crate::p1::{Errno, Stop};
use crate::quota::Limits;

/// After the one directory.
const LISTENER: u32 = 4;

const RD: u64 = 1;
const WR: u64 = 2;
const PEEK: u64 = 1;
const WAITALL: u64 = 2;

async fn listening(nonblocking: bool, limits: Limits) -> (Wasi, std::net::SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listeners = vec![Listener { socket: socket.into(), port: 7878, nonblocking }];
    (Wasi::with(Guest { listeners, limits, ..Guest::default() }, false), address)
}

async fn accept(wasi: &mut Wasi, flags: u32) -> Result<u32, Errno> {
    let at = wasi.room(4);
    wasi.call_waiting("sock_accept", &[LISTENER.into(), flags.into(), at.into()]).await?;
    Ok(wasi.u32(at))
}

/// A guest with an accepted connection, and the other end of it.
pub(super) async fn pair() -> (Wasi, u32, TcpStream) {
    let (mut wasi, address) = listening(false, Limits::default()).await;
    let (fd, peer) = tokio::join!(accept(&mut wasi, 0), TcpStream::connect(address));
    (wasi, fd.unwrap(), peer.unwrap())
}

async fn recv(wasi: &mut Wasi, fd: u32, len: usize, flags: u64) -> Result<Vec<u8>, Errno> {
    let (buf, read, out_flags) = (wasi.room(len), wasi.room(4), wasi.put(&[0xff; 2]));
    let iovs = wasi.put(&[buf.to_le_bytes(), (len as u32).to_le_bytes()].concat());
    let args = [fd.into(), iovs.into(), 1, flags, read.into(), out_flags.into()];
    wasi.call_waiting("sock_recv", &args).await?;
    assert_eq!(wasi.u16(out_flags), 0);
    Ok(wasi.bytes(buf, wasi.u32(read) as usize).to_vec())
}

async fn send(wasi: &mut Wasi, fd: u32, bytes: &[u8], flags: u64) -> Result<usize, Errno> {
    let (buf, written) = (wasi.put(bytes), wasi.room(4));
    let iovs = wasi.put(&[buf.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat());
    wasi.call_waiting("sock_send", &[fd.into(), iovs.into(), 1, flags, written.into()]).await?;
    Ok(wasi.u32(written) as usize)
}

#[tokio::test]
async fn a_listener_looks_like_one() {
    let (mut wasi, _) = listening(false, Limits::default()).await;
    let stat = wasi.fdstat(LISTENER).unwrap();
    assert_eq!((stat.filetype, stat.flags), (6, 0));
    assert_eq!(wasi.filestat(LISTENER).unwrap().filetype, 6);
    // The scan for directories ends here.
    let at = wasi.room(8);
    let args = [LISTENER.into(), at.into()];
    assert_eq!(wasi.call("fd_prestat_get", &args), Err(Errno::Badf));
    assert_eq!(wasi.state.env, ["LISTEN_FDS=1"]);
    // It is no connection.
    assert_eq!(wasi.read(LISTENER, &[1]), Err(Errno::Notconn));
    assert_eq!(recv(&mut wasi, LISTENER, 1, 0).await, Err(Errno::Notconn));
    assert_eq!(send(&mut wasi, LISTENER, b"x", 0).await, Err(Errno::Notconn));
    let shutdown = wasi.call("sock_shutdown", &[LISTENER.into(), RD]);
    assert_eq!(shutdown, Err(Errno::Notconn));

    let (mut wasi, _) = listening(true, Limits::default()).await;
    assert_eq!(wasi.fdstat(LISTENER).unwrap().flags, fdflags::NONBLOCK);
}

#[tokio::test]
async fn accepting_waits_unless_told_not_to() {
    let (mut wasi, address) = listening(true, Limits::default()).await;
    let at = wasi.room(4);
    let args = [LISTENER.into(), 0, at.into()];
    assert_eq!(wasi.call("sock_accept", &args), Err(Errno::Again));
    wasi.call("fd_fdstat_set_flags", &[LISTENER.into(), 0]).unwrap();
    assert!(matches!(wasi.attempt("sock_accept", &args), Err(Stop::Wait)));
    let (accepted, _peer) = tokio::join!(accept(&mut wasi, fdflags::NONBLOCK), TcpStream::connect(address));
    let fd = accepted.unwrap();
    let stat = wasi.fdstat(fd).unwrap();
    assert_eq!((stat.filetype, stat.flags), (6, fdflags::NONBLOCK));
    assert_eq!(wasi.read(fd, &[1]), Err(Errno::Again));
    // Blocking again, it waits.
    wasi.call("fd_fdstat_set_flags", &[fd.into(), 0]).unwrap();
    let (buf, read) = (wasi.room(8), wasi.room(4));
    let iovs = wasi.put(&[buf.to_le_bytes(), 8_u32.to_le_bytes()].concat());
    let args = [fd.into(), iovs.into(), 1, read.into()];
    assert!(matches!(wasi.attempt("fd_read", &args), Err(Stop::Wait)));
}

/// A guest behind a gate, and a second socket that the gate may lead to.
async fn gated() -> (Wasi, Gate, std::net::SocketAddr, Arc<TcpListener>) {
    let [first, second] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let address = first.local_addr().unwrap();
    let gate = Gate::from(first);
    let listeners = vec![Listener { socket: gate.clone(), port: 7878, nonblocking: false }];
    (Wasi::with(Guest { listeners, ..Guest::default() }, false), gate, address, Arc::new(second))
}

#[tokio::test]
async fn a_gate_leads_elsewhere_while_the_guest_waits_and_while_it_does_not() {
    let (mut wasi, gate, first, second) = gated().await;
    let other = second.local_addr().unwrap();
    let (accepted, _) = tokio::join!(accept(&mut wasi, 0), async {
        tokio::task::yield_now().await;
        gate.lead_to(Arc::clone(&second));
        TcpStream::connect(other).await.unwrap()
    });
    accepted.unwrap();
    // What comes to the first one is not for this guest any more.
    let _peer = TcpStream::connect(first).await;
    let at = wasi.room(4);
    let args = [LISTENER.into(), 0, at.into()];
    assert!(matches!(wasi.attempt("sock_accept", &args), Err(Stop::Wait)));
    gate.lead_to(Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap()));
    assert!(matches!(wasi.attempt("sock_accept", &args), Err(Stop::Wait)), "and not for the second one either");
}

#[tokio::test]
async fn behind_a_shut_gate_nobody_comes_and_what_waits_stays_for_others() {
    let (mut wasi, gate, address, _) = gated().await;
    let owner = gate.socket().unwrap();
    gate.shut();
    let _peer = TcpStream::connect(address).await.unwrap();
    let at = wasi.room(4);
    assert!(matches!(wasi.attempt("sock_accept", &[LISTENER.into(), 0, at.into()]), Err(Stop::Wait)));
    owner.accept().await.unwrap();
}

#[tokio::test]
async fn at_the_last_call_connections_end_that_were_answered() {
    let (mut wasi, gate, address, _) = gated().await;
    let mut connect = async || {
        let (fd, peer) = tokio::join!(accept(&mut wasi, 0), TcpStream::connect(address));
        (fd.unwrap(), peer.unwrap())
    };
    let ((answered, _a), (asked, mut b)) = (connect().await, connect().await);
    send(&mut wasi, answered, b"200", 0).await.unwrap();
    let (end, ()) = tokio::join!(recv(&mut wasi, answered, 1, 0), async { gate.last_call() });
    assert_eq!(end, Ok(Vec::new()), "also for who waits already");
    let (read, _) = tokio::join!(recv(&mut wasi, asked, 4, 0), b.write_all(b"GET "));
    assert_eq!(read, Ok(b"GET ".to_vec()), "who was not answered yet is listened to");
    send(&mut wasi, asked, b"200", 0).await.unwrap();
    assert_eq!(recv(&mut wasi, asked, 1, 0).await, Ok(Vec::new()));
}

#[tokio::test]
async fn what_cannot_accept() {
    let (mut wasi, _) = listening(false, Limits::default()).await;
    let at = u64::from(wasi.room(4));
    assert_eq!(wasi.call("sock_accept", &[99, 0, at]), Err(Errno::Badf));
    assert_eq!(wasi.call("sock_accept", &[0, 0, at]), Err(Errno::Notsock));
    assert_eq!(wasi.call("sock_accept", &[ROOT.into(), 0, at]), Err(Errno::Notsock));
    // Only one flag makes sense on a connection.
    for flags in [fdflags::APPEND, fdflags::SYNC, 1 << 5, u32::MAX] {
        let args = [LISTENER.into(), flags.into(), at];
        assert_eq!(wasi.call("sock_accept", &args), Err(Errno::Inval));
    }
    wasi.call("fd_fdstat_set_rights", &[LISTENER.into(), 0, 0]).unwrap();
    let args = [LISTENER.into(), 0, at];
    assert_eq!(wasi.call("sock_accept", &args), Err(Errno::Notcapable));
}

/// The connection stays in the queue for when there is a place.
#[tokio::test]
async fn accepting_without_room_takes_nothing() {
    let limits = Limits { descriptors: 5, ..Limits::default() };
    let (mut wasi, address) = listening(false, limits).await;
    let mut peer = TcpStream::connect(address).await.unwrap();
    assert_eq!(accept(&mut wasi, 0).await, Err(Errno::Mfile));
    wasi.close(0).unwrap();
    assert_eq!(accept(&mut wasi, 0).await, Ok(0));
    peer.write_all(b"hello").await.unwrap();
    assert_eq!(wasi.read_waiting(0, &[8]).await, Ok(b"hello".to_vec()));
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let (mut wasi, fd, mut peer) = pair().await;
    assert_eq!(wasi.write(fd, &[b"ab", b"", b"cd"]), Ok(4));
    assert_eq!(send(&mut wasi, fd, b"ef", 0).await, Ok(2));
    let mut got = [0; 6];
    peer.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"abcdef");
    peer.write_all(b"0123456789").await.unwrap();
    assert_eq!(recv(&mut wasi, fd, 4, 0).await, Ok(b"0123".to_vec()));
    assert_eq!(wasi.read_waiting(fd, &[2, 2]).await, Ok(b"4567".to_vec()));
    // What is peeked at stays.
    assert_eq!(recv(&mut wasi, fd, 8, PEEK).await, Ok(b"89".to_vec()));
    assert_eq!(recv(&mut wasi, fd, 8, 0).await, Ok(b"89".to_vec()));
    // A connection accepts none.
    let at = wasi.room(4);
    assert_eq!(wasi.call("sock_accept", &[fd.into(), 0, at.into()]), Err(Errno::Inval));
    // Sockets have no positions and no size.
    assert_eq!(wasi.seek(fd, 0, 0), Err(Errno::Spipe));
    assert_eq!(wasi.pread(fd, 1, 0), Err(Errno::Spipe));
    assert_eq!(wasi.pwrite(fd, b"x", 0), Err(Errno::Spipe));
    assert_eq!(wasi.call("fd_filestat_set_size", &[fd.into(), 0]), Err(Errno::Inval));
}

#[tokio::test]
async fn flags_of_receiving_and_sending() {
    let (mut wasi, fd, _peer) = pair().await;
    assert_eq!(recv(&mut wasi, fd, 1, 4).await, Err(Errno::Inval));
    assert_eq!(recv(&mut wasi, fd, 1, PEEK | WAITALL).await, Err(Errno::Notsup));
    assert_eq!(send(&mut wasi, fd, b"x", 1).await, Err(Errno::Inval));
    let file = wasi.file("f", b"abc");
    assert_eq!(recv(&mut wasi, file, 1, 0).await, Err(Errno::Notsock));
    assert_eq!(send(&mut wasi, file, b"x", 0).await, Err(Errno::Notsock));
    assert_eq!(recv(&mut wasi, 99, 1, 0).await, Err(Errno::Badf));
    assert_eq!(send(&mut wasi, 99, b"x", 0).await, Err(Errno::Badf));
}

/// "On byte-stream sockets, block until the full amount of data can be returned."
#[tokio::test]
async fn receiving_all_of_it() {
    let (mut wasi, fd, mut peer) = pair().await;
    let (buf, read, out_flags) = (wasi.room(8), wasi.room(4), wasi.room(2));
    let spans = [buf, 3, 0, 0, buf + 3, 5];
    let iovs = wasi.put(&spans.map(u32::to_le_bytes).concat());
    let args = [fd, iovs, 3, WAITALL as u32, read, out_flags].map(u64::from);
    // Piece by piece, across the buffers' ends.
    for piece in [&b"a"[..], b"bc", b"defg"] {
        peer.write_all(piece).await.unwrap();
        let last = piece[piece.len() - 1];
        while wasi.bytes(buf, 8).iter().all(|byte| *byte != last) {
            assert!(matches!(wasi.attempt("sock_recv", &args), Err(Stop::Wait)));
            tokio::task::yield_now().await;
        }
    }
    peer.write_all(b"hi").await.unwrap();
    assert_eq!(wasi.call_waiting("sock_recv", &args).await, Ok(()));
    assert_eq!((wasi.bytes(buf, 8), wasi.u32(read)), (&b"abcdefgh"[..], 8));
    // The end is all there is.
    drop(peer);
    assert_eq!(wasi.call_waiting("sock_recv", &args).await, Ok(()));
    assert_eq!((wasi.bytes(buf, 1), wasi.u32(read)), (&b"i"[..], 1));
    assert_eq!(wasi.call_waiting("sock_recv", &args).await, Ok(()));
    assert_eq!(wasi.u32(read), 0);
}

#[tokio::test]
async fn receiving_all_that_there_is_without_waiting() {
    let (mut wasi, fd, mut peer) = pair().await;
    wasi.call("fd_fdstat_set_flags", &[fd.into(), fdflags::NONBLOCK.into()]).unwrap();
    assert_eq!(recv(&mut wasi, fd, 8, WAITALL).await, Err(Errno::Again));
    peer.write_all(b"abc").await.unwrap();
    assert_eq!(recv(&mut wasi, fd, 8, WAITALL).await, Ok(b"abc".to_vec()));
}

/// More than the network holds: the guest waits until the other end reads.
#[tokio::test]
async fn writing_waits_for_room() {
    let (mut wasi, fd, mut peer) = pair().await;
    let block = vec![7; 64 * 1024];
    let free = wasi.room(0);
    let total = 8 * 1024 * 1024;
    let writing = async {
        let mut left = total;
        while left > 0 {
            left -= send(&mut wasi, fd, &block[..left.min(block.len())], 0).await.unwrap();
            wasi.reset(free);
        }
        wasi.close(fd).unwrap();
    };
    let mut got = Vec::new();
    let ((), read) = tokio::join!(writing, peer.read_to_end(&mut got));
    assert_eq!(read.unwrap(), total);
}

#[tokio::test]
async fn shutting_down() {
    let (mut wasi, fd, mut peer) = pair().await;
    for how in [0, 4, 7, u64::from(u32::MAX)] {
        assert_eq!(wasi.call("sock_shutdown", &[fd.into(), how]), Err(Errno::Inval));
    }
    assert_eq!(wasi.call("sock_shutdown", &[99, WR]), Err(Errno::Badf));
    assert_eq!(wasi.call("sock_shutdown", &[ROOT.into(), WR]), Err(Errno::Notsock));
    assert_eq!(wasi.call("sock_shutdown", &[fd.into(), WR]), Ok(()));
    assert_eq!(wasi.write(fd, &[b"x"]), Err(Errno::Pipe));
    let mut got = Vec::new();
    assert_eq!(peer.read_to_end(&mut got).await.unwrap(), 0);
    // The other direction is still open.
    peer.write_all(b"abc").await.unwrap();
    assert_eq!(wasi.read_waiting(fd, &[8]).await, Ok(b"abc".to_vec()));
    assert_eq!(wasi.call("sock_shutdown", &[fd.into(), RD | WR]), Ok(()));
    assert_eq!(wasi.read_waiting(fd, &[8]).await, Ok(vec![]));
}
