//! Which chunk of a module to ask for next, and when to say that nobody answers.
//!
//! A window of exact topics is subscribed to at a time: a wildcard would silently lose every
//! retained chunk above the broker's queue. This machine knows no socket and no file: it is told
//! what arrived and asked what to do, and what it answers is done before it is asked again.

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec,
    vec::Vec,
};

use crate::{Moment, Refusal, limits, trust, wire::Module};

/// One bit a chunk, least significant bit of each byte first; set means it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    bytes: Vec<u8>,
    count: u32,
}

impl Bitmap {
    /// Of `count` chunks, none there.
    pub fn new(count: u32) -> Self {
        Self { bytes: vec![0; count.div_ceil(8) as usize], count }
    }

    /// Marks a chunk as there.
    pub fn set(&mut self, index: u32) {
        if let Some(byte) = self.bytes.get_mut(index as usize / 8) {
            *byte |= 1 << (index % 8);
        }
    }

    /// Whether a chunk is there.
    pub fn has(&self, index: u32) -> bool {
        self.bytes.get(index as usize / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    /// The chunks that are not there, in order.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        (0..self.count).filter(|index| !self.has(*index))
    }

    /// The bitmap of what is missing, as it is published on `want`.
    pub fn wanted(&self) -> Vec<u8> {
        let mut wanted = Self::new(self.count);
        self.missing().for_each(|index| wanted.set(index));
        wanted.bytes
    }
}

/// What the driver is to do for a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Subscribe to a chunk's topic.
    Subscribe(u32),
    /// A chunk came: its topic is of no interest any more.
    Unsubscribe(u32),
    /// Nothing came for a while: publish this bitmap of what is missing on `want`.
    Want(Vec<u8>),
}

/// A module on its way.
#[derive(Debug)]
pub struct Transfer {
    module: Module,
    have: Bitmap,
    asked: BTreeSet<u32>,
    done: VecDeque<u32>,
    connected: bool,
    patience_ms: u64,
    impatient_at: Moment,
}

impl Transfer {
    /// A transfer of what is missing of a module.
    pub fn new(module: Module, have: Bitmap) -> Self {
        Self {
            module,
            have,
            asked: BTreeSet::new(),
            done: VecDeque::new(),
            connected: false,
            patience_ms: limits::TRANSFER_PATIENCE_MS,
            impatient_at: Moment(0),
        }
    }

    /// The module that is on its way.
    pub const fn module(&self) -> &Module {
        &self.module
    }

    /// Whether every chunk is there.
    pub fn is_complete(&self) -> bool {
        self.have.missing().next().is_none()
    }

    /// The session with the broker is up: what was subscribed to in an earlier one is forgotten.
    pub fn handle_connected(&mut self, now: Moment) {
        self.asked.clear();
        self.done.clear();
        self.connected = true;
        self.heard(now);
    }

    /// The session with the broker is gone.
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
    }

    /// A chunk came. Where to write it, in bytes from the module's start; nothing if it is there already.
    ///
    /// A chunk that does not fit stays asked for: whoever publishes the right one is heard.
    pub fn handle_chunk(&mut self, index: u32, bytes: &[u8], now: Moment) -> Result<Option<u64>, Refusal> {
        trust::check_chunk(&self.module, index, bytes)?;
        if self.asked.remove(&index) {
            self.done.push_back(index);
        }
        if self.have.has(index) {
            return Ok(None);
        }
        self.have.set(index);
        self.heard(now);
        Ok(self.module.range(index).map(|(offset, _)| offset))
    }

    /// What to do now, one thing at a time; nothing until something happens or [`poll_timeout`](Self::poll_timeout).
    pub fn poll_ask(&mut self, now: Moment) -> Option<Ask> {
        if !self.connected {
            return None;
        }
        if let Some(index) = self.done.pop_front() {
            return Some(Ask::Unsubscribe(index));
        }
        if self.asked.len() < limits::TRANSFER_WINDOW {
            let next = self.have.missing().find(|index| !self.asked.contains(index));
            if let Some(index) = next {
                self.asked.insert(index);
                return Some(Ask::Subscribe(index));
            }
        }
        if !self.is_complete() && now >= self.impatient_at {
            self.patience_ms = (self.patience_ms * 2).min(limits::TRANSFER_PATIENCE_MS_MAX);
            self.impatient_at = now + self.patience_ms;
            return Some(Ask::Want(self.have.wanted()));
        }
        None
    }

    /// When to ask again at the latest.
    pub fn poll_timeout(&self) -> Option<Moment> {
        (self.connected && !self.is_complete()).then_some(self.impatient_at)
    }

    fn heard(&mut self, now: Moment) {
        self.patience_ms = limits::TRANSFER_PATIENCE_MS;
        self.impatient_at = now + self.patience_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: u32 = 1024;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / 7) as u8).collect()
    }

    fn chunk(bytes: &[u8], index: u32) -> &[u8] {
        bytes.chunks(CHUNK as usize).nth(index as usize).unwrap()
    }

    fn asks(transfer: &mut Transfer, now: Moment) -> Vec<Ask> {
        core::iter::from_fn(|| transfer.poll_ask(now)).collect()
    }

    #[test]
    fn asks_for_a_window_of_exact_chunks_and_moves_it() {
        let whole = bytes(6 * 1024 + 5);
        let module = Module::describe(&whole, CHUNK);
        let mut transfer = Transfer::new(module, Bitmap::new(7));
        assert_eq!(asks(&mut transfer, Moment(0)), [], "nothing before there is a session");
        transfer.handle_connected(Moment(0));
        let window: Vec<_> = (0..4).map(Ask::Subscribe).collect();
        assert_eq!(asks(&mut transfer, Moment(0)), window);
        assert_eq!(transfer.handle_chunk(2, chunk(&whole, 2), Moment(1)), Ok(Some(2048)));
        assert_eq!(asks(&mut transfer, Moment(1)), [Ask::Unsubscribe(2), Ask::Subscribe(4)]);
        assert_eq!(transfer.handle_chunk(2, chunk(&whole, 2), Moment(1)), Ok(None), "doubled by the broker");
        for index in [0, 1, 3, 4, 5, 6] {
            assert!(!transfer.is_complete());
            transfer.handle_chunk(index, chunk(&whole, index), Moment(2)).unwrap();
        }
        assert!(transfer.is_complete());
        assert_eq!(transfer.poll_timeout(), None);
    }

    #[test]
    fn a_bad_chunk_is_refused_and_stays_wanted() {
        let whole = bytes(2048);
        let mut transfer = Transfer::new(Module::describe(&whole, CHUNK), Bitmap::new(2));
        transfer.handle_connected(Moment(0));
        asks(&mut transfer, Moment(0));
        for (index, bytes) in [(0, &whole[1..1025]), (0, &whole[..1023]), (2, &whole[..1024]), (u32::MAX, &[][..])] {
            let refusal = transfer.handle_chunk(index, bytes, Moment(0)).unwrap_err();
            assert_eq!(refusal.code, crate::Code::WrongChunk);
        }
        assert_eq!(transfer.handle_chunk(0, &whole[..1024], Moment(0)), Ok(Some(0)));
    }

    #[test]
    fn silence_is_answered_with_a_bitmap_ever_more_rarely_and_a_new_session_starts_over() {
        let whole = bytes(3 * 1024);
        let mut have = Bitmap::new(3);
        have.set(1);
        let mut transfer = Transfer::new(Module::describe(&whole, CHUNK), have);
        transfer.handle_connected(Moment(0));
        assert_eq!(asks(&mut transfer, Moment(0)), [Ask::Subscribe(0), Ask::Subscribe(2)]);
        let mut at = Moment(0);
        for gap in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            at = at + gap;
            assert_eq!(transfer.poll_timeout(), Some(at));
            assert_eq!(asks(&mut transfer, Moment(at.0 - 1)), []);
            assert_eq!(asks(&mut transfer, at), [Ask::Want([0b101].into())]);
        }
        transfer.handle_disconnected();
        assert_eq!((transfer.poll_timeout(), transfer.poll_ask(at)), (None, None));
        transfer.handle_connected(at);
        assert_eq!(asks(&mut transfer, at), [Ask::Subscribe(0), Ask::Subscribe(2)]);
    }
}
