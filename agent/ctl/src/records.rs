//! What this machine has released: each release's envelope, and each module, in the fleet folder.
//!
//! A release is named by app and version for people, by its digest for boards. Its file is written
//! before anything is published: a version that anybody may have seen never gets other content.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, Result, ensure};
use dunlin_core::wire::{AppName, Digest, Envelope, Kind, Release, ReleaseRef, Version};

use crate::{
    files::{self, Audience},
    fleet::Fleet,
};

/// The extension of a release's file.
const EXTENSION: &str = "release";

/// A release that was made here.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// It, signed.
    pub(crate) envelope: Envelope,
    /// What it says.
    pub(crate) release: Release,
}

impl Record {
    /// The name by which plans order it.
    pub(crate) fn order(&self) -> ReleaseRef {
        ReleaseRef { digest: self.envelope.digest(), counter: self.release.counter }
    }
}

impl Fleet {
    /// Where a release is kept.
    pub(crate) fn release_file(&self, app: &AppName, version: &Version) -> PathBuf {
        self.dir.join("releases").join(app.as_str()).join(format!("{version}.{EXTENSION}"))
    }

    /// Where a module is kept.
    pub(crate) fn module_file(&self, sha256: &Digest) -> PathBuf {
        self.dir.join("modules").join(format!("{sha256}.wasm"))
    }

    /// Every app that was released here.
    pub(crate) fn apps(&self) -> Result<Vec<AppName>> {
        let dir = self.dir.join("releases");
        let context = || format!("cannot read {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(context)?,
        };
        let mut apps = Vec::new();
        for entry in entries {
            // What has no app's name was not made by `release`.
            apps.extend(entry.with_context(context)?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        apps.sort();
        Ok(apps)
    }

    /// Every release of an app, oldest first.
    pub(crate) fn records(&self, app: &AppName) -> Result<Vec<Record>> {
        let dir = self.dir.join("releases").join(app.as_str());
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", dir.display()))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
            if path.extension().is_some_and(|e| e == EXTENSION) {
                let record = decode(&files::read(&path)?).with_context(|| path.display().to_string())?;
                ensure!(record.release.app == *app, "{}: a release of {}", path.display(), record.release.app);
                records.push(record);
            }
        }
        records.sort_by_key(|record| record.release.counter);
        Ok(records)
    }

    /// The release of an app with this version.
    pub(crate) fn record(&self, app: &AppName, version: &Version) -> Result<Option<Record>> {
        let path = self.release_file(app, version);
        let bytes = files::read_if_there(&path)?;
        bytes.map(|bytes| decode(&bytes).with_context(|| path.display().to_string())).transpose()
    }

    /// Keeps a release and its module.
    pub(crate) fn keep(&self, record: &Record, wasm: &[u8]) -> Result<()> {
        let module = self.module_file(&record.release.module.sha256);
        if files::read_if_there(&module)?.as_deref() != Some(wasm) {
            files::write(&module, wasm, Audience::All)?;
        }
        self.keep_envelope(record)
    }

    /// Keeps a release whose module is kept already.
    pub(crate) fn keep_envelope(&self, record: &Record) -> Result<()> {
        let release = &record.release;
        files::write(&self.release_file(&release.app, &release.version), &record.envelope.encode(), Audience::All)
    }

    /// The module of a release made here, whole.
    pub(crate) fn module(&self, release: &Release) -> Result<Vec<u8>> {
        let path = self.module_file(&release.module.sha256);
        let bytes = files::read(&path)?;
        let whole = Digest::of(&bytes) == release.module.sha256;
        ensure!(whole, "{} is damaged: it does not hash to its name", path.display());
        Ok(bytes)
    }
}

fn decode(bytes: &[u8]) -> Result<Record> {
    let envelope = Envelope::decode(bytes, Kind::Release)?;
    let release = envelope.body()?;
    Ok(Record { envelope, release })
}
