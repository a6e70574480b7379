//! A bundle: what boards need for a plan in one file, for where there is no network.
//!
//! ```text
//! "dunlin bundle 1\n"
//! frames:  kind (1 byte) · length of the rest (u32, little endian) · the rest
//!          1 root       version (u64, little endian) · envelope
//!          2 plan       envelope
//!          3 release    digest (32 bytes) · envelope
//!          4 chunk      its module's digest (32 bytes) · index (u32, little endian) · bytes
//!          0 end        nothing; nothing follows
//! ```
//!
//! A frame is a message as a broker would bring it: what its topic says, and its payload. It is
//! trusted as little, and read one at a time: roots in their order, the plan, and each release with
//! its chunks after it.

use alloc::{format, vec::Vec};

use super::Digest;
use crate::{Code, Refusal, limits, refusal::ensure};

/// What a bundle begins with.
pub const MAGIC: &[u8; 16] = b"dunlin bundle 1\n";

/// One message of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A root's envelope.
    Root {
        /// Its version.
        version: u64,
        /// The envelope.
        envelope: Vec<u8>,
    },
    /// The plan's envelope.
    Plan {
        /// The envelope.
        envelope: Vec<u8>,
    },
    /// A release's envelope.
    Release {
        /// The release's digest.
        digest: Digest,
        /// The envelope.
        envelope: Vec<u8>,
    },
    /// A chunk of a module.
    Chunk {
        /// The module's digest.
        module: Digest,
        /// Which chunk.
        index: u32,
        /// The chunk.
        bytes: Vec<u8>,
    },
    /// The bundle is whole.
    End,
}

/// What a frame begins with: enough to know how much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: Kind,
    length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    End,
    Root,
    Plan,
    Release,
    Chunk,
}

impl Kind {
    const ALL: [Self; 5] = [Self::End, Self::Root, Self::Plan, Self::Release, Self::Chunk];

    /// Bytes of what stands for the topic, and bytes of the payload at most.
    const fn bytes(self) -> (usize, usize) {
        match self {
            Self::End => (0, 0),
            Self::Root => (8, limits::ENVELOPE_BYTES_MAX),
            Self::Plan => (0, limits::ENVELOPE_BYTES_MAX),
            Self::Release => (32, limits::ENVELOPE_BYTES_MAX),
            Self::Chunk => (36, limits::CHUNK_BYTES as usize),
        }
    }
}

impl Header {
    /// Bytes of a header.
    pub const BYTES: usize = 5;

    /// Takes a header apart. Its length is within the limit of its kind.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Result<Self, Refusal> {
        let [kind, length @ ..] = bytes;
        let unknown = || Refusal::new(Code::Malformed, format!("a bundle with a frame of the unknown kind {kind}"));
        let kind = *Kind::ALL.get(usize::from(kind)).ok_or_else(unknown)?;
        let length = u32::from_le_bytes(length);
        let (topic, payload) = kind.bytes();
        let max = topic + payload;
        ensure!(length as usize <= max, Oversized, "a frame of {length} bytes, more than the {max} allowed");
        ensure!(length as usize >= topic, Malformed, "a frame of {length} bytes, less than the {topic} of its head");
        Ok(Self { kind, length })
    }

    /// Bytes that follow.
    pub const fn length(&self) -> usize {
        self.length as usize
    }

    /// The frame, of exactly the bytes that follow.
    pub fn frame(&self, mut rest: Vec<u8>) -> Result<Frame, Refusal> {
        let whole = rest.len() == self.length();
        ensure!(whole, Malformed, "a frame of {} bytes that says it has {}", rest.len(), self.length);
        let payload = rest.split_off(self.kind.bytes().0);
        let cut = || Refusal::new(Code::Malformed, "a frame without its head");
        let digest = || rest.first_chunk::<32>().map(|digest| Digest(*digest)).ok_or_else(cut);
        Ok(match self.kind {
            Kind::End => Frame::End,
            Kind::Root => {
                let version = u64::from_le_bytes(*rest.first_chunk().ok_or_else(cut)?);
                Frame::Root { version, envelope: payload }
            }
            Kind::Plan => Frame::Plan { envelope: payload },
            Kind::Release => Frame::Release { digest: digest()?, envelope: payload },
            Kind::Chunk => {
                let index = u32::from_le_bytes(*rest.last_chunk().ok_or_else(cut)?);
                Frame::Chunk { module: digest()?, index, bytes: payload }
            }
        })
    }
}

impl Frame {
    /// The frame's bytes, header and all.
    pub fn encode(&self) -> Vec<u8> {
        let number = |kind: Kind| Kind::ALL.iter().position(|k| *k == kind).unwrap_or_default() as u8;
        let with = |kind, parts: &[&[u8]]| {
            let rest = parts.concat();
            [&[number(kind)][..], &(rest.len() as u32).to_le_bytes(), &rest].concat()
        };
        match self {
            Self::End => with(Kind::End, &[]),
            Self::Root { version, envelope } => with(Kind::Root, &[&version.to_le_bytes(), envelope]),
            Self::Plan { envelope } => with(Kind::Plan, &[envelope]),
            Self::Release { digest, envelope } => with(Kind::Release, &[&digest.0, envelope]),
            Self::Chunk { module, index, bytes } => with(Kind::Chunk, &[&module.0, &index.to_le_bytes(), bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn decode(bytes: &[u8]) -> Result<Frame, Refusal> {
        let (header, rest) = bytes.split_first_chunk().unwrap();
        Header::decode(*header)?.frame(rest.to_vec())
    }

    #[test]
    fn frames_go_both_ways() {
        let digest = Digest::of(b"x");
        for frame in [
            Frame::Root { version: u64::MAX, envelope: vec![7; limits::ENVELOPE_BYTES_MAX] },
            Frame::Plan { envelope: vec![] },
            Frame::Release { digest, envelope: vec![1, 2] },
            Frame::Chunk { module: digest, index: 258, bytes: vec![3; limits::CHUNK_BYTES as usize] },
            Frame::End,
        ] {
            assert_eq!(decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn a_header_says_no_more_than_its_kind_may() {
        for (kind, length, code) in [
            (0, 0, None),
            (0, 1, Some(Code::Oversized)),
            (1, 7, Some(Code::Malformed)),
            (1, 8, None),
            (2, limits::ENVELOPE_BYTES_MAX as u32, None),
            (2, limits::ENVELOPE_BYTES_MAX as u32 + 1, Some(Code::Oversized)),
            (3, 31, Some(Code::Malformed)),
            (4, 36 + limits::CHUNK_BYTES, None),
            (4, 37 + limits::CHUNK_BYTES, Some(Code::Oversized)),
            (4, u32::MAX, Some(Code::Oversized)),
            (5, 0, Some(Code::Malformed)),
        ] {
            let [a, b, c, d] = u32::to_le_bytes(length);
            let decoded = Header::decode([kind, a, b, c, d]);
            assert_eq!(decoded.as_ref().err().map(|refusal| refusal.code), code, "{kind} {length}");
            let cut = decoded.ok().filter(|header| header.length() > 0).map(|header| header.frame(vec![]));
            assert!(cut.is_none_or(|frame| frame.is_err()), "{kind} {length}");
        }
    }
}
