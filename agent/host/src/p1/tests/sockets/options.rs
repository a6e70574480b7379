//! Options come back as they were set.

use super::*;

async fn connected(dialect: Dialect) -> (Wasi, u32, tokio::net::TcpStream) {
    let server = tokio::net::TcpListener::bind(v4(0)).await.unwrap();
    let address = server.local_addr().unwrap();
    let mut wasi = granted(&["127.0.0.1:*"], Grants::default());
    let fd = dialect.open(&mut wasi, address, Stream).unwrap();
    dialect.connect(&mut wasi, fd, address).await.unwrap();
    (wasi, fd, server.accept().await.unwrap().0)
}

fn set(wasi: &mut Wasi, fd: u32, name: u64, value: &[u8]) -> Result<(), Errno> {
    let at = wasi.put(value);
    wasi.call("sock_setsockopt", &[fd.into(), 0, name, at.into(), value.len() as u64])
}

fn get(wasi: &mut Wasi, fd: u32, name: u64, room: u32) -> Result<Vec<u8>, Errno> {
    let (at, size) = (wasi.room(room as usize), wasi.put(&room.to_le_bytes()));
    wasi.call("sock_getsockopt", &[fd.into(), 0, name, at.into(), size.into()])?;
    Ok(wasi.bytes(at, wasi.u32(size) as usize).to_vec())
}

mod so {
    pub(super) const REUSEADDR: u64 = 0;
    pub(super) const TYPE: u64 = 1;
    pub(super) const ERROR: u64 = 2;
    pub(super) const DONTROUTE: u64 = 3;
    pub(super) const BROADCAST: u64 = 4;
    pub(super) const SNDBUF: u64 = 5;
    pub(super) const RCVBUF: u64 = 6;
    pub(super) const KEEPALIVE: u64 = 7;
    pub(super) const OOBINLINE: u64 = 8;
    pub(super) const LINGER: u64 = 9;
    pub(super) const RCVLOWAT: u64 = 10;
    pub(super) const RCVTIMEO: u64 = 11;
    pub(super) const SNDTIMEO: u64 = 12;
    pub(super) const ACCEPTCONN: u64 = 13;
    pub(super) const BINDTODEVICE: u64 = 14;
}

#[tokio::test]
async fn wasmedges_come_back() {
    let mut wasi = granted(&[], Grants::default());
    let fd = WasmEdge.open(&mut wasi, v4(0), Stream).unwrap();
    for name in [so::REUSEADDR, so::BROADCAST, so::KEEPALIVE, so::OOBINLINE] {
        for on in [1_u32, 0] {
            assert_eq!(set(&mut wasi, fd, name, &on.to_le_bytes()), Ok(()));
            assert_eq!(option(&mut wasi, fd, name), Ok(on), "{name}");
        }
    }
    for name in [so::SNDBUF, so::RCVBUF] {
        assert_eq!(set(&mut wasi, fd, name, &16_384_u32.to_le_bytes()), Ok(()));
        // Linux reserves as much again for itself.
        assert_eq!(option(&mut wasi, fd, name), Ok(32_768), "{name}");
    }
    for name in [so::RCVTIMEO, so::SNDTIMEO] {
        assert_eq!(get(&mut wasi, fd, name, 16), Ok(vec![0; 16]));
        let mut time = [&3_u64.to_le_bytes()[..], &250_000_u64.to_le_bytes()].concat();
        // Padding can be anything.
        time[12..].fill(0xee);
        assert_eq!(set(&mut wasi, fd, name, &time), Ok(()));
        time[12..].fill(0);
        assert_eq!(get(&mut wasi, fd, name, 64), Ok(time.clone()));
        assert_eq!(set(&mut wasi, fd, name, &time[..8]), Err(Errno::Inval));
        time[8..12].copy_from_slice(&1_000_000_u32.to_le_bytes());
        assert_eq!(set(&mut wasi, fd, name, &time), Err(Errno::Inval));
        assert_eq!(get(&mut wasi, fd, name, 8), Err(Errno::Inval));
    }
    for linger in [[1_u32, 30], [0, 0]] {
        let linger = linger.map(u32::to_le_bytes).concat();
        assert_eq!(set(&mut wasi, fd, so::LINGER, &linger), Ok(()));
        assert_eq!(get(&mut wasi, fd, so::LINGER, 8), Ok(linger));
    }
    assert_eq!(set(&mut wasi, fd, so::LINGER, &[0; 4]), Err(Errno::Inval));
    assert_eq!(get(&mut wasi, fd, so::BINDTODEVICE, 16), Ok(vec![]));
    for (name, value) in [(so::TYPE, 2), (so::ERROR, 0), (so::ACCEPTCONN, 0)] {
        assert_eq!(option(&mut wasi, fd, name), Ok(value));
        assert_eq!(set(&mut wasi, fd, name, &[0; 4]), Err(Errno::Noprotoopt));
    }
    let datagram = WasmEdge.open(&mut wasi, v4(0), Datagram).unwrap();
    assert_eq!(option(&mut wasi, datagram, so::TYPE), Ok(1));
}

#[tokio::test]
async fn wasmedges_that_there_are_not() {
    let mut wasi = granted(&[], Grants::default());
    let fd = WasmEdge.open(&mut wasi, v4(0), Stream).unwrap();
    for name in [so::DONTROUTE, so::RCVLOWAT, so::BINDTODEVICE] {
        assert_eq!(set(&mut wasi, fd, name, &[1, 0, 0, 0]), Err(Errno::Notsup));
    }
    for name in [15, 99, u64::from(u32::MAX)] {
        assert_eq!(set(&mut wasi, fd, name, &[1, 0, 0, 0]), Err(Errno::Noprotoopt));
        assert_eq!(option(&mut wasi, fd, name), Err(Errno::Noprotoopt));
    }
    let (at, size) = (wasi.room(4), wasi.put(&4_u32.to_le_bytes()));
    assert_eq!(wasi.call("sock_getsockopt", &[fd.into(), 1, 0, at.into(), size.into()]), Err(Errno::Inval));
    assert_eq!(wasi.call("sock_setsockopt", &[fd.into(), 1, 0, at.into(), 4]), Err(Errno::Inval));
    for name in [so::REUSEADDR, so::SNDBUF, so::ERROR] {
        assert_eq!(get(&mut wasi, fd, name, 3), Err(Errno::Inval));
    }
    assert_eq!(set(&mut wasi, fd, so::REUSEADDR, &[1]), Err(Errno::Inval));
    let file = wasi.file("f", b"");
    for fd in [(file, Errno::Notsock), (99, Errno::Badf)] {
        assert_eq!(option(&mut wasi, fd.0, so::TYPE), Err(fd.1));
        assert_eq!(set(&mut wasi, fd.0, so::RCVLOWAT, &[1; 4]), Err(fd.1));
    }
}

#[tokio::test]
async fn wamrs_come_back() {
    for loopback in loopbacks() {
        let mut wasi = granted(&[], Grants::default());
        let stream = u64::from(Wamr.open(&mut wasi, loopback, Stream).unwrap());
        let datagram = u64::from(Wamr.open(&mut wasi, loopback, Datagram).unwrap());
        let at = u64::from(wasi.room(8));
        // Each with a value that is not the one it has, how that is read, and how many bytes that is.
        let mut cases = vec![
            (datagram, "broadcast", 1, 1, 1),
            (datagram, "ip_multicast_ttl", 7, 7, 1),
            (stream, "ip_ttl", 33, 33, 1),
            (stream, "keep_alive", 1, 1, 1),
            (stream, "recv_buf_size", 16_384, 32_768, 4),
            (stream, "send_buf_size", 16_384, 32_768, 4),
            (stream, "recv_timeout", 1_234_567, 1_234_567, 8),
            (datagram, "send_timeout", 1, 1, 8),
            (stream, "reuse_addr", 1, 1, 1),
            (datagram, "reuse_port", 1, 1, 1),
            (stream, "tcp_keep_idle", 77, 77, 4),
            (stream, "tcp_keep_intvl", 5, 5, 4),
            (stream, "tcp_no_delay", 0, 0, 1),
        ];
        if loopback.is_ipv6() {
            cases.push((stream, "ipv6_only", 1, 1, 1));
        }
        for (fd, name, value, read, bytes) in cases {
            assert_eq!(wasi.call(&format!("sock_set_{name}"), &[fd, value]), Ok(()), "{name}");
            wasi.memory[at as usize..][..8].fill(0);
            assert_eq!(wasi.call(&format!("sock_get_{name}"), &[fd, at]), Ok(()), "{name}");
            assert_eq!(wasi.u64(at as u32), read, "{name}");
            // And no byte more.
            wasi.memory[at as usize..][..8].fill(0xee);
            wasi.call(&format!("sock_get_{name}"), &[fd, at]).unwrap();
            assert!(wasi.bytes(at as u32, 8)[bytes..].iter().all(|byte| *byte == 0xee), "{name}");
        }
        assert_eq!(wasi.call("sock_set_linger", &[stream, 1, 20]), Ok(()));
        assert_eq!(wasi.call("sock_get_linger", &[stream, at, at + 4]), Ok(()));
        assert_eq!((wasi.bytes(at as u32, 1)[0], wasi.u32(at as u32 + 4)), (1, 20));
        let v6 = u64::from(loopback.is_ipv6());
        for on in [0, 1] {
            assert_eq!(wasi.call("sock_set_ip_multicast_loop", &[datagram, v6, on]), Ok(()));
            assert_eq!(wasi.call("sock_get_ip_multicast_loop", &[datagram, v6, at]), Ok(()));
            assert_eq!(u64::from(wasi.bytes(at as u32, 1)[0]), on);
        }
        assert_eq!(wasi.call("sock_get_tcp_quick_ack", &[stream, at]), Ok(()));
        assert_eq!(wasi.call("sock_set_tcp_quick_ack", &[stream, 0]), Ok(()));
        for name in ["sock_get_tcp_fastopen_connect", "sock_set_tcp_fastopen_connect"] {
            assert_eq!(wasi.call(name, &[stream, at]), Err(Errno::Notsup));
        }
    }
}

#[tokio::test]
async fn a_multicast_group_is_joined_and_left() {
    let mut wasi = granted(&[], Grants::default());
    let fd = Wamr.open(&mut wasi, v4(0), Datagram).unwrap();
    let loopback = u64::from(u32::from_le_bytes([127, 0, 0, 1]));
    let group = Wamr.address(&mut wasi, "239.1.2.3:0".parse().unwrap())[0];
    let unicast = Wamr.address(&mut wasi, v4(0))[0];
    let args = |group| [u64::from(fd), group, loopback];
    assert_eq!(wasi.call("sock_set_ip_add_membership", &args(group)), Ok(()));
    assert_eq!(wasi.call("sock_set_ip_add_membership", &args(group)), Err(Errno::Addrinuse));
    assert_eq!(wasi.call("sock_set_ip_drop_membership", &args(group)), Ok(()));
    assert_eq!(wasi.call("sock_set_ip_drop_membership", &args(group)), Err(Errno::Addrnotavail));
    assert_eq!(wasi.call("sock_set_ip_add_membership", &args(unicast)), Err(Errno::Inval));
}

#[tokio::test]
async fn a_limit_of_waiting_is_kept() {
    for dialect in BOTH {
        let (mut wasi, fd, _peer) = connected(dialect).await;
        let micros = 20_000_u64;
        match dialect {
            WasmEdge => {
                let time = [0, micros].map(u64::to_le_bytes).concat();
                set(&mut wasi, fd, so::RCVTIMEO, &time).unwrap();
            }
            Wamr => wasi.call("sock_set_recv_timeout", &[fd.into(), micros]).unwrap(),
        }
        let start = std::time::Instant::now();
        for _ in 0..2 {
            assert_eq!(wasi.read_waiting(fd, &[1]).await, Err(Errno::Again));
        }
        assert!(start.elapsed() >= 2 * std::time::Duration::from_micros(micros));
        // The limit is each call's, and no other's.
        assert!(wasi.state.wait.since.is_none());
    }
}
