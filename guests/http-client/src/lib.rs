//! Asks another server, and passes its answer on: `GET /127.0.0.1:8080/path` asks `http://127.0.0.1:8080/path`, and
//! `GET /https://127.0.0.1:8443/path` asks by TLS.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

wasip2::http::proxy::export!(Client);

struct Client;

impl Guest for Client {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let url = path.trim_start_matches('/');
        let (scheme, place) = match url.strip_prefix("https://") {
            Some(place) => (Scheme::Https, place),
            None => (Scheme::Http, url),
        };
        let (authority, path) = place.split_once('/').unwrap_or_default();
        match ask(&scheme, authority, &format!("/{path}")) {
            Ok(response) => pass_on(&response, answer),
            // The host makes an answer of it, and its log says what it was.
            Err(error) => ResponseOutparam::set(answer, Err(error)),
        }
    }
}

/// The answer of a server that may be reached, however it is.
fn ask(scheme: &Scheme, authority: &str, path: &str) -> Result<IncomingResponse, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(scheme)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_authority(Some(authority)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_path_with_query(Some(path)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let coming = outgoing_handler::handle(request, None)?;
    coming.subscribe().block();
    coming.get().and_then(Result::ok).unwrap_or(Err(ErrorCode::InternalError(None)))
}

fn pass_on(from: &IncomingResponse, answer: ResponseOutparam) {
    let response = OutgoingResponse::new(from.headers().clone());
    let (Ok(()), Ok(came), Ok(body)) = (response.set_status_code(from.status()), from.consume(), response.body())
    else {
        return;
    };
    ResponseOutparam::set(answer, Ok(response));
    let copied = match (came.stream(), body.write()) {
        (Ok(from), Ok(to)) => loop {
            match to.blocking_splice(&from, 16 * 1024) {
                Ok(_) => {}
                Err(error) => break matches!(error, StreamError::Closed),
            }
        },
        _ => return,
    };
    if copied {
        let _ = OutgoingBody::finish(body, None);
    }
}
