//! What the agent tells, as lines on the screen. Who tells never waits for the screen.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use dunlin::agent::Watch;
use dunlin_core::wire::{
    AppName,
    state::{AppState, Phase, Refused},
};
use dunlin_host::Stream;

use crate::say;

/// Lines that wait for a slow screen; what comes then is counted and left out.
const LINES: usize = 1024;

/// How long the last lines may take.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The thread that writes.
#[derive(Debug)]
pub(super) struct Screen {
    ended: Receiver<()>,
}

/// Who tells.
#[derive(Clone, Debug)]
pub(super) struct Shower {
    lines: SyncSender<String>,
    left_out: Arc<AtomicUsize>,
    shown: Arc<Mutex<Option<(AppName, Phase, String)>>>,
}

impl Screen {
    /// A screen, and who shows on it.
    pub(super) fn open() -> (Self, Shower) {
        let (lines, to_write) = sync_channel::<String>(LINES);
        let (ending, ended) = sync_channel(1);
        let left_out = Arc::new(AtomicUsize::new(0));
        let missed = Arc::clone(&left_out);
        std::thread::spawn(move || {
            for line in to_write {
                let missed = missed.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    // A screen that is gone shows nothing.
                    let _ = say::result(format_args!("{missed} lines left out"));
                }
                let _ = say::result(line);
            }
            let _ = ending.send(());
        });
        (Self { ended }, Shower { lines, left_out, shown: Arc::default() })
    }

    /// Waits for what is still to be written, once nobody tells any more; but not for long.
    pub(super) fn close(self) {
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }
}

impl Shower {
    /// Shows a line of our own.
    pub(super) fn say(&self, line: &str) {
        self.show(say::styled(say::FAINT, line));
    }

    fn show(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Watch for Shower {
    fn line(&self, app: &AppName, stream: Stream, line: &str) {
        let bar = match stream {
            Stream::Stdout => say::GOOD,
            Stream::Stderr => say::BAD,
        };
        self.show(format!("{} {line}", say::styled(bar, format_args!("{app} │"))));
    }

    fn app(&self, state: &AppState) {
        let why = state.why.clone().unwrap_or_default();
        // States come again when something small in them changes.
        let next = state.next.as_ref().map(|next| {
            let why = next.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{} {} is {}{why}", state.app, next.release.short(), next.phase.as_str())
        });
        let now = Some((state.app.clone(), state.phase, format!("{}{why}{next:?}", state.release)));
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown == now {
            return;
        }
        *shown = now;
        drop(shown);
        if let Some(next) = next {
            // What runs has been shown; what is to replace it is the news.
            return self.show(next);
        }
        let version = state.version.as_ref().map_or_else(|| state.release.short(), ToString::to_string);
        let app = format!("{} {version}", state.app);
        match state.phase {
            Phase::Running => {
                let urls: Vec<_> = state.ports.iter().map(|port| format!("http://127.0.0.1:{port}/")).collect();
                let urls = if urls.is_empty() { String::new() } else { format!(": {}", urls.join(" ")) };
                self.show(format!("{app} is {}{urls}", say::styled(say::GOOD, "running")));
            }
            phase @ (Phase::Fetching | Phase::Starting | Phase::Trial | Phase::Asleep) => {
                self.show(format!("{app} is {}", say::styled(say::BUSY, phase.as_str())));
            }
            phase @ (Phase::BackingOff | Phase::Refused | Phase::Reverted | Phase::Finished | Phase::Paused) => {
                self.show(format!("{app} is {}: {why}", say::styled(say::BAD, phase.as_str())));
            }
        }
    }

    fn refused(&self, refused: &Refused) {
        self.show(format!("{}: {} [{}]", say::styled(say::BAD, "refused"), refused.why, refused.code));
    }

    fn link(&self, up: Result<(), &str>) {
        if let Err(why) = up {
            self.say(&format!("the agent has no connection: {why}"));
        }
    }
}
