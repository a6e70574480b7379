//! What went wrong on this machine: a disk or a network, with the path and the operation.

use std::{
    io,
    path::{Path, PathBuf},
};

use dunlin_core::Refusal;

/// A failure of the machine, nobody's lie and nobody's bug.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operation on a file or folder.
    #[error("cannot {doing} {}: {source}", path.display())]
    Disk {
        /// The operation, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that was given to this device and is not what it should be.
    #[error("{}: {refusal}", path.display())]
    Given {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// Another agent works in the same folder.
    #[error("another agent already uses {}", .0.display())]
    InUse(PathBuf),
}

impl Failure {
    /// For `map_err`: the operation and the path that an I/O error belongs to.
    pub fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { doing, path: path.to_owned(), source }
    }
}
