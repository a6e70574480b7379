//! A broker in the test's own process: rumqttd on a free port of loopback.

use std::{collections::HashMap, net::SocketAddr, thread, time::Duration};

use dunlin::link::{Broker, Tls};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

use super::free_port;

/// Starts a broker that lives as long as the process; how to reach it.
pub fn start() -> Broker {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 256 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "v5".into(), listen: address, tls: None, next_connection_delay_ms: 1, connections };
    let config = Config {
        router: RouterConfig {
            max_connections: 100,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("v5".into(), server)])),
        ..Config::default()
    };
    thread::spawn(move || rumqttd::Broker::new(config).start().map_err(|error| panic!("the broker: {error}")));
    // The agent comes back by itself until the broker listens, as it does in the field.
    Broker {
        url: format!("mqtt://{address}").parse().unwrap(),
        tls: Tls::default(),
        credentials: None,
        keep_alive: Duration::from_secs(30),
    }
}
