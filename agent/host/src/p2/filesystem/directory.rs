//! Listing a directory.

use std::mem::MaybeUninit;

use rustix::fs::{RawDir, SeekFrom};

use super::descriptor::{Descriptor, directory};
use super::{DescriptorType, ErrorCode, Outcome};
use crate::fds::{Access, Directory, Opened};
use crate::p1::dir::entry_type;
use crate::p2::abi::wit_record;
use crate::p2::call::Cx;
use crate::p2::handles::{Borrow, Own};

/// What the kernel is asked for at once: a few dozen names.
const BATCH_BYTES: usize = 2048;

/// A directory that is being listed: its own descriptor, and the file system's position in it.
pub(in crate::p2) struct DirectoryStream {
    directory: cap_std::fs::Dir,
    position: u64,
}

wit_record! {
    pub(in crate::p2) struct DirectoryEntry {
        kind: DescriptorType = "type",
        name: String = "name",
    }
}
wit_record!(lower DirectoryEntry { kind, name });

pub(in crate::p2) fn read_directory(cx: &mut Cx<'_>, this: Borrow<Descriptor>) -> Outcome<Own<DirectoryStream>> {
    // Opened anew: what is duplicated shares its position.
    let access = Access { directory: true, ..Access::default() };
    let Opened::Directory(Directory { dir: directory, .. }) = directory(cx.state, &this)?.open(".", access)? else {
        return Err(ErrorCode::NotDirectory.into());
    };
    Ok(cx.state.p2.handles.push(DirectoryStream { directory, position: 0 })?)
}

/// The next entry that has a name in UTF-8. What is neither created nor removed meanwhile is listed exactly once.
pub(in crate::p2) fn read_directory_entry(
    cx: &mut Cx<'_>,
    this: Borrow<DirectoryStream>,
) -> Outcome<Option<DirectoryEntry>> {
    let stream = cx.state.p2.handles.get_mut(&this)?;
    let directory = &stream.directory;
    rustix::fs::seek(directory, SeekFrom::Start(stream.position))?;
    let mut batch = [MaybeUninit::uninit(); BATCH_BYTES];
    let mut entries = RawDir::new(directory, &mut batch);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        stream.position = entry.next_entry_cookie();
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => {
                let kind = DescriptorType::from(entry_type(directory, &entry));
                return Ok(Some(DirectoryEntry { kind, name: name.to_owned() }));
            }
        }
    }
    Ok(None)
}
