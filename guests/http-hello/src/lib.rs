//! Answers every HTTP request with a greeting: the board speaks HTTP, and this says what.

use std::io::Write;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

const GREETING: &str = "Hello, WASM!";

impl Guest for Hello {
    fn handle(_: IncomingRequest, answer: ResponseOutparam) {
        let fields = [("content-type", "text/plain".to_owned()), ("content-length", GREETING.len().to_string())];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        let Ok(headers) = Fields::from_list(&fields) else { return };
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(answer, Ok(response));
        // Whoever asked may have left: then nobody misses the rest.
        if let Ok(mut out) = body.write() {
            let _ = out.write_all(GREETING.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
