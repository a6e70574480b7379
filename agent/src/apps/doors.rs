//! One run's ports: where its connections come from, before it is promoted and afterwards.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use dunlin_core::{policy::Listener, wire::Protocol};
use dunlin_host::{self as host, Gate, Port, PortSocket};
use tokio::net::{TcpListener, TcpStream};

use super::{Ports, Spec};

/// How long to wait where a port could not be had while nobody is served there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ports of one app, open.
pub(super) struct Doors(Vec<Door>);

struct Door {
    listen: Listener,
    /// The agent's own socket.
    owned: PortSocket,
    /// Where the guest's listener leads; a port for datagrams has none.
    gate: Option<Gate>,
    /// Where a look at the guest goes.
    address: Option<SocketAddr>,
}

impl Doors {
    /// Opens the board's ports for an app. Apart, the guest accepts behind sockets of its own, which only
    /// a health check finds, until it is [promoted](Self::promote).
    pub(super) async fn open(ports: &Ports, spec: &Spec, apart: bool) -> Result<Self, String> {
        let mut doors = Vec::new();
        for listen in &spec.setup.listen {
            let owned = ports.listen(&spec.release.app, listen.protocol, listen.host).await?;
            let (gate, address) = match &owned {
                PortSocket::Udp(_) => (None, None),
                PortSocket::Tcp(socket) => {
                    let place = if apart { loopback().await? } else { Arc::clone(socket) };
                    (Some(Gate::from(Arc::clone(&place))), place.local_addr().ok())
                }
            };
            doors.push(Door { listen: listen.clone(), owned, gate, address });
        }
        Ok(Self(doors))
    }

    /// Whether the guest has anything to accept on.
    pub(super) fn accepts(&self) -> bool {
        self.0.iter().any(|door| door.gate.is_some())
    }

    /// What the guest is given: listeners, and ports that it may bind.
    pub(super) fn give(&self) -> (Vec<host::Listener>, Vec<Port>) {
        let (mut listeners, mut ports) = (Vec::new(), Vec::new());
        for Door { listen, owned, gate, .. } in &self.0 {
            let (port, nonblocking) = (listen.guest, listen.nonblocking);
            match gate {
                Some(gate) => listeners.push(host::Listener { socket: gate.clone(), port, nonblocking }),
                None => ports.push(Port { guest: port, socket: owned.clone() }),
            }
        }
        (listeners, ports)
    }

    /// Where its listeners lead, for who accepts in its place.
    #[cfg(feature = "components")]
    pub(super) fn gates(&self) -> Vec<Gate> {
        self.0.iter().filter_map(|door| door.gate.clone()).collect()
    }

    /// Where the guest's TCP port is to be looked at.
    pub(super) fn address(&self, guest: u16) -> Option<SocketAddr> {
        let door = self.0.iter().find(|door| door.listen.guest == guest && door.listen.protocol == Protocol::Tcp);
        door?.address
    }

    /// The guest accepts what comes to the board's ports from now on.
    pub(super) fn promote(&mut self) {
        for door in &mut self.0 {
            if let (Some(gate), PortSocket::Tcp(socket)) = (&door.gate, &door.owned) {
                gate.lead_to(Arc::clone(socket));
                door.address = socket.local_addr().ok();
            }
        }
    }

    /// The guest accepts nothing more.
    pub(super) fn shut(&self) {
        self.0.iter().filter_map(|door| door.gate.as_ref()).for_each(Gate::shut);
    }

    /// Connections that wait for a next request end.
    pub(super) fn last_call(&self) {
        self.0.iter().filter_map(|door| door.gate.as_ref()).for_each(Gate::last_call);
    }

    /// Until somebody connects to one of the board's ports of this app. Nothing is accepted.
    pub(super) async fn wanted(ports: Ports, spec: Arc<Spec>) {
        loop {
            match Self::open(&ports, &spec, false).await {
                Ok(doors) => return doors.knocked().await,
                Err(why) => tracing::error!(app = %spec.release.app, "{why}"),
            }
            tokio::time::sleep(PATIENCE).await;
        }
    }

    async fn knocked(self) {
        let sockets = self.0.iter().filter_map(|door| match &door.owned {
            PortSocket::Tcp(socket) => watch(socket).inspect_err(|error| tracing::error!("a port: {error}")).ok(),
            PortSocket::Udp(_) => None,
        });
        let watched = sockets.collect::<Vec<_>>();
        std::future::poll_fn(|cx| {
            let ready = watched.iter().any(|socket| socket.poll_read_ready(cx).is_ready());
            if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// A descriptor of our own, as a stream, which to tokio's reactor is any TCP socket: its listener cannot
/// be asked whether somebody waits without taking them in.
fn watch(socket: &TcpListener) -> io::Result<TcpStream> {
    TcpStream::from_std(socket.as_fd().try_clone_to_owned()?.into())
}

async fn loopback() -> Result<Arc<TcpListener>, String> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    bound.map(Arc::new).map_err(|error| format!("no listener to try it behind: {error}"))
}
