//! Which keys this folder holds of what the root knows: `keys/<role>.key`, and beside it every
//! file whose name begins with the role's (`deploy-anna.key`, `root.key.old-1`).

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use dunlin_core::wire::{AppName, PublicKey, Root};

use crate::{
    fleet::{Fleet, key_file},
    keys::{Key, Role},
    say,
};

impl Fleet {
    /// The keys of a role that are here, whether the root knows them or not.
    pub(crate) fn held(&self, role: Role) -> Result<Vec<Key>> {
        let own = key_file(&self.dir, role);
        let mut keys: Vec<Key> = Vec::new();
        if own.exists() {
            keys.push(Key::load(&own)?);
        }
        for path in others(&own, role)? {
            match Key::load(&path) {
                Ok(key) if keys.iter().any(|held| held.public() == key.public()) => {}
                Ok(key) => keys.push(key),
                Err(error) => say::warning(format_args!("{error:#}")),
            }
        }
        Ok(keys)
    }

    /// The keys that are here and may sign plans.
    pub(crate) fn deploy_keys(&self) -> Result<Vec<Key>> {
        let held = self.held(Role::Deploy)?;
        self.known(held, Role::Deploy, |root, key| root.deploy.keys.contains(key))
    }

    /// The keys that are here and may sign releases of this app; the grant keys among what is
    /// here sign them too.
    pub(crate) fn release_keys(&self, app: &AppName) -> Result<Vec<Key>> {
        let held = self.held(Role::Release)?;
        let may = |root: &Root, key: &_| root.release_roles(app).any(|role| role.keys.contains(key));
        let known = self.known(held, Role::Release, may);
        let mut keys = match app.agent_target() {
            None => known?,
            // *Who may replace an agent is always named.*
            Some(_) => known.with_context(|| {
                format!("nobody here may release {app}: dunlinctl root add-key release KEY --apps {app} names who may")
            })?,
        };
        keys.extend(self.grant_keys()?);
        Ok(keys)
    }

    /// The keys that are here and may grant; none are no error.
    pub(crate) fn grant_keys(&self) -> Result<Vec<Key>> {
        let Some(grant) = &self.root().grant else { return Ok(Vec::new()) };
        Ok(self.held(Role::Grant)?.into_iter().filter(|key| grant.keys.contains(&key.public())).collect())
    }

    fn known(&self, held: Vec<Key>, role: Role, may: impl Fn(&Root, &PublicKey) -> bool) -> Result<Vec<Key>> {
        let path = key_file(&self.dir, role);
        let (path, role, root) = (path.display(), role.as_str(), self.root());
        if held.is_empty() {
            bail!("{path}: there is no {role} key here");
        }
        let keys: Vec<_> = held.into_iter().filter(|key| may(root, &key.public())).collect();
        if keys.is_empty() {
            bail!("{path}: root {} of {} does not know this {role} key", root.version, self.name);
        }
        Ok(keys)
    }
}

/// The files beside a role's own, in the order of their names.
fn others(own: &Path, role: Role) -> Result<Vec<PathBuf>> {
    let dir = own.parent().unwrap_or(Path::new("."));
    let context = || format!("cannot read {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.with_context(context)?;
        let name = entry.file_name();
        let rest = name.as_bytes().strip_prefix(role.as_str().as_bytes());
        if matches!(rest, Some([b'.' | b'-', ..])) && entry.path() != own {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
