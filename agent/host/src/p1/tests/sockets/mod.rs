//! The socket extensions: the same behaviour in both dialects, called as a guest calls them.

mod hostile;
mod names;
mod options;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::harness::{Wasi, fdflags};
use crate::grants::{Grants, Reach};
use crate::guest::Guest;
use crate::p1::Errno;

/// How an extension writes what both mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    WasmEdge,
    Wamr,
}

use Dialect::{Wamr, WasmEdge};

const BOTH: [Dialect; 2] = [WasmEdge, Wamr];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    Stream,
    Datagram,
}

use Ty::{Datagram, Stream};

/// A guest that may reach these.
fn granted(connect: &[&str], grants: Grants) -> Wasi {
    let connect = connect.iter().map(|text| text.parse::<Reach>().unwrap()).collect();
    Wasi::with(Guest { grants: Grants { connect, ..grants }, ..Guest::default() }, false)
}

fn v4(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn v6(port: u16) -> SocketAddr {
    (Ipv6Addr::LOCALHOST, port).into()
}

/// Loopback's addresses, of both families where this machine has both.
fn loopbacks() -> Vec<SocketAddr> {
    let both = [v4(0), v6(0)];
    let there = both.into_iter().filter(|address| match std::net::UdpSocket::bind(address) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("skipped for {address}: {error}");
            false
        }
    });
    there.collect()
}

fn nonblocking(wasi: &mut Wasi, fd: u32) {
    wasi.call("fd_fdstat_set_flags", &[fd.into(), fdflags::NONBLOCK.into()]).unwrap();
}

impl Dialect {
    fn open(self, wasi: &mut Wasi, like: SocketAddr, ty: Ty) -> Result<u32, Errno> {
        let family = u64::from(like.is_ipv6());
        let at = wasi.room(4);
        match self {
            WasmEdge => {
                let ty = if ty == Stream { 2 } else { 1 };
                wasi.call("sock_open", &[family + 1, ty, at.into()])?;
            }
            Wamr => {
                let ty = u64::from(ty == Stream);
                wasi.call("sock_open", &[0, family, ty, at.into()])?;
            }
        }
        Ok(wasi.u32(at))
    }

    /// The arguments that stand for an address.
    fn address(self, wasi: &mut Wasi, address: SocketAddr) -> Vec<u64> {
        match self {
            WasmEdge => {
                let ip = match address.ip() {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                let buf = wasi.put(&ip);
                let at = wasi.put(&[buf.to_le_bytes(), (ip.len() as u32).to_le_bytes()].concat());
                vec![at.into(), address.port().into()]
            }
            Wamr => {
                let mut bytes = vec![0; 24];
                bytes[0] = u8::from(address.is_ipv6());
                match address.ip() {
                    IpAddr::V4(ip) => bytes[4..8].copy_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => {
                        let words = ip.segments().map(u16::to_le_bytes).concat();
                        bytes[4..20].copy_from_slice(&words);
                    }
                }
                let port = if address.is_ipv4() { 8 } else { 20 };
                bytes[port..port + 2].copy_from_slice(&address.port().to_le_bytes());
                vec![wasi.put(&bytes).into()]
            }
        }
    }

    fn bind(self, wasi: &mut Wasi, fd: u32, address: SocketAddr) -> Result<(), Errno> {
        let mut args = vec![fd.into()];
        args.extend(self.address(wasi, address));
        wasi.call("sock_bind", &args)
    }

    async fn connect(self, wasi: &mut Wasi, fd: u32, address: SocketAddr) -> Result<(), Errno> {
        let mut args = vec![fd.into()];
        args.extend(self.address(wasi, address));
        wasi.call_waiting("sock_connect", &args).await
    }

    async fn accept(self, wasi: &mut Wasi, fd: u32) -> Result<u32, Errno> {
        let at = wasi.room(4);
        match self {
            WasmEdge => wasi.call_waiting("sock_accept", &[fd.into(), at.into()]).await?,
            Wamr => wasi.call_waiting("sock_accept", &[fd.into(), 0, at.into()]).await?,
        }
        Ok(wasi.u32(at))
    }

    async fn send_to(self, wasi: &mut Wasi, fd: u32, parts: &[&[u8]], to: SocketAddr) -> Result<usize, Errno> {
        let spans = parts.iter().map(|bytes| (wasi.put(bytes), bytes.len() as u32)).collect::<Vec<_>>();
        let iovs = wasi
            .put(&spans.iter().flat_map(|(at, len)| [*at, *len]).map(u32::to_le_bytes).collect::<Vec<_>>().concat());
        let written = wasi.room(4);
        let mut args = vec![fd.into(), iovs.into(), parts.len() as u64];
        let address = self.address(wasi, to);
        match self {
            WasmEdge => {
                args.extend(address);
                args.push(0);
            }
            Wamr => {
                args.push(0);
                args.extend(address);
            }
        }
        args.push(written.into());
        wasi.call_waiting("sock_send_to", &args).await?;
        Ok(wasi.u32(written) as usize)
    }

    async fn recv_from(
        self,
        wasi: &mut Wasi,
        fd: u32,
        lens: &[u32],
        flags: u64,
    ) -> Result<(Vec<u8>, SocketAddr), Errno> {
        let spans = lens.iter().map(|len| (wasi.room(*len as usize), *len)).collect::<Vec<_>>();
        let iovs = wasi
            .put(&spans.iter().flat_map(|(at, len)| [*at, *len]).map(u32::to_le_bytes).collect::<Vec<_>>().concat());
        let (storage, read, port, out_flags) = (wasi.room(128), wasi.room(4), wasi.room(4), wasi.room(4));
        let mut args = vec![fd.into(), iovs.into(), lens.len() as u64];
        match self {
            WasmEdge => {
                let at = wasi.put(&[storage.to_le_bytes(), 128_u32.to_le_bytes()].concat());
                args.extend([at.into(), flags, port.into(), read.into(), out_flags.into()]);
            }
            Wamr => args.extend([flags, storage.into(), read.into()]),
        }
        wasi.call_waiting("sock_recv_from", &args).await?;
        let from = self.read_address(wasi, storage, port);
        let all = spans.iter().flat_map(|(at, len)| wasi.bytes(*at, *len as usize)).copied();
        Ok((all.take(wasi.u32(read) as usize).collect(), from))
    }

    fn read_address(self, wasi: &Wasi, at: u32, port: u32) -> SocketAddr {
        match self {
            WasmEdge => {
                let ip: IpAddr = match wasi.u16(at) {
                    1 => <[u8; 4]>::try_from(wasi.bytes(at + 2, 4)).unwrap().into(),
                    2 => <[u8; 16]>::try_from(wasi.bytes(at + 2, 16)).unwrap().into(),
                    family => panic!("family {family}"),
                };
                (ip, wasi.u16(port)).into()
            }
            Wamr => match wasi.u32(at) {
                0 => {
                    let ip = <[u8; 4]>::try_from(wasi.bytes(at + 4, 4)).unwrap();
                    (ip, wasi.u16(at + 8)).into()
                }
                1 => {
                    let words = std::array::from_fn::<u16, 8, _>(|index| wasi.u16(at + 4 + 2 * index as u32));
                    (words, wasi.u16(at + 20)).into()
                }
                kind => panic!("kind {kind}"),
            },
        }
    }

    fn named(self, wasi: &mut Wasi, fd: u32, names: [&str; 2]) -> Result<SocketAddr, Errno> {
        let (storage, port) = (wasi.room(128), wasi.room(4));
        match self {
            WasmEdge => {
                let at = wasi.put(&[storage.to_le_bytes(), 128_u32.to_le_bytes()].concat());
                wasi.call(names[0], &[fd.into(), at.into(), port.into()])?;
            }
            Wamr => wasi.call(names[1], &[fd.into(), storage.into()])?,
        }
        Ok(self.read_address(wasi, storage, port))
    }

    fn local(self, wasi: &mut Wasi, fd: u32) -> Result<SocketAddr, Errno> {
        self.named(wasi, fd, ["sock_getlocaladdr", "sock_addr_local"])
    }

    fn peer(self, wasi: &mut Wasi, fd: u32) -> Result<SocketAddr, Errno> {
        self.named(wasi, fd, ["sock_getpeeraddr", "sock_addr_remote"])
    }
}

/// What `poll_oneoff` says when it may wait: the errno and the flags of each event.
async fn poll(wasi: &mut Wasi, fd: u32, write: bool) -> (u16, u16) {
    let mut subscription = [0; 48];
    subscription[8] = if write { 2 } else { 1 };
    subscription[16..20].copy_from_slice(&fd.to_le_bytes());
    let (at, event, count) = (wasi.put(&subscription), wasi.room(32), wasi.room(4));
    wasi.call_waiting("poll_oneoff", &[at.into(), event.into(), 1, count.into()]).await.unwrap();
    assert_eq!(wasi.u32(count), 1);
    (wasi.u16(event + 8), wasi.u16(event + 24))
}

/// WasmEdge's number of an option of four bytes.
fn option(wasi: &mut Wasi, fd: u32, name: u64) -> Result<u32, Errno> {
    let (at, size) = (wasi.room(4), wasi.put(&4_u32.to_le_bytes()));
    wasi.call("sock_getsockopt", &[fd.into(), 0, name, at.into(), size.into()])?;
    assert_eq!(wasi.u32(size), 4);
    Ok(wasi.u32(at))
}
