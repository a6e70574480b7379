//! `app.toml`: what an app's author writes, raw and resolved.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use dunlin::config::units::{ByteSize, Span};
use dunlin_core::{
    limits,
    wire::{
        AppName, Asks, EnvName, Health, Instances, Listen, Mount, Probe, Protocol, Reach, Restart, Start, TopicName,
        Version, release::check_url,
    },
};
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::{agent, files, toml_file::Source};

/// An app as its file describes it: a release without its code and its counter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct App {
    /// Its name.
    pub(crate) name: AppName,
    /// Its version.
    pub(crate) version: Version,
    /// Where its module is.
    pub(crate) module: PathBuf,
    /// How it is kept, if it answers requests and says so.
    pub(crate) instances: Option<Instances>,
    /// What it asks of a board.
    pub(crate) asks: Asks,
    /// How to tell that it is well.
    pub(crate) health: Health,
    /// What to do when it ends.
    pub(crate) restart: Restart,
    /// When it is started.
    pub(crate) start: Start,
    /// Milliseconds that it has to be well to be the good one.
    pub(crate) trial_ms: u32,
    /// Milliseconds that its connections may take to end when it is replaced.
    pub(crate) drain_ms: u32,
    /// Where its module can be had by HTTP(S): `{app}`, `{version}` and `{sha256}` stand for its own.
    pub(crate) urls: Vec<String>,
}

/// As much as tells an agent's file from an app's.
#[derive(Deserialize)]
struct RawKind {
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    name: AppName,
    version: Version,
    module: Spanned<PathBuf>,
    #[serde(default)]
    publish: Vec<Spanned<Port>>,
    #[serde(default)]
    nonblocking: bool,
    #[serde(default)]
    connect: Vec<Spanned<String>>,
    #[serde(default)]
    resolve: bool,
    data: Option<Spanned<ByteSize>>,
    #[serde(default)]
    directories: Vec<Spanned<Directory>>,
    #[serde(default)]
    topics_out: Vec<Spanned<TopicName>>,
    #[serde(default)]
    topics_in: Vec<Spanned<TopicName>>,
    #[serde(default)]
    env: BTreeMap<EnvName, Spanned<String>>,
    #[serde(default)]
    required_env: Vec<Spanned<EnvName>>,
    #[serde(default)]
    args: Vec<Spanned<String>>,
    #[serde(default)]
    free_args: bool,
    memory: Option<Spanned<ByteSize>>,
    #[serde(default)]
    restart: RawRestart,
    #[serde(default)]
    start: RawStart,
    idle: Option<Spanned<Span>>,
    trial: Option<Spanned<Span>>,
    drain: Option<Spanned<Span>>,
    #[serde(default)]
    urls: Vec<Spanned<String>>,
    health: Option<Spanned<RawHealth>>,
    http: Option<RawHttp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawHttp {
    instances: Option<Spanned<u16>>,
    #[serde(default)]
    keep_instances: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawRestart {
    #[default]
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawStart {
    #[default]
    AtOnce,
    OnDemand,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHealth {
    http: Option<Spanned<String>>,
    tcp: Option<Spanned<u16>>,
    port: Option<Spanned<u16>>,
    status: Option<Spanned<u16>>,
    interval: Option<Spanned<Span>>,
    timeout: Option<Spanned<Span>>,
    start: Option<Spanned<Span>>,
    successes: Option<Spanned<u16>>,
    failures: Option<Spanned<u16>>,
}

/// `HOST:GUEST`, or `GUEST` alone for a listener that only a deploy publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) host: Option<u16>,
    pub(crate) guest: u16,
    pub(crate) protocol: Protocol,
}

impl std::str::FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| {
            let number = text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
            number.filter(|port| *port != 0).ok_or_else(|| format!("{text:?} is not a port: 1 to 65535"))
        };
        let (text, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("{other:?} is neither tcp nor udp")),
        };
        match text.split_once(':') {
            Some((host, guest)) => Ok(Self { host: Some(port(host)?), guest: port(guest)?, protocol }),
            None => Ok(Self { host: None, guest: port(text)?, protocol }),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"HOST:GUEST\" or \"GUEST\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Port, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// `NAME` of a directory that boards share, or `NAME:rw` to write to it.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Directory(Mount);

impl TryFrom<String> for Directory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, write) = match text.split_once(':') {
            None | Some((_, "ro")) => (text.trim_end_matches(":ro"), false),
            Some((name, "rw")) => (name, true),
            Some(_) => return Err(format!("{text:?} is not NAME, NAME:ro or NAME:rw")),
        };
        Ok(Self(Mount { name: name.parse().map_err(|error| format!("{error}"))?, write }))
    }
}

impl App {
    /// Reads an app's file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        Self::parse(path, &files::read_text(path)?)
    }

    /// Resolves an app's file; its paths are relative to it.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let source = Source { path, text };
        if toml::from_str(text).is_ok_and(|RawKind { kind }| kind.as_deref() == Some("agent")) {
            return agent::parse(&source);
        }
        let raw: Raw = source.parse()?;
        let listen = listeners(&raw, &source)?;
        let health = match &raw.health {
            None => Health::default(),
            Some(health) => health.get_ref().resolve(&listen, &source)?,
        };
        let asks = Asks {
            env: environment(&raw, &source)?,
            args: raw.args.iter().map(|arg| text_of(arg, &source)).collect::<Result<_>>()?,
            free_args: raw.free_args,
            memory_bytes: memory(raw.memory.as_ref(), &source)?,
            connect: connect(&raw.connect, &source)?,
            resolve: raw.resolve,
            data_bytes: raw.data.as_ref().map_or(0, |data| data.get_ref().0),
            mounts: mounts(&raw, &source)?,
            topics_out: topics(&raw.topics_out, limits::LIST_MAX, "topics to publish under", &source)?,
            topics_in: topics(&raw.topics_in, limits::TOPICS_IN_MAX, "topics to hear", &source)?,
            listen,
        };
        let start = start(&raw, &asks.listen, &source)?;
        let module = path.parent().unwrap_or(Path::new("")).join(raw.module.get_ref());
        Ok(Self {
            name: raw.name,
            version: raw.version,
            module,
            instances: raw.http.as_ref().map(|http| instances(http, &source)).transpose()?,
            asks,
            health,
            restart: match raw.restart {
                RawRestart::Always => Restart::Always,
                RawRestart::OnFailure => Restart::OnFailure,
                RawRestart::Never => Restart::Never,
            },
            start,
            trial_ms: milliseconds(raw.trial.as_ref(), limits::TRIAL_MS, &source)?,
            drain_ms: milliseconds(raw.drain.as_ref(), limits::DRAIN_MS, &source)?,
            urls: urls(&raw.urls, &source)?,
        })
    }

    /// The bytes of its module.
    pub(crate) fn read_module(&self) -> Result<Vec<u8>> {
        files::read(&self.module).context("the module that app.toml names")
    }
}

fn instances(http: &RawHttp, source: &Source<'_>) -> Result<Instances> {
    let usual = Instances { keep: http.keep_instances, ..Instances::default() };
    let Some(max) = &http.instances else { return Ok(usual) };
    let allowed = 1..=limits::INSTANCES_MAX;
    match allowed.contains(max.get_ref()) {
        true => Ok(Instances { max: *max.get_ref(), ..usual }),
        false => Err(source.at(max.span(), format_args!("{} instances, not {allowed:?}", max.get_ref()))),
    }
}

pub(crate) fn urls(urls: &[Spanned<String>], source: &Source<'_>) -> Result<Vec<String>> {
    at_most(urls.len(), urls.last().map(Spanned::span), "URLs", source)?;
    let url = |url: &Spanned<String>| match check_url(url.get_ref()) {
        Ok(()) => Ok(url.get_ref().clone()),
        Err(refusal) => Err(source.at(url.span(), refusal.sentence)),
    };
    urls.iter().map(url).collect()
}

fn listeners(raw: &Raw, source: &Source<'_>) -> Result<Vec<Listen>> {
    let mut listen: Vec<Listen> = Vec::new();
    for port in &raw.publish {
        let Port { host, guest, protocol } = *port.get_ref();
        let mut others = listen.iter().filter(|l| l.protocol == protocol);
        if others.clone().any(|l| l.guest == guest) {
            return Err(source.at(port.span(), format_args!("the app listens on {guest} twice")));
        }
        if let Some(host) = host.filter(|_| others.any(|l| l.host == host)) {
            return Err(source.at(port.span(), format_args!("the board's port {host} is given twice")));
        }
        listen.push(Listen { guest, host, protocol, nonblocking: raw.nonblocking });
    }
    at_most(raw.publish.len(), raw.publish.last().map(Spanned::span), "published ports", source)?;
    Ok(listen)
}

/// Understood here as boards will, so that nothing is signed that no board obeys.
fn connect(texts: &[Spanned<String>], source: &Source<'_>) -> Result<Vec<Reach>> {
    at_most(texts.len(), texts.last().map(Spanned::span), "hosts to connect to", source)?;
    let mut connect = Vec::new();
    for text in texts {
        let understood = text.get_ref().parse::<dunlin_host::Reach>();
        let spelled = understood.map_err(|error| source.at(text.span(), error))?.to_string();
        let reach = spelled.parse::<Reach>().map_err(|error| source.at(text.span(), error))?;
        if connect.contains(&reach) {
            return Err(source.at(text.span(), format_args!("{reach} is there twice")));
        }
        connect.push(reach);
    }
    Ok(connect)
}

fn mounts(raw: &Raw, source: &Source<'_>) -> Result<Vec<Mount>> {
    at_most(raw.directories.len(), raw.directories.last().map(Spanned::span), "directories", source)?;
    let mut mounts: Vec<Mount> = Vec::new();
    for directory in &raw.directories {
        let Directory(mount) = directory.get_ref();
        if mounts.iter().any(|known| known.name == mount.name) {
            return Err(source.at(directory.span(), format_args!("{} is there twice", mount.name)));
        }
        if raw.data.is_some() && mount.name.as_str() == "data" {
            return Err(source.at(directory.span(), "data is the app's own directory: call the board's another name"));
        }
        mounts.push(mount.clone());
    }
    Ok(mounts)
}

fn topics(names: &[Spanned<TopicName>], max: usize, what: &str, source: &Source<'_>) -> Result<Vec<TopicName>> {
    let mut topics = Vec::new();
    for name in names {
        if topics.contains(name.get_ref()) {
            return Err(source.at(name.span(), format_args!("{} is there twice", name.get_ref())));
        }
        if topics.len() == max {
            return Err(source.at(name.span(), format_args!("{} {what}: at most {max} can be", names.len())));
        }
        topics.push(name.get_ref().clone());
    }
    Ok(topics)
}

fn environment(raw: &Raw, source: &Source<'_>) -> Result<Vec<(EnvName, Option<String>)>> {
    let mut env: BTreeMap<EnvName, Option<String>> = BTreeMap::new();
    for (name, value) in &raw.env {
        env.insert(name.clone(), Some(text_of(value, source)?));
    }
    for name in &raw.required_env {
        if env.insert(name.get_ref().clone(), None).is_some() {
            let name_text = name.get_ref();
            let what = format_args!("{name_text} is there twice: with a value in env it is not required");
            return Err(source.at(name.span(), what));
        }
    }
    let last = raw.required_env.last().map(Spanned::span).or_else(|| raw.env.values().last().map(Spanned::span));
    at_most(env.len(), last, "environment variables", source)?;
    at_most(raw.args.len(), raw.args.last().map(Spanned::span), "arguments", source)?;
    Ok(env.into_iter().collect())
}

fn at_most(count: usize, at: Option<std::ops::Range<usize>>, what: &str, source: &Source<'_>) -> Result<()> {
    match at {
        Some(at) if count > limits::LIST_MAX => {
            Err(source.at(at, format_args!("{count} {what}: at most {} can be", limits::LIST_MAX)))
        }
        _ => Ok(()),
    }
}

fn text_of(text: &Spanned<String>, source: &Source<'_>) -> Result<String> {
    let value = text.get_ref();
    let max = limits::TEXT_BYTES_MAX;
    if value.len() > max {
        return Err(source.at(text.span(), format_args!("{} bytes of text: at most {max} can be", value.len())));
    }
    if value.contains('\0') {
        return Err(source.at(text.span(), "a text with a NUL in it"));
    }
    Ok(value.clone())
}

/// 0 stands for what guests get that ask for nothing.
fn memory(given: Option<&Spanned<ByteSize>>, source: &Source<'_>) -> Result<u64> {
    let Some(given) = given else { return Ok(0) };
    let (bytes, max) = (given.get_ref().0, limits::GUEST_MEMORY_BYTES_MAX);
    if bytes == 0 || bytes > max {
        let max = ByteSize(max);
        return Err(source.at(given.span(), format_args!("{bytes} bytes of memory: more than none, at most {max}")));
    }
    Ok(bytes)
}

fn start(raw: &Raw, listen: &[Listen], source: &Source<'_>) -> Result<Start> {
    if raw.start == RawStart::AtOnce {
        return match &raw.idle {
            Some(idle) => Err(source.at(idle.span(), "idle goes with start = \"on-demand\" only")),
            None => Ok(Start::AtOnce),
        };
    }
    if !listen.iter().any(|listen| listen.protocol == Protocol::Tcp) {
        bail!("{}: start = \"on-demand\", but publish has no TCP port to connect to", source.path.display());
    }
    Ok(Start::OnDemand { idle_ms: some_milliseconds(raw.idle.as_ref(), limits::IDLE_MS, source)? })
}

pub(crate) fn milliseconds(given: Option<&Spanned<Span>>, default: u32, source: &Source<'_>) -> Result<u32> {
    let Some(span) = given else { return Ok(default) };
    let ms = u32::try_from(span.get_ref().0.as_millis());
    ms.map_err(|_| source.at(span.span(), "a time that is too long here: at most 49d"))
}

fn some_milliseconds(given: Option<&Spanned<Span>>, default: u32, source: &Source<'_>) -> Result<u32> {
    match (given, milliseconds(given, default, source)?) {
        (Some(span), 0) => Err(source.at(span.span(), "a time that is too short here: at least 1ms")),
        (_, ms) => Ok(ms),
    }
}

impl RawHealth {
    fn resolve(&self, listen: &[Listen], source: &Source<'_>) -> Result<Health> {
        let default = Health::default();
        let ms = |given: &Option<Spanned<Span>>, default| some_milliseconds(given.as_ref(), default, source);
        let times = |what: &str, given: &Option<Spanned<u16>>, default| match given {
            None => Ok(default),
            Some(zero) if *zero.get_ref() == 0 => Err(source.at(zero.span(), format_args!("{what} is 1 or more"))),
            Some(times) => Ok(*times.get_ref()),
        };
        Ok(Health {
            probe: self.probe(listen, source)?,
            interval_ms: ms(&self.interval, default.interval_ms)?,
            timeout_ms: ms(&self.timeout, default.timeout_ms)?,
            start_ms: ms(&self.start, default.start_ms)?,
            successes: times("successes", &self.successes, default.successes)?,
            failures: times("failures", &self.failures, default.failures)?,
        })
    }

    fn probe(&self, listen: &[Listen], source: &Source<'_>) -> Result<Probe> {
        let listens = |port: &Spanned<u16>| {
            let there = listen.iter().any(|l| l.guest == *port.get_ref() && l.protocol == Protocol::Tcp);
            let what = || format!("the app does not listen on {}: publish has no such guest port", port.get_ref());
            if there { Ok(*port.get_ref()) } else { Err(source.at(port.span(), what())) }
        };
        let only_http = |what: &str, span| Err(source.at(span, format_args!("{what} goes with http = \"/path\" only")));
        match (&self.http, &self.tcp) {
            (Some(_), Some(tcp)) => Err(source.at(tcp.span(), "http and tcp are two checks: choose one")),
            (Some(http), None) => {
                let path = text_of(http, source)?;
                if !path.starts_with('/') || !path.bytes().all(|c| c.is_ascii_graphic()) {
                    let what = format_args!("{path:?} is not a path: it begins with / and has no space");
                    return Err(source.at(http.span(), what));
                }
                let port = match (&self.port, listen.iter().find(|l| l.protocol == Protocol::Tcp)) {
                    (Some(port), _) => listens(port)?,
                    (None, Some(first)) => first.guest,
                    (None, None) => return Err(source.at(http.span(), "a check over HTTP, but publish is empty")),
                };
                let status = match &self.status {
                    Some(status) if !(100..600).contains(status.get_ref()) => {
                        return Err(source.at(status.span(), "a status is 100 to 599"));
                    }
                    status => status.as_ref().map_or(200, |status| *status.get_ref()),
                };
                Ok(Probe::Http { port, path, status })
            }
            (None, tcp) => match (&self.port, &self.status, tcp) {
                (Some(port), _, _) => only_http("port", port.span()),
                (None, Some(status), _) => only_http("status", status.span()),
                (None, None, Some(port)) => Ok(Probe::Tcp { port: listens(port)? }),
                (None, None, None) => Ok(Probe::Up),
            },
        }
    }
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
