//! Cuts what a guest prints into lines, and drops those that are too many.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use dunlin_core::{
    Bucket,
    limits::{LAST_LINE_BYTES, LAST_LINES, LINE_BYTES_MAX, LINES_AT_ONCE, LINES_PER_SECOND},
    wire::AppName,
};
use dunlin_host::{Observer, Stream};
use tokio::sync::Notify;

use super::{Clock, Record};
use crate::agent::Watch;

/// What a guest printed last: what people want to see first when it has failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line[..line.floor_char_boundary(LAST_LINE_BYTES)].into());
    }
}

/// Who hears of a run.
#[derive(Clone)]
pub(super) struct Heard {
    pub(super) watch: Arc<dyn Watch>,
    pub(super) accepting: Arc<Notify>,
    pub(super) tail: Tail,
    pub(super) record: Record,
}

/// Watches one run of a guest.
pub(super) struct Lines {
    paper: Paper,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Where an app's lines go, at a bounded rate. All instances of an app share one.
#[derive(Clone)]
pub(super) struct Paper {
    app: AppName,
    to: Heard,
    clock: Clock,
    rate: Arc<Mutex<Rate>>,
}

struct Rate {
    bucket: Bucket,
    dropped: u64,
}

impl Paper {
    pub(super) fn new(app: AppName, to: Heard, clock: Clock) -> Self {
        let bucket = Bucket::new(LINES_AT_ONCE, LINES_PER_SECOND, clock.now());
        Self { app, to, clock, rate: Arc::new(Mutex::new(Rate { bucket, dropped: 0 })) }
    }

    pub(super) fn line(&self, stream: Stream, line: &[u8]) {
        let dropped = {
            let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
            if !rate.bucket.take(self.clock.now()) {
                rate.dropped += 1;
                return;
            }
            std::mem::take(&mut rate.dropped)
        };
        self.say_dropped(dropped);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = String::from_utf8_lossy(line);
        self.to.tail.push(&line);
        self.say(stream, &line);
    }

    /// Says how many lines were dropped since the last one that was not.
    fn say_dropped(&self, dropped: u64) {
        if dropped > 0 {
            let sentence = format!("({dropped} lines dropped: more than {LINES_PER_SECOND} a second)");
            self.to.record.dropped(dropped);
            self.say(Stream::Stderr, &sentence);
        }
    }

    fn say(&self, stream: Stream, line: &str) {
        self.to.record.line(stream, line);
        self.to.watch.line(&self.app, stream, line);
    }

    fn say_all_dropped(&self) {
        let dropped = std::mem::take(&mut self.rate.lock().unwrap_or_else(PoisonError::into_inner).dropped);
        self.say_dropped(dropped);
    }
}

impl Lines {
    pub(super) fn new(paper: Paper) -> Self {
        Self { paper, stdout: Vec::new(), stderr: Vec::new() }
    }
}

impl Observer for Lines {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let mut rest = bytes;
        let mut begun = std::mem::take(match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        });
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            begun.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            begun.chunks(LINE_BYTES_MAX).for_each(|piece| self.paper.line(stream, piece));
            if begun.is_empty() {
                self.paper.line(stream, b"");
            }
            begun.clear();
        }
        begun.extend_from_slice(rest);
        while begun.len() >= LINE_BYTES_MAX {
            self.paper.line(stream, &begun[..LINE_BYTES_MAX]);
            begun.drain(..LINE_BYTES_MAX);
        }
        match stream {
            Stream::Stdout => self.stdout = begun,
            Stream::Stderr => self.stderr = begun,
        }
    }

    fn accepting(&mut self) {
        self.paper.to.accepting.notify_one();
    }
}

impl Drop for Lines {
    /// What a guest printed last, often without an end of line, says why it died.
    fn drop(&mut self) {
        let rests = [std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr)];
        for (stream, rest) in [Stream::Stdout, Stream::Stderr].into_iter().zip(rests) {
            if !rest.is_empty() {
                self.paper.line(stream, &rest);
            }
        }
        self.paper.say_all_dropped();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Watch for Seen {
        fn line(&self, _: &AppName, _: Stream, line: &str) {
            self.0.lock().unwrap().push(line.into());
        }
    }

    fn seen(writes: &[&[u8]]) -> Vec<String> {
        let seen = Arc::new(Seen::default());
        let to =
            Heard { watch: seen.clone(), accepting: Arc::default(), tail: Tail::default(), record: Record::default() };
        let mut lines = Lines::new(Paper::new("a".parse().unwrap(), to, Clock::start()));
        writes.iter().for_each(|bytes| lines.output(Stream::Stdout, bytes));
        drop(lines);
        let lines = seen.0.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn lines_are_whole_however_they_are_written() {
        assert_eq!(seen(&[b"a\nb", b"c\r\n", b"\n", b"end"]), ["a", "bc", "", "end"]);
        assert_eq!(seen(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn lines_that_are_too_many_are_counted() {
        let lines = seen(&["x\n".repeat(LINES_AT_ONCE as usize + 5_000).as_bytes()]);
        let count = |line: &String| line.strip_prefix('(')?.split(' ').next()?.parse::<usize>().ok();
        let dropped: usize = lines.iter().filter_map(count).sum();
        assert!(dropped > 0);
        let plain = lines.iter().filter(|line| *line == "x").count();
        assert_eq!(plain + dropped, LINES_AT_ONCE as usize + 5_000, "none without a word");
    }

    #[test]
    fn a_line_without_an_end_stays_bounded() {
        let long = vec![b'x'; 3 * LINE_BYTES_MAX + 1];
        let lines = seen(&[&long, b"\n"]);
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_BYTES_MAX, 1]
        );
    }
}
