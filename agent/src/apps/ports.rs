//! The board's ports: the agent's own, lent to the apps that publish them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
};

use dunlin_core::wire::AppName;
use tokio::net::TcpListener;

/// Published ports and whose they are. They stay open while apps come and go: a connection that
/// arrives in between waits in the kernel for the next one to accept it.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    bind: IpAddr,
    open: Arc<Mutex<BTreeMap<u16, Open>>>,
}

#[derive(Debug)]
struct Open {
    app: AppName,
    socket: Arc<TcpListener>,
}

impl Ports {
    pub(crate) fn new(bind: IpAddr) -> Self {
        Self { bind, open: Arc::default() }
    }

    /// An app's listener on this port of the board; without one, on a port of loopback that
    /// nobody else is told.
    pub(crate) async fn listen(&self, app: &AppName, port: Option<u16>) -> Result<Arc<TcpListener>, String> {
        let Some(port) = port else {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            return bound.map(Arc::new).map_err(|error| format!("no unpublished listener: {error}"));
        };
        if let Some(open) = self.lock().get(&port) {
            return match open.app == *app {
                true => Ok(Arc::clone(&open.socket)),
                false => Err(format!("port {port} is already published by {}", open.app)),
            };
        }
        let bound = TcpListener::bind((self.bind, port)).await;
        let socket = Arc::new(bound.map_err(|error| format!("port {port} cannot be published: {error}"))?);
        self.lock().insert(port, Open { app: app.clone(), socket: Arc::clone(&socket) });
        Ok(socket)
    }

    /// Closes the ports that nobody wants any more.
    pub(crate) fn keep(&self, wanted: impl Fn(&AppName, u16) -> bool) {
        self.lock().retain(|port, open| wanted(&open.app, *port));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Open>> {
        // A map of sockets cannot be left half-changed by a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
