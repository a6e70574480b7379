//! Answers every HTTP request with a greeting: the board speaks HTTP, and this says what.

use std::io::Write;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

impl Guest for Hello {
    fn handle(_: IncomingRequest, answer: ResponseOutparam) {
        let Ok(headers) = Fields::from_list(&[("content-type".to_owned(), b"text/plain".to_vec())]) else { return };
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(answer, Ok(response));
        // Whoever asked may have left: then nobody misses the rest.
        if let Ok(mut out) = body.write() {
            let _ = out.write_all(b"Hello, WASM!");
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
