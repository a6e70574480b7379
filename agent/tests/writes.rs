//! What a deploy writes is counted: SD cards wear out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use common::{Board, Fleet, Operator, broker, release};
use dunlin::store::{Change, Disk};
use dunlin_core::wire::state::Phase;

const MODULE_BYTES: usize = 1024 * 1024;

/// The guest with a custom section that makes it this long.
fn large() -> Vec<u8> {
    let rest = MODULE_BYTES - dunlin_guests::HELLO.bytes.len() - 6;
    let length = (0..5).map(|byte| (rest >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 });
    let body = [1, b'x'].into_iter().chain((2..rest).map(|at| (at / 251) as u8));
    dunlin_guests::HELLO.bytes.iter().copied().chain([0]).chain(length).chain(body).collect()
}

#[tokio::test]
async fn a_deploy_writes_little_more_than_the_module() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let module = large();
    assert_eq!(module.len(), MODULE_BYTES);
    let hello = release("hello", 1, &module, None);
    let mut operator = Operator::connect(&fleet, &broker).await;
    operator.release(&fleet, &hello, &module).await;
    operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;

    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let disk = Disk::watched(move |change| {
        if let Change::Write(_, bytes) = change {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    });
    let mut board = Board::start_on(disk, tempfile::tempdir().unwrap(), &fleet, &broker);
    board.app("it runs", |app| app.phase == Phase::Running).await;
    board.stop().await;
    let written = written.load(Ordering::Relaxed);
    let most = 3 * MODULE_BYTES as u64;
    assert!((MODULE_BYTES as u64..=most).contains(&written), "{written} bytes for a module of {MODULE_BYTES}");
}
