//! The world `wasi:http/proxy`, as a guest that knows its document finds it: see `guests/http-checks`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use dunlin_guests::component::{HTTP_CHECKS, HTTP_CLIENT, HTTP_ECHO, HTTP_HELLO, PLAIN_SERVER};
use dunlin_host::http::{Answer, Body, Client, ErrorCode, Handler, Outgoing, Sending};
use dunlin_host::{Ended, FaultKind, Grants, Guest, Limits, Program, World};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::oneshot;

use crate::common::{Record, compile, guest, soon};

/// A body of these bytes.
fn whole(bytes: impl Into<Bytes>) -> Body {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

fn nothing() -> Body {
    Box::pin(Empty::new().map_err(|never| match never {}))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "board:8080").body(nothing()).unwrap()
}

async fn start(program: &Program, change: impl FnOnce(Guest) -> Guest) -> (Handler, Record) {
    let (guest, record) = guest(&["app"]);
    (soon(Handler::start(program, change(guest))).await.unwrap(), record)
}

/// An answer, with all of its body or why that broke.
type Whole = Response<Result<http_body_util::Collected<Bytes>, ErrorCode>>;

/// What was answered, and how the guest's part ended.
struct Heard {
    answer: Option<Result<Whole, ErrorCode>>,
    ended: Result<(), Ended>,
}

impl Heard {
    #[track_caller]
    fn response(self) -> Response<http_body_util::Collected<Bytes>> {
        self.ended.unwrap();
        let (parts, body) = self.answer.expect("no answer").unwrap().into_parts();
        Response::from_parts(parts, body.unwrap())
    }

    #[track_caller]
    fn text(self) -> String {
        let response = self.response();
        assert_eq!(response.status(), StatusCode::OK);
        String::from_utf8(response.into_body().to_bytes().to_vec()).unwrap()
    }

    /// The body broke, or was never there.
    #[track_caller]
    fn is_broken(&self) {
        let Some(Ok(response)) = &self.answer else { panic!("no answer") };
        assert!(matches!(response.body(), Err(ErrorCode::InternalError(_))), "{:?}", response.body());
    }

    #[track_caller]
    fn broke(&self, rule: &str) {
        let Err(Ended::Fault(fault)) = &self.ended else { panic!("{:?}", self.ended) };
        assert_eq!(fault.kind.to_string(), rule, "{fault}");
    }
}

/// Has it answer, and reads the answer to its end.
async fn hear(handler: &mut Handler, request: Request<Body>) -> Heard {
    let (sender, receiver) = oneshot::channel::<Answer>();
    let reading = async {
        match receiver.await {
            Ok(Ok(response)) => {
                let (parts, body) = response.into_parts();
                Some(Ok(Response::from_parts(parts, body.collect().await)))
            }
            Ok(Err(code)) => Some(Err(code)),
            Err(_) => None,
        }
    };
    let (ended, answer) = soon(async { tokio::join!(handler.handle(request, sender), reading) }).await;
    Heard { answer, ended }
}

async fn check(path: &str, change: impl FnOnce(Guest) -> Guest) -> Heard {
    let (mut handler, record) = start(&compile(HTTP_CHECKS.bytes), change).await;
    let heard = hear(&mut handler, get(path)).await;
    assert!(heard.ended.is_ok() || !path[1..].contains('/'), "{:?} {}", heard.ended, record.now().stderr);
    heard
}

#[tokio::test]
async fn a_greeting_again_and_again_by_one_instance() {
    let program = compile(HTTP_HELLO.bytes);
    assert_eq!(program.world(), World::Http);
    let (mut handler, _) = start(&program, |guest| guest).await;
    for _ in 0..3 {
        let response = hear(&mut handler, get("/")).await.response();
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.into_body().to_bytes(), "Hello, WASM!");
    }
}

#[tokio::test]
async fn what_is_run_is_not_asked_and_what_is_asked_is_not_run() {
    let (guest, _) = guest(&["app"]);
    let ended = soon(dunlin_host::run(&compile(HTTP_HELLO.bytes), guest)).await;
    assert!(matches!(&ended, Ended::Fault(fault) if matches!(fault.kind, FaultKind::Setup(_))), "{ended:?}");
    let ended = soon(Handler::start(&compile(PLAIN_SERVER.bytes), Guest::default())).await.unwrap_err();
    assert!(matches!(&ended, Ended::Fault(fault) if matches!(fault.kind, FaultKind::Setup(_))), "{ended:?}");
}

#[tokio::test]
async fn fields() {
    assert_eq!(check("/fields", |guest| guest).await.text(), "ok");
}

#[tokio::test]
async fn a_request_as_it_came() {
    let (mut handler, _) = start(&compile(HTTP_CHECKS.bytes), |guest| guest).await;
    let request = |method: &str| {
        Request::builder().method(method).uri("/request").header("host", "board:8080").header("connection", "close")
    };
    let post = request("POST").header("x-a", "1").header("x-a", "2").body(whole(vec![b'x'; 100_000])).unwrap();
    let text = hear(&mut handler, post).await.text();
    assert_eq!(text, "POST board:8080\nx-a: 1\nx-a: 2\n100000 bytes");
    let odd = hear(&mut handler, request("PURGE").body(nothing()).unwrap()).await.text();
    assert_eq!(odd, "PURGE board:8080\n0 bytes");
}

#[tokio::test]
async fn a_response_with_a_status_a_header_and_a_length() {
    let response = check("/response", |guest| guest).await.response();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(
        (&response.headers()["x-own"], &response.headers()["content-length"]),
        (&"1".parse().unwrap(), &"4".parse().unwrap())
    );
    assert_eq!(response.into_body().to_bytes(), "four");
}

#[tokio::test]
async fn trailers_both_ways() {
    let (mut handler, _) = start(&compile(HTTP_CHECKS.bytes), |guest| guest).await;
    let sum = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))]);
    let body = Full::new(Bytes::from_static(b"unread")).with_trailers(async { Some(Ok(sum)) });
    let body: Body = Box::pin(body.map_err(|never: std::convert::Infallible| match never {}));
    let request = Request::post("/trailers").header("host", "a").body(body).unwrap();
    let collected = hear(&mut handler, request).await.response().into_body();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    assert_eq!(collected.to_bytes(), "whole");
    let collected = hear(&mut handler, get("/trailers")).await.response().into_body();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "none");
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let (mut handler, _) = start(&compile(HTTP_CHECKS.bytes), |guest| guest).await;
    let request = Request::head("/head").header("host", "a").body(nothing()).unwrap();
    assert_eq!(hear(&mut handler, request).await.response().headers()["content-length"], "1000");
}

#[tokio::test]
async fn a_long_body_streams_through_a_small_guest() {
    let limits = Limits { memory_bytes: 2 * 1024 * 1024, ..Limits::default() };
    let program = Program::compile(HTTP_ECHO.bytes, &limits).unwrap();
    let (mut handler, _) = start(&program, |guest| Guest { limits: limits.clone(), ..guest }).await;
    let long = Bytes::from((0..20_000_000u32).map(|number| number as u8).collect::<Vec<_>>());
    let request = Request::post("/").header("host", "a").body(whole(long.clone())).unwrap();
    let back = hear(&mut handler, request).await.response().into_body().to_bytes();
    assert!(back == long);
}

#[tokio::test]
async fn a_guest_does_not_run_ahead_of_who_reads() {
    let (mut handler, _) = start(&compile(HTTP_CHECKS.bytes), |guest| guest).await;
    let (sender, receiver) = oneshot::channel();
    let mut work = Box::pin(handler.handle(get("/endless"), sender));
    let response = tokio::select! {
        ended = &mut work => panic!("{ended:?}"),
        answer = soon(receiver) => answer.unwrap().unwrap(),
    };
    let mut body = response.into_body();
    let mut read = 0;
    while read < 1_000_000 {
        tokio::select! {
            ended = &mut work => panic!("{ended:?}"),
            frame = soon(body.frame()) => read += frame.unwrap().unwrap().into_data().unwrap().len(),
        }
    }
    // Nobody reads: it is suspended with a full pipe, and goes no further.
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let mut polls = 0;
    while polls < 10_000 {
        let Poll::Pending = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("it ended") };
        polls += 1;
    }
    use http_body::Body as _;
    let mut held = 0;
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        held += frame.into_data().unwrap().len();
    }
    assert!((1..=64 * 1024).contains(&held), "{held} bytes wait");
}

#[tokio::test]
async fn answers_that_never_come() {
    let heard = check("/unset", |guest| guest).await;
    assert!(heard.answer.is_none() && heard.ended.is_ok());
    let heard = check("/error", |guest| guest).await;
    assert!(matches!(heard.answer, Some(Err(ErrorCode::LoopDetected))) && heard.ended.is_ok());
    let heard = check("/panic", |guest| guest).await;
    assert!(heard.answer.is_none());
    heard.broke("aborted (it ran into `unreachable`)");
    let heard = check("/exit", |guest| guest).await;
    assert!(heard.answer.is_none() && matches!(heard.ended, Err(Ended::Exited(3))), "{:?}", heard.ended);
    let heard = check("/bodiless", |guest| guest).await;
    assert!(matches!(heard.answer, Some(Err(ErrorCode::HttpResponseBodySize(Some(0))))));
}

#[tokio::test]
async fn bodies_that_are_not_whole_are_not_passed_off_as_such() {
    for path in ["/unfinished", "/kept", "/short", "/long", "/over"] {
        let heard = check(path, |guest| guest).await;
        assert!(heard.ended.is_ok(), "{path}: {:?}", heard.ended);
        heard.is_broken();
    }
}

#[tokio::test]
async fn rules_that_end_a_guest() {
    for (path, rule) in [
        ("/twice", "used a handle that is not open, or of another type"),
        ("/parent", "dropped a resource before what was made from it"),
        ("/stream", "dropped a resource before what was made from it"),
        ("/huge", "made header fields of more than 64 KiB"),
        ("/wide", "made header fields of more than 64 KiB"),
        ("/long-value", "made header fields of more than 64 KiB"),
    ] {
        check(path, |guest| guest).await.broke(rule);
    }
}

#[tokio::test]
async fn a_request_whose_body_breaks_says_so() {
    let (mut handler, _) = start(&compile(HTTP_CHECKS.bytes), |guest| guest).await;
    let stream = Full::new(Bytes::from_static(b"abc")).map_err(|never| match never {});
    let broken = stream.with_trailers(async { Some(Err(ErrorCode::HttpRequestBodySize(Some(3)))) });
    let request = Request::post("/cut").header("host", "a").body(Box::pin(broken) as Body).unwrap();
    let text = hear(&mut handler, request).await.text();
    assert!(text.contains("HttpRequestBodySize(Some(3))"), "{text}");
}

#[tokio::test]
async fn an_instance_has_its_time_for_each_request() {
    let limit = std::time::Duration::from_millis(300);
    let limits = Limits { wall_clock: Some(limit), ..Limits::default() };
    for path in ["/silent", "/spin"] {
        let heard = check(path, |guest| Guest { limits: limits.clone(), ..guest }).await;
        let Err(Ended::Fault(fault)) = heard.ended else { panic!("{path}: {:?}", heard.ended) };
        assert_eq!(fault.kind, FaultKind::WallClock { limit });
    }
}

/// Answers with what it was sent, and remembers to whom that was.
#[derive(Default)]
struct Mirror(Mutex<Vec<SocketAddr>>);

impl Client for Mirror {
    fn send(&self, outgoing: Outgoing) -> Sending {
        self.0.lock().unwrap().extend(outgoing.addresses);
        assert!(!outgoing.tls && outgoing.timeouts.first_byte.as_secs() <= 20);
        assert!(outgoing.request.headers().contains_key("host"));
        Box::pin(async move {
            let collected = outgoing.request.into_body().collect().await?;
            let trailers = collected.trailers().cloned();
            let body = Full::new(collected.to_bytes()).with_trailers(async move { trailers.map(Ok) });
            let body: Body = Box::pin(body.map_err(|never: std::convert::Infallible| match never {}));
            Ok(Response::builder().header("date", "today").body(body).unwrap())
        })
    }
}

#[tokio::test]
async fn requests_of_its_own() {
    let client: Arc<Mirror> = Arc::default();
    let with = |guest: Guest, connect: &[&str]| {
        let connect = connect.iter().map(|reach| reach.parse().unwrap()).collect();
        Guest { client: Some(client.clone()), grants: Grants { connect, ..Grants::default() }, ..guest }
    };
    assert_eq!(check("/outgoing", |guest| with(guest, &["*:*"])).await.text(), "ok");
    assert_eq!(check("/ask/127.0.0.1:81", |guest| with(guest, &["127.0.0.1:81"])).await.text(), "ok");
    assert_eq!(check("/ask/localhost", |guest| with(guest, &["localhost:80"])).await.text(), "ok");
    let asked = client.0.lock().unwrap().clone();
    assert_eq!(asked[0], "127.0.0.1:81".parse().unwrap());
    assert!(asked.len() >= 2 && asked[1..].iter().all(|to| to.ip().is_loopback() && to.port() == 80), "{asked:?}");
}

#[tokio::test]
async fn nobody_that_was_not_granted_is_asked() {
    let client: Arc<Mirror> = Arc::default();
    for connect in [&[][..], &["127.0.0.1:2"], &["10.0.0.0/8:*"], &["example:*"]] {
        let connect = connect.iter().map(|reach| reach.parse().unwrap()).collect();
        let grants = Grants { connect, ..Grants::default() };
        let text = check("/grants", |guest| Guest { client: Some(client.clone()), grants, ..guest }).await.text();
        assert_eq!(text, "ok");
    }
    assert!(client.0.lock().unwrap().is_empty());
}

/// A name that may be resolved leads nowhere that may not be reached.
#[tokio::test]
async fn a_name_opens_no_other_door() {
    let client: Arc<Mirror> = Arc::default();
    let ask = async |grants: Grants| {
        let (mut handler, _) =
            start(&compile(HTTP_CLIENT.bytes), |guest| Guest { client: Some(client.clone()), grants, ..guest }).await;
        hear(&mut handler, get("/localhost:81/")).await.answer.unwrap()
    };
    let reach = |text: &str| vec![text.parse().unwrap()];
    let resolves_all = Grants { connect: reach("10.0.0.0/8:*"), resolve: true, ..Grants::default() };
    assert!(matches!(ask(resolves_all).await, Err(ErrorCode::DestinationIpProhibited)));
    let within = Some(reach("10.0.0.0/8:*"));
    let owner_forbids = Grants { connect: reach("localhost:81"), within, ..Grants::default() };
    assert!(matches!(ask(owner_forbids).await, Err(ErrorCode::DestinationIpProhibited)));
    assert!(client.0.lock().unwrap().is_empty());
}
