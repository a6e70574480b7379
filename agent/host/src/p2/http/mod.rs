//! `wasi:http`: requests and responses as resources, on the streams and pollables of `wasi:io`.

pub(super) mod body;
pub(super) mod error;
pub(super) mod fields;
pub(super) mod incoming;
pub(super) mod outgoing;
pub(super) mod outparam;
pub(super) mod request;
pub(super) mod response;
mod types;

use std::sync::Arc;

use tokio::sync::oneshot;

pub(super) use self::body::{IncomingBody, OutgoingBody, Piece};
pub use self::error::{DnsError, ErrorCode, FieldSize, TlsAlert};
pub(super) use self::fields::{Fields, HeaderError};
pub(super) use self::incoming::{FutureTrailers, IncomingRequest, IncomingResponse};
pub(super) use self::outgoing::FutureResponse;
pub(super) use self::outparam::ResponseOutparam;
pub(super) use self::request::{OutgoingRequest, RequestOptions};
pub(super) use self::response::OutgoingResponse;
pub(super) use self::types::{Method, Scheme};

use super::call::Trap;
use crate::http::{Answer, Body, Client};

/// What a component has of HTTP, besides its handles.
pub(super) struct Http {
    client: Option<Arc<dyn Client>>,
    /// A clone for each of the guest's requests that is not over.
    outstanding: Arc<()>,
    /// The method of the request that is being answered.
    method: http::Method,
}

impl Http {
    pub(super) fn new(client: Option<Arc<dyn Client>>) -> Self {
        Self { client, outstanding: Arc::default(), method: http::Method::GET }
    }
}

impl super::Host {
    /// Gives the guest a request to answer: the handles of it, and of what takes the answer.
    pub(crate) fn receive(
        &mut self,
        request: http::Request<Body>,
        answer: oneshot::Sender<Answer>,
    ) -> Result<[u32; 2], Trap> {
        self.http.method = request.method().clone();
        let request = self.handles.push(IncomingRequest::new(request))?;
        let outparam = self.handles.push(ResponseOutparam::new(answer))?;
        Ok([request.number(), outparam.number()])
    }

    /// The guest has returned: what it did not finish by then it does not finish any more.
    pub(crate) fn answered(&mut self) {
        self.handles.all_mut::<ResponseOutparam>().for_each(ResponseOutparam::give_up);
        self.handles.all_mut::<OutgoingBody>().for_each(|body| body.break_off());
    }
}
