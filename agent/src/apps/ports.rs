//! The board's ports: the agent's own, lent to the apps that publish them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use dunlin_core::wire::{AppName, Protocol};
use dunlin_host::PortSocket;
use tokio::net::{TcpListener, UdpSocket};

use super::passed;

/// Published ports and whose they are. They stay open while apps come and go: a connection that
/// arrives in between waits in the kernel for the next one to accept it.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    bind: IpAddr,
    /// What the service manager opened. It stays open whatever apps come and go: it can't be had again.
    passed: Arc<BTreeMap<(Protocol, u16), PortSocket>>,
    open: Arc<Mutex<BTreeMap<(Protocol, u16), Open>>>,
}

#[derive(Debug)]
struct Open {
    app: AppName,
    socket: PortSocket,
}

impl Ports {
    pub(crate) fn new(bind: IpAddr) -> Self {
        let mut of_manager = BTreeMap::new();
        for socket in passed::sockets() {
            match name(&socket) {
                Ok(name) => _ = of_manager.insert(name, socket),
                Err(error) => tracing::warn!("a socket of the service manager has no port: {error}"),
            }
        }
        Self { bind, passed: Arc::new(of_manager), open: Arc::default() }
    }

    /// An app's socket on this port of the board; without one, on a port of loopback that
    /// nobody else is told.
    pub(crate) async fn listen(
        &self,
        app: &AppName,
        protocol: Protocol,
        port: Option<u16>,
    ) -> Result<PortSocket, String> {
        let Some(port) = port else {
            let bound = bind(protocol, (Ipv4Addr::LOCALHOST, 0).into()).await;
            return bound.map_err(|error| format!("no unpublished listener: {error}"));
        };
        let told = || format!("port {port}{}", protocol.suffix());
        if let Some(open) = self.lock().get(&(protocol, port)) {
            return match open.app == *app {
                true => Ok(open.socket.clone()),
                false => Err(format!("{} is already published by {}", told(), open.app)),
            };
        }
        let bound = match self.passed.get(&(protocol, port)) {
            Some(passed) => Ok(passed.clone()),
            None => bind(protocol, (self.bind, port).into()).await,
        };
        let socket = bound.map_err(|error| format!("{} cannot be published: {error}", told()))?;
        self.lock().insert((protocol, port), Open { app: app.clone(), socket: socket.clone() });
        Ok(socket)
    }

    /// Where they are published.
    pub(crate) fn bind(&self) -> IpAddr {
        self.bind
    }

    /// Whether who connects to this port gets to this app, and to nobody else who listens there.
    pub(crate) fn leads_to(&self, app: &AppName, port: u16) -> bool {
        self.lock().get(&(Protocol::Tcp, port)).is_some_and(|open| open.app == *app)
    }

    /// Closes the ports that nobody wants any more.
    pub(crate) fn keep(&self, wanted: impl Fn(&AppName, Protocol, u16) -> bool) {
        self.lock().retain(|(protocol, port), open| wanted(&open.app, *protocol, *port));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Protocol, u16), Open>> {
        // A map of sockets cannot be left half-changed by a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(socket: &PortSocket) -> io::Result<(Protocol, u16)> {
    Ok(match socket {
        PortSocket::Tcp(listener) => (Protocol::Tcp, listener.local_addr()?.port()),
        PortSocket::Udp(socket) => (Protocol::Udp, socket.local_addr()?.port()),
    })
}

async fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<PortSocket> {
    Ok(match protocol {
        Protocol::Tcp => PortSocket::Tcp(Arc::new(TcpListener::bind(address).await?)),
        Protocol::Udp => PortSocket::Udp(Arc::new(UdpSocket::bind(address).await?)),
    })
}
