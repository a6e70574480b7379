//! A line that loses, doubles, reorders and delays.

use dunlin_core::wire::Topic;
use rumqttc::v5::mqttbytes::v5::Packet;

use crate::{
    mischief::{Delayed, Reordered, doubled, lost, messages},
    scene::{Scene, missing, module, runs},
};

#[tokio::test]
async fn lost_chunks_are_asked_for_again() {
    let mut scene = Scene::new().await;
    let mut count = 0u32;
    scene.proxy.begin(messages("/blob/", move |publish, line| {
        count += 1;
        if !count.is_multiple_of(3) {
            line.down(Packet::Publish(publish));
        }
    }));
    let next = scene.version(2);
    scene.operator.follow(&Topic::Want(next.module.sha256)).await;
    scene.publish(2).await;
    let wanted = scene.operator.wanted(next.module.sha256).await;
    scene.rest().await;
    scene.proxy.end();
    for index in missing(&next, &wanted) {
        scene.operator.chunk(&next, &module(2), index).await;
    }
    scene.until_runs(&next).await;
}

#[tokio::test]
async fn a_lost_plan_changes_nothing_until_it_is_said_again() {
    let mut scene = Scene::new().await;
    scene.proxy.begin(messages("/plan", lost));
    scene.publish(2).await;
    scene.answers().await;
    scene.proxy.end();
    scene.rest().await;
    let next = scene.version(2);
    let plan = scene.plan(2, &next);
    scene.operator.plan(&scene.fleet, &plan).await;
    scene.until_runs(&next).await;
}

#[tokio::test]
async fn doubled_messages_are_nothing_to_refuse() {
    let mut scene = Scene::new().await;
    scene.proxy.begin(messages("", doubled));
    let next = scene.order(2).await;
    let state = scene.operator.state("version 2 runs", |state| runs(state, &next)).await;
    assert_eq!(state.refused, None);
    scene.converges(3).await;
}

#[tokio::test]
async fn reordered_chunks_are_nothing_to_refuse() {
    let mut scene = Scene::new().await;
    scene.proxy.begin(Reordered::new("/blob/"));
    let next = scene.order(2).await;
    let state = scene.operator.state("version 2 runs", |state| runs(state, &next)).await;
    assert_eq!(state.refused, None);
    scene.converges(3).await;
}

#[tokio::test]
async fn a_plan_that_comes_after_its_successor_is_refused() {
    let mut scene = Scene::new().await;
    let mut held = None;
    scene.proxy.begin(messages("/plan", move |publish, line| match held.take() {
        None => held = Some(publish),
        Some(earlier) => {
            line.down(Packet::Publish(publish));
            line.down(Packet::Publish(earlier));
        }
    }));
    scene.publish(2).await;
    let next = scene.order(3).await;
    assert_eq!(scene.operator.refusal().await, "old-plan");
    scene.until_runs(&next).await;
    scene.converges(4).await;
}

#[tokio::test]
async fn what_is_delayed_is_taken_when_it_comes() {
    for word in ["/plan", "/release/", "/blob/"] {
        let mut scene = Scene::new().await;
        scene.proxy.begin(Delayed::new(word));
        let next = scene.publish(2).await;
        scene.answers().await;
        scene.rest().await;
        scene.proxy.end();
        scene.until_runs(&next).await;
    }
}
