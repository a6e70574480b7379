//! Uses the interfaces of `wasi:http/proxy` as their document describes them, and panics where one is not so.
//!
//! The path says which: see [`Guest::handle`]. What has to end the guest, or breaks its answer, is in [`hostile`].

#![expect(clippy::unwrap_used, reason = "what is not as documented ends it")]

mod fields;
mod hostile;
mod messages;
mod outgoing;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Checks);

struct Checks;

impl Guest for Checks {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/fields" => fields::all(),
            "/request" => return messages::request(&request, answer),
            "/response" => return messages::response(answer),
            "/trailers" => return messages::trailers(&request, answer),
            "/head" => return messages::head(answer),
            "/outgoing" => outgoing::states(),
            "/grants" => outgoing::grants(),
            "/log" => println!("seen"),
            path => match path.strip_prefix("/ask/") {
                Some(authority) => outgoing::post(authority),
                None => return hostile::run(&path[1..], request, answer),
            },
        }
        say(answer, "ok");
    }
}

/// Answers with a text.
fn say(answer: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let out = body.write().unwrap();
    out.blocking_write_and_flush(text.as_bytes()).unwrap();
    drop(out);
    OutgoingBody::finish(body, None).unwrap();
}
