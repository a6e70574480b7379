//! Who may look: methods, the name that was called, and the token.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{AUTHORIZATION, HOST},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::settings::{Place, Token};

/// Decides who is answered at one place.
#[derive(Debug)]
pub(super) struct Guard {
    /// Whether the name that a browser called has to be this machine's own: a page from elsewhere can have
    /// its name lead here (DNS rebinding), but not call us by another one.
    own_name: bool,
    token: Option<Token>,
}

/// Why somebody is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl Guard {
    /// Who reaches a socket in a folder is let in by its mode alone.
    pub(super) fn new(place: &Place, token: Option<Token>) -> Self {
        match place {
            Place::Unix { .. } => Self { own_name: false, token: None },
            Place::Tcp(_) => Self { own_name: place.is_local(), token },
        }
    }

    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Denied { status: StatusCode::METHOD_NOT_ALLOWED, why: "this door only tells: GET and HEAD" });
        }
        if self.own_name && !calls_us_by_our_own_name(request) {
            let why = "call it localhost, 127.0.0.1 or [::1]: pages from elsewhere are not to look in";
            return Err(Denied { status: StatusCode::MISDIRECTED_REQUEST, why });
        }
        match &self.token {
            Some(token) if !knows(request.headers(), token) => {
                let why = "it wants the token of [door], as password of any user or as bearer";
                Err(Denied { status: StatusCode::UNAUTHORIZED, why })
            }
            _ => Ok(()),
        }
    }
}

fn calls_us_by_our_own_name<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let mut names = hosts.chain(request.uri().authority().map(|authority| authority.as_str())).peekable();
    names.peek().is_some() && names.all(is_our_own)
}

/// A name of this machine, with any port.
fn is_our_own(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether it is said, as a bearer token or as a password (RFC 6750, RFC 7617).
fn knows(headers: &HeaderMap, token: &Token) -> bool {
    let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    let said = match said {
        Some((scheme, said)) if scheme.eq_ignore_ascii_case("bearer") => said.trim().to_owned(),
        Some((scheme, said)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = BASE64_STANDARD.decode(said.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.and_then(|pair| Some(pair.split_once(':')?.1.to_owned())).unwrap_or_default()
        }
        _ => return false,
    };
    // Of digests, so that neither a letter nor the length shows in the time that it takes.
    let [said, token] = [said.as_str(), token.as_str()].map(|text| Sha256::digest(text.as_bytes()));
    said.as_slice().ct_eq(token.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn status(place: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Option<u16> {
        let token = token.map(|token| Token::new(token).unwrap());
        let guard = Guard::new(&place.parse().unwrap(), token);
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.check(&request.body(()).unwrap()).err().map(|denied| denied.status.as_u16())
    }

    #[test]
    fn on_loopback_only_who_calls_it_so() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:8080"] {
            assert_eq!(status("127.0.0.1:0", None, &[("host", host)]), None, "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.1", "[::2]:80", "::1x"]
        {
            assert_eq!(status("127.0.0.1:0", None, &[("host", host)]), Some(421), "{host}");
            assert_eq!(status("unix:/x", None, &[("host", host)]), None, "{host}");
        }
        assert_eq!(status("127.0.0.1:0", None, &[]), Some(421));
        assert_eq!(status("127.0.0.1:0", None, &[("host", "localhost"), ("host", "evil.example")]), Some(421));
    }

    #[test]
    fn over_the_network_only_who_knows_the_token() {
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        let said = |value: &str| status("0.0.0.0:0", Some(TOKEN), &[("host", "board"), ("authorization", value)]);
        for good in [
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN}"),
            basic(&format!("me:{TOKEN}")),
            basic(&format!(":{TOKEN}")),
        ] {
            assert_eq!(said(&good), None, "{good}");
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer correct-horse-batterz",
            "Bearer correct-horse-battery-",
            "Basic !",
            &basic(TOKEN),
            &basic("me:"),
            TOKEN,
        ] {
            assert_eq!(said(bad), Some(401), "{bad}");
        }
        assert_eq!(status("0.0.0.0:0", Some(TOKEN), &[]), Some(401));
        assert_eq!(status("unix:/x", Some(TOKEN), &[]), None, "its mode says who may");
    }

    #[test]
    fn nothing_is_changed_here() {
        let guard = Guard::new(&"unix:/x".parse().unwrap(), None);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE"] {
            let request = Request::builder().method(method).uri("/").body(()).unwrap();
            assert_eq!(guard.check(&request).unwrap_err().status, 405, "{method}");
        }
    }
}
