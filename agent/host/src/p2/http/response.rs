//! The answer that a guest makes.

use http::StatusCode;

use super::body::Message;
use super::{ErrorCode, Fields, OutgoingBody};
use crate::http::GuestBody;
use crate::p2::call::{Cx, Stop};
use crate::p2::handles::{Borrow, Own};

pub(in crate::p2) struct OutgoingResponse {
    status: StatusCode,
    fields: Fields,
    /// The other end of the body, if the guest asked for one.
    body: Option<GuestBody>,
}

impl OutgoingResponse {
    /// What goes out as the answer to a request of this method.
    pub(in crate::p2) fn into_answer(self, method: &http::Method) -> Result<http::Response<GuestBody>, ErrorCode> {
        let has_none = *method == http::Method::HEAD || self.status == StatusCode::NOT_MODIFIED;
        let body = match (self.body, self.fields.content_length()) {
            (Some(body), _) => body,
            (None, Some(length)) if length > 0 && !has_none => return Err(ErrorCode::HttpResponseBodySize(Some(0))),
            (None, _) => GuestBody::empty(),
        };
        if has_none {
            body.forget_length();
        }
        let mut response = http::Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.fields.into_map();
        Ok(response)
    }
}

pub(in crate::p2) fn new(cx: &mut Cx<'_>, headers: Own<Fields>) -> Result<Own<OutgoingResponse>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let fields = handles.take(&headers)?;
    Ok(handles.push(OutgoingResponse { status: StatusCode::OK, fields, body: None })?)
}

pub(in crate::p2) fn status_code(cx: &mut Cx<'_>, this: Borrow<OutgoingResponse>) -> Result<u16, Stop> {
    Ok(cx.state.p2.handles.get(&this)?.status.as_u16())
}

/// An interim answer (1xx) is not the answer.
pub(in crate::p2) fn set_status_code(
    cx: &mut Cx<'_>,
    this: Borrow<OutgoingResponse>,
    code: u16,
) -> Result<Result<(), ()>, Stop> {
    let response = cx.state.p2.handles.get_mut(&this)?;
    let status = StatusCode::from_u16(code).ok().filter(|status| !status.is_informational() && code < 600);
    let Some(status) = status else { return Ok(Err(())) };
    response.status = status;
    Ok(Ok(()))
}

pub(in crate::p2) fn headers(cx: &mut Cx<'_>, this: Borrow<OutgoingResponse>) -> Result<Own<Fields>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let fields = handles.get(&this)?.fields.shown();
    Ok(handles.push_child(fields, this.number())?)
}

pub(in crate::p2) fn body(
    cx: &mut Cx<'_>,
    this: Borrow<OutgoingResponse>,
) -> Result<Result<Own<OutgoingBody>, ()>, Stop> {
    let handles = &mut cx.state.p2.handles;
    let response = handles.get_mut(&this)?;
    if response.body.is_some() {
        return Ok(Err(()));
    }
    let (body, other_end) = OutgoingBody::new(Message::Response, response.fields.content_length());
    response.body = Some(other_end);
    Ok(Ok(handles.push(body)?))
}
