//! HTTP as this crate knows it: the types of the crate `http`, and bodies that arrive and leave piece by piece.
//!
//! ```text
//! a connection ──http::Request<Body>──▶ Handler (one instance) ──http::Response<GuestBody>──▶ the connection
//! a guest ──Outgoing: Request<GuestBody>, and the addresses that it was granted──▶ Client ──Response<Body>──▶ the guest
//! ```
//!
//! It speaks HTTP on no socket: whoever uses this crate does, for both directions. No body is ever
//! gathered: a guest reads as it comes, and is suspended while what it wrote is not taken.

mod handler;
mod pipe;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

pub use self::handler::{Answer, Handler};
pub use self::pipe::GuestBody;
pub(crate) use self::pipe::Pipe;
pub use crate::p2::http::{DnsError, ErrorCode, FieldSize, TlsAlert};

/// A body on its way to a guest. An error ends it, and the guest is told which.
pub type Body = Pin<Box<dyn http_body::Body<Data = Bytes, Error = ErrorCode> + Send>>;

/// The answer to a request of a guest's, when it comes. Dropped, the request is given up.
pub type Sending = Pin<Box<dyn Future<Output = Result<http::Response<Body>, ErrorCode>> + Send>>;

/// Performs the requests that guests make.
pub trait Client: Send + Sync {
    /// Sends a request. Redirects are the guest's to follow.
    fn send(&self, request: Outgoing) -> Sending;
}

/// A guest's request, held against its grants.
#[derive(Debug)]
pub struct Outgoing {
    /// The request. Its URI is a path with its query, and it has a header `host`.
    pub request: http::Request<GuestBody>,
    /// The name or address of the server, without its port.
    pub host: String,
    /// Where the server is. The guest may reach these, and nobody has looked at others.
    pub addresses: Vec<SocketAddr>,
    /// Whether TLS is to be spoken.
    pub tls: bool,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// How long a guest's request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection.
    pub connect: Duration,
    /// From then until the head of the answer.
    pub first_byte: Duration,
    /// From one piece of the answer's body to the next.
    pub between_bytes: Duration,
}

impl Timeouts {
    /// What a guest may ask for at most.
    pub const MAX: Duration = Duration::from_secs(600);
}

impl Default for Timeouts {
    /// Shorter than the time in which a guest has to answer by default, so that it can say what went wrong.
    fn default() -> Self {
        let silence = Duration::from_secs(20);
        Self { connect: Duration::from_secs(10), first_byte: silence, between_bytes: silence }
    }
}
