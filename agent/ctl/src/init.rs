//! `init`: keys and a trust root for a new fleet.

use std::{
    fmt::Write as _,
    fs::{DirBuilder, Permissions, set_permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, absolute},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use dunlin_core::wire::{FleetName, ReleaseRole, Role as Keys, Root};

use crate::{
    cli::InitArgs,
    files::{self, Audience},
    fleet::{FLEET_FILE, Fleet, ROOT_FILE, key_file},
    keys::{Key, Role},
    say, sign, time,
};

/// Makes a fleet's folder and says what to do next.
pub(crate) fn run(args: &InitArgs) -> Result<()> {
    let default = Path::new(args.fleet.as_str());
    let dir = args.dir.as_deref().unwrap_or(default);
    create(dir, &args.fleet, &broker_lines(args)?, args.expires.0)?;
    let name = &args.fleet;
    let shown = dir.display();
    say::result(format_args!("made the fleet {name} in {shown}"))?;
    say::result(format_args!("  {shown}/{FLEET_FILE}       its broker: look through it"))?;
    say::result(format_args!("  {shown}/keys/            its signing keys: secret; keep a copy in a safe place"))?;
    say::result(format_args!("  {shown}/{ROOT_FILE}      its root of trust: public, valid {} days", days(args)))?;
    say::result("next:")?;
    say::result(format_args!(
        "  1. cd {shown}, and there: dunlinctl enroll BOARD, which makes the file for `dunlin join` on it"
    ))?;
    say::result("  2. dunlinctl release path/to/app.toml")?;
    say::result("  3. dunlinctl deploy APP, and dunlinctl status")?;
    if let Err(error) = Fleet::load(dir) {
        say::warning(format_args!("the fleet cannot be used as it is: {error:#}"));
    }
    Ok(())
}

fn days(args: &InitArgs) -> u64 {
    args.expires.0.as_secs() / 86_400
}

/// Makes a fleet's folder; `broker` are the lines under `[broker]`. All of it, or nothing.
pub(crate) fn create(dir: &Path, name: &FleetName, broker: &str, expires: Duration) -> Result<()> {
    if dir.join(FLEET_FILE).exists() || dir.join("keys").exists() {
        let dir = dir.display();
        bail!("{dir} is a fleet already, and its keys are not overwritten: choose another folder with --dir");
    }
    if dir.exists() {
        if dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?.next().is_some() {
            bail!("{} is there and not empty: choose another folder with --dir", dir.display());
        }
        // An empty folder may be somebody's mount point: it is filled, not replaced.
        return fill(dir, name, broker, expires);
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().prefix(".new-fleet-").tempdir_in(parent);
    let new = new.with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let inner = new.path().join("fleet");
    make_dir(&inner, 0o755)?;
    fill(&inner, name, broker, expires)?;
    std::fs::rename(&inner, dir).with_context(|| format!("cannot make {}", dir.display()))
}

fn fill(dir: &Path, name: &FleetName, broker: &str, expires: Duration) -> Result<()> {
    make_dir(&dir.join("keys"), 0o700)?;
    let make = |role: Role| -> Result<Key> {
        let key = Key::generate()?;
        key.save(&key_file(dir, role))?;
        Ok(key)
    };
    let (root, release, deploy) = (make(Role::Root)?, make(Role::Release)?, make(Role::Deploy)?);
    let role = |key: &Key| Keys { keys: [key.public()].into(), threshold: 1 };
    let document = Root {
        fleet: name.clone(),
        version: 1,
        expires: time::after(time::now(), expires),
        root: role(&root),
        deploy: role(&deploy),
        release: [ReleaseRole { apps: Vec::new(), role: role(&release) }].into(),
        grant: None,
        revoked: Vec::new(),
        floors: Vec::new(),
    };
    let envelope = sign::seal(&document, &[&root])?;
    files::write_new(&dir.join(ROOT_FILE), &envelope.encode(), Audience::All)?;
    // The file that makes it a fleet comes last.
    files::write_new(&dir.join(FLEET_FILE), fleet_toml(name, broker).as_bytes(), Audience::All)
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    let made = match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    // Whatever the umask is.
    let made = made.and_then(|()| set_permissions(path, Permissions::from_mode(mode)));
    made.with_context(|| format!("cannot make {}", path.display()))
}

fn fleet_toml(name: &FleetName, broker: &str) -> String {
    let mut text = format!(
        "# A fleet of Dunlin. Paths are relative to this file.\n\
         name = \"{name}\"\n\n\
         [broker]\n{broker}\n"
    );
    text.push_str("# What may stand here too, with examples:\n");
    let given = |key: &str| broker.lines().any(|line| line.starts_with(&format!("{key} = ")));
    for (key, example, what) in [
        ("ca", "\"broker-ca.pem\"", "who vouches for the broker; this system's own certificates without it"),
        ("certificate", "\"operator.pem\"", "our certificate, where the broker asks for one,"),
        ("key", "\"operator-key.pem\"", "and its key"),
        ("user", "\"operator\"", "our name, where the broker asks for one,"),
        ("password_file", "\"broker.password\"", "and a file that holds the password alone"),
        ("prefix", "\"dunlin/v1\"", "what topics begin with; boards must have the same"),
        ("keep_alive", "\"30s\"", "how often to be heard at least"),
    ] {
        if !given(key) {
            // Into a String it cannot fail.
            let _ = writeln!(text, "{:<38} # {what}", format!("# {key} = {example}"));
        }
    }
    text
}

/// The lines under `[broker]` that the flags make. Paths become absolute: they were relative to
/// where the command was given.
fn broker_lines(args: &InitArgs) -> Result<String> {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {}", toml::Value::from(value));
    };
    line("url", &args.broker.to_string());
    let paths = [
        ("ca", &args.ca),
        ("certificate", &args.certificate),
        ("key", &args.key),
        ("password_file", &args.password_file),
    ];
    for (key, path) in paths {
        if let Some(path) = path {
            let path = absolute(path).with_context(|| path.display().to_string())?;
            let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            line(key, path);
        }
    }
    for (key, value) in [("user", &args.user), ("prefix", &args.prefix)] {
        if let Some(value) = value {
            line(key, value);
        }
    }
    Ok(text)
}
