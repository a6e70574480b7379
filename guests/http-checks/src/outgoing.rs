//! Requests of the guest's own.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    http_error_code,
};
use wasip2::io::streams::StreamError;

/// What a request and its options are before they are sent.
pub(crate) fn states() {
    let request = OutgoingRequest::new(Fields::new());
    assert!(matches!(request.method(), Method::Get));
    assert!(request.scheme().is_none() && request.authority().is_none() && request.path_with_query().is_none());
    request.set_method(&Method::Other("PURGE".to_owned())).unwrap();
    assert!(matches!(request.method(), Method::Other(name) if name == "PURGE"));
    assert!(request.set_method(&Method::Other("A B".to_owned())).is_err());
    request.set_path_with_query(Some("/a?b=c")).unwrap();
    assert_eq!(request.path_with_query().as_deref(), Some("/a?b=c"));
    assert!(request.set_path_with_query(Some("/a b")).is_err());
    request.set_authority(Some("[::1]:80")).unwrap();
    assert_eq!(request.authority().as_deref(), Some("[::1]:80"));
    assert!(request.set_authority(Some("a b")).is_err());
    request.set_scheme(Some(&Scheme::Other("ftp".to_owned()))).unwrap();
    assert!(request.set_scheme(Some(&Scheme::Other("ä".to_owned()))).is_err());
    let body = request.body().unwrap();
    assert!(request.body().is_err());
    assert!(matches!(handle(request, None), Err(ErrorCode::HttpProtocolError)));
    // Its body leads nowhere.
    assert!(matches!(body.write().unwrap().check_write(), Err(StreamError::Closed)));

    let options = RequestOptions::new();
    assert_eq!(options.connect_timeout(), None);
    options.set_connect_timeout(Some(1)).unwrap();
    options.set_first_byte_timeout(Some(2)).unwrap();
    options.set_between_bytes_timeout(Some(3)).unwrap();
    assert_eq!(
        (options.connect_timeout(), options.first_byte_timeout(), options.between_bytes_timeout()),
        (Some(1), Some(2), Some(3))
    );
    options.set_connect_timeout(None).unwrap();
    assert_eq!(options.connect_timeout(), None);

    let fails = |change: &dyn Fn(&OutgoingRequest)| {
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&Scheme::Http)).unwrap();
        change(&request);
        handle(request, None).unwrap_err()
    };
    assert!(matches!(fails(&|_| ()), ErrorCode::HttpRequestUriInvalid));
    assert!(matches!(fails(&|r| r.set_authority(Some("user@localhost")).unwrap()), ErrorCode::HttpRequestUriInvalid));
    assert!(matches!(fails(&|r| r.set_authority(Some("127.1:80")).unwrap()), ErrorCode::HttpRequestUriInvalid));
    let tunnel = fails(&|request| {
        request.set_authority(Some("127.0.0.1:80")).unwrap();
        request.set_method(&Method::Connect).unwrap();
    });
    assert!(matches!(tunnel, ErrorCode::HttpRequestMethodInvalid));
}

/// Nobody that it was not granted.
pub(crate) fn grants() {
    for authority in ["127.0.0.1:1", "localhost:1", "[::1]:1", "0.0.0.0:1", "other.example", "[::ffff:127.0.0.1]:1"] {
        let request = OutgoingRequest::new(Fields::new());
        request.set_scheme(Some(&Scheme::Http)).unwrap();
        request.set_authority(Some(authority)).unwrap();
        assert!(matches!(handle(request, None), Err(ErrorCode::HttpRequestDenied)), "{authority}");
    }
}

/// Posts a body with trailers, and expects it back.
pub(crate) fn post(authority: &str) {
    let headers = Fields::new();
    headers.append("trailer", b"x-sum").unwrap();
    let request = OutgoingRequest::new(headers);
    request.set_method(&Method::Post).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some("/echo?x=1")).unwrap();
    let body = request.body().unwrap();
    let options = RequestOptions::new();
    options.set_first_byte_timeout(Some(5_000_000_000)).unwrap();
    let coming = handle(request, Some(options)).unwrap();
    // More than what waits on the way: it is carried while the guest waits for room.
    let piece = vec![b'x'; 4096];
    let out = body.write().unwrap();
    for _ in 0..64 {
        out.blocking_write_and_flush(&piece).unwrap();
    }
    drop(out);
    let trailers = Fields::new();
    trailers.append("x-sum", b"262144").unwrap();
    OutgoingBody::finish(body, Some(trailers)).unwrap();
    coming.subscribe().block();
    let response = coming.get().unwrap().unwrap().unwrap();
    assert!(coming.get().unwrap().is_err(), "told once");
    drop(coming);
    assert_eq!((response.status(), read(&response)), (200, 64 * 4096));
}

fn read(response: &IncomingResponse) -> usize {
    assert!(response.headers().has("date"));
    let body = response.consume().unwrap();
    assert!(response.consume().is_err());
    let stream = body.stream().unwrap();
    let mut count = 0;
    loop {
        match stream.blocking_read(10_000) {
            Ok(bytes) => count += bytes.len(),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{:?}", http_error_code(&error)),
        }
    }
    drop(stream);
    let coming = IncomingBody::finish(body);
    coming.subscribe().block();
    coming.get().unwrap().unwrap().unwrap();
    count
}
