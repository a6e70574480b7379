//! Random bytes.

use std::mem;

use super::{Cx, Errno, Outcome, Stop};

/// Bytes that are made before the others have their turn: a millisecond of work on a small board.
const AT_ONCE: usize = 64 * 1024;

pub(super) fn get(cx: &mut Cx<'_>, buf: u32, len: u32) -> Outcome {
    let made = mem::take(&mut cx.state.wait.received);
    let rest = &mut cx.memory.slice_mut(buf, len)?[made as usize..];
    let now = rest.len().min(AT_ONCE);
    getrandom::fill(&mut rest[..now]).map_err(|_| Errno::Io)?;
    // About the instructions that a guest would take to make them itself.
    cx.state.work += now as u64;
    if now == rest.len() {
        return Ok(());
    }
    cx.state.wait.received = made + now as u32;
    cx.state.wait.turn = true;
    Err(Stop::Wait)
}
