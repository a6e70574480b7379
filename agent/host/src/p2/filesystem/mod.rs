//! `wasi:filesystem`, on the directories and files of preview 1.

mod descriptor;
mod directory;
mod error;
mod metadata;
mod path;

pub(super) use self::descriptor::*;
pub(super) use self::directory::*;
pub(super) use self::error::{ErrorCode, filesystem_error_code};
pub(super) use self::metadata::{
    DescriptorStat, DescriptorType, MetadataHash, NewTimestamp, PathFlags, get_type, is_same_object, metadata_hash,
    metadata_hash_at, set_times, set_times_at, stat, stat_at,
};
pub(super) use self::path::*;

use super::call::Fail;

type Outcome<T> = Result<T, Fail<ErrorCode>>;
