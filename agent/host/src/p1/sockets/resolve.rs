//! Names and their addresses, looked up while the guest is suspended.

use std::io;
use std::net::IpAddr;

use crate::fds::Family;
use crate::grants::canonical_name;
use crate::p1::{Cx, Errno, Stop};

/// Services by name. A board need not have a list of its own.
const SERVICES: &[(&str, u16)] = &[
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("mqtt", 1883),
    ("ntp", 123),
    ("secure-mqtt", 8883),
    ("smtp", 25),
    ("ssh", 22),
    ("telnet", 23),
];

/// The port of a service: a number, one of the well-known names, or nothing, which is 0.
pub(super) fn port(service: &str) -> Option<u16> {
    if service.is_empty() {
        return Some(0);
    }
    let known = SERVICES.iter().find(|(name, _)| *name == service).map(|(_, port)| *port);
    known.or_else(|| service.parse().ok())
}

/// The addresses of a host, of one family if one is asked for: at once if the host is an address
/// itself, which needs no grant, else as somebody's answer.
pub(super) fn addresses(cx: &mut Cx<'_>, host: &str, family: Option<Family>) -> Result<Vec<IpAddr>, Stop> {
    let wanted = |ip: &IpAddr| match family {
        None => true,
        Some(Family::V4) => ip.is_ipv4(),
        Some(Family::V6) => ip.is_ipv6(),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Some(ip).filter(wanted).into_iter().collect());
    }
    let name = canonical_name(host).ok_or(Errno::Ainoname)?;
    if !cx.state.permits.may_resolve(&name) {
        return Err(Errno::Acces.into());
    }
    let Some(outcome) = cx.state.wait.resolved.take() else {
        cx.state.wait.lookup = Some(cx.state.lookups.begin(name));
        return Err(Stop::Wait);
    };
    let addresses = outcome.map_err(|error| {
        // What a resolver says is a sentence, and no number.
        if error.kind() == io::ErrorKind::TimedOut { Errno::Aiagain } else { Errno::Ainoname }
    })?;
    cx.state.permits.resolved(&name, &addresses);
    Ok(addresses.into_iter().filter(wanted).collect())
}
