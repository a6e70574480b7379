//! A broker that shows the board what was true once.

use dunlin_core::wire::{Root, Topic};

use crate::{
    common::{Board, sign},
    mischief::{Replayed, changed, messages},
    scene::{Scene, runs},
};

#[tokio::test]
async fn an_older_whole_is_refused_also_after_a_restart() {
    let mut scene = Scene::new().await;
    let next = scene.order(2).await;
    scene.until_runs(&next).await;
    scene.proxy.begin(Replayed(scene.whole(1)));
    scene.proxy.cut();
    scene.refuses("old-plan").await;

    // A board that lost power remembers how far it was.
    scene.rest().await;
    let state = scene.board.stop().await;
    scene.board = Board::start_in(state, &scene.fleet, &scene.proxy.broker);
    assert_eq!(scene.operator.refusal().await, "old-plan");
    scene.until_runs(&next).await;
    scene.converges(3).await;
}

#[tokio::test]
async fn an_older_release_in_the_place_of_the_ordered_one() {
    let mut scene = Scene::new().await;
    let old = sign(&scene.hello, &scene.fleet.release_key);
    scene.proxy.begin(messages("/release/", changed(move |_| old.clone())));
    scene.publish(2).await;
    scene.refuses("wrong-digest").await;
    scene.converges(3).await;
}

#[tokio::test]
async fn an_older_root_in_the_place_of_the_next() {
    let mut scene = Scene::new().await;
    let second = Root { version: 2, ..scene.fleet.root.clone() };
    let second = sign(&second, &scene.fleet.root_key);
    scene.operator.publish(&Topic::Root(2), second.clone()).await;
    scene.operator.state("root 2 is in force", |state| state.root == 2).await;
    scene.proxy.begin(messages("/root/3", changed(move |_| second.clone())));
    let third = Root { version: 3, ..scene.fleet.root.clone() };
    scene.operator.publish(&Topic::Root(3), sign(&third, &scene.fleet.root_key)).await;
    scene.refuses("root-gap").await;

    scene.proxy.end();
    scene.proxy.cut();
    let hello = scene.hello.clone();
    scene.operator.state("root 3 is in force", |state| state.root == 3 && runs(state, &hello)).await;
    scene.converges(2).await;
}
