//! Where a broker is and how to show oneself to it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

/// A broker and what is needed to be let in.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Where it is.
    pub url: BrokerUrl,
    /// Certificates, for `mqtts` and `wss`.
    pub tls: Tls,
    /// User and password, if it asks for them.
    pub credentials: Option<Credentials>,
    /// How often to be heard at least; twice that and 5 s of silence end a session.
    pub keep_alive: Duration,
}

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of who may vouch for the broker; the system's own, if absent.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, if the broker asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How to speak to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `mqtt`: TCP, in the clear.
    Mqtt,
    /// `mqtts`: TLS.
    Mqtts,
    /// `ws`: a WebSocket, in the clear.
    Ws,
    /// `wss`: a WebSocket over TLS.
    Wss,
}

/// A broker's address: `mqtts://broker.example:8883`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// How.
    pub scheme: Scheme,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What follows the port: only WebSockets have it.
    pub path: String,
}

/// What is wrong with a broker's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// No known scheme.
    #[error("{0:?} does not begin with mqtt://, mqtts://, ws:// or wss://")]
    Scheme(String),
    /// No host.
    #[error("{0:?} names no host")]
    Host(String),
    /// A port that is none.
    #[error("{0:?} is not a port")]
    Port(String),
    /// A path where there is none.
    #[error("{0:?}: only ws:// and wss:// have a path")]
    Path(String),
    /// A user in the address would end up in logs.
    #[error("give user and password in their own settings, not in the address")]
    User,
}

impl FromStr for BrokerUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| BadUrl::Scheme(text.into()))?;
        let (scheme, default_port) = match scheme {
            "mqtt" => (Scheme::Mqtt, 1883),
            "mqtts" => (Scheme::Mqtts, 8883),
            "ws" => (Scheme::Ws, 80),
            "wss" => (Scheme::Wss, 443),
            _ => return Err(BadUrl::Scheme(text.into())),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        if matches!(scheme, Scheme::Mqtt | Scheme::Mqtts) && !matches!(path, "" | "/") {
            return Err(BadUrl::Path(text.into()));
        }
        // An IPv6 address stands in brackets, and its colons are not a port's.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if host.is_empty() {
            return Err(BadUrl::Host(text.into()));
        }
        let parse = |port: &str| port.parse().ok().filter(|p| *p != 0).ok_or_else(|| BadUrl::Port(port.into()));
        let port = port.map_or(Ok(default_port), parse)?;
        Ok(Self { scheme, host: host.into(), port, path: path.into() })
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = BadUrl;

    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Mqtt => "mqtt",
            Scheme::Mqtts => "mqtts",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

impl BrokerUrl {
    /// Whether it is spoken to over TLS.
    pub const fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Mqtts | Scheme::Wss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_shown() {
        for (text, shown) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://10.0.0.1:8884/", "mqtts://10.0.0.1:8884/"),
            ("wss://b.example/mqtt", "wss://b.example:443/mqtt"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("broker:1883", "does not begin with"),
            ("http://b", "does not begin with"),
            ("mqtt://", "names no host"),
            ("mqtt://:1883", "names no host"),
            ("mqtt://b:x", "is not a port"),
            ("mqtt://b:0", "is not a port"),
            ("mqtt://b:70000", "is not a port"),
            ("mqtt://b/path", "only ws://"),
            ("mqtt://u:p@b", "their own settings"),
        ] {
            let error = text.parse::<BrokerUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
