//! What stays of an app while its runs come and go: its last lines, and the sums of what it used.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use dunlin_core::{
    limits::{RECENT_BYTES, RECENT_LINES},
    wire::{AppName, Timestamp},
};
use dunlin_host::{Lookups, Stream, Usage};
use serde::Serialize;

/// The records of all apps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Arc<Mutex<BTreeMap<AppName, Record>>>);

/// One app's record, as its runs and those who look at it share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Arc<Mutex<Kept>>);

/// A line that an app printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Counted from 1 since the agent started; dropped ones have none.
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) stream: &'static str,
    pub(crate) text: String,
}

/// What an app did since the agent started. Of what is open or held now, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    /// Starts of its guest.
    pub(crate) starts: u64,
    /// Those of them after it failed.
    pub(crate) restarts: u64,
    pub(crate) fuel: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    /// Connections that are open.
    pub(crate) connections: u64,
    /// Connections that it accepted.
    pub(crate) accepted: u64,
    /// Requests that it answered in HTTP.
    pub(crate) requests: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// Lines that it printed.
    pub(crate) lines: u64,
    /// Lines that were dropped because they were too many.
    pub(crate) dropped_lines: u64,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    /// Bytes of those lines.
    bytes: usize,
    /// All but what the runs below did.
    past: Figures,
    runs: Vec<Arc<Usage>>,
    /// Of all its runs together.
    lookups: Lookups,
}

/// A run that counts until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    record: Record,
    usage: Arc<Usage>,
}

impl Records {
    /// An app's, begun if there is none.
    pub(crate) fn of(&self, app: &AppName) -> Record {
        self.lock().entry(app.clone()).or_default().clone()
    }

    /// An app's, if there is one.
    pub(crate) fn find(&self, app: &AppName) -> Option<Record> {
        self.lock().get(app).cloned()
    }

    /// Forgets those of apps that nobody wants any more.
    pub(crate) fn keep(&self, wanted: impl Fn(&AppName) -> bool) {
        self.lock().retain(|app, _| wanted(app));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AppName, Record>> {
        // Nothing in here is left half-changed by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Up to so many of its newest lines after that number, oldest first.
    pub(crate) fn lines(&self, after: u64, count: usize) -> Vec<Line> {
        let kept = self.lock();
        let newer = kept.lines.partition_point(|line| line.number <= after);
        let from = newer.max(kept.lines.len().saturating_sub(count));
        kept.lines.range(from..).cloned().collect()
    }

    /// Its figures now.
    pub(crate) fn figures(&self) -> Figures {
        let kept = self.lock();
        kept.runs.iter().fold(kept.past, |sum, usage| {
            let now = sum.with(usage);
            Figures {
                memory_bytes: sum.memory_bytes + usage.memory_bytes() as u64,
                disk_bytes: sum.disk_bytes.max(usage.disk_bytes()),
                connections: sum.connections + usage.connections_open() as u64,
                ..now
            }
        })
    }

    /// Its right to look up names.
    pub(super) fn lookups(&self) -> Lookups {
        self.lock().lookups.clone()
    }

    /// It printed a line.
    pub(super) fn line(&self, stream: Stream, text: &str) {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let mut kept = self.lock();
        kept.past.lines += 1;
        let number = kept.past.lines;
        kept.bytes += text.len();
        kept.lines.push_back(Line { number, at: now(), stream, text: text.into() });
        while kept.lines.len() > RECENT_LINES || kept.bytes > RECENT_BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.text.len();
        }
    }

    /// Lines were too many.
    pub(super) fn dropped(&self, lines: u64) {
        self.lock().past.dropped_lines += lines;
    }

    /// A run begins.
    pub(super) fn start(&self, usage: Arc<Usage>, after_failure: bool) -> Counted {
        let mut kept = self.lock();
        kept.past.starts += 1;
        kept.past.restarts += u64::from(after_failure);
        kept.runs.push(Arc::clone(&usage));
        Counted { record: self.clone(), usage }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut kept = self.record.lock();
        kept.runs.retain(|usage| !Arc::ptr_eq(usage, &self.usage));
        kept.past = kept.past.with(&self.usage);
    }
}

impl Figures {
    /// With what a run added to the sums.
    fn with(self, usage: &Usage) -> Self {
        Self {
            fuel: self.fuel + usage.fuel(),
            accepted: self.accepted + usage.connections_accepted(),
            requests: self.requests + usage.http_answers(),
            received_bytes: self.received_bytes + usage.received_bytes(),
            sent_bytes: self.sent_bytes + usage.sent_bytes(),
            ..self
        }
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since_epoch.map_or(0, |time| time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(record: &Record, after: u64, count: usize) -> Vec<String> {
        record.lines(after, count).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn the_newest_lines_stay_and_are_asked_for_by_number() {
        let record = Record::default();
        for number in 1..=RECENT_LINES + 5 {
            record.line(Stream::Stdout, &number.to_string());
        }
        let last = RECENT_LINES + 5;
        assert_eq!(record.lines(0, usize::MAX).len(), RECENT_LINES);
        assert_eq!(texts(&record, 0, 2), [(last - 1).to_string(), last.to_string()]);
        assert_eq!(texts(&record, last as u64 - 1, 10), [last.to_string()]);
        assert!(texts(&record, last as u64, 10).is_empty());
        assert_eq!(record.figures().lines, last as u64);
    }

    #[test]
    fn long_lines_make_room_sooner() {
        let record = Record::default();
        let long = "x".repeat(RECENT_BYTES / 4);
        (0..10).for_each(|_| record.line(Stream::Stderr, &long));
        assert_eq!(record.lines(0, usize::MAX).len(), 4);
    }

    #[test]
    fn runs_are_counted_and_what_is_over_is_not_forgotten() {
        let record = Record::default();
        let first = record.start(Arc::default(), false);
        let second = record.start(Arc::default(), true);
        drop(first);
        assert_eq!((record.figures().starts, record.figures().restarts), (2, 1));
        assert_eq!(record.lock().runs.len(), 1);
        drop(second);
        assert!(record.lock().runs.is_empty());
    }
}
