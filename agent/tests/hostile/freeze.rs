//! A broker that says nothing.

use std::time::{Duration, SystemTime};

use dunlin_core::wire::{Plan, Timestamp};
use rumqttc::v5::mqttbytes::v5::Packet;

use crate::{
    mischief::{Down, lost, messages},
    scene::Scene,
};

#[tokio::test]
async fn a_broker_that_takes_the_connection_and_says_nothing() {
    let mut scene = Scene::new().await;
    let before = scene.proxy.connections();
    scene.proxy.begin(Down(|_, _: &mut _| {}));
    scene.proxy.cut();
    // The next connection, and the one after that was given up.
    scene.proxy.connected(before + 2).await;
    scene.answers().await;
    scene.proxy.end();
    scene.proxy.cut();
    scene.converges(2).await;
}

#[tokio::test]
async fn a_broker_that_does_not_answer_pings() {
    let mut scene = Scene::with_keep_alive(Duration::from_secs(5)).await;
    let before = scene.proxy.connections();
    scene.proxy.begin(Down(|packet, line: &mut crate::proxy::Line| match packet {
        Packet::PingResp(_) => {}
        other => line.down(other),
    }));
    scene.proxy.connected(before + 1).await;
    scene.answers().await;
    scene.converges(2).await;
}

#[tokio::test]
async fn a_plan_that_is_withheld_until_the_last_one_has_gone_stale() {
    let mut scene = Scene::new().await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let short = Plan { not_after: Timestamp(now + 2), ..scene.plan(2, &scene.hello) };
    scene.operator.plan(&scene.fleet, &short).await;
    scene.operator.state("plan 2", |state| state.plan.as_ref().is_some_and(|plan| plan.sequence == 2)).await;
    scene.proxy.begin(messages("/plan", lost));
    scene.publish(3).await;
    // The board says by itself that it hears nothing new, and what runs goes on.
    scene.refuses("plan-expired").await;
    scene.converges(4).await;
}
