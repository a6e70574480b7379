//! What a guest may reach, as its sockets ask it: the grants, and what names turned out to be.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use tokio::net::UdpSocket;

use crate::gate::Gate;
use crate::grants::{Grants, PortSocket, Reach};
use crate::guest::Listener;

/// Addresses of granted names that are remembered. The oldest are forgotten.
const RESOLVED_MAX: usize = 256;

/// A guest's grants, with what they became while it ran.
pub(crate) struct Permits {
    connect: Vec<Reach>,
    within: Option<Vec<Reach>>,
    resolve: bool,
    tcp: Vec<(u16, Gate)>,
    udp: Vec<(u16, Arc<UdpSocket>)>,
    resolved: VecDeque<(String, IpAddr)>,
}

impl Permits {
    /// A published listener can be bound as well: one port serves both kinds of guests.
    pub(crate) fn new(grants: Grants, listeners: &[Listener]) -> Self {
        let Grants { connect, within, resolve, listen } = grants;
        let mut tcp: Vec<_> = listeners.iter().map(|listener| (listener.port, listener.socket.clone())).collect();
        let mut udp = Vec::new();
        for port in listen {
            match port.socket {
                PortSocket::Tcp(socket) => tcp.push((port.guest, socket.into())),
                PortSocket::Udp(socket) => udp.push((port.guest, socket)),
            }
        }
        Self { connect, within, resolve, tcp, udp, resolved: VecDeque::new() }
    }

    /// Whether the guest may talk to this address.
    pub(crate) fn may_reach(&self, to: SocketAddr) -> bool {
        let to = meant(to);
        self.reaches(&self.connect, to) && self.within.as_ref().is_none_or(|within| self.reaches(within, to))
    }

    /// Whether the guest may ask for the addresses of this name.
    pub(crate) fn may_resolve(&self, name: &str) -> bool {
        let asked = self.resolve || is_named(&self.connect, name);
        let leads_somewhere = |reach: &Reach| !reach.is_name() || reach.names(name, None);
        asked && self.within.as_ref().is_none_or(|within| within.iter().any(leads_somewhere))
    }

    /// A granted name has these addresses: they are granted with it.
    pub(crate) fn resolved(&mut self, name: &str, addresses: &[IpAddr]) {
        if !is_named(&self.connect, name) && !self.within.as_ref().is_some_and(|within| is_named(within, name)) {
            return;
        }
        for ip in addresses {
            let entry = (name.to_owned(), ip.to_canonical());
            if !self.resolved.contains(&entry) {
                if self.resolved.len() == RESOLVED_MAX {
                    self.resolved.pop_front();
                }
                self.resolved.push_back(entry);
            }
        }
    }

    /// The agent's listener that the guest knows as this port.
    pub(crate) fn tcp(&self, port: u16) -> Option<&Gate> {
        self.tcp.iter().find(|(guest, _)| *guest == port).map(|(_, gate)| gate)
    }

    /// The agent's UDP socket that the guest knows as this port.
    pub(crate) fn udp(&self, port: u16) -> Option<BorrowedFd<'_>> {
        self.udp.iter().find(|(guest, _)| *guest == port).map(|(_, socket)| socket.as_fd())
    }

    fn reaches(&self, grants: &[Reach], to: SocketAddr) -> bool {
        let named = |name: &str| grants.iter().any(|reach| reach.names(name, Some(to.port())));
        grants.iter().any(|reach| reach.covers(to))
            || self.resolved.iter().any(|(name, ip)| *ip == to.ip() && named(name))
    }
}

fn is_named(grants: &[Reach], name: &str) -> bool {
    grants.iter().any(|reach| reach.names(name, None))
}

/// The address that the kernel would take: an IPv4 address in IPv6 is that address, and none at all is
/// this machine.
fn meant(to: SocketAddr) -> SocketAddr {
    let ip = match to.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, to.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(texts: &[&str]) -> Vec<Reach> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn permits(connect: &[&str], resolve: bool) -> Permits {
        Permits::new(Grants { connect: reaches(connect), resolve, ..Grants::default() }, &[])
    }

    fn within(connect: &[&str], within: &[&str]) -> Permits {
        let within = Some(reaches(within));
        Permits::new(Grants { connect: reaches(connect), within, resolve: true, listen: Vec::new() }, &[])
    }

    fn may(permits: &Permits, to: &str) -> bool {
        permits.may_reach(to.parse().unwrap())
    }

    #[test]
    fn nothing_by_default() {
        let permits = permits(&[], false);
        assert!(!may(&permits, "127.0.0.1:80") && !permits.may_resolve("localhost"));
        assert!(permits.tcp(80).is_none() && permits.udp(80).is_none());
    }

    #[test]
    fn other_spellings_of_an_address_are_the_address() {
        let permits = permits(&["127.0.0.1:80", "[::1]:81"], false);
        for to in ["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80", "[::ffff:0.0.0.0]:80", "[::]:81"] {
            assert!(may(&permits, to), "{to}");
        }
        for to in ["127.0.0.2:80", "[::]:80", "0.0.0.0:81", "[::ffff:127.0.0.1]:81"] {
            assert!(!may(&permits, to), "{to}");
        }
    }

    #[test]
    fn a_granted_names_addresses_are_granted_once_they_are_known() {
        let mut permits = permits(&["db.example:5432"], false);
        let ip: IpAddr = "10.0.0.7".parse().unwrap();
        assert!(permits.may_resolve("db.example") && !permits.may_resolve("other.example"));
        assert!(!may(&permits, "10.0.0.7:5432"));
        permits.resolved("other.example", &[ip]);
        assert!(!may(&permits, "10.0.0.7:5432"));
        permits.resolved("db.example", &[ip]);
        assert!(may(&permits, "10.0.0.7:5432") && !may(&permits, "10.0.0.7:5433") && !may(&permits, "10.0.0.8:5432"));
    }

    #[test]
    fn the_owner_of_the_machine_narrows_what_is_granted() {
        let lan = within(&["*:80"], &["10.0.0.0/8:*", "127.0.0.1:81"]);
        assert!(may(&lan, "10.1.2.3:80") && lan.may_resolve("any.example"));
        for to in ["192.0.2.1:80", "10.1.2.3:81", "127.0.0.1:81"] {
            assert!(!may(&lan, to), "{to}");
        }
        let mut named = within(&["*:80"], &["db.example:80"]);
        assert!(named.may_resolve("db.example") && !named.may_resolve("any.example"));
        named.resolved("db.example", &["10.0.0.7".parse().unwrap()]);
        assert!(may(&named, "10.0.0.7:80") && !may(&named, "10.0.0.8:80"));
        let nothing = within(&["*:*", "db.example:80"], &[]);
        assert!(!may(&nothing, "127.0.0.1:80") && !nothing.may_resolve("db.example"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut permits = permits(&["db.example:1"], true);
        let all = (0..1000_u32).map(|n| IpAddr::from(Ipv4Addr::from_bits(n + 1))).collect::<Vec<_>>();
        permits.resolved("db.example", &all);
        assert_eq!(permits.resolved.len(), RESOLVED_MAX);
        assert!(may(&permits, "0.0.3.232:1") && !may(&permits, "0.0.0.1:1"));
    }
}
