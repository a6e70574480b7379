//! Keeps notes in the directory `/data`, looks at the clocks, and says what it did. Where anything
//! is not as it should be, it says so and ends with exit code 1.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const A: &str = "/data/a.txt";
const B: &str = "/data/b.txt";
const DRAFT: &str = "/data/draft.txt";

const NAP: Duration = Duration::from_millis(5);

fn main() -> io::Result<()> {
    fs::write(DRAFT, "Hello, WASM!")?;
    println!("wrote 12 bytes");
    OpenOptions::new().append(true).open(DRAFT)?.write_all(b" Goodbye.")?;
    println!("appended 9 bytes");

    fs::rename(DRAFT, A)?;
    fs::write(B, "")?;
    list()?;
    println!("read {}", fs::read_to_string(A)?);

    let stat = fs::metadata(A)?;
    // Up to a second in the future: a file's time may be rounded, and the clock may be set meanwhile.
    let age = (SystemTime::now() + Duration::from_secs(1)).duration_since(stat.modified()?);
    expect(age.is_ok_and(|age| age < Duration::from_secs(60)), "a file's time is not the clock's")?;
    println!("a.txt has {} bytes, changed just now", stat.len());

    fs::remove_file(A)?;
    fs::remove_file(B)?;
    expect(!fs::exists(A)?, "a deleted file is there")?;
    list()?;

    let start = Instant::now();
    thread::sleep(NAP);
    expect(start.elapsed() >= NAP, "woken too early")?;
    println!("slept");
    Ok(())
}

fn list() -> io::Result<()> {
    let names = fs::read_dir("/data")?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    names.insert(0, "listed".to_owned());
    println!("{}", names.join(" "));
    Ok(())
}

fn expect(holds: bool, what: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(what)) }
}
