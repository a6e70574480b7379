//! Descriptors themselves: what they are, what may be done with them, and their numbers.

use rustix::fs::OFlags;

use super::stat::kind_type;
use super::{Cx, Errno, Outcome, descriptor};
use crate::fds::{Directory, Fds, Flags, Kind, Rights};

pub(super) fn close(cx: &mut Cx<'_>, fd: u32) -> Outcome {
    cx.state.fds.remove(fd).map(drop).ok_or(Errno::Badf.into())
}

pub(super) fn renumber(cx: &mut Cx<'_>, from: u32, to: u32) -> Outcome {
    cx.state.fds.renumber(from, to).ok_or(Errno::Badf.into())
}

pub(super) fn fdstat_get(cx: &mut Cx<'_>, fd: u32, stat: u32) -> Outcome {
    let descriptor = descriptor(&mut cx.state.fds, fd, Rights::NONE)?;
    let mut bytes = [0; 24];
    bytes[0] = kind_type(&descriptor.kind);
    bytes[2..4].copy_from_slice(&descriptor.flags.bits().to_le_bytes());
    bytes[8..16].copy_from_slice(&descriptor.rights.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&descriptor.inheriting.0.to_le_bytes());
    cx.memory.put(stat, &bytes)?;
    Ok(())
}

pub(super) fn fdstat_set_flags(cx: &mut Cx<'_>, fd: u32, flags: u32) -> Outcome {
    let flags = Flags::from_bits(flags).ok_or(Errno::Inval)?;
    let descriptor = descriptor(&mut cx.state.fds, fd, Rights::FD_FDSTAT_SET_FLAGS)?;
    if let Kind::File(file) = &descriptor.kind {
        // Where to write is the kernel's business; when to sync is done here, with each write.
        let appending = if flags.has(Flags::APPEND) { OFlags::APPEND } else { OFlags::empty() };
        rustix::fs::fcntl_setfl(file, appending | OFlags::NONBLOCK)?;
    }
    descriptor.flags = flags;
    Ok(())
}

/// Rights can only be given up.
pub(super) fn fdstat_set_rights(cx: &mut Cx<'_>, fd: u32, base: u64, inheriting: u64) -> Outcome {
    let descriptor = descriptor(&mut cx.state.fds, fd, Rights::NONE)?;
    let (base, inheriting) = (Rights(base), Rights(inheriting));
    if !descriptor.rights.contains(base) || !descriptor.inheriting.contains(inheriting) {
        return Err(Errno::Notcapable.into());
    }
    (descriptor.rights, descriptor.inheriting) = (base, inheriting);
    Ok(())
}

pub(super) fn prestat_get(cx: &mut Cx<'_>, fd: u32, stat: u32) -> Outcome {
    const DIRECTORY: u32 = 0;
    let name = preopen_name(&cx.state.fds, fd)?;
    let [a, b, c, d] = DIRECTORY.to_le_bytes();
    let [e, f, g, h] = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?.to_le_bytes();
    cx.memory.put(stat, &[a, b, c, d, e, f, g, h])?;
    Ok(())
}

pub(super) fn prestat_dir_name(cx: &mut Cx<'_>, fd: u32, at: u32, len: u32) -> Outcome {
    let name = preopen_name(&cx.state.fds, fd)?;
    if (len as usize) < name.len() {
        return Err(Errno::Nametoolong.into());
    }
    cx.memory.put(at, name.as_bytes())?;
    Ok(())
}

/// C libraries scan from 3 upward until EBADF, and take any other error for fatal.
fn preopen_name(fds: &Fds, fd: u32) -> Result<&str, Errno> {
    match fds.get(fd).map(|descriptor| &descriptor.kind) {
        Some(Kind::Directory(Directory { name: Some(name), .. })) => Ok(name),
        _ => Err(Errno::Badf),
    }
}
