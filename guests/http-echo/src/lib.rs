//! Sends every request's body back as it comes: however long it is, little of it is here at a time.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

wasip2::http::proxy::export!(Echo);

struct Echo;

/// Passed on at once.
const PIECE_BYTES: u64 = 16 * 1024;

impl Guest for Echo {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let (Ok(asked), Ok(body)) = (request.consume(), response.body()) else { return };
        ResponseOutparam::set(answer, Ok(response));
        let copied = match (asked.stream(), body.write()) {
            (Ok(from), Ok(to)) => copy(&from, &to),
            _ => return,
        };
        // What is not whole is not finished: the host cuts it off, so that nobody takes it for all.
        if copied.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

fn copy(from: &InputStream, to: &OutputStream) -> Result<(), StreamError> {
    loop {
        match to.blocking_splice(from, PIECE_BYTES) {
            Ok(_) => {}
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
