//! `bundle`: the plan and all that it orders, in one file.
//!
//! It is read back as a board without anything would read it, before it gets its name.

use std::{collections::BTreeSet, io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use dunlin::bundle::{Check, Finding, Outcome};
use dunlin_core::{
    trust::{Chain, Verified},
    wire::{
        Digest, Plan,
        bundle::{Frame, MAGIC},
    },
};

use crate::{
    cli::{BundleArgs, Global},
    files,
    fleet::Fleet,
    plans, say,
    stock::Stock,
    time,
};

/// Makes a bundle.
pub(crate) fn run(args: &BundleArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let Some(plan) = plans::local(&fleet)? else { bail!("there is no plan here yet: `dunlinctl deploy` makes one") };
    let releases = chosen(&plan, args)?;
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{}.bundle", fleet.name, plan.sequence)));
    let findings = files::write_checked(
        &path,
        |file| fill(file, &fleet, &plan, &releases),
        |file| {
            let first = fleet.roots.all().first().unwrap_or(fleet.root());
            Ok(Check::new(Chain::new(first.clone()), None, None, time::now()).read(file)?)
        },
    )?;
    for finding in &findings {
        if let Outcome::Refused(refusal) = &finding.outcome {
            say::warning(format_args!("boards would refuse {}: {refusal}", finding.what));
        }
    }
    if args.json {
        return say::json(&findings);
    }
    let what: Vec<_> = findings.iter().map(|finding: &Finding| finding.what.as_str()).collect();
    say::result(format_args!("{}: {}", path.display(), what.join(", ")))?;
    Ok(())
}

/// The releases that the plan orders of these apps, or of all.
fn chosen(plan: &Plan, args: &BundleArgs) -> Result<BTreeSet<Digest>> {
    if let Some(app) = args.apps.iter().find(|app| !plan.assignments.iter().any(|a| a.app == **app)) {
        bail!("plan {} does not have {app}", plan.sequence);
    }
    let ordered = plan.assignments.iter().filter(|a| args.apps.is_empty() || args.apps.contains(&a.app));
    Ok(ordered.map(|a| a.release.digest).collect())
}

fn fill(file: &mut dyn Write, fleet: &Fleet, plan: &Verified<Plan>, releases: &BTreeSet<Digest>) -> Result<()> {
    let stock = Stock::load(fleet)?;
    file.write_all(MAGIC)?;
    for root in fleet.roots.all() {
        file.write_all(&Frame::Root { version: root.version, envelope: root.to_bytes() }.encode())?;
    }
    file.write_all(&Frame::Plan { envelope: plan.to_bytes() }.encode())?;
    let mut modules = BTreeSet::new();
    for digest in releases {
        let missing = || format!("a release that the plan orders was not made here ({})", digest.short());
        let module = stock.module_of(digest).with_context(missing)?;
        let (_, envelope) = stock.read(digest, 0)?;
        file.write_all(&Frame::Release { digest: *digest, envelope }.encode())?;
        if !modules.insert(module) {
            continue;
        }
        let chunks =
            stock.chunks(&module).with_context(|| format!("the module of {} is not here", stock.name(digest)))?;
        for index in 0..chunks {
            let (_, bytes) = stock.read(&module, index)?;
            file.write_all(&Frame::Chunk { module, index, bytes }.encode())?;
        }
    }
    Ok(file.write_all(&Frame::End.encode())?)
}
