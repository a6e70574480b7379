//! The agent's own program, released like an app: `kind = "agent"` in the file that describes it.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use dunlin::config::units::Span;
use dunlin_core::{
    limits,
    wire::{AppName, Asks, Health, Restart, Selector, Start, Term, Version},
};
use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

use crate::{
    app::{App, milliseconds, urls},
    selector,
    toml_file::Source,
};

/// What a file says that describes an agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "kind")]
    _kind: String,
    version: Version,
    target: Spanned<String>,
    program: PathBuf,
    trial: Option<Spanned<Span>>,
    #[serde(default)]
    urls: Vec<Spanned<String>>,
}

/// The agent that a file describes.
pub(crate) fn parse(source: &Source<'_>) -> Result<App> {
    let raw: Raw = source.parse()?;
    let target = raw.target.get_ref();
    let name = AppName::of_agent(target).map_err(|error| source.at(raw.target.span(), error))?;
    if machine(target).is_none() {
        let what = format_args!("{target:?} is no board's target: aarch64-…, armv7-…, arm-… or x86_64-…");
        return Err(source.at(raw.target.span(), what));
    }
    Ok(App {
        instances: None,
        name,
        version: raw.version,
        module: source.path.parent().unwrap_or(Path::new("")).join(raw.program),
        asks: Asks::default(),
        health: Health::default(),
        restart: Restart::default(),
        start: Start::default(),
        trial_ms: milliseconds(raw.trial.as_ref(), limits::AGENT_TRIAL_MS, source)?,
        drain_ms: limits::DRAIN_MS,
        urls: urls(&raw.urls, source)?,
    })
}

/// Holds if these bytes are a program for boards of this target.
pub(crate) fn check(program: &[u8], target: &str) -> Result<()> {
    let max = limits::MODULE_BYTES_MAX;
    ensure!(program.len() as u64 <= max, "{} bytes, more than the {max} that a program may have", program.len());
    let [0x7f, b'E', b'L', b'F', class, ..] = program else { bail!("it is no program for Linux") };
    // The header's e_machine (elf(5)).
    let of = program.get(18..20).map(|bytes| (*class, u16::from_le_bytes([bytes[0], bytes[1]])));
    ensure!(of == machine(target), "it is a program, but not for {target}");
    Ok(())
}

/// What an ELF header of a target's programs says: the class, 1 for 32 bits and 2 for 64, and the machine.
fn machine(target: &str) -> Option<(u8, u16)> {
    match target.split_once('-')?.0 {
        "aarch64" => Some((2, 183)),
        "x86_64" => Some((2, 62)),
        cpu if cpu.starts_with("arm") || cpu.starts_with("thumb") => Some((1, 40)),
        _ => None,
    }
}

/// Of these devices those that this is for: an agent is for the boards of its target.
pub(crate) fn narrowed(to: Selector, app: &AppName) -> Result<Selector> {
    let Some(target) = app.agent_target() else { return Ok(to) };
    let (key, value) = ("target".parse()?, target.parse()?);
    let mut terms = to.0;
    if !terms.iter().any(|term| matches!(term, Term::Label(named, _) if *named == key)) {
        terms.push(Term::Label(key, vec![value]));
    }
    Ok(selector::normal(&Selector(terms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<App, String> {
        App::parse(Path::new("folder/agent.toml"), text).map_err(|error| format!("{error:#}"))
    }

    const GOOD: &str =
        "kind = \"agent\"\nversion = \"0.2.0\"\ntarget = \"aarch64-unknown-linux-gnu\"\nprogram = \"d\"\n";

    #[test]
    fn its_file_is_short() {
        let app = parsed(GOOD).unwrap();
        assert_eq!((app.name.as_str(), app.version.as_str()), ("dunlin-aarch64-unknown-linux-gnu", "0.2.0"));
        assert_eq!((app.module.to_str(), app.trial_ms), (Some("folder/d"), limits::AGENT_TRIAL_MS));
        for (from, to, why) in [
            ("aarch64-unknown-linux-gnu", "wasm32-wasip1", "agent.toml:3:10: \"wasm32-wasip1\" is no board's target"),
            ("aarch64-unknown-linux-gnu", "a/b", "is not an app's name"),
            ("program", "module", "unknown field `module`"),
            ("\"agent\"", "\"app\"", "unknown field `kind`"),
        ] {
            let error = parsed(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_program_for_another_machine_is_not_released() {
        let this = std::fs::read("/proc/self/exe").unwrap();
        let own = std::env::consts::ARCH;
        assert!(check(&this, &format!("{own}-unknown-linux-gnu")).is_ok());
        let error = check(&this, "armv7-unknown-linux-gnueabihf").unwrap_err().to_string();
        assert_eq!(error, "it is a program, but not for armv7-unknown-linux-gnueabihf");
        assert!(check(b"\0asm", "aarch64-unknown-linux-gnu").is_err());
    }

    #[test]
    fn a_deploy_finds_the_boards_of_its_target() {
        let app = parsed(GOOD).unwrap().name;
        let shown = |texts: &[&str]| selector::show(&narrowed(selector::parse(texts).unwrap(), &app).unwrap());
        assert_eq!(shown(&[]), "target=aarch64-unknown-linux-gnu");
        assert_eq!(shown(&["site=hall"]), "site=hall,target=aarch64-unknown-linux-gnu");
        let hello = "hello".parse().unwrap();
        assert_eq!(narrowed(Selector::default(), &hello).unwrap(), Selector::default());
    }
}
