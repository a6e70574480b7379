//! Somebody with a board's password and certificate.

use std::{fs, time::Duration};

use dunlin::link::{Broker, Credentials, Event, Link, Tls};
use tokio::{runtime::Runtime, time::timeout};

use crate::broker::Mosquitto;

pub(crate) struct Thief {
    runtime: Runtime,
    link: Link,
}

impl Thief {
    pub(crate) fn new(broker: &Mosquitto, device: &str) -> Self {
        let file = |extension| broker.file(device).with_extension(extension);
        let broker = Broker {
            url: format!("mqtts://localhost:{}", broker.port()).parse().unwrap(),
            tls: Tls { ca: Some(broker.file("ca.pem")), client: Some((file("pem"), file("key"))) },
            credentials: Some(Credentials {
                user: device.into(),
                password: fs::read_to_string(file("password")).unwrap(),
            }),
            keep_alive: Duration::from_secs(30),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, link: Link::new(broker, "somebody", None) }
    }

    /// Publishes on a topic of the fleet; what the broker says if it refuses.
    pub(crate) fn publish(&mut self, topic: &str) -> Result<(), String> {
        let receipt = self.link.publish(format!("dunlin/v1/flock/{topic}"), "anything", true);
        let answer = async {
            loop {
                match self.link.next().await {
                    Event::Acknowledged(ours) if ours == receipt => return Ok(()),
                    Event::Undeliverable { receipt: ours, why, .. } if ours == receipt => return Err(why),
                    Event::Connected(_)
                    | Event::Disconnected { .. }
                    | Event::Subscribed { .. }
                    | Event::Message { .. }
                    | Event::Acknowledged(_)
                    | Event::Undeliverable { .. } => {}
                }
            }
        };
        self.runtime.block_on(async { timeout(Duration::from_secs(20), answer).await }).expect("an answer")
    }
}
