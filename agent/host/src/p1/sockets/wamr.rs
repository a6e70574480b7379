//! WAMR's socket extension. Its options are in [`options`](super::options).

use super::address::wamr as address;
use super::{Transport, resolve};
use crate::memory::Memory;
use crate::p1::{Cx, Errno, Outcome, Stop};

const DATAGRAM: u32 = 0;
const STREAM: u32 = 1;

/// There is one pool of addresses: the guest's grants.
pub(super) fn open(cx: &mut Cx<'_>, _pool: u32, family: u32, ty: u32, opened: u32) -> Outcome {
    let transport = match ty {
        DATAGRAM => Transport::Datagram,
        STREAM => Transport::Stream,
        _ => return Err(Errno::Inval.into()),
    };
    super::open(cx, address::family(family)?, transport, opened)
}

pub(super) fn bind(cx: &mut Cx<'_>, fd: u32, addr: u32) -> Outcome {
    let address = address::read(&cx.memory, addr)?;
    Ok(super::bind(cx.state, fd, address)?)
}

pub(super) fn connect(cx: &mut Cx<'_>, fd: u32, addr: u32) -> Outcome {
    let address = address::read(&cx.memory, addr)?;
    super::connect(cx, fd, address)
}

pub(super) fn recv_from(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32, addr: u32, read: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(addr, address::BYTES)?;
    cx.memory.check(read, 4)?;
    let received = super::recv_from(cx, fd, iovs, count, flags)?;
    address::write(&mut cx.memory, addr, received.from)?;
    cx.memory.put_u32(read, received.bytes)?;
    Ok(())
}

pub(super) fn send_to(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, flags: u32, addr: u32, written: u32) -> Outcome {
    cx.check_buffers(iovs, count)?;
    cx.memory.check(written, 4)?;
    let to = address::read(&cx.memory, addr)?;
    let n = super::send_to(cx, fd, iovs, count, flags, to)?;
    cx.memory.put_u32(written, n)?;
    Ok(())
}

pub(super) fn local(cx: &mut Cx<'_>, fd: u32, addr: u32) -> Outcome {
    let local = super::local(&mut cx.state.fds, fd)?;
    Ok(address::write(&mut cx.memory, addr, local)?)
}

pub(super) fn remote(cx: &mut Cx<'_>, fd: u32, addr: u32) -> Outcome {
    let remote = super::remote(&mut cx.state.fds, fd)?;
    Ok(address::write(&mut cx.memory, addr, remote)?)
}

/// `max` results are written at most; the guest is told how many there are, and asks again with more room.
pub(super) fn resolve(
    cx: &mut Cx<'_>,
    host: u32,
    service: u32,
    hints: u32,
    results: u32,
    max: u32,
    available: u32,
) -> Outcome {
    const RESULT_BYTES: u32 = address::BYTES + 4;

    let host = text(&cx.memory, host)?;
    let service = text(&cx.memory, service)?;
    cx.memory.check(available, 4)?;
    cx.memory.check(hints, 12)?;
    let (mut family, mut types) = (None, &[STREAM, DATAGRAM][..]);
    if cx.memory.array(hints + 8)? != [0] {
        types = match cx.memory.u32(hints)? {
            STREAM => &[STREAM],
            DATAGRAM => &[DATAGRAM],
            _ => return Err(Errno::Inval.into()),
        };
        family = Some(address::family(cx.memory.u32(hints + 4)?)?);
    }
    let port = resolve::port(&service).ok_or(Errno::Inval)?;
    // The standard's numbers are the only ones that a guest knows here.
    let addresses = resolve::addresses(cx, &host, family).map_err(|stop| match stop {
        Stop::Errno(Errno::Ainoname) => Errno::Noent.into(),
        Stop::Errno(Errno::Aiagain) => Errno::Timedout.into(),
        stop @ (Stop::Errno(_) | Stop::Wait | Stop::Exit(_)) => stop,
    })?;
    let mut count: u32 = 0;
    for ip in &addresses {
        for ty in types {
            if count < max {
                let at = count.checked_mul(RESULT_BYTES).and_then(|offset| results.checked_add(offset));
                let at = at.ok_or(Errno::Fault)?;
                cx.memory.check(at, RESULT_BYTES)?;
                address::write(&mut cx.memory, at, (*ip, port).into())?;
                cx.memory.put_u32(at + address::BYTES, *ty)?;
            }
            count += 1;
        }
    }
    cx.memory.put_u32(available, count)?;
    Ok(())
}

/// A text that ends with a zero.
fn text(memory: &Memory<'_>, at: u32) -> Result<String, Errno> {
    const BYTES_MAX: usize = 1024;

    let rest = memory.from(at)?;
    let rest = &rest[..rest.len().min(BYTES_MAX)];
    let Some(len) = rest.iter().position(|byte| *byte == 0) else {
        return Err(if rest.len() == BYTES_MAX { Errno::Nametoolong } else { Errno::Fault });
    };
    std::str::from_utf8(&rest[..len]).map(str::to_owned).map_err(|_| Errno::Ilseq)
}
