//! A bundle in the state folder, fed to the driver frame by frame, as a broker feeds it messages.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dunlin_core::wire::bundle::Frame;
use tokio::{sync::mpsc, time::Instant};

use crate::bundle::{NotRead, Reader};

/// How often to look for a bundle.
const LOOK: Duration = Duration::from_secs(2);

/// How long to wait before a bundle is read again that the disk would not take.
const AGAIN: Duration = Duration::from_secs(60);

/// Frames that wait for the driver; when they are as many, the file waits too.
const FRAMES_MAX: usize = 2;

/// Where bundles are left, and what is read of one.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    state: State,
    /// Something could not be written since it was begun.
    failed: bool,
}

#[derive(Debug)]
enum State {
    /// None was there.
    Looking { again: Instant },
    /// One is read.
    Reading(mpsc::Receiver<Result<Frame, NotRead>>),
    /// All of it was read, and it is to go.
    Read,
    /// It does not go.
    Left,
}

impl Spool {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: State::Looking { again: Instant::now() }, failed: false }
    }

    /// The next frame, in a while. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Frame, NotRead> {
        loop {
            match &mut self.state {
                State::Looking { again } => {
                    tokio::time::sleep_until(*again).await;
                    *again = Instant::now() + LOOK;
                    if self.path.exists() {
                        self.failed = false;
                        self.state = State::Reading(frames_of(self.path.clone()));
                    }
                }
                State::Reading(frames) => match frames.recv().await {
                    Some(frame) => return frame,
                    None => self.finish(),
                },
                State::Read | State::Left => std::future::pending().await,
            }
        }
    }

    /// It cannot be removed: it is left alone.
    pub(super) fn abandon(&mut self) {
        self.state = State::Left;
    }

    /// Something could not be written, and it may have been of the bundle.
    pub(super) fn disk_failed(&mut self) {
        self.failed = true;
    }

    /// Nothing more is read of it.
    pub(super) fn finish(&mut self) {
        self.state = State::Read;
    }

    /// The bundle that may go, if there is one: all of it was read, and what it brought was written.
    pub(super) fn read(&mut self) -> Option<&Path> {
        if !matches!(self.state, State::Read) {
            return None;
        }
        if self.failed {
            self.state = State::Looking { again: Instant::now() + AGAIN };
            return None;
        }
        Some(&self.path)
    }

    /// It is gone: the next may come.
    pub(super) fn emptied(&mut self) {
        self.state = State::Looking { again: Instant::now() + LOOK };
    }
}

/// Reads a bundle on a blocking thread, until its end or the first thing that is wrong with it.
fn frames_of(path: PathBuf) -> mpsc::Receiver<Result<Frame, NotRead>> {
    let (sender, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut reader = match Reader::open(&path) {
            Ok(reader) => reader,
            // Who does not listen any more has no use for it.
            Err(error) => return drop(sender.blocking_send(Err(error))),
        };
        loop {
            let frame = reader.next_frame();
            let last = matches!(frame, Ok(Frame::End) | Err(_));
            if sender.blocking_send(frame).is_err() || last {
                return;
            }
        }
    });
    receiver
}
