//! Waiting: for clocks, for descriptors, or for the others to have their turn.

use std::time::Duration;

use rustix::time::ClockId;
use tokio::time::Instant;

use super::{CALL_FUEL, Cx, Errno, Outcome, Stop, clock, descriptor};
use crate::fds::{Fds, Interest, Kind, Readiness, Rights};
use crate::memory::{Memory, OutOfBounds};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;

/// To read, to write, and two clocks: who waits for more waits for something twice, and each costs a system call
/// and memory of the host.
const SUBSCRIPTIONS_PER_DESCRIPTOR: usize = 4;

mod eventtype {
    pub(super) const CLOCK: u8 = 0;
    pub(super) const FD_READ: u8 = 1;
    pub(super) const FD_WRITE: u8 = 2;
}

pub(super) fn oneoff(cx: &mut Cx<'_>, subscriptions: u32, events: u32, count: u32, happened: u32) -> Outcome {
    if count == 0 {
        return Err(Errno::Inval.into());
    }
    let bytes = count.checked_mul(SUBSCRIPTION_BYTES).ok_or(OutOfBounds)?;
    cx.memory.check(subscriptions, bytes)?;
    cx.memory.check(events, count * EVENT_BYTES)?;
    cx.memory.check(happened, 4)?;
    let max = SUBSCRIPTIONS_PER_DESCRIPTOR.saturating_mul(cx.state.limits.descriptors);
    if count as usize > max {
        return Err(Errno::Inval.into());
    }

    let now = Instant::now();
    let since = cx.state.wait.since.take().unwrap_or(now);
    let mut written = 0;
    for index in 0..count {
        let subscription = Subscription::read(&cx.memory, subscriptions + index * SUBSCRIPTION_BYTES)?;
        let found = match subscription.to {
            To::Clock { id, timeout, absolute } => match due(id, timeout, absolute, since, now) {
                Ok(Some(due)) if due > now => {
                    let until = &mut cx.state.wait.until;
                    *until = Some(until.map_or(due, |until| until.min(due)));
                    continue;
                }
                // Further away than this machine can count.
                Ok(None) => continue,
                Ok(Some(_)) => Ok(Readiness::default()),
                Err(errno) => Err(errno),
            },
            To::Descriptor { fd, interest } => {
                match cx.state.fds.get(fd).map(|descriptor| &descriptor.kind) {
                    Some(Kind::Listener(_)) => cx.state.console.accepting(),
                    Some(Kind::Datagram(datagram)) if datagram.bound().is_some() => cx.state.console.accepting(),
                    _ => {}
                }
                match readiness(&mut cx.state.fds, fd, interest) {
                    Ok(None) => {
                        cx.state.wait.on.push((fd, interest));
                        continue;
                    }
                    Ok(Some(readiness)) => Ok(readiness),
                    Err(errno) => Err(errno),
                }
            }
        };
        let event = event(subscription.userdata, subscription.to.eventtype(), found);
        cx.memory.put(events + written * EVENT_BYTES, &event)?;
        written += 1;
    }
    cx.state.work += u64::from(count) * CALL_FUEL;
    if written == 0 {
        cx.state.wait.since = Some(since);
        return Err(Stop::Wait);
    }
    cx.memory.put_u32(happened, written)?;
    Ok(())
}

pub(super) fn sched_yield(cx: &mut Cx<'_>) -> Outcome {
    if cx.state.wait.since.take().is_some() {
        return Ok(());
    }
    cx.state.wait.since = Some(Instant::now());
    cx.state.wait.turn = true;
    Err(Stop::Wait)
}

/// A subscription, as a guest writes it.
struct Subscription {
    userdata: u64,
    to: To,
}

enum To {
    Clock { id: u32, timeout: u64, absolute: bool },
    Descriptor { fd: u32, interest: Interest },
}

impl Subscription {
    fn read(memory: &Memory<'_>, at: u32) -> Result<Self, Errno> {
        const ABSTIME: u16 = 1;

        // The list was checked as a whole, so that none of these sums overflows.
        let userdata = u64::from_le_bytes(memory.array(at)?);
        let [tag] = memory.array(at + 8)?;
        let to = match tag {
            eventtype::CLOCK => {
                let flags = u16::from_le_bytes(memory.array(at + 40)?);
                if flags & !ABSTIME != 0 {
                    return Err(Errno::Inval);
                }
                To::Clock {
                    id: memory.u32(at + 16)?,
                    timeout: u64::from_le_bytes(memory.array(at + 24)?),
                    absolute: flags & ABSTIME != 0,
                }
            }
            eventtype::FD_READ => To::Descriptor { fd: memory.u32(at + 16)?, interest: Interest::Read },
            eventtype::FD_WRITE => To::Descriptor { fd: memory.u32(at + 16)?, interest: Interest::Write },
            _ => return Err(Errno::Inval),
        };
        Ok(Self { userdata, to })
    }
}

impl To {
    fn eventtype(&self) -> u8 {
        match self {
            Self::Clock { .. } => eventtype::CLOCK,
            Self::Descriptor { interest: Interest::Read, .. } => eventtype::FD_READ,
            Self::Descriptor { interest: Interest::Write, .. } => eventtype::FD_WRITE,
        }
    }
}

/// When a clock's subscription is due; `None` is never.
fn due(id: u32, timeout: u64, absolute: bool, since: Instant, now: Instant) -> Result<Option<Instant>, Errno> {
    let clock: ClockId = clock::clock(id)?;
    let due = if absolute {
        // Looked at again after each wait, so that a clock that was set meanwhile counts.
        now.checked_add(Duration::from_nanos(timeout.saturating_sub(clock::now(clock))))
    } else {
        since.checked_add(Duration::from_nanos(timeout))
    };
    Ok(due)
}

/// What an operation on the descriptor would find; `None`: it would block.
fn readiness(fds: &mut Fds, fd: u32, interest: Interest) -> Result<Option<Readiness>, Errno> {
    let needed = match interest {
        Interest::Read => Rights::POLL_FD_READWRITE | Rights::FD_READ,
        Interest::Write => Rights::POLL_FD_READWRITE | Rights::FD_WRITE,
    };
    let descriptor = descriptor(fds, fd, needed)?;
    Ok(descriptor.readiness(interest))
}

fn event(userdata: u64, eventtype: u8, found: Result<Readiness, Errno>) -> [u8; EVENT_BYTES as usize] {
    const HANGUP: u16 = 1;

    let errno = found.err().map_or(0, |errno| errno as u16);
    let Readiness { bytes, hangup } = found.unwrap_or_default();
    let flags = if hangup { HANGUP } else { 0 };
    let mut event = [0; EVENT_BYTES as usize];
    event[0..8].copy_from_slice(&userdata.to_le_bytes());
    event[8..10].copy_from_slice(&errno.to_le_bytes());
    event[10] = eventtype;
    event[16..24].copy_from_slice(&bytes.to_le_bytes());
    event[24..26].copy_from_slice(&flags.to_le_bytes());
    event
}
