//! Any bytes, and any signed bytes, as a release that a plan orders as it is.
#![no_main]

use std::sync::LazyLock;

use dunlin_core::{
    limits,
    trust::{Verified, may_widen, verify_release},
    wire::{Envelope, Kind, Release, ReleaseRef, Root, release::check_url},
};
use dunlin_fuzz::fleet::{self, RELEASE, Source};
use libfuzzer_sys::fuzz_target;

static ROOT: LazyLock<Verified<Root>> = LazyLock::new(fleet::trusted);

fuzz_target!(|data: &[u8]| {
    let (bytes, source) = fleet::envelope(data, Kind::Release, RELEASE);
    let Ok(envelope) = Envelope::decode(&bytes, Kind::Release) else { return };
    let Ok(claimed) = envelope.body::<Release>() else { return };
    let order = ReleaseRef { digest: envelope.digest(), counter: claimed.counter };
    let Ok(release) = verify_release(&ROOT, &claimed.app, &order, &bytes) else { return };
    assert_eq!(source, Source::Signed, "a forged release");
    assert_eq!(*release, claimed);
    assert!(may_widen(&ROOT, &release), "this root has no grant role");
    // Its chunks are the module, in order and without a gap.
    let module = &release.module;
    assert!(module.bytes <= limits::MODULE_BYTES_MAX);
    let mut end = 0;
    for index in 0..module.count() {
        let (offset, length) = module.range(index).expect("as many as it says");
        assert_eq!(offset, end);
        end = offset + length as u64;
    }
    assert_eq!(end, module.bytes);
    assert_eq!(module.range(module.count()), None);
    assert!(release.urls.iter().all(|url| check_url(url).is_ok()));
});
