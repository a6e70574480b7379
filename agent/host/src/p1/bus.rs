//! Messages under names that were granted: the functions of this host's own module, `dunlin`.
//!
//! They are called as those of preview 1 are, and return its error numbers.

use std::time::Duration;

use tokio::time::Instant;
use wasmi::{Caller, Func, ValType};

use super::table::{Function, table};
use super::{Args, Call, Cx, Errno, Outcome, Stop, enter};
use crate::bus::{Message, NotTaken};
use crate::state::State;

pub(super) const MODULE: &str = "dunlin";

table! {
    pub(super) const FUNCTIONS;

    publish(topic: u32, topic_len: u32, payload: u32, payload_len: u32) -> errno = publish;
    receive(
        topic: u32, topic_room: u32, topic_len: u32, payload: u32, payload_room: u32, payload_len: u32, wait_ms: u32
    ) -> errno = receive;
}

/// The patience that has no end.
const FOREVER: u32 = u32::MAX;

/// `ACCES` for a name that is not granted, `MSGSIZE` for too long a message, `AGAIN` for too many.
fn publish(cx: &mut Cx<'_>, topic: u32, topic_len: u32, payload: u32, payload_len: u32) -> Outcome {
    let (topic, payload) = (cx.memory.slice(topic, topic_len)?, cx.memory.slice(payload, payload_len)?);
    let mailbox = cx.state.mailbox.as_mut().ok_or(Errno::Acces)?;
    // What is no text is no granted name either.
    let topic = std::str::from_utf8(topic).map_err(|_| Errno::Acces)?;
    mailbox.bus.publish(topic, payload).map_err(|why| match why {
        NotTaken::NotGranted => Errno::Acces,
        NotTaken::TooLong => Errno::Msgsize,
        NotTaken::TooMany => Errno::Again,
    })?;
    cx.moved(topic_len.saturating_add(payload_len));
    Ok(())
}

/// `AGAIN` if no message came in time. `MSGSIZE` if there is no room for it: its lengths are told, and it
/// is the next one again.
#[expect(clippy::too_many_arguments, reason = "two buffers, two lengths and a time are what it takes")]
fn receive(
    cx: &mut Cx<'_>,
    topic: u32,
    topic_room: u32,
    topic_len: u32,
    payload: u32,
    payload_room: u32,
    payload_len: u32,
    wait_ms: u32,
) -> Outcome {
    for (at, len) in [(topic, topic_room), (topic_len, 4), (payload, payload_room), (payload_len, 4)] {
        cx.memory.check(at, len)?;
    }
    let mailbox = cx.state.mailbox.as_mut().ok_or(Errno::Acces)?;
    let since = cx.state.wait.since.take();
    let Some(message) = mailbox.receive() else { return Err(wait(cx, since, wait_ms)) };
    let [topic_bytes, payload_bytes] =
        [message.topic.len(), message.payload.len()].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
    cx.memory.put_u32(topic_len, topic_bytes)?;
    cx.memory.put_u32(payload_len, payload_bytes)?;
    if topic_bytes > topic_room || payload_bytes > payload_room {
        mailbox.held = Some(message);
        return Err(Errno::Msgsize.into());
    }
    let Message { topic: name, payload: bytes } = message;
    cx.memory.put(topic, name.as_bytes())?;
    cx.memory.put(payload, &bytes)?;
    cx.moved(topic_bytes.saturating_add(payload_bytes));
    Ok(())
}

/// Suspends the guest until there is a message, or its patience is over.
fn wait(cx: &mut Cx<'_>, since: Option<Instant>, wait_ms: u32) -> Stop {
    if wait_ms != FOREVER {
        let now = Instant::now();
        let since = since.unwrap_or(now);
        let until = since + Duration::from_millis(wait_ms.into());
        if until <= now {
            return Errno::Again.into();
        }
        (cx.state.wait.since, cx.state.wait.until) = (Some(since), Some(until));
    }
    cx.state.wait.message = true;
    Stop::Wait
}
