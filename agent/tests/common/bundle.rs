//! Bundles, as the operator's tool makes them.

use dunlin_core::wire::{
    Envelope, Release, Root,
    bundle::{Frame, MAGIC},
};

/// A bundle of these envelopes and modules.
pub fn bundle(roots: &[(&Root, Vec<u8>)], plan: Vec<u8>, releases: &[(&Release, Vec<u8>, &[u8])]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let mut push = |frame: Frame| bytes.extend(frame.encode());
    for (root, envelope) in roots {
        push(Frame::Root { version: root.version, envelope: envelope.clone() });
    }
    push(Frame::Plan { envelope: plan });
    for (release, envelope, module) in releases {
        push(Frame::Release { digest: Envelope::unsigned(*release).digest(), envelope: envelope.clone() });
        let chunks = module.chunks(release.module.chunk_bytes as usize);
        for (index, bytes) in (0..).zip(chunks) {
            push(Frame::Chunk { module: release.module.sha256, index, bytes: bytes.to_vec() });
        }
    }
    push(Frame::End);
    bytes
}
