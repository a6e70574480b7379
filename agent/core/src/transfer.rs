//! Which chunk of a module to ask for next, and when to say that nobody answers.
//!
//! Where the broker retains, a window of exact topics is subscribed to at a time: a wildcard would
//! silently lose every retained chunk above the broker's queue. Where it doesn't, all chunks are
//! listened to at once, because each passes by only when a depot answers somebody. This machine knows
//! no socket and no file: it is told what arrived and asked what to do, and what it answers is done
//! before it is asked again.

use alloc::collections::{BTreeSet, VecDeque};

use crate::{
    Backoff, Moment, Refusal, limits, trust,
    wire::{Bitmap, Module},
};

/// What the driver is to do for a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Subscribe to a chunk's topic.
    Subscribe(u32),
    /// A chunk came: its topic is of no interest any more.
    Unsubscribe(u32),
    /// Subscribe to the topics of all chunks.
    SubscribeAll,
    /// Every chunk came: none is of interest any more.
    UnsubscribeAll,
    /// Nothing came for a while: publish this set of what is missing on `want`.
    Want(Bitmap),
}

/// How long to wait for an answer before asking (again): ever longer while nobody says anything.
#[derive(Clone, Debug)]
pub struct Patience {
    backoff: Backoff,
    ends: Moment,
}

impl Patience {
    /// Begins to wait. The seed should differ from board to board: they ask at different times, and
    /// who hears the answer to another needs not ask.
    pub fn new(seed: u64, now: Moment) -> Self {
        let backoff = Backoff::new(limits::TRANSFER_PATIENCE_MS, limits::TRANSFER_PATIENCE_MS_MAX, seed);
        let mut patience = Self { backoff, ends: now };
        patience.heard(now);
        patience
    }

    /// Somebody answers: it begins anew.
    pub fn heard(&mut self, now: Moment) {
        self.backoff.reset();
        self.ends = now + self.backoff.wait_ms();
    }

    /// Whether to ask now; then it is longer until the next time.
    pub fn is_over(&mut self, now: Moment) -> bool {
        let over = now >= self.ends;
        if over {
            self.ends = now + self.backoff.wait_ms();
        }
        over
    }

    /// When it ends.
    pub const fn ends(&self) -> Moment {
        self.ends
    }
}

/// A module on its way.
#[derive(Debug)]
pub struct Transfer {
    module: Module,
    have: Bitmap,
    asked: BTreeSet<u32>,
    done: VecDeque<u32>,
    session: Option<Session>,
    patience: Patience,
}

/// What there is of a session with the broker.
#[derive(Clone, Copy, Debug)]
enum Session {
    /// The broker retains: exact topics are asked for.
    Exact,
    /// It doesn't: all are listened to, once that is asked for.
    All { listening: bool },
}

impl Transfer {
    /// A transfer of what is missing of a module. The seed spreads when boards ask.
    pub fn new(module: Module, have: Bitmap, seed: u64) -> Self {
        let patience = Patience::new(seed, Moment(0));
        Self { module, have, asked: BTreeSet::new(), done: VecDeque::new(), session: None, patience }
    }

    /// The module that is on its way.
    pub const fn module(&self) -> &Module {
        &self.module
    }

    /// Whether every chunk is there.
    pub fn is_complete(&self) -> bool {
        self.have.missing().next().is_none()
    }

    /// The session with a broker that retains, or doesn't, is up: what was subscribed to in an
    /// earlier one is forgotten.
    pub fn handle_connected(&mut self, retains: bool, now: Moment) {
        self.asked.clear();
        self.done.clear();
        self.session = Some(if retains { Session::Exact } else { Session::All { listening: false } });
        self.patience.heard(now);
    }

    /// The session with the broker is gone.
    pub fn handle_disconnected(&mut self) {
        self.session = None;
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
        self.patience.heard(now);
        Ok(self.module.range(index).map(|(offset, _)| offset))
    }

    /// What to do now, one thing at a time; nothing until something happens or [`poll_timeout`](Self::poll_timeout).
    pub fn poll_ask(&mut self, now: Moment) -> Option<Ask> {
        let session = self.session.as_mut()?;
        let complete = self.have.missing().next().is_none();
        match session {
            Session::All { listening } if *listening == complete => {
                *listening = !complete;
                return Some(if complete { Ask::UnsubscribeAll } else { Ask::SubscribeAll });
            }
            Session::All { .. } => {}
            Session::Exact => {
                if let Some(ask) = self.poll_window() {
                    return Some(ask);
                }
            }
        }
        (!complete && self.patience.is_over(now)).then(|| Ask::Want(self.have.wanted()))
    }

    fn poll_window(&mut self) -> Option<Ask> {
        if let Some(index) = self.done.pop_front() {
            return Some(Ask::Unsubscribe(index));
        }
        if self.asked.len() >= limits::TRANSFER_WINDOW {
            return None;
        }
        let next = self.have.missing().find(|index| !self.asked.contains(index))?;
        self.asked.insert(next);
        Some(Ask::Subscribe(next))
    }

    /// When to ask again at the latest.
    pub fn poll_timeout(&self) -> Option<Moment> {
        (self.session.is_some() && !self.is_complete()).then(|| self.patience.ends())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const CHUNK: u32 = 1024;
    const SEED: u64 = 7;

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
        let mut transfer = Transfer::new(module, Bitmap::new(7), SEED);
        assert_eq!(asks(&mut transfer, Moment(0)), [], "nothing before there is a session");
        transfer.handle_connected(true, Moment(0));
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
        let mut transfer = Transfer::new(Module::describe(&whole, CHUNK), Bitmap::new(2), SEED);
        transfer.handle_connected(true, Moment(0));
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
        let wanted = have.wanted();
        let mut transfer = Transfer::new(Module::describe(&whole, CHUNK), have, SEED);
        transfer.handle_connected(true, Moment(0));
        assert_eq!(asks(&mut transfer, Moment(0)), [Ask::Subscribe(0), Ask::Subscribe(2)]);
        let mut at = Moment(0);
        for full in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            let next = transfer.poll_timeout().unwrap();
            let gap = next.since(at);
            assert!((full - full / 4..=full).contains(&gap), "{gap} of {full}");
            at = next;
            assert_eq!(asks(&mut transfer, Moment(at.0 - 1)), []);
            assert_eq!(asks(&mut transfer, at), [Ask::Want(wanted.clone())]);
        }
        assert_eq!(wanted.encode(), [0b101]);
        transfer.handle_disconnected();
        assert_eq!((transfer.poll_timeout(), transfer.poll_ask(at)), (None, None));
        transfer.handle_connected(true, at);
        assert_eq!(asks(&mut transfer, at), [Ask::Subscribe(0), Ask::Subscribe(2)]);
    }

    #[test]
    fn where_nothing_is_retained_all_chunks_are_listened_to() {
        let whole = bytes(6 * 1024);
        let mut transfer = Transfer::new(Module::describe(&whole, CHUNK), Bitmap::new(6), SEED);
        transfer.handle_connected(false, Moment(0));
        assert_eq!(asks(&mut transfer, Moment(0)), [Ask::SubscribeAll]);
        assert_eq!(asks(&mut transfer, Moment(2_000)), [Ask::Want(Bitmap::new(6).wanted())]);
        for index in [3, 0, 1, 2, 5] {
            transfer.handle_chunk(index, chunk(&whole, index), Moment(2_100)).unwrap();
            assert_eq!(asks(&mut transfer, Moment(2_100)), []);
        }
        transfer.handle_chunk(4, chunk(&whole, 4), Moment(2_200)).unwrap();
        assert_eq!(asks(&mut transfer, Moment(9_000)), [Ask::UnsubscribeAll]);
        assert_eq!(transfer.poll_timeout(), None);
    }

    #[test]
    fn boards_with_other_seeds_ask_at_other_times() {
        let mut ends: Vec<_> = (0..10).map(|seed| Patience::new(seed, Moment(0)).ends()).collect();
        ends.sort();
        ends.dedup();
        assert!(ends.len() > 5, "{ends:?}");
    }
}
