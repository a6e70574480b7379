//! A module's way to the board, over a broker that does not have all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Board, Fleet, Operator, broker, release};
use dunlin_core::wire::{Release, Topic, state::Phase};

/// Chunks of the module that the broker has at first.
const FIRST: [u32; 2] = [0, 2];

fn chunk(release: &Release, module: &[u8], index: u32) -> (Topic, Vec<u8>) {
    let (offset, length) = release.module.range(index).unwrap();
    let bytes = &module[offset as usize..][..length];
    (Topic::Blob(release.module.sha256, index), bytes.to_vec())
}

/// The bitmap of these chunks.
fn bitmap(chunks: impl Iterator<Item = u32>, count: u32) -> Vec<u8> {
    let mut bytes = vec![0; count.div_ceil(8) as usize];
    chunks.for_each(|index| bytes[index as usize / 8] |= 1 << (index % 8));
    bytes
}

#[tokio::test]
async fn a_fetch_goes_on_after_a_restart_and_asks_for_nothing_twice() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let module = dunlin_guests::HELLO.bytes;
    let hello = release("hello", 1, module, None);
    let count = hello.module.count();
    assert!(count > 4, "more than a window of chunks: {count}");
    let mut operator = Operator::connect(&fleet, &broker).await;
    operator.follow(&Topic::Want(hello.module.sha256)).await;
    operator.release_envelope(&fleet, &hello).await;
    for index in FIRST {
        let (topic, bytes) = chunk(&hello, module, index);
        operator.publish(&topic, bytes).await;
    }
    operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;

    // It takes what there is, and says what is missing.
    let board = Board::start(&fleet, &broker);
    let missing = bitmap((0..count).filter(|index| !FIRST.contains(index)), count);
    assert_eq!(operator.wanted(hello.module.sha256).await, missing);

    // Away with what it has: were it asked for again, it would never come.
    let state = board.stop().await;
    for index in FIRST {
        operator.publish(&chunk(&hello, module, index).0, Vec::new()).await;
    }
    let board = Board::start_in(state, &fleet, &broker);
    assert_eq!(operator.wanted(hello.module.sha256).await, missing, "it remembers");
    for index in (0..count).filter(|index| !FIRST.contains(index)) {
        let (topic, bytes) = chunk(&hello, module, index);
        operator.publish(&topic, bytes).await;
    }
    operator.state("hello runs", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;
    let blobs = board.path().join("state/blobs");
    let names: Vec<_> =
        std::fs::read_dir(blobs).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, [hello.module.sha256.to_string()], "the whole, and no part");
}

#[tokio::test]
async fn a_module_that_was_damaged_on_the_disk_is_fetched_again() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let module = dunlin_guests::HELLO.bytes;
    let hello = release("hello", 1, module, None);
    let mut operator = Operator::connect(&fleet, &broker).await;
    operator.release(&fleet, &hello, module).await;
    operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
    let board = Board::start(&fleet, &broker);
    operator.state("hello runs", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;

    let state = board.stop().await;
    let blob = state.path().join("state/blobs").join(hello.module.sha256.to_string());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&blob, &bytes).unwrap();
    let _board = Board::start_in(state, &fleet, &broker);
    operator.state("it is fetched", |s| s.apps.iter().any(|a| a.phase == Phase::Fetching)).await;
    operator.state("hello runs again", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;
    assert_eq!(std::fs::read(&blob).unwrap(), module);
}
