//! What a board's memory sees of a module that it fetches: the same, whatever the module's length.
//!
//! To compile a module takes memory that depends on it, so a transfer is looked at when its last chunk is
//! all that is missing.

use std::time::Duration;

use dunlin::link::{Event, Link};
use dunlin_core::{
    limits,
    wire::{Bitmap, Digest, Topic, Topics, topic},
};
use tokio::time::timeout;

use crate::{
    broker::Mosquitto,
    site::{Agent, FLEET, LARGER_BY, Site},
};

const SMALL_BYTES: usize = 1024 * 1024;
const LARGE_BYTES: usize = limits::MODULE_BYTES_MAX as usize;
const DIFFERENCE_KIB_MAX: u64 = 1024;

const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn the_peak_of_a_fetch_does_not_depend_on_the_module() {
    let broker = Mosquitto::start_with("persistence false\n");
    let site = Site::new(&broker);
    let peak = |version, device, bytes: usize| {
        let module = site.release_large(version, bytes - LARGER_BY);
        assert_eq!(module.len(), bytes);
        site.ctl(&["deploy", "hello"]);
        peak_kib(&site, device, &Topics::new(topic::PREFIX, &FLEET.parse().unwrap()), Digest::of(&module), bytes)
    };
    let small = peak("1.0.0", "pi-kitchen", SMALL_BYTES);
    let large = peak("2.0.0", "pi-hall", LARGE_BYTES);
    println!("peak of a fetch: {small} KiB for {SMALL_BYTES} bytes, {large} KiB for {LARGE_BYTES}");
    assert!(small.abs_diff(large) <= DIFFERENCE_KIB_MAX, "{small} KiB and {large} KiB");
}

/// The peak of an agent's memory when all but the last chunk of a module is there.
#[tokio::main(flavor = "current_thread")]
async fn peak_kib(site: &Site, device: &str, topics: &Topics, module: Digest, bytes: usize) -> u64 {
    let count = bytes.div_ceil(limits::CHUNK_BYTES as usize) as u32;
    let mut link = Link::new(site.broker(), "who-looks", None);
    let want = topics.format(&Topic::Want(module));
    let last = link.publish(topics.format(&Topic::Blob(module, count - 1)), "", true);
    let ready = async {
        let (mut follows, mut taken) = (false, false);
        while !(follows && taken) {
            match link.next().await {
                Event::Connected(_) => link.subscribe(&want),
                Event::Subscribed { outcome, .. } => follows = outcome.is_ok(),
                Event::Acknowledged(receipt) => taken |= receipt == last,
                Event::Disconnected { .. } | Event::Message { .. } | Event::Undeliverable { .. } => {}
            }
        }
    };
    timeout(LIMIT, ready).await.expect("the last chunk is taken away");
    let mut agent = Agent::start(&site.agent_config(device, "kitchen"));
    let mut only_the_last = Bitmap::new(count);
    only_the_last.set(count - 1);
    let wanted = async {
        loop {
            if let Event::Message { payload, .. } = link.next().await
                && payload == only_the_last.encode()
            {
                return;
            }
        }
    };
    timeout(LIMIT, wanted).await.unwrap_or_else(|_| panic!("it does not want the last chunk\n{}", agent.log()));
    let peak = agent.peak_kib();
    agent.terminate();
    peak
}
