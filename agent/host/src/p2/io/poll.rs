//! `wasi:io/poll`: what a guest waits for.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::{InputStream, OutputStream};
use crate::fds::{Interest, Kind, Permits};
use crate::p2::call::{Cx, Stop, Trap};
use crate::p2::handles::{Borrow, Handles};
use crate::p2::http::{FutureResponse, FutureTrailers, IncomingBody, OutgoingBody};
use crate::p2::sockets::{IncomingDatagrams, Lookup, OutgoingDatagrams, TcpSocket};
use crate::state::State;

/// Something that happens once, or again and again.
#[derive(Clone, Copy, Debug)]
pub(in crate::p2) enum Pollable {
    Always,
    /// `None` is further away than this machine can count.
    Timer(Option<Instant>),
    // What these were made from cannot be dropped before them: its handle stays what it is.
    Input(u32),
    Output(u32),
    Tcp(u32),
    Incoming(u32),
    Outgoing(u32),
    Lookup(u32),
    Response(u32),
    Trailers(u32),
    // Those of bodies' streams: the bodies themselves.
    Arriving(u32),
    Leaving(u32),
}

/// What a pollable stands for right now.
pub(in crate::p2) enum Awaits {
    Nothing,
    Descriptor(u32, Interest),
    Until(Option<Instant>),
    /// What is asked itself.
    Poll(Pollable),
}

impl Pollable {
    /// Whether what no descriptor stands for has happened; if not, this task is woken when it has.
    pub(in crate::p2) fn poll(self, handles: &mut Handles, permits: &mut Permits, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match self {
            Self::Lookup(number) => handles.at_mut::<Lookup>(number).map(|lookup| lookup.poll(cx)),
            Self::Response(number) => handles.at_mut::<FutureResponse>(number).map(|future| future.poll(permits, cx)),
            Self::Trailers(number) => handles.at_mut::<FutureTrailers>(number).map(|future| future.poll(cx)),
            Self::Arriving(number) => handles.at_mut::<IncomingBody>(number).map(|body| body.poll(cx)),
            Self::Leaving(number) => handles.at::<OutgoingBody>(number).map(|body| body.poll_room(cx)),
            Self::Always
            | Self::Timer(_)
            | Self::Input(_)
            | Self::Output(_)
            | Self::Tcp(_)
            | Self::Incoming(_)
            | Self::Outgoing(_) => Ok(Poll::Ready(())),
        };
        // What is not there any more is not waited for: the call that did is told why.
        polled.unwrap_or(Poll::Ready(()))
    }
}

pub(in crate::p2) fn ready(cx: &mut Cx<'_>, this: Borrow<Pollable>) -> Result<bool, Stop> {
    let pollable = *cx.state.p2.handles.get(&this)?;
    Ok(is_ready(cx.state, pollable)?)
}

pub(in crate::p2) fn block(cx: &mut Cx<'_>, this: Borrow<Pollable>) -> Result<(), Stop> {
    let pollable = *cx.state.p2.handles.get(&this)?;
    if await_ready(cx.state, pollable)? { Ok(()) } else { Err(Stop::Wait) }
}

pub(in crate::p2) fn poll(cx: &mut Cx<'_>, list: Vec<Borrow<Pollable>>) -> Result<Vec<u32>, Stop> {
    if list.is_empty() {
        return Err(Trap("polled an empty list").into());
    }
    let mut ready = Vec::new();
    for (index, this) in (0..).zip(&list) {
        cx.worked();
        let pollable = *cx.state.p2.handles.get(this)?;
        if await_ready(cx.state, pollable)? {
            ready.push(index);
        }
    }
    if ready.is_empty() { Err(Stop::Wait) } else { Ok(ready) }
}

/// Whether it is ready; if not, the guest waits for it among others.
pub(in crate::p2) fn await_ready(state: &mut State, pollable: Pollable) -> Result<bool, Trap> {
    if is_ready(state, pollable)? {
        return Ok(true);
    }
    let awaits = awaits(state, pollable)?;
    match awaits {
        // It became ready in between.
        Awaits::Nothing => return Ok(true),
        Awaits::Descriptor(fd, interest) => state.wait.on.push((fd, interest)),
        Awaits::Until(Some(due)) => state.wait.until = Some(state.wait.until.map_or(due, |until| until.min(due))),
        Awaits::Until(None) => {}
        Awaits::Poll(pollable) => state.p2.waits_for.push(pollable),
    }
    Ok(false)
}

fn is_ready(state: &mut State, pollable: Pollable) -> Result<bool, Trap> {
    // Nobody is woken by this: what is not ready is waited for in another way.
    let mut cx = Context::from_waker(Waker::noop());
    match awaits(state, pollable)? {
        Awaits::Nothing => Ok(true),
        Awaits::Until(due) => Ok(due.is_some_and(|due| due <= Instant::now())),
        Awaits::Poll(pollable) => Ok(pollable.poll(&mut state.p2.handles, &mut state.permits, &mut cx).is_ready()),
        Awaits::Descriptor(fd, interest) => {
            let Some(descriptor) = state.fds.get_mut(fd) else { return Ok(true) };
            match &mut descriptor.kind {
                Kind::Stdin(input) => return Ok(input.poll_fill(&mut cx).is_ready()),
                Kind::Listener(_) => state.console.accepting(),
                Kind::Datagram(datagram) if datagram.bound().is_some() => state.console.accepting(),
                Kind::Output(_)
                | Kind::Directory(_)
                | Kind::File(_)
                | Kind::Connection(_)
                | Kind::Unconnected(_)
                | Kind::Datagram(_) => {}
            }
            Ok(descriptor.readiness(interest).is_some())
        }
    }
}

fn awaits(state: &mut State, pollable: Pollable) -> Result<Awaits, Trap> {
    let State { p2, fds, .. } = state;
    let handles = &mut p2.handles;
    match pollable {
        Pollable::Always => Ok(Awaits::Nothing),
        Pollable::Timer(due) => Ok(Awaits::Until(due)),
        Pollable::Input(number) => Ok(handles.at::<InputStream>(number)?.awaits()),
        Pollable::Output(number) => Ok(handles.at_mut::<OutputStream>(number)?.awaits(fds)),
        Pollable::Tcp(number) => Ok(handles.at::<TcpSocket>(number)?.awaits()),
        Pollable::Incoming(number) => Ok(handles.at::<IncomingDatagrams>(number)?.awaits()),
        Pollable::Outgoing(number) => Ok(handles.at::<OutgoingDatagrams>(number)?.awaits()),
        Pollable::Lookup(_)
        | Pollable::Response(_)
        | Pollable::Trailers(_)
        | Pollable::Arriving(_)
        | Pollable::Leaving(_) => Ok(Awaits::Poll(pollable)),
    }
}
