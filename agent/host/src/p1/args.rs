//! Arguments and environment: lists of strings that end in NUL.

use super::{Cx, Outcome};
use crate::memory::Memory;

pub(super) fn args_get(cx: &mut Cx<'_>, argv: u32, buf: u32) -> Outcome {
    put_strings(&mut cx.memory, &cx.state.args, argv, buf)
}

pub(super) fn args_sizes_get(cx: &mut Cx<'_>, count: u32, bytes: u32) -> Outcome {
    put_sizes(&mut cx.memory, &cx.state.args, count, bytes)
}

pub(super) fn environ_get(cx: &mut Cx<'_>, environ: u32, buf: u32) -> Outcome {
    put_strings(&mut cx.memory, &cx.state.env, environ, buf)
}

pub(super) fn environ_sizes_get(cx: &mut Cx<'_>, count: u32, bytes: u32) -> Outcome {
    put_sizes(&mut cx.memory, &cx.state.env, count, bytes)
}

/// The strings one after the other at `buf`, and the address of each at `pointers`.
fn put_strings(memory: &mut Memory<'_>, strings: &[String], pointers: u32, buf: u32) -> Outcome {
    let (mut pointer, mut at) = (pointers, buf);
    for string in strings {
        memory.put_u32(pointer, at)?;
        memory.put(at, string.as_bytes())?;
        // Where a sum would overflow, what was just written did not fit.
        let end = at.saturating_add(size(string.len()));
        memory.put(end, &[0])?;
        at = end.saturating_add(1);
        pointer = pointer.saturating_add(4);
    }
    Ok(())
}

fn put_sizes(memory: &mut Memory<'_>, strings: &[String], count: u32, bytes: u32) -> Outcome {
    memory.put_u32(count, size(strings.len()))?;
    memory.put_u32(bytes, size(strings.iter().map(|string| string.len() + 1).sum()))?;
    Ok(())
}

/// More than 4 GiB of arguments: a size that no guest can have room for.
fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
