//! What a deploy would change on which device, and what it would be granted by that.

use std::collections::BTreeMap;

use anyhow::Result;
use dunlin_core::{
    policy, trust,
    wire::{AppName, Asks, DeviceId, Plan, ReleaseRef, Share, Topic},
};
use serde::Serialize;

use super::version;
use crate::{devices::Devices, fleet::Fleet, records::Record, say, session::Session};

/// How many devices a line names.
const NAMED_MAX: usize = 8;

/// What changes on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Change {
    device: DeviceId,
    online: bool,
    /// The release that it was to run, and its version where that is known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Named>,
    to: Named,
    /// In which wave it is told, counted from 1; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<usize>,
    /// What it is granted beyond what it had; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Named {
    version: String,
    release: dunlin_core::wire::Digest,
}

/// What `deploy --dry-run --json` prints.
#[derive(Serialize)]
struct Preview<'a> {
    plan: u64,
    app: &'a AppName,
    version: String,
    changes: Vec<Change>,
}

/// Shows what this plan changes on the devices that are known, in comparison with the one before.
pub(crate) async fn preview(
    fleet: &Fleet,
    session: &mut Session,
    record: &Record,
    devices: &Devices,
    (old, new): (Option<&Plan>, &Plan),
    json: bool,
) -> Result<()> {
    let changes = changes(fleet, session, record, devices, (old, new)).await?;
    if json {
        let (app, version) = (&record.release.app, record.release.version.to_string());
        return say::json(&Preview { plan: new.sequence, app, version, changes });
    }
    for line in lines(&changes) {
        say::result(line)?;
    }
    Ok(())
}

async fn changes(
    fleet: &Fleet,
    session: &mut Session,
    record: &Record,
    devices: &Devices,
    (old, new): (Option<&Plan>, &Plan),
) -> Result<Vec<Change>> {
    let app = &record.release.app;
    let mut granted = BTreeMap::new();
    let mut changes = Vec::new();
    for (device, seen) in &devices.0 {
        let labels = seen.labels();
        let of_app = |plan: &Plan| plan.in_the_end_for(device, &labels).into_iter().find(|a| a.app == *app).cloned();
        // Until it is reached, it goes on with what the old plan has for it now.
        let before = old.and_then(|old| old.for_device(device, &labels).into_iter().find(|a| a.app == *app).cloned());
        let Some(after) = of_app(new).filter(|after| before.as_ref() != Some(after)) else { continue };
        if after.release != record.order() {
            continue;
        }
        let from = before.map(|before| before.release);
        // As there are few releases and many devices, each is looked up once.
        let grants = match granted.get(&from) {
            Some(known) => Option::clone(known),
            None => {
                let more = grants(fleet, session, record, from).await?;
                granted.insert(from, more.clone());
                more
            }
        };
        let named = |order: ReleaseRef| -> Result<Named> {
            Ok(Named { version: version(fleet, app, &order.digest)?, release: order.digest })
        };
        let place = new.assignments.iter().position(|a| *a == after);
        let least = Share::least(device, app, &after.release.digest);
        let wave = place
            .and_then(|place| new.rollout(place))
            .map(|rollout| rollout.waves.iter().position(|wave| least <= *wave).unwrap_or(rollout.waves.len()) + 1);
        changes.push(Change {
            device: device.clone(),
            online: seen.online,
            from: from.map(named).transpose()?,
            to: named(after.release)?,
            wave,
            grants,
        });
    }
    Ok(changes)
}

/// What a device is granted beyond what it has, with the release that it was to run before.
async fn grants(
    fleet: &Fleet,
    session: &mut Session,
    record: &Record,
    from: Option<ReleaseRef>,
) -> Result<Option<String>> {
    let asks = match from {
        Some(order) => asks(fleet, session, &record.release.app, order).await?,
        None => Some(Asks::default()),
    };
    Ok(match asks {
        Some(asks) => policy::widening(Some(&asks), &record.release.asks),
        None => Some("nobody knows what: the release that it has is gone".into()),
    })
}

/// What a release asks for, from this folder or the broker.
async fn asks(fleet: &Fleet, session: &mut Session, app: &AppName, order: ReleaseRef) -> Result<Option<Asks>> {
    if let Some(record) = fleet.records(app)?.into_iter().find(|record| record.order() == order) {
        return Ok(Some(record.release.asks));
    }
    let topic = fleet.topics.format(&Topic::Release(order.digest));
    let bytes = session.fetch(std::slice::from_ref(&topic)).await?.remove(&topic);
    let release = bytes.and_then(|bytes| trust::verify_release(fleet.root(), app, &order, &bytes).ok());
    Ok(release.map(|release| release.asks.clone()))
}

/// Devices to which the same happens share a line.
fn lines(changes: &[Change]) -> Vec<String> {
    let mut groups: BTreeMap<_, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        groups.entry((change.wave, &change.from, &change.to, &change.grants)).or_default().push(change);
    }
    if groups.is_empty() {
        return vec!["  no device that is known would change".into()];
    }
    let mut lines = Vec::new();
    for ((wave, from, to, grants), changes) in groups {
        let wave = wave.map(|wave| format!("wave {wave}: ")).unwrap_or_default();
        let count = changes.len();
        let devices = if count == 1 { "1 device".into() } else { format!("{count} devices") };
        let named: Vec<_> = changes.iter().take(NAMED_MAX).map(|change| change.device.as_str()).collect();
        let more = if count > named.len() { ", …" } else { "" };
        let what = match from {
            None => format!("nothing to {}", to.version),
            Some(from) if from == to => format!("{} with other settings", to.version),
            Some(from) => format!("{} to {}", from.version, to.version),
        };
        let grants = grants.as_ref().map(|more| format!("; is granted {more}")).unwrap_or_default();
        lines.push(format!("  {wave}{devices} from {what} ({}{more}){grants}", named.join(", ")));
    }
    lines
}
