//! Any bytes as an envelope of each kind: no panic, and what is read is what was written.
#![no_main]

use dunlin_core::wire::{Document, Envelope, Kind, Plan, Release, Root};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let kind_of = Envelope::kind_of(data).ok();
    for kind in [Kind::Root, Kind::Release, Kind::Plan] {
        let Ok(envelope) = Envelope::decode(data, kind) else { continue };
        assert_eq!(kind_of, Some(kind));
        assert_eq!(envelope.kind, kind);
        assert_eq!(Envelope::decode(&envelope.encode(), kind), Ok(envelope.clone()));
        match kind {
            Kind::Root => body::<Root>(&envelope),
            Kind::Release => body::<Release>(&envelope),
            Kind::Plan => body::<Plan>(&envelope),
        }
    }
});

fn body<D: Document + PartialEq + std::fmt::Debug>(envelope: &Envelope) {
    if let Ok(document) = envelope.body::<D>() {
        assert_eq!(Envelope::unsigned(&document).body::<D>(), Ok(document));
    }
}
