//! WAMR's functions, as its `wasi_socket_ext.h` declares them.

use std::net::{IpAddr, SocketAddr};
use std::ptr;

/// A number of WASI's.
pub type Result<T> = std::result::Result<T, u32>;

#[derive(Clone, Copy)]
pub enum Type {
    Datagram = 0,
    Stream = 1,
}

/// Closed when it is dropped.
pub struct Socket(u32);

/// `__wasi_addr_t`: the kind, the address, and the port after it.
#[repr(C, align(4))]
#[derive(Clone, Copy, Default)]
struct Address([u8; 24]);

/// `__wasi_addr_info_t`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    address: Address,
    ty: u32,
}

/// `__wasi_addr_info_hints_t`.
#[repr(C)]
struct Hints {
    ty: u32,
    family: u32,
    enabled: u8,
}

/// `__wasi_ciovec_t`.
#[repr(C)]
struct Span {
    at: *const u8,
    len: usize,
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn sock_accept(fd: u32, flags: u32, accepted: *mut u32) -> u32;
    fn sock_addr_remote(fd: u32, address: *mut Address) -> u32;
    fn sock_addr_resolve(
        host: *const u8,
        service: *const u8,
        hints: *const Hints,
        results: *mut Info,
        max: u32,
        available: *mut u32,
    ) -> u32;
    fn sock_bind(fd: u32, address: *const Address) -> u32;
    fn sock_close(fd: u32) -> u32;
    fn sock_connect(fd: u32, address: *const Address) -> u32;
    fn sock_listen(fd: u32, backlog: u32) -> u32;
    fn sock_open(pool: u32, family: u32, ty: u32, fd: *mut u32) -> u32;
    fn sock_recv_from(fd: u32, spans: *const Span, count: u32, flags: u32, from: *mut Address, len: *mut u32) -> u32;
    fn sock_send_to(fd: u32, spans: *const Span, count: u32, flags: u32, to: *const Address, len: *mut u32) -> u32;
}

impl Socket {
    /// For addresses of the same family as this one.
    pub fn open(like: SocketAddr, ty: Type) -> Result<Self> {
        let mut fd = 0;
        // SAFETY: the host writes a descriptor there.
        done(unsafe { sock_open(u32::MAX, like.is_ipv6().into(), ty as u32, &mut fd) })?;
        Ok(Self(fd))
    }

    pub fn bind(&self, address: SocketAddr) -> Result<()> {
        // SAFETY: the host reads an address there.
        done(unsafe { sock_bind(self.0, &address.into()) })
    }

    pub fn listen(&self) -> Result<()> {
        // SAFETY: no pointers.
        done(unsafe { sock_listen(self.0, 16) })
    }

    pub fn accept(&self) -> Result<Self> {
        let mut fd = 0;
        // SAFETY: the host writes a descriptor there.
        done(unsafe { sock_accept(self.0, 0, &mut fd) })?;
        Ok(Self(fd))
    }

    pub fn connect(&self, to: SocketAddr) -> Result<()> {
        // SAFETY: the host reads an address there.
        done(unsafe { sock_connect(self.0, &to.into()) })
    }

    pub fn remote(&self) -> Result<SocketAddr> {
        let mut address = Address::default();
        // SAFETY: the host writes an address there.
        done(unsafe { sock_addr_remote(self.0, &mut address) })?;
        Ok(address.into())
    }

    pub fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        let span = Span { at: buffer.as_mut_ptr(), len: buffer.len() };
        let (mut from, mut len) = (Address::default(), 0);
        // SAFETY: the host writes into the buffer, and its results where they belong.
        done(unsafe { sock_recv_from(self.0, &span, 1, 0, &mut from, &mut len) })?;
        Ok((len as usize, from.into()))
    }

    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Result<usize> {
        let span = Span { at: bytes.as_ptr(), len: bytes.len() };
        let mut len = 0;
        // SAFETY: the host reads the bytes and the address.
        done(unsafe { sock_send_to(self.0, &span, 1, 0, &to.into(), &mut len) })?;
        Ok(len as usize)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: no pointers. What cannot be closed is closed already.
        let _ = unsafe { sock_close(self.0) };
    }
}

/// A name's addresses, at the port of HTTP.
pub fn resolve(name: &str) -> Result<Vec<SocketAddr>> {
    const MAX: usize = 16;

    let (name, service) = (format!("{name}\0"), c"http");
    let hints = Hints { ty: Type::Stream as u32, family: 0, enabled: 1 };
    let (mut results, mut available) = ([Info::default(); MAX], 0);
    // SAFETY: the host reads two texts and the hints, and writes so many results and their number.
    done(unsafe {
        sock_addr_resolve(
            name.as_ptr(),
            service.as_ptr().cast(),
            ptr::from_ref(&hints),
            results.as_mut_ptr(),
            MAX as u32,
            &mut available,
        )
    })?;
    let found = results.into_iter().take(available as usize).filter(|info| info.ty == hints.ty);
    Ok(found.map(|info| info.address.into()).collect())
}

fn done(errno: u32) -> Result<()> {
    if errno == 0 { Ok(()) } else { Err(errno) }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; 24];
        bytes[0] = address.is_ipv6().into();
        let port = match address.ip() {
            IpAddr::V4(ip) => {
                bytes[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                for (bytes, group) in bytes[4..20].chunks_exact_mut(2).zip(ip.segments()) {
                    bytes.copy_from_slice(&group.to_le_bytes());
                }
                20
            }
        };
        bytes[port..port + 2].copy_from_slice(&address.port().to_le_bytes());
        Self(bytes)
    }
}

impl From<Address> for SocketAddr {
    fn from(Address(bytes): Address) -> Self {
        let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        match bytes[0] {
            0 => ([bytes[4], bytes[5], bytes[6], bytes[7]], number(8)).into(),
            _ => (std::array::from_fn::<_, 8, _>(|group| number(4 + 2 * group)), number(20)).into(),
        }
    }
}
