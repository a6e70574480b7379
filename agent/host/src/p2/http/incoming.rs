//! What comes: requests to answer, responses to requests, and the trailers of either.

use std::task::{Context, Poll, Waker};

use http::header;

use super::body::Arriving;
use super::{ErrorCode, Fields, IncomingBody, Method, Scheme};
use crate::http::Body;
use crate::p2::call::{Cx, Stop};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::Pollable;

/// A request that the guest is to answer.
pub(in crate::p2) struct IncomingRequest {
    method: http::Method,
    path: Option<String>,
    authority: Option<String>,
    fields: Fields,
    body: Option<Body>,
}

impl IncomingRequest {
    pub(in crate::p2) fn new(request: http::Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host).map(str::to_owned);
        Self {
            method: parts.method,
            path: parts.uri.path_and_query().map(ToString::to_string),
            authority: authority.filter(|authority| !authority.is_empty()),
            fields: Fields::received(parts.headers),
            body: Some(body),
        }
    }
}

pub(in crate::p2) fn method(cx: &mut Cx<'_>, this: Borrow<IncomingRequest>) -> Result<Method, Stop> {
    Ok(Method::from(&cx.state.p2.handles.get(&this)?.method))
}

pub(in crate::p2) fn path_with_query(cx: &mut Cx<'_>, this: Borrow<IncomingRequest>) -> Result<Option<String>, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.path.clone())
}

/// A board's ports speak HTTP without TLS: what stands before them may not.
pub(in crate::p2) fn scheme(cx: &mut Cx<'_>, this: Borrow<IncomingRequest>) -> Result<Option<Scheme>, Stop> {
    cx.state.p2.handles.get(&this)?;
    Ok(Some(Scheme::Http))
}

pub(in crate::p2) fn authority(cx: &mut Cx<'_>, this: Borrow<IncomingRequest>) -> Result<Option<String>, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.authority.clone())
}

pub(in crate::p2) fn request_headers(cx: &mut Cx<'_>, this: Borrow<IncomingRequest>) -> Result<Own<Fields>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let fields = handles.get(&this)?.fields.shown();
    Ok(handles.push_child(fields, this.number())?)
}

type Once<T> = Result<Result<Own<T>, ()>, Stop>;

pub(in crate::p2) fn consume_request(cx: &mut Cx<'_>, this: Borrow<IncomingRequest>) -> Once<IncomingBody> {
    let handles = &mut cx.state.p2.handles;
    let Some(body) = handles.get_mut(&this)?.body.take() else { return Ok(Err(())) };
    Ok(Ok(handles.push(IncomingBody::new(body))?))
}

/// The response to a request of the guest's.
pub(in crate::p2) struct IncomingResponse {
    status: u16,
    fields: Fields,
    body: Option<Body>,
}

impl IncomingResponse {
    pub(in crate::p2) fn new(response: http::Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status.as_u16(), fields: Fields::received(parts.headers), body: Some(body) }
    }
}

pub(in crate::p2) fn status(cx: &mut Cx<'_>, this: Borrow<IncomingResponse>) -> Result<u16, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.status)
}

pub(in crate::p2) fn response_headers(cx: &mut Cx<'_>, this: Borrow<IncomingResponse>) -> Result<Own<Fields>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let fields = handles.get(&this)?.fields.shown();
    Ok(handles.push_child(fields, this.number())?)
}

pub(in crate::p2) fn consume_response(cx: &mut Cx<'_>, this: Borrow<IncomingResponse>) -> Once<IncomingBody> {
    let handles = &mut cx.state.p2.handles;
    let Some(body) = handles.get_mut(&this)?.body.take() else { return Ok(Err(())) };
    Ok(Ok(handles.push(IncomingBody::new(body))?))
}

/// The trailers of a body, when all of it has come.
pub(in crate::p2) struct FutureTrailers {
    /// `None` once they were told.
    arriving: Option<Arriving>,
}

impl FutureTrailers {
    pub(in crate::p2) fn new(arriving: Arriving) -> Self {
        Self { arriving: Some(arriving) }
    }

    pub(in crate::p2) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.arriving.as_mut().map_or(Poll::Ready(()), |arriving| arriving.poll_end(cx))
    }
}

pub(in crate::p2) fn subscribe_trailers(cx: &mut Cx<'_>, this: Borrow<FutureTrailers>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Trailers(this.number()), this.number())?)
}

type Trailers = Option<Result<Result<Option<Own<Fields>>, ErrorCode>, ()>>;

pub(in crate::p2) fn get_trailers(cx: &mut Cx<'_>, this: Borrow<FutureTrailers>) -> Result<Trailers, Stop> {
    let handles = &mut cx.state.p2.handles;
    let future = handles.get_mut(&this)?;
    if future.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        return Ok(None);
    }
    let Some(arrived) = future.arriving.take() else { return Ok(Some(Err(()))) };
    let trailers = match arrived.into_trailers() {
        Ok(Some(fields)) => Ok(Some(handles.push_child(fields, this.number())?)),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    Ok(Some(Ok(trailers)))
}
