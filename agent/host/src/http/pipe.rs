//! A body on its way out of a guest: what it writes here goes out there, and a full pipe holds it up.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::ErrorCode;

/// Bytes that a body may have in the pipe. It is also what a guest may write before its answer is set.
const PIPE_BYTES_MAX: usize = 64 * 1024;

/// The guest's end. Dropped before it is finished, the body is broken off.
pub(crate) struct Pipe(Arc<Mutex<Shared>>);

/// A body that a guest writes, as whoever sends it sees it. Dropped, the guest is told that nobody listens.
#[derive(Debug)]
pub struct GuestBody(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    pieces: VecDeque<Bytes>,
    /// Bytes in the pieces.
    held: usize,
    /// Bytes that are still to come out, if the guest said how many there will be.
    length: Option<u64>,
    end: Option<End>,
    is_abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
enum End {
    Finished(Option<HeaderMap>),
    Broken,
}

impl Pipe {
    /// A pipe, for a body of this length if it is known.
    pub(crate) fn new(length: Option<u64>) -> (Self, GuestBody) {
        let shared = Shared {
            pieces: VecDeque::new(),
            held: 0,
            length,
            end: None,
            is_abandoned: false,
            reader: None,
            writer: None,
        };
        let shared = Arc::new(Mutex::new(shared));
        (Self(Arc::clone(&shared)), GuestBody(shared))
    }

    /// How many bytes it takes now; nothing if nobody listens any more.
    pub(crate) fn room(&self) -> Option<usize> {
        let shared = lock(&self.0);
        (!shared.is_abandoned).then(|| PIPE_BYTES_MAX.saturating_sub(shared.held))
    }

    /// Until there is room, or nobody listens.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.0);
        if shared.is_abandoned || shared.held < PIPE_BYTES_MAX {
            return Poll::Ready(());
        }
        shared.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut shared = lock(&self.0);
        if !bytes.is_empty() && !shared.is_abandoned && shared.end.is_none() {
            shared.held += bytes.len();
            shared.pieces.push_back(Bytes::copy_from_slice(bytes));
            shared.wake_reader();
        }
    }

    pub(crate) fn finish(self, trailers: Option<HeaderMap>) {
        self.end(End::Finished(trailers));
    }

    /// What was written does not make a body: whoever reads it is told so.
    pub(crate) fn break_off(&self) {
        self.end(End::Broken);
    }

    fn end(&self, end: End) {
        let mut shared = lock(&self.0);
        if shared.end.is_none() {
            shared.end = Some(end);
            shared.wake_reader();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.break_off();
    }
}

impl Shared {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl GuestBody {
    /// A body without a byte in it.
    pub(crate) fn empty() -> Self {
        let (pipe, body) = Pipe::new(None);
        pipe.finish(None);
        body
    }

    /// Forgets the length that was announced: an answer that has no body says one all the same.
    pub(crate) fn forget_length(&self) {
        lock(&self.0).length = None;
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        let mut shared = lock(&self.0);
        // What is not whole is not passed off as such: a broken end goes before what was written last.
        if matches!(shared.end, Some(End::Broken)) {
            let why = "the guest did not finish its body".to_owned();
            return Poll::Ready(Some(Err(ErrorCode::InternalError(Some(why)))));
        }
        if let Some(piece) = shared.pieces.pop_front() {
            shared.held -= piece.len();
            shared.length = shared.length.map(|length| length.saturating_sub(piece.len() as u64));
            shared.wake_writer();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut shared.end {
            Some(End::Finished(trailers)) => Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
            Some(End::Broken) | None => {
                shared.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.0);
        shared.pieces.is_empty() && matches!(shared.end, Some(End::Finished(None)))
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.0);
        match (shared.length, &shared.end) {
            (Some(length), _) => SizeHint::with_exact(length),
            // All of it is here: a short answer needs no chunks.
            (None, Some(End::Finished(None))) => SizeHint::with_exact(shared.held as u64),
            (None, _) => SizeHint::default(),
        }
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.is_abandoned = true;
        shared.pieces.clear();
        shared.held = 0;
        shared.wake_writer();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // What is shared cannot be left half-changed by a panic.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(body: &mut GuestBody) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_full_pipe_takes_nothing_until_it_is_read() {
        let (pipe, mut body) = Pipe::new(None);
        pipe.push(&vec![1; PIPE_BYTES_MAX]);
        assert_eq!(pipe.room(), Some(0));
        assert!(pipe.poll_room(&Context::from_waker(Waker::noop())).is_pending());
        let Poll::Ready(Some(Ok(frame))) = next(&mut body) else { panic!("nothing came") };
        assert_eq!(frame.into_data().unwrap().len(), PIPE_BYTES_MAX);
        assert_eq!(pipe.room(), Some(PIPE_BYTES_MAX));
        drop(body);
        assert_eq!(pipe.room(), None, "nobody listens");
    }

    #[test]
    fn what_is_all_there_says_its_length() {
        let (pipe, mut body) = Pipe::new(None);
        assert_eq!(body.size_hint().exact(), None);
        pipe.push(b"abc");
        pipe.finish(None);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
        assert!(matches!(next(&mut body), Poll::Ready(Some(Ok(_)))));
        assert!(body.is_end_stream() && matches!(next(&mut body), Poll::Ready(None)));
        assert!(GuestBody::empty().is_end_stream());
    }

    #[test]
    fn a_body_that_is_not_finished_is_an_error() {
        let (pipe, mut body) = Pipe::new(Some(6));
        pipe.push(b"abc");
        assert_eq!(body.size_hint().exact(), Some(6));
        drop(pipe);
        assert!(matches!(next(&mut body), Poll::Ready(Some(Err(ErrorCode::InternalError(_))))));
    }

    #[test]
    fn trailers_come_last() {
        let (pipe, mut body) = Pipe::new(None);
        pipe.push(b"abc");
        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        pipe.finish(Some(trailers.clone()));
        assert!(matches!(next(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_data()));
        let Poll::Ready(Some(Ok(frame))) = next(&mut body) else { panic!("no trailers") };
        assert_eq!(frame.into_trailers().unwrap(), trailers);
        assert!(matches!(next(&mut body), Poll::Ready(None)));
    }
}
