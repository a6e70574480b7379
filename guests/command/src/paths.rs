//! `wasi:filesystem/types`: what is at a path.

use wasip2::filesystem::types::{DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

use crate::files::{BOTH, READ, open, root};

const NONE: PathFlags = PathFlags::empty();
const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

pub(crate) fn all() {
    opening();
    directories();
    links();
    escapes();
}

fn opening() {
    let root = root();
    let fails = |path: &str, flags, access| open(&root, path, flags, access).unwrap_err();
    assert_eq!(fails("none", OpenFlags::empty(), READ), ErrorCode::NoEntry);
    assert_eq!(fails("", OpenFlags::empty(), READ), ErrorCode::NoEntry);
    open(&root, "file", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, BOTH).unwrap().write(b"12345", 0).unwrap();
    assert_eq!(fails("file", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, BOTH), ErrorCode::Exist);
    assert_eq!(fails("file", OpenFlags::DIRECTORY, READ), ErrorCode::NotDirectory);
    assert_eq!(fails("file/x", OpenFlags::empty(), READ), ErrorCode::NotDirectory);
    assert_eq!(fails(".", OpenFlags::empty(), BOTH), ErrorCode::IsDirectory);
    assert_eq!(fails("d", OpenFlags::DIRECTORY | OpenFlags::CREATE, READ), ErrorCode::Invalid);
    assert_eq!(fails(&"n".repeat(300), OpenFlags::empty(), READ), ErrorCode::NameTooLong);
    assert_eq!(fails("a\0b", OpenFlags::empty(), READ), ErrorCode::Invalid);
    assert_eq!(open(&root, "file", OpenFlags::empty(), READ).unwrap().stat().unwrap().size, 5);
    assert_eq!(open(&root, "file", OpenFlags::TRUNCATE, BOTH).unwrap().stat().unwrap().size, 0);
    root.unlink_file_at("file").unwrap();
}

fn directories() {
    let root = root();
    root.create_directory_at("d").unwrap();
    assert_eq!(root.create_directory_at("d"), Err(ErrorCode::Exist));
    assert_eq!(root.create_directory_at("none/d"), Err(ErrorCode::NoEntry));
    let inner = open(&root, "d", OpenFlags::DIRECTORY, READ | DescriptorFlags::MUTATE_DIRECTORY).unwrap();
    assert_eq!(inner.get_type(), Ok(DescriptorType::Directory));
    assert_eq!(inner.get_flags(), Ok(READ | DescriptorFlags::MUTATE_DIRECTORY));
    for name in ["one", "two", "three"] {
        open(&inner, name, OpenFlags::CREATE, BOTH).unwrap();
    }
    inner.create_directory_at("sub").unwrap();
    inner.symlink_at("one", "link").unwrap();
    let (stream, again) = (inner.read_directory().unwrap(), inner.read_directory().unwrap());
    let mut found = Vec::new();
    while let Some(entry) = stream.read_directory_entry().unwrap() {
        found.push((entry.name, entry.type_));
    }
    assert!(stream.read_directory_entry().unwrap().is_none());
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let file = DescriptorType::RegularFile;
    let expected = [
        ("link", DescriptorType::SymbolicLink),
        ("one", file),
        ("sub", DescriptorType::Directory),
        ("three", file),
        ("two", file),
    ];
    assert_eq!(found, expected.map(|(name, ty)| (name.to_owned(), ty)));
    assert!(again.read_directory_entry().unwrap().is_some());

    assert_eq!(root.remove_directory_at("d"), Err(ErrorCode::NotEmpty));
    assert_eq!(inner.remove_directory_at("one"), Err(ErrorCode::NotDirectory));
    assert_eq!(inner.unlink_file_at("sub"), Err(ErrorCode::IsDirectory));
    assert_eq!(inner.unlink_file_at("none"), Err(ErrorCode::NoEntry));
    assert_eq!(inner.rename_at("none", &root, "x"), Err(ErrorCode::NoEntry));
    inner.rename_at("one", &root, "moved").unwrap();
    assert_eq!(inner.stat_at(NONE, "one").unwrap_err(), ErrorCode::NoEntry);
    assert_eq!(root.stat_at(NONE, "moved/").unwrap_err(), ErrorCode::NotDirectory);
    root.set_times_at(NONE, "moved", NewTimestamp::NoChange, NewTimestamp::Now).unwrap();
    root.unlink_file_at("moved").unwrap();
    for name in ["two", "three", "link"] {
        inner.unlink_file_at(name).unwrap();
    }
    inner.remove_directory_at("sub/").unwrap();
    root.remove_directory_at("d").unwrap();
}

fn links() {
    let root = root();
    open(&root, "file", OpenFlags::CREATE, BOTH).unwrap().write(b"12345", 0).unwrap();
    root.symlink_at("file", "soft").unwrap();
    assert_eq!(root.symlink_at("file", "soft"), Err(ErrorCode::Exist));
    assert_eq!(root.symlink_at("/file", "other"), Err(ErrorCode::NotPermitted));
    assert_eq!(root.readlink_at("soft").as_deref(), Ok("file"));
    assert_eq!(root.readlink_at("file"), Err(ErrorCode::Invalid));
    assert_eq!(root.stat_at(NONE, "soft").unwrap().type_, DescriptorType::SymbolicLink);
    assert_eq!(root.stat_at(FOLLOW, "soft").unwrap().size, 5);
    assert_eq!(root.open_at(NONE, "soft", OpenFlags::empty(), READ).unwrap_err(), ErrorCode::Loop);
    root.link_at(NONE, "file", &root, "hard").unwrap();
    assert_eq!(root.stat_at(NONE, "hard").unwrap().link_count, 2);
    assert_eq!(root.link_at(NONE, "file", &root, "hard"), Err(ErrorCode::Exist));
    assert_eq!(root.link_at(NONE, "none", &root, "x"), Err(ErrorCode::NoEntry));
    root.create_directory_at("d").unwrap();
    assert_eq!(root.link_at(NONE, "d", &root, "x"), Err(ErrorCode::NotPermitted));
    root.link_at(FOLLOW, "soft", &root, "harder").unwrap();
    assert_eq!(root.stat_at(NONE, "harder").unwrap().type_, DescriptorType::RegularFile);
    for name in ["file", "soft", "hard", "harder"] {
        root.unlink_file_at(name).unwrap();
    }
    root.remove_directory_at("d").unwrap();
}

fn escapes() {
    let root = root();
    root.symlink_at("../..", "out").unwrap();
    for path in ["/", "..", "../x", "/etc/passwd", "out/etc"] {
        assert_eq!(open(&root, path, OpenFlags::empty(), READ).unwrap_err(), ErrorCode::NotPermitted, "{path}");
        assert_eq!(root.stat_at(FOLLOW, path).unwrap_err(), ErrorCode::NotPermitted, "{path}");
        assert_eq!(root.create_directory_at(path), Err(ErrorCode::NotPermitted), "{path}");
    }
    root.unlink_file_at("out").unwrap();
}

/// The directory may only be read, and has a file and a directory in it.
pub(crate) fn read_only() {
    let root = root();
    assert_eq!(root.get_flags(), Ok(READ));
    for (flags, access) in [
        (OpenFlags::empty(), BOTH),
        (OpenFlags::empty(), READ | DescriptorFlags::MUTATE_DIRECTORY),
        (OpenFlags::CREATE, READ),
        (OpenFlags::TRUNCATE, READ),
    ] {
        assert_eq!(open(&root, "file", flags, access).unwrap_err(), ErrorCode::ReadOnly);
    }
    let file = open(&root, "file", OpenFlags::empty(), READ).unwrap();
    assert_eq!(file.read(100, 0).unwrap().0, b"contents");
    assert_eq!(file.set_times(NewTimestamp::Now, NewTimestamp::Now), Err(ErrorCode::NotPermitted));
    let inner = open(&root, "d", OpenFlags::DIRECTORY, READ).unwrap();
    for dir in [&root, &inner] {
        assert_eq!(dir.create_directory_at("x"), Err(ErrorCode::ReadOnly));
        assert_eq!(dir.unlink_file_at("file"), Err(ErrorCode::ReadOnly));
        assert_eq!(dir.remove_directory_at("d"), Err(ErrorCode::ReadOnly));
        assert_eq!(dir.symlink_at("a", "b"), Err(ErrorCode::ReadOnly));
        assert_eq!(dir.link_at(NONE, "file", dir, "b"), Err(ErrorCode::ReadOnly));
        assert_eq!(dir.rename_at("file", dir, "b"), Err(ErrorCode::ReadOnly));
        assert_eq!(dir.set_times_at(NONE, "file", NewTimestamp::Now, NewTimestamp::Now), Err(ErrorCode::ReadOnly));
    }
}
