//! Requests that guests make: to the addresses that their grants were held against, and to no others.
//!
//! hyper is used without a client around it: there is no resolver, proxy, redirect or pool that could
//! lead a request elsewhere. A connection carries one request.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use dunlin_core::limits::{SERVE_HEAD_BYTES_MAX, SERVE_HEADERS_MAX};
use dunlin_host::http::{Body, Client, ErrorCode, GuestBody, Outgoing, Sending, TlsAlert};
use http::Response;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::body::broken;
use crate::link::Tls;

/// What performs the requests of all of a board's apps.
pub(crate) struct Outbound {
    tls: Tls,
    /// Made when it is needed first: certificates are read and held for it.
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Outbound {
    /// Trusts the servers that these certificates vouch for. Who the board is, apps do not say for it.
    pub(crate) fn new(tls: Tls) -> Self {
        Self { tls: Tls { client: None, ..tls }, config: OnceLock::new() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, ErrorCode> {
        let config = self.config.get_or_init(|| {
            self.tls
                .client_config()
                .map_err(|error| error.to_string())
                .inspect_err(|why| tracing::error!("[http]: no TLS for apps: {why}"))
        });
        config.clone().map_err(|_| ErrorCode::ConfigurationError)
    }
}

impl Client for Outbound {
    fn send(&self, outgoing: Outgoing) -> Sending {
        let tls = outgoing.tls.then(|| self.config()).transpose();
        Box::pin(async move { send(outgoing, tls?).await })
    }
}

async fn send(outgoing: Outgoing, tls: Option<Arc<ClientConfig>>) -> Result<Response<Body>, ErrorCode> {
    let Outgoing { request, host, addresses, timeouts, .. } = outgoing;
    let connecting = async {
        let stream = connect(&addresses).await?;
        // Without it, what is written in pieces waits for acknowledgements.
        stream.set_nodelay(true).map_err(|error| unreached(&error))?;
        let Some(config) = tls else { return begin(stream).await };
        let name = ServerName::try_from(host).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        begin(connected.map_err(|error| no_tls(&error))?).await
    };
    let connected = timeout(timeouts.connect, connecting).await;
    let (mut sender, carrier) = connected.unwrap_or(Err(ErrorCode::ConnectionTimeout))?;
    let response = timeout(timeouts.first_byte, sender.send_request(request)).await;
    let response = response.map_err(|_| ErrorCode::HttpResponseTimeout)?.map_err(|error| failed(&error))?;
    let patience = timeouts.between_bytes;
    let late = Box::pin(sleep(patience));
    Ok(response.map(|body| Box::pin(Received { body, patience, late, is_awaited: false, _carrier: carrier }) as Body))
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, ErrorCode> {
    let mut last = ErrorCode::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = unreached(&error),
        }
    }
    Err(last)
}

/// Begins to speak HTTP on a connection.
async fn begin<S>(stream: S) -> Result<(http1::SendRequest<GuestBody>, Carrier), ErrorCode>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = http1::Builder::new()
        .max_buf_size(SERVE_HEAD_BYTES_MAX)
        .max_headers(SERVE_HEADERS_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| failed(&error))?;
    Ok((sender, Carrier(tokio::spawn(async move { _ = connection.await }))))
}

/// The task that carries a connection's bytes. It ends with whoever waits for them.
struct Carrier(JoinHandle<()>);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer's body, as it comes.
struct Received {
    body: Incoming,
    patience: Duration,
    late: Pin<Box<Sleep>>,
    /// The guest waits for more. While it does something else, no server is late.
    is_awaited: bool,
    _carrier: Carrier,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if !std::mem::replace(&mut self.is_awaited, true) {
                let due = Instant::now() + self.patience;
                self.late.as_mut().reset(due);
            }
            ready!(self.late.as_mut().poll(cx));
            return Poll::Ready(Some(Err(ErrorCode::ConnectionReadTimeout)));
        };
        self.is_awaited = false;
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| match error.is_incomplete_message() {
                true => ErrorCode::HttpResponseIncomplete,
                false => broken(&error),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn unreached(error: &io::Error) -> ErrorCode {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what has no code of its own is unavailable")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
        io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorCode::DestinationIpUnroutable,
        _ => ErrorCode::DestinationUnavailable,
    }
}

fn no_tls(error: &io::Error) -> ErrorCode {
    let said = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match said {
        Some(rustls::Error::InvalidCertificate(_)) => ErrorCode::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => alert_received(*alert),
        Some(_) => ErrorCode::TlsProtocolError,
        None => ErrorCode::ConnectionTerminated,
    }
}

fn alert_received(alert: AlertDescription) -> ErrorCode {
    ErrorCode::TlsAlertReceived(TlsAlert::new(u8::from(alert), format!("{alert:?}")))
}

fn failed(error: &hyper::Error) -> ErrorCode {
    let own = std::error::Error::source(error).and_then(|source| source.downcast_ref::<ErrorCode>());
    match own {
        // Of the guest's body.
        Some(code) => code.clone(),
        None if error.is_parse_too_large() => ErrorCode::HttpResponseHeaderSectionSize(None),
        None if error.is_parse() => ErrorCode::HttpProtocolError,
        None if error.is_incomplete_message() => ErrorCode::HttpResponseIncomplete,
        None => ErrorCode::ConnectionTerminated,
    }
}
