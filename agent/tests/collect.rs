//! Old releases and modules leave the disk, and never before what replaces them ran well.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{collections::BTreeSet, fs, path::Path};

use common::{Board, Fleet, Operator, broker, release, sign};
use dunlin_core::wire::{
    Digest, Envelope, Release, Topic,
    state::{AppState, Phase},
};

/// A module that does what this guest does, and is another.
fn variant(guest: &[u8], number: u8) -> Vec<u8> {
    [guest, &[0, 2, 1, number]].concat()
}

/// What is on the disk: releases, and whole modules or parts of them.
fn stored(board: &Path) -> BTreeSet<String> {
    let names = |folder| fs::read_dir(board.join("state").join(folder)).unwrap();
    let names = ["releases", "blobs"].map(names).into_iter().flatten();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn names(releases: &[&Release]) -> BTreeSet<String> {
    let digests = releases.iter().flat_map(|r| [Envelope::unsigned(*r).digest(), r.module.sha256]);
    digests.map(|digest| digest.to_string()).collect()
}

/// Waits until just this is on the disk.
async fn holds(board: &Board, expected: BTreeSet<String>, what: &str) {
    let holds = async {
        while stored(board.path()) != expected {
            tokio::task::yield_now().await;
        }
    };
    let outcome = tokio::time::timeout(common::LIMIT, holds).await;
    outcome.unwrap_or_else(|_| panic!("{what}: {:?}, not {expected:?}", stored(board.path())));
}

fn runs(release: &Release) -> impl Fn(&AppState) -> bool {
    let version = release.version.clone();
    move |app| app.phase == Phase::Running && app.version.as_ref() == Some(&version)
}

#[tokio::test]
async fn old_releases_go_when_two_newer_ones_ran_well() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut board = Board::start(&fleet, &broker);
    let mut all = Vec::new();
    for number in 1..=3 {
        let module = variant(dunlin_guests::HELLO.bytes, number);
        let hello = release("hello", number.into(), &module, None);
        operator.release(&fleet, &hello, &module).await;
        operator.plan(&fleet, &fleet.plan(number.into(), &[&hello])).await;
        board.app("it runs", runs(&hello)).await;
        all.push(hello);
    }
    let [_, second, third] = &all[..] else { panic!("three") };
    holds(&board, names(&[second, third]), "the first goes").await;

    // One that never is well takes nothing away, over a restart too.
    let module = variant(dunlin_guests::TRAP.bytes, 4);
    let trap = release("hello", 4, &module, None);
    operator.release(&fleet, &trap, &module).await;
    operator.plan(&fleet, &fleet.plan(4, &[&trap])).await;
    let reverted = |app: &AppState| app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted);
    board.app("it is reverted", reverted).await;
    assert_eq!(stored(board.path()), names(&[second, third, &trap]));
    let state = board.stop().await;
    let mut board = Board::start_in(state, &fleet, &broker);
    board.app("it stays so", |app| runs(third)(app) && reverted(app)).await;
    assert_eq!(stored(board.path()), names(&[second, third, &trap]));

    // Back to the one before, which needs nothing from anybody; what never ran goes.
    operator.publish(&Topic::Release(Envelope::unsigned(second).digest()), Vec::new()).await;
    operator.plan(&fleet, &fleet.plan(5, &[second])).await;
    board.app("the second runs", runs(second)).await;
    holds(&board, names(&[second, third]), "what never ran well goes").await;

    // The plan has the app no more.
    operator.plan(&fleet, &fleet.plan(6, &[])).await;
    holds(&board, BTreeSet::new(), "nothing is left").await;
}

#[tokio::test]
async fn what_was_fetched_of_a_module_that_nobody_wants_any_more_goes() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let mut operator = Operator::connect(&fleet, &broker).await;
    let hello = release("hello", 1, dunlin_guests::HELLO.bytes, None);
    let (module, length): (Digest, _) = (hello.module.sha256, hello.module.range(0).unwrap().1);
    operator.release_envelope(&fleet, &hello).await;
    operator.follow(&Topic::Want(module)).await;
    operator.publish(&Topic::Blob(module, 0), dunlin_guests::HELLO.bytes[..length].to_vec()).await;
    operator.publish(&Topic::Plan, sign(&fleet.plan(1, &[&hello]), &fleet.deploy_key)).await;
    let board = Board::start(&fleet, &broker);
    operator.wanted(module).await;
    assert!(stored(board.path()).contains(&format!("{module}.part")));
    operator.plan(&fleet, &fleet.plan(2, &[])).await;
    holds(&board, BTreeSet::new(), "nothing is left").await;
}
