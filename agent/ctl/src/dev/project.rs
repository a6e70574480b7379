//! What is developed: a cargo package, a folder with `app.toml`, or a module.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use dunlin_core::{
    limits,
    wire::{AppName, Asks, Health, Listen, Protocol, Restart, Start},
};

use super::{build, changes::Files};
use crate::{app::App, cli::DevArgs, files};

/// The port that an app has where nobody says another.
const PORT: u16 = 7878;

/// The file that describes an app.
const APP_FILE: &str = "app.toml";

/// What is developed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Project {
    /// A folder with `Cargo.toml`, and `app.toml` if there is one.
    Cargo(PathBuf),
    /// A folder with `app.toml`, whose module something else builds.
    Described(PathBuf),
    /// A module alone.
    Module(PathBuf),
}

impl Project {
    /// What is at this path.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let full = path.canonicalize().with_context(|| format!("cannot find {shown}"))?;
        if !full.is_dir() {
            return Ok(Self::Module(full));
        }
        if full.join("Cargo.toml").is_file() {
            return Ok(Self::Cargo(full));
        }
        if full.join(APP_FILE).is_file() {
            return Ok(Self::Described(full));
        }
        bail!("{shown} has neither Cargo.toml nor {APP_FILE}: name a cargo package or a .wasm file")
    }

    /// The files that it is made of, as they are now.
    pub(super) fn files(&self) -> Files {
        match self {
            Self::Cargo(dir) => Files::sources(dir),
            Self::Module(module) => Files::these([module.clone()]),
            Self::Described(dir) => {
                let file = dir.join(APP_FILE);
                // While it cannot be read, only it itself can mend that.
                let module = App::load(&file).ok().map(|app| app.module);
                Files::these([file].into_iter().chain(module))
            }
        }
    }

    /// Ready when its files are not any more as they were.
    pub(super) async fn changed_since(&self, before: &Files) {
        loop {
            tokio::time::sleep(super::changes::POLL).await;
            if self.files() != *before {
                return;
            }
        }
    }

    /// The app as it is described, and its module as it is now.
    pub(super) async fn build(&self, args: &DevArgs) -> Result<(App, Vec<u8>)> {
        match self {
            Self::Cargo(dir) => {
                let artifact = build::cargo(dir).await?;
                let file = dir.join(APP_FILE);
                let app = if file.is_file() {
                    App::load(&file)?
                } else {
                    let app = undescribed(&artifact.name, args)?;
                    App { version: artifact.version.unwrap_or_else(|| app.version.clone()), ..app }
                };
                let app = App { module: artifact.module, ..app };
                let wasm = files::read(&app.module)?;
                Ok((app, wasm))
            }
            Self::Described(dir) => {
                let app = App::load(&dir.join(APP_FILE))?;
                let wasm = app.read_module()?;
                Ok((app, wasm))
            }
            Self::Module(module) => {
                let name = module.file_stem().unwrap_or_default().to_string_lossy();
                let app = App { module: module.clone(), ..undescribed(&name, args)? };
                let wasm = files::read(module)?;
                Ok((app, wasm))
            }
        }
    }
}

/// An app that nobody described: it asks for what the command line gives.
fn undescribed(name: &str, args: &DevArgs) -> Result<App> {
    let name: AppName = name.parse().context("name the app in an app.toml")?;
    let listen = |protocol, guest, host| Listen { guest, host: Some(host), protocol, nonblocking: false };
    let mut listeners: Vec<_> = args.publish.iter().map(|p| listen(p.protocol, p.guest, p.host)).collect();
    if listeners.is_empty() {
        listeners.push(listen(Protocol::Tcp, PORT, PORT));
    }
    // Once each: the last value given wins where the deploy says it.
    let env: BTreeMap<_, _> = args.env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    Ok(App {
        name,
        version: "0.0.0".parse()?,
        module: PathBuf::new(),
        instances: None,
        asks: Asks {
            listen: listeners,
            env: env.into_iter().collect(),
            args: Vec::new(),
            free_args: true,
            memory_bytes: 0,
            ..Asks::default()
        },
        health: Health::default(),
        restart: Restart::default(),
        start: Start::default(),
        trial_ms: limits::TRIAL_MS,
        drain_ms: limits::DRAIN_MS,
        urls: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_decides_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let error = Project::open(&path).unwrap_err().to_string();
        assert!(error.contains("neither Cargo.toml nor app.toml"), "{error}");
        std::fs::write(path.join(APP_FILE), "").unwrap();
        assert_eq!(Project::open(&path).unwrap(), Project::Described(path.clone()));
        std::fs::write(path.join("Cargo.toml"), "").unwrap();
        assert_eq!(Project::open(&path).unwrap(), Project::Cargo(path.clone()));
        let module = path.join("a.wasm");
        assert!(Project::open(&module).unwrap_err().to_string().contains("cannot find"));
        std::fs::write(&module, "").unwrap();
        assert_eq!(Project::open(&module).unwrap(), Project::Module(module));
    }
}
