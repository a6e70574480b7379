//! Where in the state folder what is, and what is there. Who only looks needs no lock.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use dunlin_core::{
    collect::Stored,
    limits,
    trust::{Chain, Verified},
    wire::{AppName, Digest, Root},
};

use super::part::PART;
use crate::Failure;

/// A state folder.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The one that is there, or will be.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// The roots from this one on, as far as they are kept and follow each other.
    pub fn chain(&self, given: Verified<Root>) -> Chain {
        let mut chain = Chain::new(given);
        loop {
            let version = chain.next_version();
            match self.root(version) {
                Ok(Some(bytes)) => match chain.verify_next(&bytes) {
                    Ok(root) => chain.adopt(root),
                    // The broker has it, too.
                    Err(refusal) => {
                        tracing::error!("{}: {refusal}", self.root_path(version).display());
                        return chain;
                    }
                },
                Ok(None) => return chain,
                Err(failure) => {
                    tracing::error!("{failure}");
                    return chain;
                }
            }
        }
    }

    /// The envelope of the plan in force.
    pub fn plan(&self) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.plan_path())
    }

    /// Where the plan is kept.
    pub fn plan_path(&self) -> PathBuf {
        self.dir.join("plan")
    }

    /// The envelope of a root.
    pub fn root(&self, version: u64) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.root_path(version))
    }

    /// Where a root is kept.
    pub fn root_path(&self, version: u64) -> PathBuf {
        self.dir.join("roots").join(version.to_string())
    }

    /// The envelope of a release.
    pub fn release(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.release_path(digest))
    }

    /// Where a release is kept.
    pub fn release_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("releases").join(digest.to_string())
    }

    /// What an app last ran well with.
    pub fn last(&self, app: &AppName) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.last_path(app))
    }

    /// Where that is kept.
    pub fn last_path(&self, app: &AppName) -> PathBuf {
        self.dir.join("last").join(app.as_str())
    }

    /// The last trial of an app that was not passed.
    pub fn trial(&self, app: &AppName) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.trial_path(app))
    }

    /// Where that is kept.
    pub fn trial_path(&self, app: &AppName) -> PathBuf {
        self.dir.join("trials").join(app.as_str())
    }

    /// Which releases of an app ran well.
    pub fn good(&self, app: &AppName) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.good_path(app))
    }

    /// Where that is kept.
    pub fn good_path(&self, app: &AppName) -> PathBuf {
        self.dir.join("good").join(app.as_str())
    }

    /// Which of the agent's programs are there, and which of them is started.
    pub fn programs(&self) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.programs_path())
    }

    /// Where that is kept.
    pub fn programs_path(&self) -> PathBuf {
        self.dir.join("agent").join("programs")
    }

    /// Where one of them is kept. It is hashed again before it is started.
    pub fn program_path(&self, sha256: &Digest) -> PathBuf {
        self.dir.join("agent").join(sha256.to_string())
    }

    /// The programs that are there.
    pub fn stored_programs(&self) -> Result<BTreeSet<Digest>, Failure> {
        names(&self.dir.join("agent"), "")
    }

    /// All that is there of releases and modules.
    pub fn stored(&self) -> Result<Stored, Failure> {
        let mut stored = Stored { releases: names(&self.dir.join("releases"), "")?, ..Stored::default() };
        let blobs = self.dir.join("blobs");
        (stored.modules, stored.parts) = (names(&blobs, "")?, names(&blobs, PART)?);
        Ok(stored)
    }

    /// Whether a module was stored whole. It is hashed again before it is run.
    pub fn has_module(&self, digest: &Digest) -> bool {
        self.module_path(digest).exists()
    }

    /// Where a module is kept.
    pub fn module_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.to_string())
    }

    /// Where a bundle waits for the agent.
    pub fn bundle_path(&self) -> PathBuf {
        self.dir.join("import").join("bundle")
    }
}

/// The digests that name the files with this extension in a folder.
fn names(folder: &Path, extension: &str) -> Result<BTreeSet<Digest>, Failure> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(Failure::disk("list", folder))? {
        let name = PathBuf::from(entry.map_err(Failure::disk("list", folder))?.file_name());
        if name.extension().unwrap_or_default() == extension {
            // What has another name was not put there by us.
            names.extend(name.file_stem().and_then(|stem| stem.to_str()?.parse::<Digest>().ok()));
        }
    }
    Ok(names)
}

/// A document's bytes; a file longer than any document is cut short, and then does not verify.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::disk("open", path)(error)),
    };
    let mut bytes = Vec::new();
    let limit = limits::ENVELOPE_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(Failure::disk("read", path))?;
    Ok(Some(bytes))
}
