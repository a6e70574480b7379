//! What processes use, as the kernel counts it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use rustix::{
    fs::statvfs,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Clock ticks a second in /proc/PID/stat, whatever the kernel itself counts with (proc(5), USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process so far, in itself and in the kernel for it.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("{path} does not look like proc(5)"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// utime and stime, the 14th and the 15th field. The second is the program's name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Memory of a process that is resident, in bytes. Files in a memory disk are not.
pub(crate) fn memory(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} does not look like proc(5)"))? << 10)
}

/// Bytes that are taken of the disk of this folder.
pub(crate) fn disk(folder: &Path) -> anyhow::Result<u64> {
    let stat = statvfs(folder).with_context(|| format!("cannot look at the disk of {}", folder.display()))?;
    Ok((stat.f_blocks - stat.f_bfree) * stat.f_frsize)
}

/// Allows this process, and those that it starts, as many open files as it may have; fails if these are not enough.
pub(crate) fn allow_files(needed: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")?;
    let enough = limit.maximum.is_none_or(|maximum| maximum >= needed as u64);
    let maximum = limit.maximum.unwrap_or_default();
    ensure!(
        enough,
        "{needed} open files are needed, and {maximum} are allowed: fewer --devices, or a higher ulimit -Hn"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a"), None);
        let me = std::process::id();
        assert!(memory(me).unwrap() > 1 << 20);
        cpu(me).unwrap();
    }
}
