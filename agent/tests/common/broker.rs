//! A broker of the test's own on a free port of loopback: rumqttd in its process, or the program that
//! `DUNLIN_TEST_BROKER` names, as `mosquitto -p {port}`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use dunlin::link::{Broker, Credentials, Tls};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

use super::free_port;

/// Starts a broker that lives as long as the process; how to reach it.
pub fn start() -> Broker {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let program = std::env::var("DUNLIN_TEST_BROKER").ok();
    match &program {
        Some(command) => start_program(&command.replace("{port}", &address.port().to_string())),
        None => start_rumqttd(address),
    }
    // Some brokers want a name even from those whom they do not ask for a password.
    let anybody = || Credentials { user: "anybody".into(), password: "anything".into() };
    // The agent comes back by itself until the broker listens, as it does in the field.
    Broker { credentials: program.map(|_| anybody()), ..at(address.port()) }
}

/// How to reach a broker on this port, whether there is one or not.
pub fn at(port: u16) -> Broker {
    Broker {
        url: format!("mqtt://127.0.0.1:{port}").parse().unwrap(),
        tls: Tls::default(),
        credentials: None,
        keep_alive: Duration::from_secs(30),
    }
}

fn start_program(command: &str) {
    // It ends when its standard input does, which is when this process is gone, however it went.
    let script = format!("{command} & cat; kill $!");
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::mem::forget(shell.spawn().unwrap());
}

fn start_rumqttd(address: SocketAddr) {
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
}
