//! Which chunk a depot sends next: one answer for all who want it, no faster than it may send.
//!
//! What boards want is gathered in one set a module; a chunk that was sent a moment ago is not sent
//! again for who asked a moment later. Modules take turns, so that a large one holds up nobody.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    Moment, Refusal, limits,
    wire::{Bitmap, Digest},
};

/// Chunks whose sending is remembered: more than these are forgotten early, and sent twice at worst.
const REMEMBERED_MAX: usize = 8 * 1024;

/// Microseconds that who sends may be late and make up for it.
const SLACK_US: u64 = 50_000;

/// What is wanted and not sent yet. It grows with what the depot has, not with who asks.
#[derive(Debug)]
pub struct Answers {
    bytes_per_second: u64,
    wanted: BTreeMap<Digest, Bitmap>,
    /// Whose turn was last.
    last: Option<Digest>,
    sent: VecDeque<(Moment, Digest, u32)>,
    remembered: BTreeSet<(Digest, u32)>,
    /// When the next may be sent, in microseconds: chunks are sent within milliseconds.
    free_at_us: u64,
}

impl Answers {
    /// Nothing is wanted yet; so many bytes a second may be sent.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            wanted: BTreeMap::new(),
            last: None,
            sent: VecDeque::new(),
            remembered: BTreeSet::new(),
            free_at_us: 0,
        }
    }

    /// Somebody wants chunks of something that the depot has in so many; how many of them are to be
    /// sent because of that.
    pub fn handle_want(&mut self, digest: Digest, count: u32, bitmap: &[u8], now: Moment) -> Result<u32, Refusal> {
        let asked = Bitmap::decode(bitmap, count)?;
        self.forget_old(now);
        let wanted = self.wanted.entry(digest).or_insert_with(|| Bitmap::new(count));
        let mut new = 0;
        for index in asked.present() {
            if !wanted.has(index) && !self.remembered.contains(&(digest, index)) {
                wanted.set(index);
                new += 1;
            }
        }
        self.wanted.retain(|_, wanted| wanted.present().next().is_some());
        Ok(new)
    }

    /// The next chunk to send now, if there is one: say with [`handle_sent`](Self::handle_sent) how
    /// long it was.
    pub fn poll_answer(&mut self, now: Moment) -> Option<(Digest, u32)> {
        if now.0.saturating_mul(1_000) < self.free_at_us {
            return None;
        }
        let after = self.last.and_then(|last| self.wanted.range(last..).find(|(digest, _)| **digest != last));
        let digest = *after.or_else(|| self.wanted.iter().next())?.0;
        let wanted = self.wanted.get_mut(&digest)?;
        let index = wanted.present().next()?;
        wanted.clear(index);
        if wanted.present().next().is_none() {
            self.wanted.remove(&digest);
        }
        self.last = Some(digest);
        self.sent.push_back((now, digest, index));
        self.remembered.insert((digest, index));
        self.forget_old(now);
        Some((digest, index))
    }

    /// So many bytes were sent.
    pub fn handle_sent(&mut self, bytes: usize, now: Moment) {
        let takes = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second;
        let now_us = now.0.saturating_mul(1_000);
        self.free_at_us = self.free_at_us.max(now_us.saturating_sub(SLACK_US)).saturating_add(takes);
    }

    /// The depot does not have this any more.
    pub fn handle_lost(&mut self, digest: &Digest) {
        self.wanted.remove(digest);
    }

    /// When to ask for the next chunk; nothing while nothing is wanted.
    pub fn poll_timeout(&self) -> Option<Moment> {
        (!self.wanted.is_empty()).then(|| Moment(self.free_at_us.div_ceil(1_000)))
    }

    fn forget_old(&mut self, now: Moment) {
        let is_old = |at: Moment| now.since(at) >= limits::ANSWER_ONCE_MS;
        while self.sent.len() > REMEMBERED_MAX || self.sent.front().is_some_and(|(at, ..)| is_old(*at)) {
            let Some((_, digest, index)) = self.sent.pop_front() else { return };
            self.remembered.remove(&(digest, index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use alloc::{vec, vec::Vec};

    const MEBI: u64 = 1024 * 1024;
    const CHUNK: usize = 1024;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    /// Everything that may be sent now.
    fn send(answers: &mut Answers, now: Moment) -> Vec<(Digest, u32)> {
        let one = || {
            let answer = answers.poll_answer(now)?;
            answers.handle_sent(CHUNK, now);
            Some(answer)
        };
        core::iter::from_fn(one).collect()
    }

    #[test]
    fn one_answer_serves_all_who_ask_before_it_and_right_after_it() {
        let (mut answers, module, now) = (Answers::new(u64::MAX), digest("m"), Moment(1_000));
        assert_eq!(answers.handle_want(module, 3, &[0b101], now), Ok(2));
        assert_eq!(answers.handle_want(module, 3, &[0b111], now), Ok(1));
        assert_eq!(answers.handle_want(module, 3, &[0b111], now), Ok(0));
        assert_eq!(send(&mut answers, now), [(module, 0), (module, 1), (module, 2)]);
        let soon = now + (limits::ANSWER_ONCE_MS - 1);
        assert_eq!(answers.handle_want(module, 3, &[0b111], soon), Ok(0));
        assert_eq!((answers.poll_timeout(), send(&mut answers, soon)), (None, vec![]));
        let later = now + limits::ANSWER_ONCE_MS;
        assert_eq!(answers.handle_want(module, 3, &[0b010], later), Ok(1));
        assert_eq!(send(&mut answers, later), [(module, 1)]);
    }

    #[test]
    fn no_more_is_sent_than_may_be() {
        let (mut answers, module) = (Answers::new(MEBI), digest("m"));
        answers.handle_want(module, 4_096, &[0xff; 512], Moment(0)).unwrap();
        let mut sent = 0;
        let mut now = Moment(0);
        while let Some(next) = answers.poll_timeout() {
            assert!(next >= now);
            now = next;
            sent += send(&mut answers, now).len();
        }
        assert_eq!(sent, 4_096);
        assert!((3_990..=4_000).contains(&now.0), "4 MiB at 1 MiB a second, and it took {now:?}");
    }

    #[test]
    fn modules_take_turns() {
        let (mut answers, mut names) = (Answers::new(u64::MAX), [digest("a"), digest("b"), digest("c")]);
        names.sort();
        for name in names {
            answers.handle_want(name, 2, &[0b11], Moment(0)).unwrap();
        }
        let [a, b, c] = names;
        assert_eq!(send(&mut answers, Moment(0)), [(a, 0), (b, 0), (c, 0), (a, 1), (b, 1), (c, 1)]);
    }

    #[test]
    fn what_is_no_bitmap_of_the_module_is_refused_and_what_is_lost_is_not_sent() {
        let (mut answers, module) = (Answers::new(1), digest("m"));
        for bytes in [&[][..], &[0b1000], &[1, 1], &[0; limits::WANT_BYTES_MAX + 1]] {
            let code = answers.handle_want(module, 3, bytes, Moment(0)).unwrap_err().code;
            assert!(matches!(code, Code::Malformed | Code::Oversized), "{bytes:?}");
        }
        assert_eq!(answers.poll_timeout(), None);
        answers.handle_want(module, 3, &[0b111], Moment(0)).unwrap();
        answers.handle_lost(&module);
        assert_eq!(answers.poll_answer(Moment(0)), None);
    }

    #[test]
    fn however_fast_it_sends_it_remembers_only_so_much() {
        let mut answers = Answers::new(u64::MAX);
        answers.handle_want(digest("m"), 65_536, &[0xff; limits::WANT_BYTES_MAX], Moment(0)).unwrap();
        let mut sent = 0;
        while sent < 10_000 && answers.poll_answer(Moment(0)).is_some() {
            sent += 1;
        }
        assert_eq!((sent, answers.sent.len(), answers.remembered.len()), (10_000, REMEMBERED_MAX, REMEMBERED_MAX));
    }
}
