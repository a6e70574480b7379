//! Bodies between hyper and guests: counted, bounded, and never gathered.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use dunlin_host::http::{ErrorCode, GuestBody};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::exchange::Exchange;

/// A request's body, on its way to the guest.
pub(super) struct Asked {
    incoming: Incoming,
    /// Bytes that may still come.
    left: u64,
    max: u64,
    exchange: Exchange,
}

impl Asked {
    pub(super) fn new(incoming: Incoming, max: u64, exchange: Exchange) -> Self {
        Self { incoming, left: max, max, exchange }
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        let Some(frame) = ready!(Pin::new(&mut self.incoming).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(broken(&error)))),
        };
        if let Some(data) = frame.data_ref() {
            self.exchange.received(data.len());
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(ErrorCode::HttpRequestBodySize(Some(self.max)))));
            };
            self.left = left;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// How a body broke, as a guest is told.
pub(super) fn broken(error: &hyper::Error) -> ErrorCode {
    if error.is_parse() || error.is_user() { ErrorCode::HttpProtocolError } else { ErrorCode::ConnectionTerminated }
}

/// An answer's body on its way out: a guest's, or a sentence of the board's.
pub(super) enum Given {
    Guest {
        body: GuestBody,
        exchange: Exchange,
        /// Nobody reads it: the answer has no body.
        bodiless: bool,
    },
    Text(Option<Bytes>),
}

impl Body for Given {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Guest { body, exchange, .. } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                if let Some(Ok(frame)) = &frame {
                    exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                }
                if body.is_end_stream() {
                    exchange.answered();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Guest { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Guest { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Self::Guest { body, exchange, bodiless } = self {
            if *bodiless || body.is_end_stream() { exchange.answered() } else { exchange.leave() }
        }
    }
}
