//! Any bytes, and any signed bytes, as a first root and as the successor of one.
#![no_main]

use std::sync::LazyLock;

use dunlin_core::{
    trust::{Chain, Verified, first_root},
    wire::{Kind, Root},
};
use dunlin_fuzz::fleet::{self, Source};
use libfuzzer_sys::fuzz_target;

static TRUSTED: LazyLock<Verified<Root>> = LazyLock::new(fleet::trusted);

fuzz_target!(|data: &[u8]| {
    let (bytes, source) = fleet::envelope(data, Kind::Root, fleet::ROOT);
    if let Ok(root) = first_root(&bytes) {
        // Anybody can make a fleet of their own, which is why a first root is given by hand.
        let threshold = usize::from(root.root.threshold);
        assert!(threshold >= 1 && threshold <= root.root.keys.len());
    }
    let mut chain = Chain::new(TRUSTED.clone());
    let Ok(next) = chain.verify_next(&bytes) else { return };
    assert_eq!(source, Source::Signed, "a forged root");
    assert_eq!((next.version, next.fleet.as_str()), (2, "flock"));
    assert_eq!(first_root(&next.to_bytes()), Ok(next.clone()), "its own keys signed it too");
    chain.adopt(next);
    assert_eq!(chain.next_version(), 3);
    assert!(chain.verify_next(&bytes).is_err(), "no root follows itself");
});
