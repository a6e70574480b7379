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
    /// What plans order for boards that are not there.
    others: Vec<Assignment>,
    last: Option<(u64, Digest)>,
}

impl Fleet {
    /// A fleet of whose plans so many assignments are for boards that are not there.
    pub(crate) fn new(others: u16) -> anyhow::Result<Self> {
        let [root_key, release_key, deploy_key] = [1, 2, 3].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let others = (0..others).map(other).collect::<anyhow::Result<_>>()?;
        Ok(Self { name: "flock".parse()?, root_key, release_key, deploy_key, others, last: None })
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
        let mine = releases.iter().map(|release| {
            let order = ReleaseRef { digest: Envelope::unsigned(*release).digest(), counter: release.counter };
            assignment(release.app.as_str(), order)
        });
        let plan = Plan {
            fleet: self.name.clone(),
            sequence,
            previous: self.last.map(|(_, digest)| digest),
            issued: Timestamp(1),
            not_after: FOREVER,
            assignments: self.others.iter().cloned().map(Ok).chain(mine).collect::<anyhow::Result<_>>()?,
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

fn assignment(app: &str, release: ReleaseRef) -> anyhow::Result<Assignment> {
    Ok(Assignment {
        app: app.parse()?,
        to: Selector(vec![Term::Label(LABEL.parse()?, vec![app.parse()?])]),
        release,
        paused: false,
        env: vec![],
        secrets: vec![],
        args: None,
        publish: None,
    })
}

fn other(number: u16) -> anyhow::Result<Assignment> {
    assignment(&format!("other-{number}"), ReleaseRef { digest: Digest::of(&number.to_be_bytes()), counter: 1 })
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
