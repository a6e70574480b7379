//! How each extension writes an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::fds::Family;
use crate::memory::{Memory, OutOfBounds, Span};
use crate::p1::Errno;

/// WasmEdge's: a pointer to and the length of four or sixteen bytes, in the network's order, or of the 128 of
/// a storage, which begins with the family. The port stands elsewhere.
pub(super) mod wasmedge {
    use super::*;

    const STORAGE_BYTES: u32 = 128;

    pub(in crate::p1::sockets) const INET4: u32 = 1;
    pub(in crate::p1::sockets) const INET6: u32 = 2;

    pub(in crate::p1::sockets) fn family(family: u32) -> Result<Family, Errno> {
        match family {
            INET4 => Ok(Family::V4),
            INET6 => Ok(Family::V6),
            _ => Err(Errno::Afnosupport),
        }
    }

    pub(in crate::p1::sockets) fn number(family: Family) -> u32 {
        match family {
            Family::V4 => INET4,
            Family::V6 => INET6,
        }
    }

    pub(in crate::p1::sockets) fn read(memory: &Memory<'_>, at: u32, port: u32) -> Result<SocketAddr, Errno> {
        let Span { at, len } = memory.span(at, 0)?;
        memory.check(at, len)?;
        let port = u16::try_from(port).map_err(|_| Errno::Inval)?;
        let ip = match len {
            4 => ip4(memory, at)?,
            16 => ip6(memory, at)?,
            STORAGE_BYTES => match u16::from_le_bytes(memory.array(at)?).into() {
                INET4 => ip4(memory, at + 2)?,
                INET6 => ip6(memory, at + 2)?,
                _ => return Err(Errno::Afnosupport),
            },
            _ => return Err(Errno::Inval),
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// Checks that an address can be written there: asked before what is to be written is known.
    pub(in crate::p1::sockets) fn check(memory: &Memory<'_>, at: u32) -> Result<(), Errno> {
        let Span { at, len } = memory.span(at, 0)?;
        memory.check(at, len)?;
        if matches!(len, 4 | 16 | STORAGE_BYTES) { Ok(()) } else { Err(Errno::Inval) }
    }

    pub(in crate::p1::sockets) fn write(memory: &mut Memory<'_>, at: u32, address: SocketAddr) -> Result<(), Errno> {
        let Span { at, len } = memory.span(at, 0)?;
        let start = match len {
            STORAGE_BYTES => {
                memory.put(at, &(number(Family::of(address)) as u16).to_le_bytes())?;
                2
            }
            _ => 0,
        };
        match address.ip() {
            IpAddr::V4(ip) => memory.put(at + start, &ip.octets())?,
            // An address of sixteen bytes does not fit into four.
            IpAddr::V6(_) if len < 16 => return Err(Errno::Inval),
            IpAddr::V6(ip) => memory.put(at + start, &ip.octets())?,
        }
        Ok(())
    }

    fn ip4(memory: &Memory<'_>, at: u32) -> Result<IpAddr, OutOfBounds> {
        Ok(Ipv4Addr::from(memory.array::<4>(at)?).into())
    }

    fn ip6(memory: &Memory<'_>, at: u32) -> Result<IpAddr, OutOfBounds> {
        Ok(Ipv6Addr::from(memory.array::<16>(at)?).into())
    }
}

/// WAMR's: 24 bytes, with the kind at 0 and the address at 4, of which an IPv6 one is eight numbers of sixteen
/// bits in the guest's order; the port comes after it.
pub(super) mod wamr {
    use super::*;

    pub(in crate::p1::sockets) const BYTES: u32 = 24;

    const IPV4: u32 = 0;
    const IPV6: u32 = 1;

    pub(in crate::p1::sockets) fn family(family: u32) -> Result<Family, Errno> {
        match family {
            IPV4 => Ok(Family::V4),
            IPV6 => Ok(Family::V6),
            _ => Err(Errno::Afnosupport),
        }
    }

    pub(in crate::p1::sockets) fn read(memory: &Memory<'_>, at: u32) -> Result<SocketAddr, Errno> {
        memory.check(at, BYTES)?;
        let ip = read_ip(memory, at)?;
        let port = at + if ip.is_ipv4() { 8 } else { 20 };
        Ok(SocketAddr::new(ip, u16::from_le_bytes(memory.array(port)?)))
    }

    /// An address without a port, which is 20 bytes.
    pub(in crate::p1::sockets) fn read_ip(memory: &Memory<'_>, at: u32) -> Result<IpAddr, Errno> {
        memory.check(at, 20)?;
        match family(memory.u32(at)?)? {
            Family::V4 => Ok(Ipv4Addr::from(memory.array::<4>(at + 4)?).into()),
            Family::V6 => {
                let bytes = memory.array::<16>(at + 4)?;
                let mut groups = [0; 8];
                for (group, bytes) in groups.iter_mut().zip(bytes.as_chunks().0) {
                    *group = u16::from_le_bytes(*bytes);
                }
                Ok(Ipv6Addr::from(groups).into())
            }
        }
    }

    pub(in crate::p1::sockets) fn write(memory: &mut Memory<'_>, at: u32, address: SocketAddr) -> Result<(), Errno> {
        let mut bytes = [0; BYTES as usize];
        match address.ip() {
            IpAddr::V4(ip) => {
                bytes[0..4].copy_from_slice(&IPV4.to_le_bytes());
                bytes[4..8].copy_from_slice(&ip.octets());
                bytes[8..10].copy_from_slice(&address.port().to_le_bytes());
            }
            IpAddr::V6(ip) => {
                bytes[0..4].copy_from_slice(&IPV6.to_le_bytes());
                for (bytes, group) in bytes[4..20].chunks_exact_mut(2).zip(ip.segments()) {
                    bytes.copy_from_slice(&group.to_le_bytes());
                }
                bytes[20..22].copy_from_slice(&address.port().to_le_bytes());
            }
        }
        memory.put(at, &bytes)?;
        Ok(())
    }
}
