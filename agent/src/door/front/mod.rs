//! The front door: one port that leads to every app that publishes one, by path or by name.
//!
//! A request is parsed here, and written anew for the app: what its own parser reads is what was meant here.
//! An app that sleeps is woken as by any connection. Each request has a connection of its own to the app, so
//! that no answer can be taken for another one.

mod forward;
mod names;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dunlin_core::wire::AppName;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue, LOCATION, TRANSFER_ENCODING},
};
use tokio::time::Instant;

use super::{answers::states, body::Body, routes::whole, serve::Caller, settings::FrontSettings, view::View};
use crate::apps::Ports;
use forward::Forward;
use names::{Asked, asked};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What answers at the front door.
#[derive(Debug)]
pub(super) struct Front {
    view: View,
    body_bytes_max: u64,
    log: bool,
    ports: Ports,
}

/// Why a request was not answered by an app.
pub(super) struct NotPassed {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

impl NotPassed {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

impl Front {
    pub(super) fn new(view: View, settings: &FrontSettings, ports: Ports) -> Self {
        Self { view, body_bytes_max: settings.body_bytes_max, log: settings.log, ports }
    }

    pub(super) async fn answer(&self, caller: &Caller, request: Request<Incoming>) -> Response<Body> {
        let (start, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
        // It may have said another length as well, which hyper has dropped: after it nothing is read (RFC 9112,
        // section 6.1).
        let last = request.headers().contains_key(TRANSFER_ENCODING);
        let asked = asked(&request, |name| self.port(name).is_some());
        let mut response = match &asked {
            Ok(asked) => self.pass(caller, request, asked).await,
            Err(not_passed) => refuse(not_passed),
        };
        if last {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        let app = asked.as_ref().ok().map(|asked| &asked.app);
        if let Some(app) = app {
            let class = response.status().as_u16() / 100;
            self.view.change(|seen| *seen.front.entry((app.clone(), class)).or_default() += 1);
        }
        if self.log {
            let (app, status) = (app.map_or("-", |app| app.as_str()), response.status().as_u16());
            let from = caller.address.map(tracing::field::display);
            let ms = start.elapsed().as_millis() as u64;
            // Without the query: passwords and tokens are in there all too often.
            tracing::info!(target: "front", from, app, %method, path, status, ms);
        }
        response
    }

    async fn pass(&self, caller: &Caller, request: Request<Incoming>, asked: &Asked) -> Response<Body> {
        if asked.slash_missing {
            return redirect(&asked.path);
        }
        let Some(port) = self.port(&asked.app) else {
            return refuse(&NotPassed::new(StatusCode::NOT_FOUND, "that app is gone"));
        };
        let to = SocketAddr::new(reachable(self.ports.bind()), port);
        let forward = Forward { to, asked, caller, bytes_max: self.body_bytes_max };
        match forward.pass(request).await {
            Ok(response) => response,
            Err(not_passed) => refuse(&not_passed),
        }
    }

    /// The port that leads to an app: the first that it publishes and has. On one that could not be had
    /// somebody else may listen, who is nothing that a plan published.
    fn port(&self, app: &AppName) -> Option<u16> {
        let port = |seen: &super::view::Seen| {
            let state = states(seen).iter().find(|state| state.app == *app)?;
            state.ports.iter().copied().find(|port| self.ports.leads_to(app, *port))
        };
        self.view.look(|seen, _| port(seen)).flatten()
    }
}

/// What comes after a request that is not passed on is not looked at any more (RFC 9112, section 6.3).
fn refuse(not_passed: &NotPassed) -> Response<Body> {
    let mut response = whole(not_passed.status, "text/plain; charset=utf-8", format!("{}\n", not_passed.why));
    response.headers_mut().insert(CONNECTION, CLOSE);
    response
}

/// Relative addresses in what an app answers are relative to its own folder.
fn redirect(path: &str) -> Response<Body> {
    let mut response = whole(StatusCode::PERMANENT_REDIRECT, "text/plain; charset=utf-8", "");
    if let Ok(location) = path.parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Ports that are published on every address are reached on loopback.
fn reachable(bind: IpAddr) -> IpAddr {
    match bind {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => bind,
    }
}

#[cfg(test)]
mod tests;
