//! Frames, one after the other, from a file.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use dunlin_core::{
    Code, Refusal, limits,
    wire::bundle::{Frame, Header, MAGIC},
};

use crate::Failure;

/// A bundle that is being read.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
}

/// Why a bundle could not be read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// It is not what it should be.
    #[error("{}: {refusal}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The disk.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Reader {
    /// Opens a bundle; one that is none, or too large, is refused.
    pub fn open(path: &Path) -> Result<Self, NotRead> {
        let file = File::open(path).map_err(Failure::disk("open", path))?;
        let bytes = file.metadata().map_err(Failure::disk("look at", path))?.len();
        let mut reader = Self { path: path.into(), file: BufReader::new(file) };
        let max = limits::BUNDLE_BYTES_MAX;
        if bytes > max {
            let sentence = format!("a bundle of {bytes} bytes, more than the {max} allowed");
            return Err(reader.refused(Refusal::new(Code::Oversized, sentence)));
        }
        let mut magic = [0; MAGIC.len()];
        reader.fill(&mut magic)?;
        if magic != *MAGIC {
            return Err(reader.refused(Refusal::new(Code::Malformed, "this is not a bundle")));
        }
        Ok(reader)
    }

    /// Whether a file begins as bundles do.
    pub fn is_bundle(path: &Path) -> Result<bool, Failure> {
        let mut begins = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begins));
        read.map_err(Failure::disk("read", path))?;
        Ok(begins == MAGIC)
    }

    /// The next frame; after [`Frame::End`] there is none.
    pub fn next_frame(&mut self) -> Result<Frame, NotRead> {
        let mut header = [0; Header::BYTES];
        self.fill(&mut header)?;
        let header = Header::decode(header).map_err(|refusal| self.refused(refusal))?;
        let mut rest = vec![0; header.length()];
        self.fill(&mut rest)?;
        let frame = header.frame(rest).map_err(|refusal| self.refused(refusal))?;
        if frame == Frame::End && self.file.read(&mut [0]).map_err(Failure::disk("read", &self.path))? > 0 {
            return Err(self.refused(Refusal::new(Code::Malformed, "the bundle goes on after its end")));
        }
        Ok(frame)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), NotRead> {
        self.file.read_exact(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return self.refused(Refusal::new(Code::Malformed, "the bundle is cut short"));
            }
            Failure::disk("read", &self.path)(error).into()
        })
    }

    fn refused(&self, refusal: Refusal) -> NotRead {
        NotRead::Refused { path: self.path.clone(), refusal }
    }
}
