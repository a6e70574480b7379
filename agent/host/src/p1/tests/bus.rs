//! Messages: what is granted and fits, and waiting for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::harness::Wasi;
use crate::bus::{Bus, Message, NotTaken};
use crate::guest::Guest;
use crate::p1::Errno;

/// A bus that the test holds the other end of.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    published: Vec<Message>,
    coming: VecDeque<Message>,
    reader: Option<Waker>,
}

impl Wire {
    fn send(&self, topic: &str, payload: &[u8]) {
        let mut ends = self.0.lock().unwrap();
        ends.coming.push_back(message(topic, payload));
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }
}

impl Bus for Wire {
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), NotTaken> {
        match topic {
            "granted" if payload.len() > 8 => Err(NotTaken::TooLong),
            "granted" => {
                self.0.lock().unwrap().published.push(message(topic, payload));
                Ok(())
            }
            "busy" => Err(NotTaken::TooMany),
            _ => Err(NotTaken::NotGranted),
        }
    }

    fn receive(&mut self) -> Option<Message> {
        self.0.lock().unwrap().coming.pop_front()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ends = self.0.lock().unwrap();
        ends.reader = Some(cx.waker().clone());
        if ends.coming.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

fn message(topic: &str, payload: &[u8]) -> Message {
    Message { topic: topic.to_owned(), payload: payload.to_owned() }
}

fn guest() -> (Wasi, Wire) {
    let wire = Wire::default();
    let guest = Guest { bus: Some(Box::new(wire.clone())), ..Guest::default() };
    (Wasi::with(guest, false), wire)
}

fn publish(wasi: &mut Wasi, topic: &[u8], payload: &[u8]) -> Result<(), Errno> {
    let (at, bytes) = (wasi.put(topic), wasi.put(payload));
    wasi.call("publish", &[at.into(), topic.len() as u64, bytes.into(), payload.len() as u64])
}

/// Where a received message goes.
struct Room {
    topic: u32,
    payload: u32,
    topic_len: u32,
    payload_len: u32,
}

impl Room {
    fn new(wasi: &mut Wasi) -> Self {
        let [topic, payload, topic_len, payload_len] = [64, 64, 4, 4].map(|bytes| wasi.room(bytes));
        Self { topic, payload, topic_len, payload_len }
    }

    fn args(&self, topic_room: u32, payload_room: u32, wait_ms: u32) -> [u64; 7] {
        let Self { topic, payload, topic_len, payload_len } = *self;
        [topic, topic_room, topic_len, payload, payload_room, payload_len, wait_ms].map(u64::from)
    }

    fn message(&self, wasi: &Wasi) -> Message {
        let topic = wasi.bytes(self.topic, wasi.u32(self.topic_len) as usize);
        message(std::str::from_utf8(topic).unwrap(), wasi.bytes(self.payload, wasi.u32(self.payload_len) as usize))
    }
}

#[test]
fn what_is_published_is_handed_over_or_refused_by_errno() {
    let (mut wasi, wire) = guest();
    assert_eq!(publish(&mut wasi, b"granted", b"21.5"), Ok(()));
    assert_eq!(publish(&mut wasi, b"granted", b""), Ok(()));
    assert_eq!(publish(&mut wasi, b"granted", b"too long!"), Err(Errno::Msgsize));
    assert_eq!(publish(&mut wasi, b"busy", b""), Err(Errno::Again));
    assert_eq!(publish(&mut wasi, b"other", b""), Err(Errno::Acces));
    assert_eq!(publish(&mut wasi, b"\xff", b""), Err(Errno::Acces));
    assert_eq!(wasi.call("publish", &[u32::MAX.into(), 8, 0, 0]), Err(Errno::Fault));
    assert_eq!(wasi.call("publish", &[0, 0, 0, u32::MAX.into()]), Err(Errno::Fault));
    assert_eq!(wire.0.lock().unwrap().published, [message("granted", b"21.5"), message("granted", b"")]);
}

#[tokio::test]
async fn a_message_is_waited_for() {
    let (mut wasi, wire) = guest();
    let room = Room::new(&mut wasi);
    assert_eq!(wasi.call("receive", &room.args(64, 64, 0)), Err(Errno::Again), "it does not wait");
    let args = room.args(64, 64, 1);
    assert_eq!(wasi.call_waiting("receive", &args).await, Err(Errno::Again), "so long and no longer");
    let waiting = async {
        assert_eq!(wasi.call_waiting("receive", &room.args(64, 64, u32::MAX)).await, Ok(()));
        assert!(wasi.attempts > 1, "it was suspended");
        wasi
    };
    let (wasi, ()) = tokio::join!(biased; waiting, async { wire.send("set-point", b"19") });
    assert_eq!(room.message(&wasi), message("set-point", b"19"));
}

#[test]
fn a_message_without_room_is_the_next_one_again() {
    let (mut wasi, wire) = guest();
    let room = Room::new(&mut wasi);
    wire.send("set-point", b"19");
    wire.send("mode", b"");
    assert_eq!(wasi.call("receive", &room.args(8, 64, 0)), Err(Errno::Msgsize), "its topic has 9 bytes");
    assert_eq!((wasi.u32(room.topic_len), wasi.u32(room.payload_len)), (9, 2));
    assert_eq!(wasi.call("receive", &room.args(64, 1, 0)), Err(Errno::Msgsize), "its payload has 2");
    assert_eq!(wasi.call("receive", &room.args(9, 2, 0)), Ok(()));
    assert_eq!(room.message(&wasi), message("set-point", b"19"));
    let outside = [u32::MAX.into(), 8, 0, 0, 8, 4, 0];
    assert_eq!(wasi.call("receive", &outside), Err(Errno::Fault), "before anything is taken");
    assert_eq!(wasi.call("receive", &room.args(64, 64, 0)), Ok(()));
    assert_eq!(room.message(&wasi), message("mode", b""));
}

#[test]
fn without_a_bus_there_is_nobody() {
    let mut wasi = Wasi::new();
    let room = Room::new(&mut wasi);
    assert_eq!(publish(&mut wasi, b"granted", b""), Err(Errno::Acces));
    assert_eq!(wasi.call("receive", &room.args(64, 64, 0)), Err(Errno::Acces));
}
