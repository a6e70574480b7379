//! `inspect`: what a file is and says. Of a key file it says the public half alone.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dunlin::bundle::{Check, Finding, Outcome, Reader};
use dunlin_core::{
    trust::{self, Chain},
    wire::{
        Digest, Document, Envelope, Health, Kind, Plan, Probe, PublicKey, Release, ReleaseRef, Role, Rollout, Root,
        Share, Start, Timestamp, bundle::Frame,
    },
};
use serde::Serialize;

use crate::{
    cli::{Global, InspectArgs},
    files,
    fleet::Fleet,
    keys::Key,
    module, say, selector, time,
};

/// What `inspect --json` prints.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "there is one, and then the program ends")]
enum Report {
    Root(Signed<Root>),
    Release(Signed<Release>),
    Plan(Signed<Plan>),
    Bundle(Bundle),
    Module(Module),
    Key { public: PublicKey },
}

#[derive(Serialize)]
struct Signed<D> {
    digest: Digest,
    /// Whose signatures it carries; whether they fit is said by `trusted`.
    signatures: Vec<PublicKey>,
    /// Whether the fleet's root trusts it. Absent: there is no fleet folder to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted: Option<bool>,
    /// Why it is not trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    document: D,
}

#[derive(Serialize)]
struct Bundle {
    /// Whether it was held against the root of a fleet's folder, or against its own first one.
    trusted: bool,
    holds: Vec<Finding>,
}

#[derive(Serialize)]
struct Module {
    sha256: Digest,
    bytes: u64,
    #[serde(flatten)]
    declared: module::Declared,
    /// Whether a board with default limits could run it.
    runs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Shows a file.
pub(crate) fn run(args: &InspectArgs, global: &Global) -> Result<()> {
    let report = match look_at_bundle(&args.file, global)? {
        Some(bundle) => Report::Bundle(bundle),
        None => look(&args.file, &files::read(&args.file)?, global)?,
    };
    if args.json {
        return say::json(&report);
    }
    for line in report.lines() {
        say::result(line)?;
    }
    Ok(())
}

fn look(path: &Path, bytes: &[u8], global: &Global) -> Result<Report> {
    let shown = || path.display().to_string();
    if bytes.starts_with(b"\0asm") {
        return Ok(Report::Module(look_at_module(bytes).with_context(shown)?));
    }
    if Key::is_key_file(bytes) {
        let text = std::str::from_utf8(bytes).with_context(shown)?;
        return Ok(Report::Key { public: Key::parse(text).with_context(shown)?.public() });
    }
    let fleet = fleet(global)?;
    let root = fleet.as_ref().map(|fleet| fleet.root());
    let Ok(kind) = Envelope::kind_of(bytes) else {
        bail!("{} is no envelope, no bundle, no wasm module and no key file", path.display());
    };
    match kind {
        Kind::Root => {
            let outcome = match (trust::first_root(bytes), root) {
                // It fits itself, as any root does that somebody made.
                (Ok(_), None) => None,
                // One of the roots that led to the one in force, or that one.
                (Ok(new), _) if fleet.iter().flat_map(|f| f.roots.all()).any(|r| r.digest() == new.digest()) => {
                    Some(Ok(()))
                }
                (Ok(_), Some(root)) => Some(trust::next_root(root, bytes).map(drop)),
                (Err(refusal), _) => Some(Err(refusal)),
            };
            signed(bytes, outcome).map(Report::Root)
        }
        Kind::Release => {
            let verify = |release: &Release, digest| {
                let order = ReleaseRef { digest, counter: release.counter };
                root.map(|root| trust::verify_release(root, &release.app, &order, bytes).map(drop))
            };
            let parsed: Signed<Release> = signed(bytes, None).with_context(shown)?;
            let outcome = verify(&parsed.document, parsed.digest);
            signed(bytes, outcome).map(Report::Release)
        }
        Kind::Plan => signed(bytes, root.map(|root| trust::stored_plan(root, bytes).map(drop))).map(Report::Plan),
    }
    .with_context(shown)
}

/// Only a fleet that was named must be there.
fn fleet(global: &Global) -> Result<Option<Fleet>> {
    match &global.fleet {
        Some(dir) => Fleet::load(dir).map(Some),
        None => Ok(Fleet::find(None).ok()),
    }
}

/// What a bundle holds, read a piece at a time; nothing if the file is none.
fn look_at_bundle(path: &Path, global: &Global) -> Result<Option<Bundle>> {
    if !Reader::is_bundle(path)? {
        return Ok(None);
    }
    let fleet = fleet(global)?;
    let first = match &fleet {
        Some(fleet) => fleet.roots.all().first().unwrap_or(fleet.root()).clone(),
        None => {
            let Frame::Root { envelope, .. } = Reader::open(path)?.next_frame()? else {
                bail!("{} does not begin with a root", path.display());
            };
            trust::first_root(&envelope).with_context(|| path.display().to_string())?
        }
    };
    let holds = Check::new(Chain::new(first), None, None, time::now()).read(path)?;
    Ok(Some(Bundle { trusted: fleet.is_some(), holds }))
}

fn signed<D: Document>(bytes: &[u8], outcome: Option<Result<(), dunlin_core::Refusal>>) -> Result<Signed<D>> {
    let envelope = Envelope::decode(bytes, D::KIND)?;
    Ok(Signed {
        digest: envelope.digest(),
        signatures: envelope.signatures.iter().map(|signature| signature.key).collect(),
        trusted: outcome.as_ref().map(Result::is_ok),
        why: outcome.and_then(Result::err).map(|refusal| refusal.to_string()),
        document: envelope.body()?,
    })
}

fn look_at_module(wasm: &[u8]) -> Result<Module> {
    let outcome = module::check(wasm, 0, None);
    Ok(Module {
        sha256: Digest::of(wasm),
        bytes: wasm.len() as u64,
        declared: module::declared(wasm)?,
        runs: outcome.is_ok(),
        why: outcome.err().map(|error| format!("{error:#}")),
    })
}

impl Report {
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Root(signed) => signed.lines("root", root_lines),
            Self::Release(signed) => signed.lines("release", release_lines),
            Self::Plan(signed) => signed.lines("plan", plan_lines),
            Self::Bundle(bundle) => bundle.lines(),
            Self::Module(module) => module.lines(),
            Self::Key { public } => vec!["a signing key: keep it secret".into(), format!("public   {public}")],
        }
    }
}

impl<D> Signed<D> {
    fn lines(&self, kind: &str, document: fn(&D) -> Vec<String>) -> Vec<String> {
        let mut lines = vec![format!("a {kind}"), format!("digest   {}", self.digest)];
        lines.extend(self.signatures.iter().map(|key| format!("signed   by {key}")));
        lines.push(match (self.trusted, &self.why) {
            (Some(true), _) => say::styled(say::GOOD, "trusted  yes"),
            (_, Some(why)) => say::styled(say::BAD, format_args!("trusted  no: {why}")),
            (_, None) => "trusted  not asked: no fleet folder here (--fleet DIR)".into(),
        });
        lines.extend(document(&self.document));
        lines
    }
}

fn until(at: Timestamp) -> String {
    let passed = if at < time::now() { ", which has passed" } else { "" };
    format!("{}{passed}", time::show(at))
}

fn root_lines(root: &Root) -> Vec<String> {
    let role = |name: &str, role: &Role| {
        let keys: Vec<_> = role.keys.iter().map(ToString::to_string).collect();
        format!("{name:<8} {} of {}", role.threshold, keys.join(" "))
    };
    let mut lines = vec![
        format!("fleet    {}", root.fleet),
        format!("version  {}", root.version),
        format!("expires  {}", until(root.expires)),
        role("root", &root.root),
        role("deploy", &root.deploy),
    ];
    for release in &root.release {
        let apps: Vec<_> = release.apps.iter().map(ToString::to_string).collect();
        let apps = if apps.is_empty() { String::new() } else { format!(" for {}", apps.join(", ")) };
        lines.push(format!("{}{apps}", role("release", &release.role)));
    }
    lines.extend(root.grant.as_ref().map(|grant| role("grant", grant)));
    lines.extend(root.floors.iter().map(|floor| format!("floor    {} at counter {}", floor.app, floor.counter)));
    lines.extend(root.revoked.iter().map(|digest| format!("revoked  {digest}")));
    lines
}

fn release_lines(release: &Release) -> Vec<String> {
    let module = &release.module;
    let mut lines = vec![
        format!("app      {}", release.app),
        format!("version  {} (counter {})", release.version, release.counter),
        format!("module   {}", module.sha256),
        format!("         {} bytes in {} chunks of {}", module.bytes, module.count(), module.chunk_bytes),
    ];
    let asks = &release.asks;
    for listen in &asks.listen {
        let host = listen.host.map_or_else(|| "not published".into(), |host| format!("published on {host}"));
        let nonblocking = if listen.nonblocking { ", non-blocking" } else { "" };
        lines.push(format!("listens  on {}{}, {host}{nonblocking}", listen.guest, listen.protocol.suffix()));
    }
    lines.extend(asks.connect.iter().map(|reach| format!("connects to {reach}")));
    if asks.resolve {
        lines.push("resolves any name".into());
    }
    if asks.data_bytes > 0 {
        lines.push(format!("data     {}", dunlin::config::units::ByteSize(asks.data_bytes)));
    }
    for mount in &asks.mounts {
        let how = if mount.write { "reads and writes" } else { "reads" };
        lines.push(format!("mounts   {}, {how}", mount.name));
    }
    lines.extend(asks.topics_out.iter().map(|name| format!("says     {name}")));
    lines.extend(asks.topics_in.iter().map(|name| format!("hears    {name}")));
    for (name, value) in &asks.env {
        let value = value.as_ref().map_or_else(|| "must be given".into(), |value| format!("{value:?}"));
        lines.push(format!("env      {name}: {value}"));
    }
    lines.extend(asks.args.iter().map(|arg| format!("arg      {arg:?}")));
    if asks.free_args {
        lines.push("args     a deploy may give others".into());
    }
    if asks.memory_bytes > 0 {
        lines.push(format!("memory   {}", dunlin::config::units::ByteSize(asks.memory_bytes)));
    }
    lines.extend(release.urls.iter().map(|url| format!("url      {url}")));
    lines.push(format!("health   {}", health(&release.health)));
    lines.push(format!("restart  {:?}", release.restart).to_lowercase());
    if let Start::OnDemand { idle_ms } = release.start {
        lines.push(format!("start    on demand; put away after {idle_ms} ms without a connection"));
    }
    lines.push(format!(
        "trial    {} ms; its successor waits {} ms for its connections",
        release.trial_ms, release.drain_ms
    ));
    lines
}

fn health(health: &Health) -> String {
    let what = match &health.probe {
        Probe::Up => return format!("stays up, accepts within {} ms", health.start_ms),
        Probe::Tcp { port } => format!("accepts on {port}"),
        Probe::Http { port, path, status } => format!("GET {path} on {port} answers {status}"),
    };
    let Health { interval_ms, timeout_ms, successes, failures, start_ms, .. } = health;
    let flips = format!("{successes} successes, {failures} failures");
    format!("{what}: each {interval_ms} ms, in {timeout_ms} ms, {flips}, {start_ms} ms to start")
}

fn plan_lines(plan: &Plan) -> Vec<String> {
    let mut lines = vec![
        format!("fleet    {}", plan.fleet),
        format!("sequence {}", plan.sequence),
        format!("issued   {}", time::show(plan.issued)),
        format!("until    {}", until(plan.not_after)),
    ];
    for (place, a) in plan.assignments.iter().enumerate() {
        let paused = if a.paused { ", paused" } else { "" };
        let (release, counter) = (a.release.digest.short(), a.release.counter);
        lines.push(format!("app      {} {release} (counter {counter}) on {}{paused}", a.app, selector::show(&a.to)));
        lines.extend(plan.rollout(place).map(rollout_line));
        lines.extend(a.env.iter().map(|(name, value)| format!("         env {name}={value:?}")));
        lines.extend(a.secrets.iter().map(|(name, sealed)| {
            let devices: Vec<_> = sealed.iter().map(|sealed| sealed.device.as_str()).collect();
            format!("         secret {name} for {}", devices.join(", "))
        }));
        lines.extend(a.args.iter().flatten().map(|arg| format!("         arg {arg:?}")));
        let ports = a.publish.iter().flatten();
        lines.extend(ports.map(|p| format!("         port {} leads to {}{}", p.host, p.guest, p.protocol.suffix())));
    }
    lines
}

fn rollout_line(rollout: &Rollout) -> String {
    let Rollout { waves, wave, soak_seconds, patience_seconds, halt_on, held } = rollout;
    // Of the line on which devices are spread by chance.
    let percent = |share: &Share| format!("{:.2}%", (f64::from(share.0) + 1.0) / 2f64.powi(32) * 100.0);
    let waves: Vec<_> = waves.iter().map(percent).collect();
    let (number, waves, held) = (wave + 1, waves.join(", "), if *held { ", held" } else { "" });
    format!(
        "         rollout wave {number} of {waves}{held}; soak {soak_seconds} s, patience {patience_seconds} s, halts above \
         {}%",
        f64::from(*halt_on) / 100.0
    )
}

impl Bundle {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["a bundle".into()];
        if !self.trusted {
            lines.push("trusted  not asked: no fleet folder here (--fleet DIR)".into());
        }
        lines.extend(self.holds.iter().map(|finding| match &finding.outcome {
            Outcome::Refused(refusal) => say::styled(say::BAD, format_args!("refused  {}: {refusal}", finding.what)),
            Outcome::Accepted | Outcome::Known | Outcome::NotForUs => format!("holds    {}", finding.what),
        }));
        lines
    }
}

impl Module {
    fn lines(&self) -> Vec<String> {
        let kind = if self.declared.component { "a wasm component" } else { "a wasm module" };
        let mut lines =
            vec![kind.into(), format!("sha256   {}", self.sha256), format!("size     {} bytes", self.bytes)];
        for memory in &self.declared.memories {
            let max = memory.max_bytes.map_or_else(|| "no bound".into(), |max| format!("at most {max}"));
            lines.push(format!("memory   {} bytes at the start, {max}", memory.initial_bytes));
        }
        lines.extend(self.declared.imports.iter().map(|import| format!("import   {}", say::clean(import))));
        let exports = &self.declared.exports;
        lines.extend(exports.iter().map(|e| format!("export   {} ({})", say::clean(&e.name), e.kind)));
        lines.push(match &self.why {
            None => say::styled(say::GOOD, "runs     yes"),
            Some(why) => say::styled(say::BAD, format_args!("runs     no: {}", say::clean(why))),
        });
        lines
    }
}
