//! A progress bar for what takes over a second, where somebody sees it.

use std::{
    fmt::Display,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::say;

/// What is quicker shows nothing.
const HIDDEN: Duration = Duration::from_secs(1);

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// Something that may take a while. Dropped, it leaves the terminal as it was.
pub(crate) struct Progress {
    bar: ProgressBar,
    shower: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Of unknown length.
    pub(crate) fn waiting(what: impl Display) -> Self {
        Self::start(ProgressBar::new_spinner(), "{spinner} {msg}", what)
    }

    /// Of so many steps.
    pub(crate) fn counting(what: impl Display, steps: usize) -> Self {
        Self::start(ProgressBar::new(steps as u64), "{msg} {wide_bar} {pos}/{len}", what)
    }

    fn start(bar: ProgressBar, template: &str, what: impl Display) -> Self {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        bar.set_message(what.to_string());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let shower = say::is_watched().then(|| show_later(bar.clone()));
        Self { bar, shower }
    }

    /// What it is doing now.
    pub(crate) fn say(&self, what: impl Display) {
        self.bar.set_message(what.to_string());
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// So many steps are done, of so many.
    pub(crate) fn set(&self, done: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
    }
}

/// Shows the bar when a second has passed, unless it is over by then.
fn show_later(bar: ProgressBar) -> (Sender<()>, JoinHandle<()>) {
    let (over, is_over): (Sender<()>, Receiver<()>) = channel();
    let thread = std::thread::spawn(move || {
        if is_over.recv_timeout(HIDDEN).is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TURN);
        }
    });
    (over, thread)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.shower.take() {
            drop(over);
            // It ends at once, and has no value.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
