//! `wasi:sockets/ip-name-lookup`: names and their addresses.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker, ready};

use super::{ErrorCode, Network, Outcome};
use crate::grants::canonical_name;
use crate::lookup;
use crate::p2::call::{Cx, Stop};
use crate::p2::handles::{Borrow, Own};
use crate::p2::io::Pollable;

/// The addresses of a name, or a lookup of them that is under way.
pub(in crate::p2) struct Lookup {
    name: String,
    state: Phase,
}

enum Phase {
    Asking(lookup::Lookup),
    /// What came of it, until the guest's grants have heard of it.
    Answered(io::Result<Vec<IpAddr>>),
    Known(VecDeque<IpAddr>),
    Failed(ErrorCode),
}

impl Lookup {
    /// Whether there is something to be told.
    pub(in crate::p2) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Phase::Asking(lookup) = &mut self.state {
            self.state = Phase::Answered(ready!(lookup.as_mut().poll(cx)));
        }
        Poll::Ready(())
    }
}

pub(in crate::p2) fn resolve_addresses(
    cx: &mut Cx<'_>,
    network: Borrow<Network>,
    name: String,
) -> Outcome<Own<Lookup>> {
    let state = &mut *cx.state;
    state.p2.handles.get(&network)?;
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let phase = match bracketed.unwrap_or(&name).parse::<IpAddr>() {
        // Needs no grant: nobody is asked.
        Ok(ip) if ip.is_ipv6() || bracketed.is_none() => Phase::Known(VecDeque::from([ip.to_canonical()])),
        _ => {
            let name = canonical_name(&name).ok_or(ErrorCode::InvalidArgument)?;
            if !state.permits.may_resolve(&name) {
                return Err(ErrorCode::AccessDenied.into());
            }
            Phase::Asking(state.lookups.begin(name))
        }
    };
    let name = canonical_name(&name).unwrap_or_default();
    let mut lookup = Lookup { name, state: phase };
    // Sets it going: the guest may look again before it waits.
    let _ = lookup.poll(&mut Context::from_waker(Waker::noop()));
    Ok(state.p2.handles.push(lookup)?)
}

pub(in crate::p2) fn resolve_next_address(cx: &mut Cx<'_>, this: Borrow<Lookup>) -> Outcome<Option<IpAddr>> {
    let state = &mut *cx.state;
    let lookup = state.p2.handles.get_mut(&this)?;
    let _ = lookup.poll(&mut Context::from_waker(Waker::noop()));
    if let Phase::Answered(outcome) = &lookup.state {
        lookup.state = match outcome {
            Ok(addresses) if addresses.is_empty() => Phase::Failed(ErrorCode::NameUnresolvable),
            Ok(addresses) => {
                state.permits.resolved(&lookup.name, addresses);
                // An IPv4 address is never told as IPv6.
                Phase::Known(addresses.iter().map(IpAddr::to_canonical).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Phase::Failed(ErrorCode::TemporaryResolverFailure),
            // What a resolver says is a sentence, and no number.
            Err(_) => Phase::Failed(ErrorCode::NameUnresolvable),
        };
    }
    match &mut lookup.state {
        Phase::Asking(_) | Phase::Answered(_) => Err(ErrorCode::WouldBlock.into()),
        Phase::Known(addresses) => Ok(addresses.pop_front()),
        Phase::Failed(code) => Err((*code).into()),
    }
}

pub(in crate::p2) fn subscribe(cx: &mut Cx<'_>, this: Borrow<Lookup>) -> Result<Own<Pollable>, Stop> {
    let handles = &mut cx.state.p2.handles;
    handles.get(&this)?;
    Ok(handles.push_child(Pollable::Lookup(this.number()), this.number())?)
}
