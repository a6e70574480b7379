//! Random bytes.

use super::{Cx, Errno, Outcome};

pub(super) fn get(cx: &mut Cx<'_>, buf: u32, len: u32) -> Outcome {
    let bytes = cx.memory.slice_mut(buf, len)?;
    getrandom::fill(bytes).map_err(|_| Errno::Io)?;
    // About the instructions that a guest would take to make them itself.
    cx.state.work += u64::from(len);
    Ok(())
}
