//! A broker that says far too much, or what no broker may say. The board's memory does not follow it.

use bytes::Bytes;
use dunlin_core::limits;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        ConnAck, ConnectReturnCode, Packet, PubAck, Publish, PublishProperties, SubAck, SubscribeReasonCode, UnsubAck,
        UnsubAckReason,
    },
};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    common::LIMIT,
    memory,
    mischief::{EachSession, Flood},
    proxy::{Line, encode},
    scene::Scene,
};

/// What the agent, the operator and whoever asks hello may hold more than before, in bytes: 26 of the
/// largest packets wait for the driver and in rumqttc, and an outbox full of events for the broker.
const MORE_BYTES_MAX: isize = 2 << 20;

/// Says this so often, as fast as the board reads, and watches what the board holds meanwhile.
async fn flooded(scene: &mut Scene, times: usize, mut say: impl FnMut(usize, &mut Line) + Send + 'static) {
    scene.answers().await;
    let watch = memory::Watch::begin();
    let (over, is_over) = oneshot::channel();
    let mut said = 0;
    let next = move |line: &mut Line| {
        say(said, line);
        said += 1;
        said < times
    };
    scene.proxy.begin(Flood { next, over: Some(over) });
    timeout(LIMIT, is_over).await.expect("the board reads it all").unwrap();
    bounded(scene, &watch).await;
    scene.converges(2).await;
}

/// Says each of these in a session of its own: the board ends it, and comes again.
async fn ends_the_session(frames: Vec<Vec<u8>>) {
    let mut scene = Scene::new().await;
    let connections = scene.proxy.connections() + 1 + frames.len();
    let watch = memory::Watch::begin();
    scene.proxy.begin(EachSession::new(frames));
    scene.proxy.cut();
    scene.proxy.connected(connections).await;
    bounded(&scene, &watch).await;
    scene.converges(2).await;
}

async fn bounded(scene: &Scene, watch: &memory::Watch) {
    scene.answers().await;
    let most = watch.most();
    assert!(most < MORE_BYTES_MAX, "{most} bytes more than before");
}

fn message(topic: impl Into<String>, payload: impl Into<Bytes>) -> Publish {
    Publish::new(topic, QoS::AtLeastOnce, payload, None)
}

fn frame(packet: Packet) -> Vec<u8> {
    encode(&packet).to_vec()
}

/// A packet with this first byte, this length said, and these bytes after it.
fn raw(first: u8, mut length: usize, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    loop {
        let more = length >> 7;
        bytes.push((length & 0x7f) as u8 | if more > 0 { 0x80 } else { 0 });
        length = more;
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

#[tokio::test]
async fn rubbish_on_the_topics_that_matter() {
    let mut scene = Scene::new().await;
    let topics = ["plan", "root/2", "release/0", "blob/0/0"];
    let rubbish: Vec<Bytes> = [0, 1, 3, 60_000, limits::ENVELOPE_BYTES_MAX + 1].map(|len| vec![2; len].into()).into();
    flooded(&mut scene, 10_000, move |i, line| {
        let topic = format!("dunlin/v1/flock/{}", topics[i % topics.len()]);
        line.down(Packet::Publish(message(topic, rubbish[i % rubbish.len()].clone())));
    })
    .await;
}

#[tokio::test]
async fn a_topic_each() {
    let mut scene = Scene::new().await;
    flooded(&mut scene, 200_000, move |i, line| {
        let mut publish = message(format!("dunlin/v1/flock/blob/{i:064x}/{i}"), Bytes::from_static(b"x"));
        publish.qos = QoS::AtMostOnce;
        line.down(Packet::Publish(publish));
    })
    .await;
}

#[tokio::test]
async fn answers_to_what_was_not_asked() {
    let mut scene = Scene::new().await;
    flooded(&mut scene, 200_000, move |i, line| {
        let pkid = i as u16;
        let refused = SubAck { pkid, return_codes: vec![SubscribeReasonCode::NotAuthorized; 100], properties: None };
        let unsub = UnsubAck { pkid, reasons: vec![UnsubAckReason::UnspecifiedError; 100], properties: None };
        line.down(if i % 2 == 0 { Packet::SubAck(refused) } else { Packet::UnsubAck(unsub) });
    })
    .await;
}

#[tokio::test]
async fn a_second_welcome() {
    let welcome = ConnAck { session_present: false, code: ConnectReturnCode::Success, properties: None };
    ends_the_session(vec![frame(Packet::ConnAck(welcome))]).await;
}

#[tokio::test]
async fn acknowledgements_of_nothing() {
    ends_the_session([0, 16, u16::MAX].map(|pkid| frame(Packet::PubAck(PubAck::new(pkid, None)))).into()).await;
}

#[tokio::test]
async fn topic_aliases() {
    let mut aliased = message("dunlin/v1/flock/plan", Bytes::new());
    aliased.pkid = 1;
    aliased.properties = Some(PublishProperties { topic_alias: Some(1), ..PublishProperties::default() });
    ends_the_session(vec![frame(Packet::Publish(aliased))]).await;
}

#[tokio::test]
async fn packets_that_are_too_long() {
    let packet = limits::PACKET_BYTES_MAX as usize;
    ends_the_session(vec![
        raw(0x30, packet + 1, &vec![0; packet]),
        raw(0x30, 268_435_455, &vec![0; packet]),
        // Five bytes of length: MQTT has four at most.
        vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ])
    .await;
}

#[tokio::test]
async fn packets_that_are_none() {
    ends_the_session(vec![
        // A topic that is longer than its packet.
        raw(0x32, 4, &[0xff, 0xff, b'x', b'y']),
        // No such type, no such quality of service, nothing at all in an acknowledgement.
        raw(0x00, 2, &[0, 0]),
        raw(0x36, 7, b"\0\x01xyzab"),
        raw(0x40, 0, &[]),
    ])
    .await;
}

#[tokio::test]
async fn packets_that_only_clients_send() {
    ends_the_session(vec![raw(0xc0, 0, &[]), raw(0x82, 8, b"\0\x01\0\0\x02ab\0"), raw(0x30, 7, b"\0\x02\xff\xfe\0ab")])
        .await;
}
