//! Stdin: what a reader yields, fetched when the guest asks for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::guest::Stdin;

const BUFFER_BYTES: usize = 4096;

/// Stdin, with what was fetched and not yet read.
pub(crate) struct Input {
    source: Stdin,
    buffer: Vec<u8>,
    read: usize,
    state: Source,
}

enum Source {
    Open,
    Ended,
    /// An error that the next read reports.
    Failed(io::Error),
}

impl Input {
    pub(crate) fn new(source: Stdin) -> Self {
        let state = match source {
            Stdin::Empty => Source::Ended,
            Stdin::Reader(_) => Source::Open,
        };
        Self { source, buffer: Vec::new(), read: 0, state }
    }

    /// Bytes that can be read at once.
    pub(crate) fn available(&self) -> usize {
        self.buffer.len() - self.read
    }

    /// Whether a read would not block.
    pub(crate) fn is_ready(&self) -> bool {
        self.available() > 0 || !matches!(self.state, Source::Open)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.available() == 0 && matches!(self.state, Source::Ended)
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let fetched = self.buffer.get(self.read..).unwrap_or_default();
        if !fetched.is_empty() {
            let n = fetched.len().min(into.len());
            into[..n].copy_from_slice(&fetched[..n]);
            self.read += n;
            return Ok(n);
        }
        match std::mem::replace(&mut self.state, Source::Ended) {
            Source::Ended => Ok(0),
            Source::Failed(error) => Err(error),
            Source::Open => {
                self.state = Source::Open;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Fetches, unless there is something left to read.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_ready() {
            return Poll::Ready(());
        }
        let Stdin::Reader(reader) = &mut self.source else { return Poll::Ready(()) };
        self.read = 0;
        self.buffer.resize(BUFFER_BYTES, 0);
        let mut space = ReadBuf::new(&mut self.buffer);
        let outcome = Pin::new(reader).poll_read(cx, &mut space);
        let fetched = space.filled().len();
        self.buffer.truncate(fetched);
        match ready!(outcome) {
            Ok(()) if fetched == 0 => self.state = Source::Ended,
            Ok(()) => {}
            Err(error) => self.state = Source::Failed(error),
        }
        Poll::Ready(())
    }
}
