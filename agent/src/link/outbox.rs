//! Messages that no broker has acknowledged yet.
//!
//! rumqttc forgets what it was given when a connection ends without a session, so it is never
//! trusted with the only copy: a message leaves here at its PUBACK.

use std::collections::VecDeque;

use bytes::Bytes;
use dunlin_core::limits;

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
}

impl Message {
    fn packet_bytes(&self) -> usize {
        around(&self.topic) + self.payload.len()
    }
}

/// Bytes of a packet around its payload at most: MQTT 5's fixed header, lengths, identifier and empty
/// properties are 10.
pub(super) const fn around(topic: &str) -> usize {
    topic.len() + 16
}

/// What to do with the next message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Hand it to the session.
    Send(Message),
    /// Give it up: the broker would end the connection over it, again and again.
    TooLarge(Message),
}

#[derive(Debug)]
struct Entry {
    message: Message,
    sent: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: VecDeque<Entry>,
    last_id: u64,
    dropped: u64,
    packet_bytes_max: Option<u32>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts a message at the end, or in the place of its older self.
    pub(super) fn push(&mut self, topic: String, payload: Bytes, retain: bool) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let same = |e: &&mut Entry| retain && !e.sent && e.message.retain && e.message.topic == topic;
        if let Some(older) = self.entries.iter_mut().find(same) {
            older.message.payload = payload;
            older.message.id = id;
            return id;
        }
        if self.entries.len() >= limits::OUTBOX_MESSAGES_MAX {
            self.drop_oldest_event();
        }
        self.entries.push_back(Entry { message: Message { id, topic, payload, retain }, sent: false });
        id
    }

    /// The next message that was not sent in this session, if the window has room for it.
    pub(super) fn next_to_send(&mut self) -> Option<Next> {
        let inflight = self.entries.iter().filter(|e| e.sent).count();
        if inflight >= limits::INFLIGHT_MAX {
            return None;
        }
        let index = self.entries.iter().position(|e| !e.sent)?;
        let limit = self.packet_bytes_max.map_or(usize::MAX, |max| max as usize);
        if self.entries[index].message.packet_bytes() > limit {
            return self.entries.remove(index).map(|e| Next::TooLarge(e.message));
        }
        self.entries[index].sent = true;
        Some(Next::Send(self.entries[index].message.clone()))
    }

    /// The broker has it.
    pub(super) fn acknowledge(&mut self, id: u64) -> Option<Message> {
        let index = self.entries.iter().position(|e| e.sent && e.message.id == id)?;
        self.entries.remove(index).map(|e| e.message)
    }

    /// A new session: everything unacknowledged is sent again, within this broker's limit.
    pub(super) fn rewind(&mut self, packet_bytes_max: Option<u32>) {
        self.packet_bytes_max = packet_bytes_max;
        self.entries.iter_mut().for_each(|e| e.sent = false);
    }

    /// Retained messages are what a device is; events are what happened to it. The oldest of
    /// those goes first.
    fn drop_oldest_event(&mut self) {
        let oldest = self.entries.iter().position(|e| !e.sent && !e.message.retain);
        let oldest = oldest.or_else(|| self.entries.iter().position(|e| !e.sent)).unwrap_or_default();
        if let Some(entry) = self.entries.remove(oldest) {
            self.dropped += 1;
            tracing::warn!(
                topic = entry.message.topic,
                dropped = self.dropped,
                "the outbox is full: a message is lost"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, topic: &str, retain: bool) -> u64 {
        outbox.push(topic.into(), Bytes::from_static(b"x"), retain)
    }

    fn sent(outbox: &mut Outbox) -> Vec<u64> {
        let id = |next| match next {
            Next::Send(message) => message.id,
            Next::TooLarge(message) => panic!("{message:?} is not too large"),
        };
        std::iter::from_fn(|| outbox.next_to_send()).map(id).collect()
    }

    #[test]
    fn a_message_leaves_at_its_acknowledgement_and_not_before() {
        let mut outbox = Outbox::default();
        let ids: Vec<_> = (0..10).map(|_| push(&mut outbox, "event", false)).collect();
        assert_eq!(sent(&mut outbox), ids[..limits::INFLIGHT_MAX], "a window at a time");
        assert!(outbox.acknowledge(ids[1]).is_some());
        assert!(outbox.acknowledge(ids[1]).is_none(), "once");
        assert!(outbox.acknowledge(ids[9]).is_none(), "not before it was sent");
        assert_eq!(sent(&mut outbox), [ids[8]]);
        outbox.rewind(None);
        assert_eq!(sent(&mut outbox)[..2], [ids[0], ids[2]], "in a new session again, in order");
        assert_eq!(outbox.len(), 9);
    }

    #[test]
    fn a_retained_message_replaces_its_older_self_until_that_was_sent() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "state", true);
        let newer = push(&mut outbox, "state", true);
        assert_eq!(sent(&mut outbox), [newer]);
        let newest = push(&mut outbox, "state", true);
        assert_eq!(outbox.len(), 2);
        assert_eq!(sent(&mut outbox), [newest]);
    }

    #[test]
    fn a_full_outbox_loses_the_oldest_event_and_never_a_state() {
        let mut outbox = Outbox::default();
        let state = push(&mut outbox, "state", true);
        for _ in 0..2 * limits::OUTBOX_MESSAGES_MAX {
            push(&mut outbox, "event", false);
        }
        assert_eq!(outbox.len(), limits::OUTBOX_MESSAGES_MAX);
        assert_eq!(sent(&mut outbox)[0], state);
    }

    #[test]
    fn what_the_broker_cannot_take_is_given_up() {
        let mut outbox = Outbox::default();
        outbox.rewind(Some(100));
        outbox.push("t".into(), Bytes::from(vec![0; 100]), false);
        let small = push(&mut outbox, "t", false);
        assert!(matches!(outbox.next_to_send(), Some(Next::TooLarge(_))));
        assert_eq!(sent(&mut outbox), [small]);
    }
}
