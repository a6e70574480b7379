//! Uses the directory in its first argument as any program uses files, and panics where something
//! is not as the standard library promises.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::{env, iter};

fn main() -> io::Result<()> {
    let data = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "/data".to_owned()));
    contents(&data)?;
    attributes(&data)?;
    directories(&data)?;
    refusals(&data)?;
    println!("files: ok");
    Ok(())
}

fn contents(data: &Path) -> io::Result<()> {
    let path = data.join("contents");
    fs::write(&path, "one\ntwo\n")?;
    assert_eq!(fs::read_to_string(&path)?, "one\ntwo\n");

    let mut appending = OpenOptions::new().append(true).open(&path)?;
    appending.write_all(b"three\n")?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    assert_eq!(file.seek(SeekFrom::End(-6))?, 8);
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    assert_eq!(rest, "three\n");
    file.rewind()?;
    file.write_all(b"ONE")?;
    assert_eq!(file.stream_position()?, 3);
    file.set_len(4)?;
    file.sync_all()?;
    file.sync_data()?;
    assert_eq!(fs::read(&path)?, b"ONE\n");

    // More than any buffer on the way.
    let large = iter::repeat_n(b"0123456789", 100_000).flatten().copied().collect::<Vec<_>>();
    fs::write(&path, &large)?;
    assert!(fs::read(&path)? == large);
    File::create(&path)?;
    assert_eq!(fs::metadata(&path)?.len(), 0);
    fs::remove_file(&path)
}

fn attributes(data: &Path) -> io::Result<()> {
    let path = data.join("attributes");
    fs::write(&path, "12345")?;
    let metadata = fs::metadata(&path)?;
    assert!(metadata.is_file() && !metadata.is_dir());
    assert_eq!(metadata.len(), 5);
    assert!(metadata.modified()?.elapsed().is_ok_and(|age| age.as_secs() < 3600));
    assert!(fs::metadata(data)?.is_dir());
    assert!(fs::exists(&path)?);
    fs::hard_link(&path, data.join("link"))?;
    fs::remove_file(&path)?;
    assert!(!fs::exists(&path)?);
    assert_eq!(fs::read(data.join("link"))?, b"12345");
    fs::remove_file(data.join("link"))
}

fn directories(data: &Path) -> io::Result<()> {
    fs::create_dir_all(data.join("a/b/c"))?;
    let names = (0..100).map(|n| format!("file-{n}")).collect::<BTreeSet<_>>();
    for name in &names {
        fs::write(data.join("a").join(name), name)?;
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(data.join("a"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            assert_eq!(name, "b");
        } else {
            assert_eq!(fs::read_to_string(entry.path())?, name);
            found.insert(name);
        }
    }
    assert_eq!(found, names);

    fs::rename(data.join("a"), data.join("z"))?;
    assert!(fs::metadata(data.join("z/b/c"))?.is_dir());
    fs::rename(data.join("z/file-7"), data.join("z/b/seven"))?;
    assert_eq!(fs::copy(data.join("z/b/seven"), data.join("z/b/copy"))?, 6);
    fs::remove_dir(data.join("z/b/c"))?;
    fs::remove_dir_all(data.join("z"))?;
    assert_eq!(fs::read_dir(data)?.count(), 0);
    Ok(())
}

fn refusals(data: &Path) -> io::Result<()> {
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    assert_eq!(kind(fs::read(data.join("none")).map(drop)), Err(ErrorKind::NotFound));
    fs::create_dir(data.join("d"))?;
    assert_eq!(kind(fs::create_dir(data.join("d"))), Err(ErrorKind::AlreadyExists));
    fs::write(data.join("d/f"), "")?;
    // What std has no name for on this target is refused all the same.
    assert!(fs::remove_dir(data.join("d")).is_err());
    assert!(fs::read_dir(data.join("d/f")).is_err());
    assert!(fs::remove_file(data.join("d")).is_err());
    fs::remove_dir_all(data.join("d"))
}
