//! Whether source files changed: their times and lengths, looked at twice a second.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How often to look.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// Folders below a package that are looked into at most: a link back to a parent is not followed,
/// but something may still be mounted there.
const DEPTH_MAX: usize = 32;

/// Some files, each with what tells its versions apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<PathBuf, (SystemTime, u64)>);

impl Files {
    /// These files, those that are there.
    pub(super) fn these(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut files = Self::default();
        paths.into_iter().for_each(|path| files.add(path));
        files
    }

    /// A package's sources: `*.rs` and `*.toml` in it, but not in `target` and hidden folders.
    pub(super) fn sources(dir: &Path) -> Self {
        let mut files = Self::default();
        // A folder that cannot be read cannot be watched; cargo will say what is wrong with it.
        let _ = files.descend(dir, 0);
        files
    }

    fn descend(&mut self, dir: &Path, depth: usize) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let skipped = name == "target" || name.to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() {
                if !skipped && depth < DEPTH_MAX {
                    let _ = self.descend(&path, depth + 1);
                }
            } else if path.extension().is_some_and(|e| e == "rs" || e == "toml") {
                self.add(path);
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf) {
        // One that is not there is a change when it comes.
        if let Ok(metadata) = fs::metadata(&path) {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            self.0.insert(path, (modified, metadata.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_count_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["src/deep", "target/debug", ".git"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for name in ["Cargo.toml", "src/main.rs", "src/deep/a.rs", "target/debug/b.rs", ".git/c.toml", "notes.txt"] {
            fs::write(path(name), "1").unwrap();
        }
        let before = Files::sources(dir.path());
        let expected = ["Cargo.toml", "src/deep/a.rs", "src/main.rs"].map(path);
        assert_eq!(before.0.keys().cloned().collect::<Vec<_>>(), expected);
        fs::write(path("target/debug/b.rs"), "22").unwrap();
        fs::write(path("notes.txt"), "22").unwrap();
        assert_eq!(Files::sources(dir.path()), before);
        fs::write(path("src/deep/a.rs"), "22").unwrap();
        assert_ne!(Files::sources(dir.path()), before);
    }
}
