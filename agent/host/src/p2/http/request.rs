//! A request that the guest makes, before it is sent.

use std::time::Duration;

use http::uri::{Authority, PathAndQuery};

use super::body::Message;
use super::{Fields, Method, OutgoingBody, Scheme};
use crate::http::{GuestBody, Timeouts};
use crate::p2::call::{Cx, Stop};
use crate::p2::handles::{Borrow, Own};

pub(in crate::p2) struct OutgoingRequest {
    pub(super) method: http::Method,
    pub(super) path: Option<PathAndQuery>,
    pub(super) scheme: Option<Scheme>,
    pub(super) authority: Option<Authority>,
    pub(super) fields: Fields,
    /// The other end of the body, if the guest asked for one.
    pub(super) body: Option<GuestBody>,
}

/// What says no more than that it failed.
type Plain<T> = Result<Result<T, ()>, Stop>;

type This = Borrow<OutgoingRequest>;

pub(in crate::p2) fn new(cx: &mut Cx<'_>, headers: Own<Fields>) -> Result<Own<OutgoingRequest>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let fields = handles.take(&headers)?;
    let method = http::Method::GET;
    let request = OutgoingRequest { method, path: None, scheme: None, authority: None, fields, body: None };
    Ok(handles.push(request)?)
}

pub(in crate::p2) fn body(cx: &mut Cx<'_>, this: This) -> Plain<Own<OutgoingBody>> {
    let handles = &mut cx.state.p2.handles;
    let request = handles.get_mut(&this)?;
    if request.body.is_some() {
        return Ok(Err(()));
    }
    let (body, other_end) = OutgoingBody::new(Message::Request, request.fields.content_length());
    request.body = Some(other_end);
    Ok(Ok(handles.push(body)?))
}

pub(in crate::p2) fn method(cx: &mut Cx<'_>, this: This) -> Result<Method, Stop> {
    Ok(Method::from(&cx.state.p2.handles.get(&this)?.method))
}

pub(in crate::p2) fn set_method(cx: &mut Cx<'_>, this: This, method: Method) -> Plain<()> {
    let request = cx.state.p2.handles.get_mut(&this)?;
    Ok(method.parse().map(|method| request.method = method).ok_or(()))
}

pub(in crate::p2) fn path_with_query(cx: &mut Cx<'_>, this: This) -> Result<Option<String>, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.path.as_ref().map(ToString::to_string))
}

pub(in crate::p2) fn set_path_with_query(cx: &mut Cx<'_>, this: This, path: Option<String>) -> Plain<()> {
    let request = cx.state.p2.handles.get_mut(&this)?;
    let parsed = path.map(PathAndQuery::try_from).transpose();
    Ok(parsed.map(|path| request.path = path).map_err(drop))
}

pub(in crate::p2) fn scheme(cx: &mut Cx<'_>, this: This) -> Result<Option<Scheme>, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.scheme.clone())
}

pub(in crate::p2) fn set_scheme(cx: &mut Cx<'_>, this: This, scheme: Option<Scheme>) -> Plain<()> {
    let request = cx.state.p2.handles.get_mut(&this)?;
    if !scheme.as_ref().is_none_or(Scheme::is_valid) {
        return Ok(Err(()));
    }
    request.scheme = scheme;
    Ok(Ok(()))
}

pub(in crate::p2) fn authority(cx: &mut Cx<'_>, this: This) -> Result<Option<String>, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.authority.as_ref().map(ToString::to_string))
}

pub(in crate::p2) fn set_authority(cx: &mut Cx<'_>, this: This, authority: Option<String>) -> Plain<()> {
    let request = cx.state.p2.handles.get_mut(&this)?;
    let parsed = authority.map(Authority::try_from).transpose();
    Ok(parsed.map(|authority| request.authority = authority).map_err(drop))
}

pub(in crate::p2) fn headers(cx: &mut Cx<'_>, this: This) -> Result<Own<Fields>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let fields = handles.get(&this)?.fields.shown();
    Ok(handles.push_child(fields, this.number())?)
}

/// Nanoseconds each, as the guest said them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::p2) struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
}

impl RequestOptions {
    /// What holds: nobody waits for ever.
    pub(super) fn timeouts(self) -> Timeouts {
        let usual = Timeouts::default();
        let bounded = |asked: Option<u64>, usual| asked.map_or(usual, Duration::from_nanos).min(Timeouts::MAX);
        Timeouts {
            connect: bounded(self.connect, usual.connect),
            first_byte: bounded(self.first_byte, usual.first_byte),
            between_bytes: bounded(self.between_bytes, usual.between_bytes),
        }
    }
}

pub(in crate::p2) fn new_options(cx: &mut Cx<'_>) -> Result<Own<RequestOptions>, Stop> {
    Ok(cx.state.p2.handles.push(RequestOptions::default())?)
}

macro_rules! timeouts {
    ($($get:ident $set:ident $field:ident;)*) => {$(
        pub(in crate::p2) fn $get(cx: &mut Cx<'_>, this: Borrow<RequestOptions>) -> Result<Option<u64>, Stop> {
            Ok(cx.state.p2.handles.get(&this)?.$field)
        }

        pub(in crate::p2) fn $set(cx: &mut Cx<'_>, this: Borrow<RequestOptions>, duration: Option<u64>) -> Plain<()> {
            cx.state.p2.handles.get_mut(&this)?.$field = duration;
            Ok(Ok(()))
        }
    )*};
}

timeouts! {
    connect_timeout set_connect_timeout connect;
    first_byte_timeout set_first_byte_timeout first_byte;
    between_bytes_timeout set_between_bytes_timeout between_bytes;
}
