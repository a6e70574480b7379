//! A broker that changes bytes, and puts documents where they do not belong.

use dunlin_core::wire::Topic;
use ed25519_dalek::SigningKey;

use crate::{
    common::{Fleet, release, sign},
    mischief::{changed, flipped, messages, truncated},
    scene::{Scene, digest, module},
};

/// Does this to messages whose topic contains the word, while version 2 is ordered.
async fn refused(word: &'static str, change: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static, code: &str) {
    let mut scene = Scene::new().await;
    scene.proxy.begin(messages(word, changed(change)));
    scene.publish(2).await;
    scene.refuses(code).await;
    scene.converges(3).await;
}

#[tokio::test]
async fn a_truncated_plan() {
    refused("/plan", truncated, "malformed").await;
}

#[tokio::test]
async fn a_truncated_release() {
    refused("/release/", truncated, "malformed").await;
}

#[tokio::test]
async fn a_truncated_chunk() {
    refused("/blob/", truncated, "wrong-chunk").await;
}

#[tokio::test]
async fn a_plan_with_another_bit() {
    refused("/plan", flipped, "bad-signature").await;
}

#[tokio::test]
async fn a_release_with_another_bit() {
    refused("/release/", flipped, "wrong-digest").await;
}

#[tokio::test]
async fn a_release_with_another_signature() {
    let change = |mut payload: Vec<u8>| {
        *payload.last_mut().unwrap() ^= 1;
        payload
    };
    refused("/release/", change, "bad-signature").await;
}

#[tokio::test]
async fn a_chunk_with_another_bit() {
    refused("/blob/", flipped, "wrong-chunk").await;
}

#[tokio::test]
async fn a_chunk_of_another_module() {
    let other = module(1);
    refused("/blob/", move |payload| other[other.len() - payload.len()..].to_vec(), "wrong-chunk").await;
}

#[tokio::test]
async fn a_release_under_the_topic_of_the_plan_and_the_other_way_round() {
    let mut scene = Scene::new().await;
    let release = sign(&scene.hello, &scene.fleet.release_key);
    scene.proxy.begin(messages("/plan", changed(move |_| release.clone())));
    scene.publish(2).await;
    scene.refuses("wrong-kind").await;

    let plan = sign(&scene.plan(1, &scene.hello), &scene.fleet.deploy_key);
    scene.proxy.begin(messages("/release/", changed(move |_| plan.clone())));
    scene.publish(3).await;
    scene.refuses("wrong-kind").await;
    scene.converges(4).await;
}

#[tokio::test]
async fn a_release_of_another_app() {
    let mut scene = Scene::new().await;
    let other = release("other", 2, &module(2), None);
    let other = sign(&other, &scene.fleet.release_key);
    scene.proxy.begin(messages("/release/", changed(move |_| other.clone())));
    scene.publish(2).await;
    scene.refuses("wrong-digest").await;
    scene.converges(3).await;
}

#[tokio::test]
async fn documents_of_another_fleet() {
    let mut scene = Scene::new().await;
    // By the same keys, and by keys of its own.
    let herd = Fleet::new("herd");
    let same = sign(&herd.plan(9, &[&scene.hello]), &herd.deploy_key);
    let stranger = sign(&herd.plan(9, &[&scene.hello]), &SigningKey::from_bytes(&[9; 32]));
    for (plan, code) in [(same, "wrong-fleet"), (stranger, "unsigned")] {
        scene.proxy.begin(messages("/plan", changed(move |_| plan.clone())));
        let plan = scene.plan(1, &scene.hello);
        scene.operator.plan(&scene.fleet, &plan).await;
        scene.refuses(code).await;
    }
    let foreign = sign(&herd.root, &SigningKey::from_bytes(&[9; 32]));
    scene.proxy.begin(messages("/root/2", changed(move |_| foreign.clone())));
    scene.operator.publish(&Topic::Root(2), b"anything".to_vec()).await;
    scene.refuses("unsigned").await;
    scene.operator.publish(&Topic::Root(2), Vec::new()).await;
    scene.converges(2).await;
    // The release that was ordered all the time is the one of this fleet.
    assert_ne!(digest(&scene.hello), digest(&scene.version(2)));
}
