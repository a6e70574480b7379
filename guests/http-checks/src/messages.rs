//! Requests that come, and the answers to them.

use wasip2::http::types::{
    ErrorCode, Fields, HeaderError, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::say;

/// Says what it was asked.
pub(crate) fn request(request: &IncomingRequest, answer: ResponseOutparam) {
    let headers = request.headers();
    assert!(matches!(headers.append("a", b"b"), Err(HeaderError::Immutable)));
    assert!(matches!(request.scheme(), Some(Scheme::Http)));
    // What was about the connection was not for the guest.
    assert!(!headers.has("host") && !headers.has("connection"));
    let method = if let Method::Other(name) = request.method() {
        name
    } else {
        let name = format!("{:?}", request.method());
        name.trim_start_matches("Method::").to_ascii_uppercase()
    };
    let mut text = format!("{method} {}\n", request.authority().unwrap());
    for (name, value) in headers.entries() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    let body = request.consume().unwrap();
    assert!(request.consume().is_err());
    let stream = body.stream().unwrap();
    assert!(body.stream().is_err());
    assert!(stream.read(0).unwrap().is_empty());
    let mut count = 0;
    loop {
        stream.subscribe().block();
        match stream.read(1000) {
            Ok(bytes) => count += bytes.len(),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(matches!(stream.blocking_read(1), Err(StreamError::Closed)));
    say(answer, &format!("{text}{count} bytes"));
}

/// Answers with a status, a header and a length.
pub(crate) fn response(answer: ResponseOutparam) {
    let headers = Fields::new();
    headers.append("content-length", b"4").unwrap();
    headers.append("x-own", b"1").unwrap();
    let response = OutgoingResponse::new(headers);
    assert_eq!(response.status_code(), 200);
    for bad in [0, 99, 100, 103, 600, 999, 1000] {
        assert!(response.set_status_code(bad).is_err(), "{bad}");
    }
    response.set_status_code(418).unwrap();
    assert_eq!(response.status_code(), 418);
    assert!(matches!(response.headers().delete("x-own"), Err(HeaderError::Immutable)));
    let body = response.body().unwrap();
    assert!(response.body().is_err());
    let out = body.write().unwrap();
    assert!(body.write().is_err());
    // Before anybody waits for it.
    out.blocking_write_and_flush(b"four").unwrap();
    drop(out);
    ResponseOutparam::set(answer, Ok(response));
    OutgoingBody::finish(body, None).unwrap();
}

/// Reads a body to its trailers, without its contents, and answers with them.
pub(crate) fn trailers(request: &IncomingRequest, answer: ResponseOutparam) {
    let coming = IncomingBody::finish(request.consume().unwrap());
    coming.subscribe().block();
    let came = coming.get().unwrap().unwrap().unwrap();
    assert!(coming.get().unwrap().is_err(), "told once");
    let value = came.map(|came| {
        assert!(matches!(came.append("a", b"b"), Err(HeaderError::Immutable)));
        came.get("x-sum").concat()
    });
    let headers = Fields::new();
    headers.append("trailer", b"x-sum").unwrap();
    let response = OutgoingResponse::new(headers);
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    body.write().unwrap().blocking_write_and_flush(b"whole").unwrap();
    let trailers = Fields::new();
    trailers.append("x-sum", &value.unwrap_or_else(|| b"none".to_vec())).unwrap();
    OutgoingBody::finish(body, Some(trailers)).unwrap();
}

/// An answer to HEAD: the length of what is not sent.
pub(crate) fn head(answer: ResponseOutparam) {
    let headers = Fields::new();
    headers.append("content-length", b"1000").unwrap();
    let response = OutgoingResponse::new(headers);
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    OutgoingBody::finish(body, None).unwrap();
}

/// Answers that something went wrong.
pub(crate) fn error(answer: ResponseOutparam, code: ErrorCode) {
    ResponseOutparam::set(answer, Err(code));
}
