//! Signing keys: files that only their owner reads. A secret is never shown, logged or sent.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use dunlin_core::wire::{Digest, PublicKey, Signature};
use ed25519_dalek::{Signer, SigningKey};

use crate::{
    files::{self, Audience},
    say,
};

/// The first line of a key file.
const HEADER: &str = "dunlin signing key 1";

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Roots: which keys count at all.
    Root,
    /// Releases: which code there is.
    Release,
    /// Plans: which release runs where.
    Deploy,
    /// Releases that ask for more than the one before.
    Grant,
}

impl Role {
    /// Every role.
    pub(crate) const ALL: [Self; 4] = [Self::Root, Self::Release, Self::Deploy, Self::Grant];

    /// Its name, which is its file's too.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Deploy => "deploy",
            Self::Grant => "grant",
        }
    }
}

/// An ed25519 key that can sign.
pub(crate) struct Key(SigningKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl Key {
    /// A new key, from the system's randomness.
    pub(crate) fn generate() -> Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// Its public half, which is its name.
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Its signature of a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let signature = self.0.sign(message);
        Signature { key: self.public(), r: *signature.r_bytes(), s: *signature.s_bytes() }
    }

    /// Writes it to a file that must not be there yet, for its owner alone.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        files::write_new(path, self.text().as_bytes(), Audience::Owner)
    }

    /// Puts it in the place of the key in a file, which is kept beside it; says where.
    pub(crate) fn replace(&self, path: &Path, old: &Self) -> Result<PathBuf> {
        let beside = |n: u32| PathBuf::from(format!("{}.old-{n}", path.display()));
        let kept = (1..).map(beside).find(|path| !path.exists()).unwrap_or_else(|| beside(0));
        old.save(&kept)?;
        files::write(path, self.text().as_bytes(), Audience::Owner)?;
        Ok(kept)
    }

    fn text(&self) -> String {
        let secret = Digest(self.0.to_bytes());
        format!("{HEADER}\npublic {}\nsecret {secret}\n", self.public())
    }

    /// Reads it from a file. If others can read that too, a warning says so.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mode = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            say::warning(format_args!("{path} can be read by others (mode {mode:04o}): chmod 600 {path}"));
        }
        Self::parse(&files::read_text(path)?).with_context(|| format!("{} is no signing key", path.display()))
    }

    /// Takes a key file's text apart. Errors say what is wrong, never what stands there.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        ensure!(lines.next() == Some(HEADER), "it does not begin with {HEADER:?}");
        let mut field = |name: &str| -> Result<[u8; 32]> {
            let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = value.with_context(|| format!("its {name} half is missing"))?;
            let digest: Digest = value.parse().map_err(|_| anyhow!("its {name} half is damaged"))?;
            Ok(digest.0)
        };
        let public = PublicKey(field("public")?);
        let key = Self(SigningKey::from_bytes(&field("secret")?));
        ensure!(key.public() == public, "its halves do not belong together");
        Ok(key)
    }

    /// Whether this looks like a key file, whole or damaged.
    pub(crate) fn is_key_file(bytes: &[u8]) -> bool {
        bytes.starts_with(HEADER.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_debug_hides_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.key");
        let key = Key::generate().unwrap();
        key.save(&path).unwrap();
        let read = Key::load(&path).unwrap();
        assert_eq!(read.0.to_bytes(), key.0.to_bytes());
        assert!(key.save(&path).is_err(), "a key is never overwritten");
        let secret = Digest(key.0.to_bytes()).to_string();
        assert!(!format!("{key:?}{key:#?}").contains(&secret));
    }

    #[test]
    fn a_damaged_key_file_says_what_is_wrong_and_not_what_stands_there() {
        let other = Key::generate().unwrap().public();
        let secret = "ab".repeat(32);
        for (text, why) in [
            (String::new(), "does not begin with"),
            (format!("{HEADER}\n"), "public half is missing"),
            (format!("{HEADER}\npublic {other}\nsecret {}\n", &secret[1..]), "secret half is damaged"),
            (format!("{HEADER}\npublic {other}\nsecret {secret}\n"), "do not belong together"),
        ] {
            let error = format!("{:#}", Key::parse(&text).unwrap_err());
            assert!(error.contains(why) && !error.contains("abab"), "{error}");
        }
    }
}
