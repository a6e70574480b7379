//! A broker that does less than is asked of it, and says so.

use dunlin_core::{
    limits::TRANSFER_WINDOW,
    wire::{Topic, state::DeviceState},
};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, SubAck,
    SubscribeReasonCode,
};

use crate::{
    mischief::{Down, Mischief},
    proxy::Line,
    scene::{Scene, digest, missing, module, runs},
};

/// A broker without retained messages, as strict as MQTT 5 has it (3.2.2.3.5 and 3.1.2.7).
struct NoRetain;

impl Mischief for NoRetain {
    fn down(&mut self, packet: Packet, line: &mut Line) {
        match packet {
            Packet::ConnAck(welcome) => line.down(Packet::ConnAck(with(welcome, |p| p.retain_available = Some(0)))),
            Packet::Publish(publish) if publish.retain => {}
            other => line.down(other),
        }
    }

    fn up(&mut self, packet: Packet, line: &mut Line) {
        match &packet {
            Packet::Connect(_, Some(will), _) if will.retain => {
                let code = ConnectReturnCode::RetainNotSupported;
                line.down(Packet::ConnAck(ConnAck { session_present: false, code, properties: None }));
            }
            Packet::Publish(publish) if publish.retain => {
                line.down(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::RetainNotSupported)));
            }
            _ => line.up(packet),
        }
    }
}

fn with(mut welcome: ConnAck, change: impl FnOnce(&mut ConnAckProperties)) -> ConnAck {
    change(welcome.properties.as_mut().expect("rumqttd sends properties"));
    welcome
}

fn says(state: &DeviceState, words: &str) -> bool {
    state.broker.iter().any(|broken| broken.contains(words))
}

#[tokio::test]
async fn a_broker_without_retained_messages() {
    let mut scene = Scene::new().await;
    scene.proxy.begin(NoRetain);
    scene.proxy.cut();
    scene.operator.state("it says so", |state| says(state, "keeps no retained messages")).await;
    scene.answers().await;

    // Who is there when something is published hears it; a depot answers what is wanted.
    let next = scene.version(2);
    scene.operator.follow(&Topic::Want(next.module.sha256)).await;
    let plan = scene.plan(2, &next);
    scene.operator.plan(&scene.fleet, &plan).await;
    let ordered = |state: &DeviceState| {
        state.apps.iter().any(|app| app.next.as_ref().is_some_and(|coming| coming.release == digest(&next)))
    };
    scene.operator.state("the release is asked for", ordered).await;
    scene.operator.release_envelope(&scene.fleet, &next).await;
    scene.rest().await;
    let mut more = true;
    while more {
        let missing = missing(&next, &scene.operator.wanted(next.module.sha256).await);
        more = missing.len() > TRANSFER_WINDOW;
        for index in missing.into_iter().take(TRANSFER_WINDOW) {
            scene.operator.chunk(&next, &module(2), index).await;
        }
    }
    scene.until_runs(&next).await;
    scene.proxy.end();
    scene.proxy.cut();
    scene.operator.state("all is well", |state| state.broker.is_empty() && runs(state, &next)).await;
    scene.converges(3).await;
}

#[tokio::test]
async fn a_broker_that_takes_small_packets_only() {
    let mut scene = Scene::new().await;
    scene.proxy.begin(Down(|packet, line: &mut Line| match packet {
        Packet::ConnAck(welcome) => line.down(Packet::ConnAck(with(welcome, |p| p.max_packet_size = Some(400)))),
        other => line.down(other),
    }));
    scene.proxy.cut();
    let state = scene.operator.state("it says so", |state| says(state, "it is cut short")).await;
    assert!(state.apps.is_empty() && state.plan.is_some(), "{state:?}");
    scene.answers().await;
    scene.proxy.end();
    scene.proxy.cut();
    let hello = scene.hello.clone();
    scene.operator.state("the whole state", |state| state.broker.is_empty() && runs(state, &hello)).await;
    scene.converges(2).await;
}

/// Refuses subscriptions whose filter contains this.
struct Refusing(&'static str);

impl Mischief for Refusing {
    fn up(&mut self, packet: Packet, line: &mut Line) {
        match packet {
            Packet::Subscribe(subscribe) if subscribe.filters.iter().any(|filter| filter.path.contains(self.0)) => {
                let return_codes = vec![SubscribeReasonCode::NotAuthorized];
                line.down(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None }));
            }
            other => line.up(other),
        }
    }
}

#[tokio::test]
async fn a_broker_that_refuses_a_subscription_until_its_owner_mends_it() {
    for word in ["/plan", "/release/", "/blob/"] {
        let mut scene = Scene::new().await;
        let next = scene.version(2);
        scene.operator.release(&scene.fleet, &next, &module(2)).await;
        scene.proxy.begin(Refusing(word));
        scene.proxy.again().await;
        let plan = scene.plan(2, &next);
        let says_so = |state: &DeviceState| says(state, word) && says(state, "NotAuthorized");
        if word == "/plan" {
            scene.operator.state("it says so", says_so).await;
            scene.operator.plan(&scene.fleet, &plan).await;
        } else {
            scene.operator.plan(&scene.fleet, &plan).await;
            scene.operator.state("it says so", says_so).await;
        }
        scene.answers().await;
        scene.rest().await;
        // In the same session, without anybody's help.
        let connections = scene.proxy.connections();
        scene.proxy.end();
        scene.operator.state("it is mended", |state| state.broker.is_empty() && runs(state, &next)).await;
        assert_eq!(scene.proxy.connections(), connections);
    }
}

#[tokio::test]
async fn a_broker_that_wants_no_keep_alive_or_a_very_long_one() {
    for seconds in [0, u16::MAX] {
        let mut scene = Scene::new().await;
        scene.proxy.begin(Down(move |packet, line: &mut Line| match packet {
            Packet::ConnAck(welcome) => {
                line.down(Packet::ConnAck(with(welcome, |p| p.server_keep_alive = Some(seconds))));
            }
            other => line.down(other),
        }));
        scene.proxy.again().await;
        let connections = scene.proxy.connections();
        let next = scene.order(2).await;
        scene.until_runs(&next).await;
        assert_eq!(scene.proxy.connections(), connections, "one session is enough");
    }
}
