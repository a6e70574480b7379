//! What a guest may reach by sockets that it opens itself. Nothing that is not named here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};

/// What a guest may reach beyond the listeners that it is given. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Whom it may connect to, and send datagrams to and take them from.
    pub connect: Vec<Reach>,
    /// What of this the machine's owner lets anybody reach: all of it, if absent. A name is reached if
    /// it is here, or all of its addresses are. An empty list resolves no name either.
    pub within: Option<Vec<Reach>>,
    /// Whether it may resolve any name. Names in [`connect`](Self::connect) may be resolved anyway.
    pub resolve: bool,
    /// Ports that it may bind by itself, besides those of its listeners.
    pub listen: Vec<Port>,
}

/// A port that a guest may bind by itself. The agent owns the real socket; the guest's `bind` and
/// `listen` get it.
#[derive(Clone, Debug)]
pub struct Port {
    /// The port that the guest binds.
    pub guest: u16,
    /// The socket that it gets.
    pub socket: PortSocket,
}

/// The real socket behind a [`Port`].
#[derive(Clone, Debug)]
pub enum PortSocket {
    /// A TCP listener.
    Tcp(Arc<TcpListener>),
    /// A UDP socket.
    Udp(Arc<UdpSocket>),
}

/// A host and a range of ports: `db.example:5432`, `10.0.0.0/8:1024-2047`, `[::1]:80`,
/// `[fd00::/8]:*`, `*:443`.
///
/// A host is an exact name, an exact address, a network, or `*` for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    host: Host,
    ports: RangeInclusive<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    /// In lower case, without a dot at its end.
    Name(String),
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

/// What is wrong with a text that was to be a [`Reach`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadReach {
    /// It is not a host and a port.
    #[error("{0:?} is not HOST:PORT, as in db.example:5432, 10.0.0.0/8:1024-2047, [::1]:80 or *:443")]
    Form(String),
    /// A network's address has bits that its prefix does not cover.
    #[error("{text:?} has bits beyond its prefix; the network is {network}")]
    Network {
        /// What was given.
        text: String,
        /// The network that it lies in.
        network: String,
    },
}

impl Reach {
    /// Whether an address is within it, by its number alone.
    pub(crate) fn covers(&self, to: SocketAddr) -> bool {
        let host = match &self.host {
            Host::Any => true,
            Host::Name(_) => false,
            Host::Network { address, prefix } => masked(to.ip(), *prefix) == Some(*address),
        };
        host && self.ports.contains(&to.port())
    }

    /// Whether it is a name, whose addresses are known only when they are asked for.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.host, Host::Name(_))
    }

    /// Whether it is this name, at this port if one is given.
    pub(crate) fn names(&self, name: &str, port: Option<u16>) -> bool {
        matches!(&self.host, Host::Name(own) if own == name) && port.is_none_or(|port| self.ports.contains(&port))
    }
}

impl FromStr for Reach {
    type Err = BadReach;

    fn from_str(text: &str) -> Result<Self, BadReach> {
        let wrong = || BadReach::Form(text.to_owned());
        let (host, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
        let ports = parse_ports(ports).ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let (number, prefix) = match bracketed.unwrap_or(host).split_once('/') {
            Some((number, prefix)) => (number, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (bracketed.unwrap_or(host), None),
        };
        // Brackets are for IPv6, and IPv6 has brackets: otherwise the port could be a part of it.
        let address = match bracketed {
            Some(_) => Some(IpAddr::V6(number.parse::<Ipv6Addr>().map_err(|_| wrong())?)),
            None => number.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        let host = match (address, prefix) {
            (Some(address), prefix) => {
                let prefix = prefix.unwrap_or(bits(address));
                let network = masked(address, prefix).ok_or_else(wrong)?;
                if network != address {
                    let network = Self { host: Host::Network { address: network, prefix }, ports }.to_string();
                    return Err(BadReach::Network { text: text.to_owned(), network });
                }
                Host::Network { address, prefix }
            }
            (None, None) if host == "*" => Host::Any,
            (None, None) => Host::Name(canonical_name(host).ok_or_else(wrong)?),
            (None, Some(_)) => return Err(wrong()),
        };
        Ok(Self { host, ports })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Network { address: IpAddr::V4(address), prefix: 32 } => write!(f, "{address}")?,
            Host::Network { address: IpAddr::V6(address), prefix: 128 } => write!(f, "[{address}]")?,
            Host::Network { address: IpAddr::V4(address), prefix } => write!(f, "{address}/{prefix}")?,
            Host::Network { address: IpAddr::V6(address), prefix } => write!(f, "[{address}/{prefix}]")?,
        }
        match (*self.ports.start(), *self.ports.end()) {
            (1, u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

/// A name as it is compared: in lower case, without a dot at its end. `None`: it is none, or an
/// address written otherwise (`127.1`, `0x7f000001`), which a resolver would take for one.
pub(crate) fn canonical_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or(&name);
    let numeric = last.starts_with(|first: char| first.is_ascii_digit());
    (name.len() <= 253 && name.split('.').all(label) && !numeric).then_some(name)
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port != 0)
    };
    match text.split_once('-') {
        _ if text == "*" => Some(1..=u16::MAX),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            (first <= last).then_some(first..=last)
        }
        None => port(text).map(|port| port..=port),
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The network of this length that an address lies in; `None`: it has no such length.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let host_bits = u32::from(bits(address).checked_sub(prefix)?);
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        text.parse().unwrap()
    }

    #[test]
    fn texts_come_back_as_they_went() {
        for text in [
            "db.example:5432",
            "localhost:1-65534",
            "10.0.0.0/8:1024-2047",
            "192.168.1.7:80",
            "[::1]:80",
            "[fd00::/8]:*",
            "0.0.0.0/0:53",
            "*:443",
            "*:*",
        ] {
            assert_eq!(reach(text).to_string(), text);
        }
        assert_eq!(reach("DB.Example.:1").to_string(), "db.example:1");
        assert_eq!(reach("10.1.2.3/32:1").to_string(), "10.1.2.3:1");
    }

    #[test]
    fn what_is_no_reach() {
        for text in [
            "",
            "host",
            ":80",
            "host:",
            "host:0",
            "host:70000",
            "host:2-1",
            "host:+1",
            "host:a",
            "::1:80",
            "[::1:80",
            "[host]:80",
            "[10.0.0.1]:80",
            "10.0.0.0/33:1",
            "[::/129]:1",
            "host/8:1",
            "*/8:1",
            "a..b:1",
            "a b:1",
            "10.1:80",
            "1234:80",
            "a.*:80",
            "user@host:80",
        ] {
            assert_eq!(text.parse::<Reach>(), Err(BadReach::Form(text.to_owned())), "{text}");
        }
        let error = "10.1.2.3/8:80".parse::<Reach>().unwrap_err().to_string();
        assert_eq!(error, "\"10.1.2.3/8:80\" has bits beyond its prefix; the network is 10.0.0.0/8:80");
    }

    #[test]
    fn what_a_reach_covers() {
        for (text, inside, outside) in [
            ("10.0.0.0/8:1024-2047", ["10.0.0.0:1024", "10.255.255.255:2047"], ["11.0.0.0:1024", "10.0.0.1:1023"]),
            ("[fd00::/8]:80", ["[fd00::1]:80", "[fdff::]:80"], ["[fe00::]:80", "10.0.0.1:80"]),
            ("127.0.0.1:80", ["127.0.0.1:80", "127.0.0.1:80"], ["127.0.0.2:80", "[::1]:80"]),
            ("0.0.0.0/0:1-9", ["1.2.3.4:1", "255.255.255.255:9"], ["[::1]:1", "1.2.3.4:10"]),
            ("*:443", ["1.2.3.4:443", "[::1]:443"], ["1.2.3.4:80", "[::1]:80"]),
        ] {
            for address in inside {
                assert!(reach(text).covers(address.parse().unwrap()), "{text} {address}");
            }
            for address in outside {
                assert!(!reach(text).covers(address.parse().unwrap()), "{text} {address}");
            }
        }
        let named = reach("db.example:5432");
        assert!(!named.covers("127.0.0.1:5432".parse().unwrap()));
        assert!(named.names("db.example", None) && named.names("db.example", Some(5432)));
        assert!(!named.names("db.example", Some(5433)) && !named.names("other.example", None));
    }
}
