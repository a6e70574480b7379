//! Connections to an app: HTTP/1.1 by hyper, within bounds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use dunlin_core::limits::{
    SERVE_BODY_BYTES_MAX, SERVE_HEAD_BYTES_MAX, SERVE_HEAD_MS, SERVE_HEADERS_MAX, SERVE_RETRY_S,
};
use dunlin_host::{Gate, Usage};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Body as _, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    body::{Asked, Given},
    exchange::{Exchange, Failure, Job},
};
use crate::patient::Patient;

/// How long to wait where a connection could not be accepted: this machine has no descriptor left.
const REST: Duration = Duration::from_millis(250);

/// Accepts connections, for as long as it is not dropped. Who reads nothing for `silence` has left.
pub(super) async fn listen(
    gate: Gate,
    desk: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    usage: Arc<Usage>,
    silence: Duration,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // Who finds no place waits in the kernel's queue.
            let place = Arc::clone(&places).acquire_owned().await;
            (gate.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok(stream) => {
                    let (gate, desk, usage) = (gate.clone(), desk.clone(), Arc::clone(&usage));
                    let open = usage.connection();
                    connections.spawn(async move {
                        let _held = (place, open);
                        serve(Patient::new(stream, silence), gate, desk, usage).await;
                    });
                }
                Err(error) => {
                    tracing::warn!("no connection accepted: {error}");
                    sleep(REST).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end.
async fn serve(stream: Patient<TcpStream>, gate: Gate, desk: mpsc::Sender<Job>, usage: Arc<Usage>) {
    let service = service_fn(|request| {
        let (desk, gate, usage) = (desk.clone(), gate.clone(), Arc::clone(&usage));
        async move { Ok::<_, Infallible>(respond(request, &desk, &gate, &usage).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(SERVE_HEAD_MS))
        .max_buf_size(SERVE_HEAD_BYTES_MAX)
        .max_headers(SERVE_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // How a client leaves is its own affair.
        _ = connection.as_mut() => return,
        () = gate.last_called() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
    desk: &mpsc::Sender<Job>,
    gate: &Gate,
    usage: &Arc<Usage>,
) -> Response<Given> {
    let is_head = request.method() == Method::HEAD;
    let mut response = match ask(request, desk, usage).await {
        Ok((response, exchange)) => response.map(|body| Given::Guest { body, exchange, bodiless: false }),
        Err(refusal) => refusal,
    };
    let has_none =
        is_head || response.status() == StatusCode::NO_CONTENT || response.status() == StatusCode::NOT_MODIFIED;
    if let Given::Guest { bodiless, .. } = response.body_mut() {
        *bodiless = has_none;
    }
    if gate.is_shut() {
        // Its next request is for the release that came after this one.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

type Answered = (Response<dunlin_host::http::GuestBody>, Exchange);

async fn ask(
    request: Request<Incoming>,
    desk: &mpsc::Sender<Job>,
    usage: &Arc<Usage>,
) -> Result<Answered, Response<Given>> {
    if request.body().size_hint().lower() > SERVE_BODY_BYTES_MAX {
        return Err(plain(StatusCode::PAYLOAD_TOO_LARGE));
    }
    if request.method() == Method::CONNECT {
        return Err(plain(StatusCode::METHOD_NOT_ALLOWED));
    }
    let exchange = Exchange::new(Arc::clone(usage));
    let (mut waits, asked) = (Waits(Some(exchange.clone())), exchange.clone());
    let request = request.map(|body| Box::pin(Asked::new(body, SERVE_BODY_BYTES_MAX, asked)) as _);
    let (reply, answered) = oneshot::channel();
    let job = Job { request, reply, exchange: exchange.clone(), since: Instant::now() };
    // Only an app that is at its end takes no more.
    desk.send(job).await.map_err(|_| failed(Failure::Failed))?;
    let response = answered.await.unwrap_or(Err(Failure::Failed)).map_err(failed)?;
    // From here on the body tells whether somebody is there.
    waits.0 = None;
    Ok((response, exchange))
}

/// Somebody waits for the head of an answer: dropped, they have left.
struct Waits(Option<Exchange>);

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.leave();
        }
    }
}

fn failed(failure: Failure) -> Response<Given> {
    let status = match failure {
        Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Failure::None => StatusCode::BAD_GATEWAY,
        Failure::Late => StatusCode::GATEWAY_TIMEOUT,
    };
    let mut response = plain(status);
    if failure == Failure::Busy {
        response.headers_mut().insert(header::RETRY_AFTER, SERVE_RETRY_S.into());
    }
    response
}

/// An answer of the board's own. What went wrong is in the app's log, and not for everybody.
fn plain(status: StatusCode) -> Response<Given> {
    let text = format!("{status}\n");
    let mut response = Response::new(Given::Text(Some(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
