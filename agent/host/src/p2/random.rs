//! `wasi:random`. What may be insecure is as good as the rest: there is one source.

use super::abi::Buffer;
use super::call::{Cx, Stop, Trap};

pub(super) fn get_bytes(cx: &mut Cx<'_>, len: u64) -> Result<Buffer, Stop> {
    // More than a guest's memory could hold ends it here, before the host makes room for it.
    let limit = cx.memory.0.len() as u64;
    if len > limit {
        return Err(Trap("asked for more random bytes than its memory holds").into());
    }
    let mut bytes = vec![0; len as usize];
    fill(&mut bytes)?;
    // About the instructions that a guest would take to make them itself.
    cx.state.work += len;
    Ok(Buffer(bytes))
}

pub(super) fn get_u64(_: &mut Cx<'_>) -> Result<u64, Stop> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(super) fn seed(cx: &mut Cx<'_>) -> Result<[u64; 2], Stop> {
    Ok([get_u64(cx)?, get_u64(cx)?])
}

fn fill(bytes: &mut [u8]) -> Result<(), Trap> {
    getrandom::fill(bytes).map_err(|_| Trap("asked for random bytes on a machine that has none"))
}
