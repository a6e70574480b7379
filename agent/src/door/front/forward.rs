//! One request to an app, and its answer, or a WebSocket in both directions.

use std::{net::SocketAddr, time::Duration};

use dunlin_core::limits::{FRONT_ANSWER_MS, FRONT_CONNECT_MS, HTTP_STALL_MS};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, LOCATION, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{NotPassed, names::Asked};
use crate::door::{
    body::{Body, Bounded},
    serve::Caller,
};

/// A request on its way.
pub(super) struct Forward<'a> {
    pub(super) to: SocketAddr,
    pub(super) asked: &'a Asked,
    pub(super) caller: &'a Caller,
    pub(super) bytes_max: u64,
}

/// Headers about one connection, which end with it (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What only we may say of where a request comes from.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

impl Forward<'_> {
    pub(super) async fn pass(&self, mut request: Request<Incoming>) -> Result<Response<Body>, NotPassed> {
        self.admit(&request)?;
        let websocket = wants_websocket(request.headers());
        let head = request.method() == Method::HEAD;
        let upgrade = hyper::upgrade::on(&mut request);
        let request = self.rewrite(request, websocket);

        let connected = timeout(Duration::from_millis(FRONT_CONNECT_MS), TcpStream::connect(self.to)).await;
        let unreachable =
            |why: String| NotPassed::new(StatusCode::BAD_GATEWAY, format!("the app cannot be reached: {why}"));
        let stream = connected.map_err(|_| unreachable("it takes too long".into()))?;
        let stream = stream.map_err(|error| unreachable(error.to_string()))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| unreachable(error.to_string()))?;
        // It ends with what it carries: the answer, or whoever waits for it.
        tokio::spawn(connection.with_upgrades());

        let answer = timeout(Duration::from_millis(FRONT_ANSWER_MS), sender.send_request(request)).await;
        let Ok(answer) = answer else {
            return Err(NotPassed::new(StatusCode::GATEWAY_TIMEOUT, "the app did not answer in time"));
        };
        let mut answer = answer.map_err(|error| not_answered(&error))?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            if !websocket {
                return Err(NotPassed::new(StatusCode::BAD_GATEWAY, "the app speaks what nobody asked for"));
            }
            let app = hyper::upgrade::on(&mut answer);
            self.caller.afterwards(async move {
                if let Ok((client, app)) = tokio::try_join!(upgrade, app) {
                    // However it ends, it is over.
                    let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(app)).await;
                }
            });
        }
        Ok(self.give_back(answer, websocket, head))
    }

    /// What has two lengths, or one that nobody understands, hyper has refused or settled before.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), NotPassed> {
        if request.method() == Method::CONNECT {
            return Err(NotPassed::new(StatusCode::METHOD_NOT_ALLOWED, "this leads to apps, and nowhere else"));
        }
        if request.body().size_hint().lower() > self.bytes_max {
            return Err(self.too_long());
        }
        Ok(())
    }

    fn too_long(&self) -> NotPassed {
        let why = format!("a body has at most {} bytes here: `body` in [front]", self.bytes_max);
        NotPassed::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    }

    /// The request as the app gets it.
    fn rewrite(&self, request: Request<Incoming>, websocket: bool) -> Request<Body> {
        let (mut parts, body) = request.into_parts();
        // What was a path and query is one without its first part, too.
        parts.uri = self.asked.path.parse().unwrap_or_default();
        parts.version = Version::HTTP_11;
        let headers = &mut parts.headers;
        strip(headers);
        headers.remove(EXPECT);
        FORWARDED.iter().for_each(|name| drop(headers.remove(*name)));
        let host = HeaderValue::from_str(&self.asked.host).ok();
        let address = self.caller.address.map(|address| address.to_canonical().to_string());
        let said = [
            (HOST, host.clone()),
            (HeaderName::from_static("x-forwarded-host"), host),
            (HeaderName::from_static("x-forwarded-for"), address.and_then(|address| address.parse().ok())),
            (HeaderName::from_static("x-forwarded-proto"), Some(HeaderValue::from_static(self.scheme()))),
            (
                HeaderName::from_static("x-forwarded-prefix"),
                self.asked.prefix.as_ref().and_then(|prefix| prefix.parse().ok()),
            ),
        ];
        for (name, value) in said {
            value.map(|value| headers.insert(name, value));
        }
        if websocket {
            switch(headers);
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // Its length is told anew, by what was read of it.
        headers.remove(CONTENT_LENGTH);
        let bounded = Bounded::new(body, self.bytes_max, Duration::from_millis(HTTP_STALL_MS));
        Request::from_parts(parts, Body::Bounded(bounded))
    }

    /// The answer as the client gets it.
    fn give_back(&self, answer: Response<Incoming>, websocket: bool, head: bool) -> Response<Body> {
        let (mut parts, body) = answer.into_parts();
        strip(&mut parts.headers);
        // Where there is no body, it tells how long one would be.
        if !head && parts.status != StatusCode::NOT_MODIFIED {
            parts.headers.remove(CONTENT_LENGTH);
        }
        if websocket && parts.status == StatusCode::SWITCHING_PROTOCOLS {
            switch(&mut parts.headers);
        }
        if let (Some(prefix), Some(location)) = (&self.asked.prefix, parts.headers.get_mut(LOCATION)) {
            // It leads to a place in the app, which does not know where its folder is.
            let inside = location.to_str().ok().filter(|path| path.starts_with('/') && !path.starts_with("//"));
            if let Some(Ok(moved)) = inside.map(|path| format!("{prefix}{path}").parse()) {
                *location = moved;
            }
        }
        Response::from_parts(parts, Body::Passing(body))
    }

    fn scheme(&self) -> &'static str {
        if self.caller.tls { "https" } else { "http" }
    }
}

/// Why an app's answer is none; if it is the client's own body that broke off, that is said.
fn not_answered(error: &hyper::Error) -> NotPassed {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::FileTooLarge) => {
                return NotPassed::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "that body is longer than `body` in [front] allows",
                );
            }
            Some(std::io::ErrorKind::TimedOut) => {
                return NotPassed::new(StatusCode::REQUEST_TIMEOUT, "the rest of that body did not come");
            }
            _ => source = cause.source(),
        }
    }
    NotPassed::new(StatusCode::BAD_GATEWAY, format!("the app gave no answer: {error}"))
}

/// Removes what is about one connection, and what `Connection` names besides.
fn strip(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named =
        named.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>();
    for name in HOP_BY_HOP.into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// Another protocol than WebSocket is not switched to: HTTP/2 would carry requests that nobody looked at.
fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().eq([&WEBSOCKET])
        && headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")))
}

fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn what_is_about_one_connection_ends_with_it() {
        let mut all = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ]);
        strip(&mut all);
        assert_eq!(all, headers(&[("x-kept", "1")]));
    }

    #[test]
    fn only_a_websocket_is_switched_to() {
        assert!(wants_websocket(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])));
        assert!(!wants_websocket(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])));
        assert!(!wants_websocket(&headers(&[("connection", "upgrade"), ("upgrade", "h2c, websocket")])));
        assert!(!wants_websocket(&headers(&[("upgrade", "websocket")])));
        assert!(!wants_websocket(&headers(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")])));
    }
}
