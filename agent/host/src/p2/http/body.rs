//! Bodies: what arrives, and what leaves. Their streams are those of `wasi:io`, made from a body's handle.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Body as _;

use super::{ErrorCode, Fields, FutureTrailers};
use crate::http::{Body, GuestBody, Pipe};
use crate::p2::call::{Cx, Fail, Stop};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::{InputStream, OutputStream, Source, Target};

/// A body that arrives, of a request or a response.
pub(in crate::p2) struct IncomingBody {
    arriving: Arriving,
    is_streamed: bool,
}

/// A body on its way to the guest. Nothing of it is asked for before the guest wants it.
pub(in crate::p2) struct Arriving {
    /// `None` when it is over.
    body: Option<Body>,
    piece: Bytes,
    trailers: Option<HeaderMap>,
    error: Option<ErrorCode>,
}

/// What is there of a body now.
pub(in crate::p2) enum Piece {
    Some(Bytes),
    Nothing,
    End,
    Failed(ErrorCode),
}

impl IncomingBody {
    pub(in crate::p2) fn new(body: Body) -> Self {
        let arriving = Arriving { body: Some(body), piece: Bytes::new(), trailers: None, error: None };
        Self { arriving, is_streamed: false }
    }

    /// Until there is something to read, or the end.
    pub(in crate::p2) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.arriving.poll(cx)
    }

    /// What is there, but no more than so many bytes.
    pub(in crate::p2) fn read(&mut self, bytes_max: usize) -> Piece {
        let arriving = &mut self.arriving;
        if arriving.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Piece::Nothing;
        }
        if !arriving.piece.is_empty() {
            return Piece::Some(arriving.piece.split_to(arriving.piece.len().min(bytes_max)));
        }
        arriving.error.take().map_or(Piece::End, Piece::Failed)
    }
}

impl Arriving {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.piece.is_empty()
            && let Some(body) = &mut self.body
        {
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => self.body = None,
                Some(Err(error)) => (self.body, self.error) = (None, Some(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Poll::Ready(())
    }

    /// Until all of it has come. What the guest did not read is passed over.
    pub(in crate::p2) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.piece.clear();
            ready!(self.poll(cx));
            if self.piece.is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// What came last.
    pub(in crate::p2) fn into_trailers(self) -> Result<Option<Fields>, ErrorCode> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.trailers.map(Fields::received)),
        }
    }
}

pub(in crate::p2) fn stream(cx: &mut Cx<'_>, this: Borrow<IncomingBody>) -> Result<Result<Own<InputStream>, ()>, Stop> {
    let handles = &mut cx.state.p2.handles;
    if std::mem::replace(&mut handles.get_mut(&this)?.is_streamed, true) {
        return Ok(Err(()));
    }
    let stream = InputStream::new(Source::Body { number: this.number() });
    Ok(Ok(handles.push_child(stream, this.number())?))
}

pub(in crate::p2) fn finish_incoming(cx: &mut Cx<'_>, this: Own<IncomingBody>) -> Result<Own<FutureTrailers>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let IncomingBody { arriving, .. } = handles.take(&this)?;
    Ok(handles.push(FutureTrailers::new(arriving))?)
}

/// A body that leaves, of a request or a response.
pub(in crate::p2) struct OutgoingBody {
    pipe: Pipe,
    of: Message,
    /// What its header says.
    length: Option<u64>,
    written: u64,
    is_streamed: bool,
}

/// What a body belongs to: each has error codes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::p2) enum Message {
    Request,
    Response,
}

impl Message {
    fn wrong_size(self, bytes: u64) -> ErrorCode {
        match self {
            Self::Request => ErrorCode::HttpRequestBodySize(Some(bytes)),
            Self::Response => ErrorCode::HttpResponseBodySize(Some(bytes)),
        }
    }
}

impl OutgoingBody {
    pub(in crate::p2) fn new(of: Message, length: Option<u64>) -> (Self, GuestBody) {
        let (pipe, body) = Pipe::new(length);
        (Self { pipe, of, length, written: 0, is_streamed: false }, body)
    }

    /// How many bytes it takes now; nothing if nobody listens any more.
    pub(in crate::p2) fn room(&self) -> Option<usize> {
        self.pipe.room()
    }

    pub(in crate::p2) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        self.pipe.poll_room(cx)
    }

    /// Writes more of it, unless that is more than its header says.
    pub(in crate::p2) fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorCode> {
        self.written += bytes.len() as u64;
        if self.length.is_some_and(|length| self.written > length) {
            self.pipe.break_off();
            return Err(self.of.wrong_size(self.written));
        }
        self.pipe.push(bytes);
        Ok(())
    }

    pub(in crate::p2) fn break_off(&self) {
        self.pipe.break_off();
    }
}

pub(in crate::p2) fn write(cx: &mut Cx<'_>, this: Borrow<OutgoingBody>) -> Result<Result<Own<OutputStream>, ()>, Stop> {
    let handles = &mut cx.state.p2.handles;
    if std::mem::replace(&mut handles.get_mut(&this)?.is_streamed, true) {
        return Ok(Err(()));
    }
    let stream = OutputStream::new(Target::Body { number: this.number() });
    Ok(Ok(handles.push_child(stream, this.number())?))
}

pub(in crate::p2) fn finish_outgoing(
    cx: &mut Cx<'_>,
    this: Own<OutgoingBody>,
    trailers: Option<Own<Fields>>,
) -> Result<(), Fail<ErrorCode>> {
    let p2 = &mut cx.state.p2;
    let body = p2.handles.take(&this)?;
    let trailers = trailers.map(|trailers| p2.handles.take(&trailers)).transpose()?;
    // An answer to HEAD says how long the body of one to GET would be.
    let has_none = body.of == Message::Response && body.written == 0 && p2.http.method == Method::HEAD;
    if body.length.is_some_and(|length| length != body.written) && !has_none {
        // Dropped, it is broken off.
        return Err(body.of.wrong_size(body.written).into());
    }
    body.pipe.finish(trailers.map(Fields::into_map).filter(|trailers| !trailers.is_empty()));
    Ok(())
}
