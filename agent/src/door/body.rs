//! Bodies of answers and of requests that are passed on: whole ones, and those that pass through.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

/// A body of ours.
pub(super) enum Body {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    /// Somebody else's, as it comes.
    Passing(Incoming),
    /// Somebody else's, as much of it as is allowed, and no slower.
    Bounded(Bounded),
}

/// A body that ends with an error when it is too long, or does not come.
pub(super) struct Bounded {
    body: Incoming,
    left: u64,
    patience: Duration,
    /// Since somebody waits for more of it.
    late: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    pub(super) fn new(body: Incoming, bytes_max: u64, patience: Duration) -> Self {
        Self { body, left: bytes_max, patience, late: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
            return late.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::TimedOut.into())));
        };
        self.late = None;
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(io::Error::other)?;
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.left = self.left.checked_sub(length).ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(frame)
        }))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(body) => Pin::new(body).poll_frame(cx).map_err(io::Error::other),
            Self::Bounded(bounded) => bounded.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Passing(body) => body.is_end_stream(),
            Self::Bounded(bounded) => bounded.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passing(body) => body.size_hint(),
            Self::Bounded(bounded) => bounded.body.size_hint(),
        }
    }
}
