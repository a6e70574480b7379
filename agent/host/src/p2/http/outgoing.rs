//! `wasi:http/outgoing-handler`: a request is held against the guest's grants, and handed to who performs it.
//!
//! Addresses are looked up here and nowhere else, as for sockets: what is sent goes to an address that
//! the guest may reach, whatever its name leads to.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, header};
use http_body::{Frame, SizeHint};

use super::{DnsError, ErrorCode, Fields, IncomingResponse, OutgoingRequest, RequestOptions, Scheme};
use crate::fds::Permits;
use crate::grants::canonical_name;
use crate::http::{Body, Client, GuestBody, Outgoing, Sending};
use crate::lookup::Lookup;
use crate::p2::call::{Cx, Fail, Stop};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::Pollable;

/// Requests of one guest that may be under way, their answers' bodies included: each is a connection of the board's.
const OUTSTANDING_MAX: usize = 16;

/// The answer to a request, when it comes.
pub(in crate::p2) struct FutureResponse(Phase);

enum Phase {
    Resolving(Box<Resolving>),
    Sending(Sending, Arc<()>),
    /// What came of it, until the guest is told.
    Over(Result<http::Response<Body>, ErrorCode>),
    Told,
}

struct Resolving {
    lookup: Lookup,
    name: String,
    port: u16,
    /// Without its addresses.
    request: Outgoing,
    client: Arc<dyn Client>,
    slot: Arc<()>,
}

impl FutureResponse {
    /// Goes on with it, until there is an answer.
    pub(in crate::p2) fn poll(&mut self, permits: &mut Permits, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.0 = match &mut self.0 {
                Phase::Resolving(resolving) => {
                    let found = ready!(resolving.lookup.as_mut().poll(cx));
                    // What stands here meanwhile is not looked at.
                    let Phase::Resolving(resolving) = std::mem::replace(&mut self.0, Phase::Told) else { continue };
                    resolving.found(found, permits)
                }
                Phase::Sending(sending, slot) => {
                    let outcome = ready!(sending.as_mut().poll(cx));
                    let slot = Arc::clone(slot);
                    Phase::Over(
                        outcome.map(|response| response.map(|body| Box::pin(Counted { body, _slot: slot }) as _)),
                    )
                }
                Phase::Over(_) | Phase::Told => return Poll::Ready(()),
            };
        }
    }
}

impl Resolving {
    fn found(mut self: Box<Self>, found: std::io::Result<Vec<IpAddr>>, permits: &mut Permits) -> Phase {
        let addresses = match found {
            Ok(addresses) if addresses.is_empty() => return Phase::Over(Err(ErrorCode::DestinationNotFound)),
            Ok(addresses) => addresses,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                return Phase::Over(Err(ErrorCode::DnsTimeout));
            }
            Err(error) => return Phase::Over(Err(ErrorCode::DnsError(DnsError::new(error.to_string())))),
        };
        permits.resolved(&self.name, &addresses);
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, self.port));
        self.request.addresses = addresses.filter(|address| permits.may_reach(*address)).collect();
        if self.request.addresses.is_empty() {
            return Phase::Over(Err(ErrorCode::DestinationIpProhibited));
        }
        Phase::Sending(self.client.send(self.request), self.slot)
    }
}

/// A body that counts as one of the guest's requests until it is gone.
struct Counted {
    body: Body,
    _slot: Arc<()>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub(in crate::p2) fn handle(
    cx: &mut Cx<'_>,
    request: Own<OutgoingRequest>,
    options: Option<Own<RequestOptions>>,
) -> Result<Own<FutureResponse>, Fail<ErrorCode>> {
    let state = &mut *cx.state;
    let request = state.p2.handles.take(&request)?;
    let options = options.map(|options| state.p2.handles.take(&options)).transpose()?.unwrap_or_default();
    let Target { host, port, tls } = target(&request)?;
    let client = state.p2.http.client.clone().ok_or(ErrorCode::HttpRequestDenied)?;
    // One is the count itself.
    if Arc::strong_count(&state.p2.http.outstanding) > OUTSTANDING_MAX {
        return Err(ErrorCode::ConnectionLimitReached.into());
    }
    let slot = Arc::clone(&state.p2.http.outstanding);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    let phase = match bare.parse::<IpAddr>() {
        Ok(ip) => {
            let to = SocketAddr::new(ip, port);
            if !state.permits.may_reach(to) {
                return Err(ErrorCode::HttpRequestDenied.into());
            }
            let outgoing = outgoing(request, options, bare.to_owned(), tls)?;
            Phase::Sending(client.send(Outgoing { addresses: vec![to], ..outgoing }), slot)
        }
        Err(_) => {
            let name = canonical_name(&host).ok_or(ErrorCode::HttpRequestUriInvalid)?;
            if !state.permits.may_resolve(&name) {
                return Err(ErrorCode::HttpRequestDenied.into());
            }
            let (lookup, request) = (state.lookups.begin(name.clone()), outgoing(request, options, name.clone(), tls)?);
            Phase::Resolving(Box::new(Resolving { lookup, name, port, request, client, slot }))
        }
    };
    let mut future = FutureResponse(phase);
    // Sets it going: the guest may do something else before it waits.
    let _ = future.poll(&mut state.permits, &mut Context::from_waker(Waker::noop()));
    Ok(state.p2.handles.push(future)?)
}

struct Target {
    host: String,
    port: u16,
    tls: bool,
}

/// Whom a request goes to.
fn target(request: &OutgoingRequest) -> Result<Target, ErrorCode> {
    let tls = match &request.scheme {
        Some(Scheme::Http) => false,
        // The safer one, where the guest does not say.
        Some(Scheme::Https) | None => true,
        Some(Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
    };
    let authority = request.authority.as_ref().ok_or(ErrorCode::HttpRequestUriInvalid)?;
    // A tunnel would lead past the grants.
    if request.method == http::Method::CONNECT {
        return Err(ErrorCode::HttpRequestMethodInvalid);
    }
    let has_user = authority.as_str().contains('@');
    let port = port(authority, tls).filter(|_| !has_user).ok_or(ErrorCode::HttpRequestUriInvalid)?;
    Ok(Target { host: authority.host().to_owned(), port, tls })
}

fn port(authority: &Authority, tls: bool) -> Option<u16> {
    let usual = if tls { 443 } else { 80 };
    match authority.as_str().strip_prefix(authority.host())?.strip_prefix(':') {
        None | Some("") => Some(usual),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    }
}

/// The request as it goes out, without the addresses that it goes to.
fn outgoing(request: OutgoingRequest, options: RequestOptions, host: String, tls: bool) -> Result<Outgoing, ErrorCode> {
    let OutgoingRequest { method, path, authority, fields, body, .. } = request;
    let body = match (body, fields.content_length()) {
        (Some(body), _) => body,
        (None, Some(length)) if length > 0 => return Err(ErrorCode::HttpRequestBodySize(Some(0))),
        (None, _) => GuestBody::empty(),
    };
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.into();
    *request.headers_mut() = Fields::into_map(fields);
    let named = authority.map(|authority| HeaderValue::from_str(authority.as_str()));
    let named = named.and_then(Result::ok).ok_or(ErrorCode::HttpRequestUriInvalid)?;
    request.headers_mut().insert(header::HOST, named);
    Ok(Outgoing { request, host, addresses: Vec::new(), tls, timeouts: options.timeouts() })
}

pub(in crate::p2) fn subscribe(cx: &mut Cx<'_>, this: Borrow<FutureResponse>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Response(this.number()), this.number())?)
}

type Answered = Option<Result<Result<Own<IncomingResponse>, ErrorCode>, ()>>;

pub(in crate::p2) fn get(cx: &mut Cx<'_>, this: Borrow<FutureResponse>) -> Result<Answered, Stop> {
    let crate::state::State { p2, permits, .. } = &mut *cx.state;
    let future = p2.handles.get_mut(&this)?;
    if future.poll(permits, &mut Context::from_waker(Waker::noop())).is_pending() {
        return Ok(None);
    }
    match std::mem::replace(&mut future.0, Phase::Told) {
        Phase::Over(Ok(response)) => Ok(Some(Ok(Ok(p2.handles.push(IncomingResponse::new(response))?)))),
        Phase::Over(Err(error)) => Ok(Some(Ok(Err(error)))),
        Phase::Told | Phase::Resolving(_) | Phase::Sending(..) => Ok(Some(Err(()))),
    }
}
