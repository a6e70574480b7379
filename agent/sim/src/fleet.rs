//! A fleet of this process's own: throwaway keys, and what they sign.

use dunlin_core::wire::{
    Assignment, DeviceId, Digest, Document, Envelope, FleetName, Plan, PublicKey, Release, ReleaseRef, ReleaseRole,
    Role, Root, Selector, Signature, Term, Timestamp, Topics, topic,
};
use ed25519_dalek::{Signer, SigningKey};

/// The label by which plans tell boards apart, and its values are the apps.
pub(crate) const LABEL: &str = "runs";

const FOREVER: Timestamp = Timestamp(u64::MAX);

/// The fleet's keys, and its last plan.
pub(crate) struct Fleet {
    name: FleetName,
    root_key: SigningKey,
    release_key: SigningKey,
    deploy_key: SigningKey,
    last: Option<(u64, Digest)>,
}

impl Fleet {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let [root_key, release_key, deploy_key] = [1, 2, 3].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        Ok(Self { name: "flock".parse()?, root_key, release_key, deploy_key, last: None })
    }

    pub(crate) fn topics(&self) -> Topics {
        Topics::new(topic::PREFIX, &self.name)
    }

    /// The root that boards are given.
    pub(crate) fn root(&self) -> Vec<u8> {
        let root = Root {
            fleet: self.name.clone(),
            version: 1,
            expires: FOREVER,
            root: role(&self.root_key),
            deploy: role(&self.deploy_key),
            release: vec![ReleaseRole { apps: vec![], role: role(&self.release_key) }],
            grant: None,
            revoked: vec![],
            floors: vec![],
        };
        sign(&root, &self.root_key)
    }

    pub(crate) fn release(&self, release: &Release) -> Vec<u8> {
        sign(release, &self.release_key)
    }

    /// The next plan, by which boards run these; its sequence and its bytes.
    pub(crate) fn plan(&mut self, releases: &[&Release]) -> anyhow::Result<(u64, Vec<u8>)> {
        let sequence = self.last.map_or(1, |(sequence, _)| sequence + 1);
        let plan = Plan {
            fleet: self.name.clone(),
            sequence,
            previous: self.last.map(|(_, digest)| digest),
            issued: Timestamp(1),
            not_after: FOREVER,
            assignments: releases.iter().map(|release| assignment(release)).collect::<Result<_, _>>()?,
            rollouts: vec![],
        };
        self.last = Some((sequence, Envelope::unsigned(&plan).digest()));
        Ok((sequence, sign(&plan, &self.deploy_key)))
    }
}

/// The id of a board.
pub(crate) fn device(board: usize) -> anyhow::Result<DeviceId> {
    Ok(format!("board-{board}").parse()?)
}

/// The board with an id.
pub(crate) fn board(device: &DeviceId) -> Option<usize> {
    device.as_str().strip_prefix("board-")?.parse().ok()
}

fn assignment(release: &Release) -> anyhow::Result<Assignment> {
    Ok(Assignment {
        app: release.app.clone(),
        to: Selector(vec![Term::Label(LABEL.parse()?, vec![release.app.as_str().parse()?])]),
        release: ReleaseRef { digest: Envelope::unsigned(release).digest(), counter: release.counter },
        paused: false,
        env: vec![],
        secrets: vec![],
        args: None,
        publish: None,
    })
}

fn sign<D: Document>(document: &D, key: &SigningKey) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(document);
    let signature = key.sign(&envelope.message());
    let key = PublicKey(key.verifying_key().to_bytes());
    envelope.signatures = vec![Signature { key, r: *signature.r_bytes(), s: *signature.s_bytes() }];
    envelope.encode()
}

fn role(key: &SigningKey) -> Role {
    Role { keys: vec![PublicKey(key.verifying_key().to_bytes())], threshold: 1 }
}
