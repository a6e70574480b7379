//! Real agents, each on a thread of its own.

use std::{sync::Arc, time::Duration};

use dunlin::{agent, config::Config, link};
use dunlin_core::policy::Policy;

use super::World;

struct Deaf;
impl agent::Watch for Deaf {}

/// A real agent, until it is dropped.
pub struct Board {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Board {
    pub fn start(world: &World, device: &str, site: &str) -> Self {
        let config = Config {
            device: device.parse().unwrap(),
            labels: [("site".parse().unwrap(), site.parse().unwrap())].into(),
            state_dir: world.path(device),
            root: world.fleet("root.dunlin"),
            broker: link::Broker {
                url: format!("mqtt://127.0.0.1:{}", world.port).parse().unwrap(),
                tls: link::Tls::default(),
                credentials: None,
                keep_alive: Duration::from_secs(30),
            },
            prefix: "dunlin/v1".into(),
            policy: Policy { port_min: 1, ..Policy::default() },
            connect: None,
            directories: std::collections::BTreeMap::new(),
            bind: [127, 0, 0, 1].into(),
            home_assistant: None,
            http: link::Tls::default(),
            door: None,
            front: None,
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let stopped = async { _ = stopped.await };
            runtime.block_on(agent::run(config, Arc::new(Deaf), stopped)).unwrap();
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}
