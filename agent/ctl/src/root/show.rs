//! `root show`: who may say what in the fleet, and what of that this folder can.

use std::collections::BTreeSet;

use anyhow::Result;
use dunlin_core::wire::{AppName, Digest, Floor, PublicKey, Role as Keys, Root, Timestamp};
use serde::Serialize;

use crate::{
    cli::{Global, RootShowArgs},
    fleet::Fleet,
    keys::Role,
    say, time,
};

/// What `root show --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    fleet: &'a str,
    version: u64,
    expires: Timestamp,
    roles: Vec<RoleReport<'a>>,
    floors: &'a [Floor],
    revoked: &'a [Digest],
}

#[derive(Serialize)]
struct RoleReport<'a> {
    role: &'static str,
    /// The apps that a release role is limited to; not there, if to none.
    #[serde(skip_serializing_if = "<[AppName]>::is_empty")]
    apps: &'a [AppName],
    threshold: u8,
    keys: Vec<KeyReport>,
}

#[derive(Serialize)]
struct KeyReport {
    public: PublicKey,
    /// Whether this folder can sign with it.
    held: bool,
}

/// Shows the root in force.
pub(super) fn run(args: &RootShowArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut held = BTreeSet::new();
    for role in Role::ALL {
        held.extend(fleet.held(role)?.iter().map(|key| (role.as_str(), key.public())));
    }
    let report = report(fleet.root(), &held);
    if args.json {
        return say::json(&report);
    }
    for line in report.lines() {
        say::result(line)?;
    }
    Ok(())
}

/// What a root says, for who is to sign it.
pub(super) fn lines(root: &Root) -> Vec<String> {
    report(root, &BTreeSet::new()).lines()
}

fn report<'a>(root: &'a Root, held: &BTreeSet<(&str, PublicKey)>) -> Report<'a> {
    let role = |role: Role, apps: &'a [AppName], keys: &Keys| {
        let role = role.as_str();
        let key = |public: &PublicKey| KeyReport { public: *public, held: held.contains(&(role, *public)) };
        RoleReport { role, apps, threshold: keys.threshold, keys: keys.keys.iter().map(key).collect() }
    };
    let mut roles = vec![role(Role::Root, &[], &root.root)];
    roles.extend(root.release.iter().map(|release| role(Role::Release, &release.apps, &release.role)));
    roles.push(role(Role::Deploy, &[], &root.deploy));
    roles.extend(root.grant.iter().map(|grant| role(Role::Grant, &[], grant)));
    Report {
        fleet: root.fleet.as_str(),
        version: root.version,
        expires: root.expires,
        roles,
        floors: &root.floors,
        revoked: &root.revoked,
    }
}

impl Report<'_> {
    fn lines(&self) -> Vec<String> {
        let passed = if self.expires < time::now() { ", which has passed: no new plan is taken" } else { "" };
        let mut lines = vec![
            format!("fleet    {}", self.fleet),
            format!("version  {}", self.version),
            format!("expires  {}{passed}", time::show(self.expires)),
        ];
        for role in &self.roles {
            let apps: Vec<_> = role.apps.iter().map(ToString::to_string).collect();
            let of = if apps.is_empty() { String::new() } else { format!(" of {}", apps.join(", ")) };
            let must = if role.keys.len() == 1 { String::new() } else { format!("{} must sign", role.threshold) };
            lines.push(format!("{:<8} {}{of}", role.role, must).trim_end().to_owned());
            for key in &role.keys {
                let held = if key.held { say::styled(say::GOOD, "  held here") } else { String::new() };
                lines.push(format!("  {}{held}", key.public));
            }
        }
        lines.extend(self.floors.iter().map(|floor| format!("floor    {} at counter {}", floor.app, floor.counter)));
        lines.extend(self.revoked.iter().map(|digest| format!("revoked  {digest}")));
        lines
    }
}
