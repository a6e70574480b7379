//! What a hostile broker can do to what passes it: a small vocabulary, on topics that contain a word.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use tokio::sync::oneshot;

use crate::proxy::Line;

/// Decides what becomes of each packet. What is not put on the line again is lost.
pub trait Mischief: Send + 'static {
    /// A packet from the broker.
    fn down(&mut self, packet: Packet, line: &mut Line) {
        line.down(packet);
    }

    /// A packet from the board.
    fn up(&mut self, packet: Packet, line: &mut Line) {
        line.up(packet);
    }

    /// What it held back: the board gets it when the mischief ends.
    fn held_back(&mut self) -> Vec<Publish> {
        Vec::new()
    }

    /// Whether it has something to say by itself, whenever the board has read what was said.
    fn floods(&self) -> bool {
        false
    }

    /// One thing more.
    fn flood(&mut self, line: &mut Line) {
        let _ = line;
    }
}

/// No mischief.
pub struct Honest;

impl Mischief for Honest {}

/// Does this with packets from the broker.
pub struct Down<F>(pub F);

impl<F: FnMut(Packet, &mut Line) + Send + 'static> Mischief for Down<F> {
    fn down(&mut self, packet: Packet, line: &mut Line) {
        self.0(packet, line);
    }
}

/// Does this with messages from the broker whose topic contains the word.
pub fn messages(word: &'static str, mut act: impl FnMut(Publish, &mut Line) + Send + 'static) -> impl Mischief {
    Down(move |packet, line: &mut Line| match packet {
        Packet::Publish(publish) if contains(&publish.topic, word) => act(publish, line),
        other => line.down(other),
    })
}

pub fn contains(topic: &[u8], word: &str) -> bool {
    std::str::from_utf8(topic).is_ok_and(|topic| topic.contains(word))
}

/// They are lost.
pub fn lost(_: Publish, _: &mut Line) {}

/// Each of them comes twice.
pub fn doubled(publish: Publish, line: &mut Line) {
    line.down(Packet::Publish(publish.clone()));
    line.down(Packet::Publish(publish));
}

/// Their bytes are changed.
pub fn changed(
    mut change: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static,
) -> impl FnMut(Publish, &mut Line) + Send + 'static {
    move |mut publish, line| {
        publish.payload = change(publish.payload.to_vec()).into();
        line.down(Packet::Publish(publish));
    }
}

/// Half of them is there.
pub fn truncated(payload: Vec<u8>) -> Vec<u8> {
    payload[..payload.len() / 2].to_vec()
}

/// A bit in their middle is another.
pub fn flipped(mut payload: Vec<u8>) -> Vec<u8> {
    let middle = payload.len() / 2;
    payload[middle] ^= 1;
    payload
}

/// Each message whose topic contains the word comes after the packet that follows it.
pub struct Reordered {
    word: &'static str,
    held: Option<Publish>,
}

impl Reordered {
    pub fn new(word: &'static str) -> Self {
        Self { word, held: None }
    }
}

impl Mischief for Reordered {
    fn down(&mut self, packet: Packet, line: &mut Line) {
        let held = self.held.take();
        match packet {
            Packet::Publish(publish) if held.is_none() && contains(&publish.topic, self.word) => {
                self.held = Some(publish);
            }
            other => line.down(other),
        }
        held.into_iter().for_each(|publish| line.down(Packet::Publish(publish)));
    }

    fn held_back(&mut self) -> Vec<Publish> {
        self.held.take().into_iter().collect()
    }
}

/// Messages whose topic contains the word come when the mischief ends.
pub struct Delayed {
    word: &'static str,
    held: Vec<Publish>,
}

impl Delayed {
    pub fn new(word: &'static str) -> Self {
        Self { word, held: Vec::new() }
    }
}

impl Mischief for Delayed {
    fn down(&mut self, packet: Packet, line: &mut Line) {
        match packet {
            Packet::Publish(publish) if contains(&publish.topic, self.word) => self.held.push(publish),
            other => line.down(other),
        }
    }

    fn held_back(&mut self) -> Vec<Publish> {
        std::mem::take(&mut self.held)
    }
}

/// Shows the board an older whole: what stood on these topics once, and nothing else.
pub struct Replayed(pub BTreeMap<String, Bytes>);

impl Mischief for Replayed {
    fn down(&mut self, packet: Packet, line: &mut Line) {
        let Packet::Publish(mut publish) = packet else { return line.down(packet) };
        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
        if let Some(old) = self.0.get(&topic) {
            publish.payload = old.clone();
            line.down(Packet::Publish(publish));
        }
    }
}

/// Says something by itself, as fast as the board reads.
pub struct Flood<F> {
    /// Says the next thing; false if it was the last.
    pub next: F,
    /// Hears of the flood's end; without it the flood is over.
    pub over: Option<oneshot::Sender<()>>,
}

impl<F: FnMut(&mut Line) -> bool + Send + 'static> Mischief for Flood<F> {
    fn floods(&self) -> bool {
        self.over.is_some()
    }

    fn flood(&mut self, line: &mut Line) {
        if !(self.next)(line) {
            // A test that has failed does not wait for it.
            self.over.take().map(|over| over.send(()));
        }
    }
}

/// Says one of these in each session, once the board has subscribed to something.
pub struct EachSession {
    pub frames: VecDeque<Vec<u8>>,
    pub said: bool,
}

impl EachSession {
    pub fn new(frames: Vec<Vec<u8>>) -> Self {
        Self { frames: frames.into(), said: false }
    }
}

impl Mischief for EachSession {
    fn up(&mut self, packet: Packet, line: &mut Line) {
        match &packet {
            Packet::Connect(..) => self.said = false,
            Packet::Subscribe(_) if !self.said => {
                self.said = true;
                self.frames.pop_front().into_iter().for_each(|frame| line.down_raw(frame));
            }
            _ => {}
        }
        line.up(packet);
    }
}
