//! The embedded broker: rumqttd on a port of this machine, on threads of its own until the end.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use dunlin_core::limits;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// How long it may take to listen.
const START: Duration = Duration::from_secs(5);

/// How often it is looked at until it does.
const LOOK: Duration = Duration::from_millis(5);

/// Starts it; answers with its port.
pub(super) fn start(port: Option<u16>) -> Result<u16> {
    // rumqttd does not say which port it got, nor that it got none: a free one is looked for first.
    let port = free_port(port).context("the embedded broker cannot listen")?;
    let mut broker = Broker::new(config(address(port)));
    let thread = thread::Builder::new().name("broker".into()).spawn(move || {
        // It does not come back; if it does not begin, nobody can connect, which is seen below.
        let _ = broker.start();
    });
    thread.context("no thread for the embedded broker")?;
    let deadline = Instant::now() + START;
    while TcpStream::connect(address(port)).is_err() {
        ensure!(Instant::now() < deadline, "the embedded broker does not listen on port {port}");
        thread::sleep(LOOK);
    }
    Ok(port)
}

/// A port of this machine that nobody listens on: this one, or any.
pub(super) fn free_port(port: Option<u16>) -> Result<u16> {
    let free = TcpListener::bind(address(port.unwrap_or(0)));
    let free = free.with_context(|| format!("port {} is not free", port.unwrap_or(0)))?;
    Ok(free.local_addr().context("it has no address")?.port())
}

pub(super) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: limits::PACKET_BYTES_MAX as usize,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        // Without it, it drops who publishes where nobody has subscribed.
        dynamic_filters: true,
    };
    let server = ServerSettings { name: "dev".into(), listen, tls: None, next_connection_delay_ms: 1, connections };
    Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            // Each topic has a log of so much: with rumqttd's own settings a chunk's would be 1 GiB.
            max_segment_size: 1024 * 1024,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("1".into(), server)])),
        ..Config::default()
    }
}
