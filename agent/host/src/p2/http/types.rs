//! Methods and schemes.

use http::Method as HttpMethod;
use http::uri::Scheme as HttpScheme;

use crate::p2::abi::wit_variant;

wit_variant! {
    pub(in crate::p2) enum Method {
        Get = "get",
        Head = "head",
        Post = "post",
        Put = "put",
        Delete = "delete",
        Connect = "connect",
        Options = "options",
        Trace = "trace",
        Patch = "patch",
        Other(name: String) = "other",
    }
}

wit_variant! {
    pub(in crate::p2) enum Scheme {
        Http = "HTTP",
        Https = "HTTPS",
        Other(name: String) = "other",
    }
}

impl From<&HttpMethod> for Method {
    fn from(method: &HttpMethod) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Method {
    /// `None`: it is none.
    pub(in crate::p2) fn parse(&self) -> Option<HttpMethod> {
        Some(match self {
            Self::Get => HttpMethod::GET,
            Self::Head => HttpMethod::HEAD,
            Self::Post => HttpMethod::POST,
            Self::Put => HttpMethod::PUT,
            Self::Delete => HttpMethod::DELETE,
            Self::Connect => HttpMethod::CONNECT,
            Self::Options => HttpMethod::OPTIONS,
            Self::Trace => HttpMethod::TRACE,
            Self::Patch => HttpMethod::PATCH,
            Self::Other(name) => HttpMethod::from_bytes(name.as_bytes()).ok()?,
        })
    }
}

impl Scheme {
    pub(in crate::p2) fn is_valid(&self) -> bool {
        match self {
            Self::Http | Self::Https => true,
            Self::Other(name) => HttpScheme::try_from(name.as_str()).is_ok(),
        }
    }
}
