//! Clocks.

use rustix::time::{ClockId, Timespec};

use super::{Cx, Errno, Outcome};

pub(super) fn res_get(cx: &mut Cx<'_>, id: u32, resolution: u32) -> Outcome {
    let clock = clock(id)?;
    let step = nanoseconds(rustix::time::clock_getres(clock));
    // The document wants it above zero for every clock that there is.
    cx.memory.put_u64(resolution, step.max(1))?;
    Ok(())
}

pub(super) fn time_get(cx: &mut Cx<'_>, id: u32, _precision: u64, time: u32) -> Outcome {
    let clock = clock(id)?;
    cx.memory.put_u64(time, now(clock))?;
    Ok(())
}

/// The clock of that number. A guest is neither a process nor a thread of this machine, so that
/// it has no clock of its own CPU time.
pub(super) fn clock(id: u32) -> Result<ClockId, Errno> {
    match id {
        0 => Ok(ClockId::Realtime),
        1 => Ok(ClockId::Monotonic),
        _ => Err(Errno::Inval),
    }
}

/// Nanoseconds since the clock's own beginning.
pub(crate) fn now(clock: ClockId) -> u64 {
    nanoseconds(rustix::time::clock_gettime(clock))
}

/// A board whose clock was never set is at its beginning, not before it.
fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
