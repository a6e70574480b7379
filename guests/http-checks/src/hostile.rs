//! What a guest must not do, or does not have to be forgiven.

#![expect(unsafe_code, reason = "a handle that was given away is used again")]

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam, http_error_code,
};
use wasip2::io::streams::StreamError;

use crate::{messages, say};

pub(crate) fn run(what: &str, request: IncomingRequest, answer: ResponseOutparam) {
    match what {
        "panic" => panic!("as it was asked to"),
        "exit" => wasip2::cli::exit::exit_with_code(3),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "silent" => subscribe_duration(u64::MAX).block(),
        "unset" => drop(answer),
        "error" => messages::error(answer, ErrorCode::LoopDetected),
        "twice" => {
            let handle = answer.take_handle();
            // SAFETY: a handle that is used twice ends the guest, and nothing else.
            let [first, second] = [handle; 2].map(|handle| unsafe { ResponseOutparam::from_handle(handle) });
            say(first, "first");
            say(second, "second");
        }
        "unfinished" => drop(begun(answer, None, b"half")),
        "kept" => std::mem::forget(begun(answer, None, b"half")),
        "short" => {
            let body = begun(answer, Some("10"), b"half");
            let error = OutgoingBody::finish(body, None).unwrap_err();
            assert!(matches!(error, ErrorCode::HttpResponseBodySize(Some(4))), "{error:?}");
        }
        "long" => {
            let body = begun(answer, Some("5"), b"half");
            assert!(body.write().is_err());
            OutgoingBody::finish(body, None).unwrap_err();
        }
        "over" => over(answer),
        "bodiless" => {
            let headers = Fields::new();
            headers.append("content-length", b"4").unwrap();
            ResponseOutparam::set(answer, Ok(OutgoingResponse::new(headers)));
        }
        "huge" => loop {
            let fields = Fields::new();
            for number in 0.. {
                fields.append(&format!("x-{number}"), &[b'x'; 1000]).unwrap();
            }
        },
        // What is too long is not looked at, else it would be no value.
        "wide" => _ = Fields::new().set("x-wide", &vec![vec![b'\n'; 1000]; 65]),
        "long-value" => _ = Fields::new().append("x-long", &[b'\n'; 65 * 1024]),
        "parent" => {
            let response = OutgoingResponse::new(Fields::new());
            let headers = response.headers();
            ResponseOutparam::set(answer, Ok(response));
            drop(headers);
        }
        "stream" => {
            let body = request.consume().unwrap();
            let stream = body.stream().unwrap();
            drop(IncomingBody::finish(body));
            drop(stream);
        }
        "unread" => say(answer, "ok"),
        "lingers" => {
            say(answer, "ok");
            subscribe_duration(u64::MAX).block();
        }
        "endless" => endless(answer),
        "wait" => {
            subscribe_duration(100_000_000).block();
            say(answer, "ok");
        }
        "cut" => cut(&request, answer),
        other => say(answer, &format!("no such part: {other}")),
    }
}

/// An answer of which some is written.
fn begun(answer: ResponseOutparam, length: Option<&str>, bytes: &[u8]) -> OutgoingBody {
    let headers = Fields::new();
    if let Some(length) = length {
        headers.append("content-length", length.as_bytes()).unwrap();
    }
    let response = OutgoingResponse::new(headers);
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    body.write().unwrap().blocking_write_and_flush(bytes).unwrap();
    body
}

/// Writes more than it announced.
fn over(answer: ResponseOutparam) {
    let headers = Fields::new();
    headers.append("content-length", b"5").unwrap();
    let response = OutgoingResponse::new(headers);
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let out = body.write().unwrap();
    let Err(StreamError::LastOperationFailed(error)) = out.blocking_write_and_flush(b"too many") else {
        panic!("it was taken")
    };
    assert!(matches!(http_error_code(&error), Some(ErrorCode::HttpResponseBodySize(Some(8)))));
    assert!(matches!(out.check_write(), Err(StreamError::Closed)));
}

/// Writes until nobody listens, and then on.
fn endless(answer: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let out = body.write().unwrap();
    while out.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}
    subscribe_duration(u64::MAX).block();
}

/// Says how its request's body broke.
fn cut(request: &IncomingRequest, answer: ResponseOutparam) {
    let body = request.consume().unwrap();
    let stream = body.stream().unwrap();
    let code = loop {
        match stream.blocking_read(10_000) {
            Ok(_) => {}
            Err(StreamError::Closed) => break None,
            Err(StreamError::LastOperationFailed(error)) => break http_error_code(&error),
        }
    };
    say(answer, &format!("{code:?}"));
}
