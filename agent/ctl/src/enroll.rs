//! `enroll`: everything that one board needs to join the fleet, as one file.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use dunlin::{
    enrolment::{Enrolment, EnrolmentBroker},
    link::Tls,
};

use crate::{
    cli::{EnrollArgs, Global},
    files::{self, Audience},
    fleet::Fleet,
    say,
};

/// Random bytes in a password that is made: more than anybody can try.
const PASSWORD_BYTES: usize = 16;

/// Writes the file and says what to do with it.
pub(crate) fn run(args: &EnrollArgs, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let device = &args.device;
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{device}.enroll")));
    let broker = broker(args, &fleet)?;
    let new_password = broker.password.clone().filter(|_| args.new_password);
    let user = broker.user.clone().unwrap_or_default();
    let root = fleet.roots.chain().current().clone();
    let labels = args.labels.iter().cloned().collect();
    let text = Enrolment { device: device.clone(), root, labels, broker }.to_text()?;
    // A board's file is made once: another one would have another password.
    files::write_new(&path, text.as_bytes(), Audience::Owner)?;
    say::result(format_args!("made {}: it holds the board's secrets", path.display()))?;
    if let Some(password) = new_password {
        say::result(format_args!("tell the broker of it: user {user}, password {password}"))?;
    }
    say::result("next:")?;
    say::result(format_args!("  on the board: sudo dunlin join {}", file_name(&path)))?;
    say::result("  or, before its first start, copy it to the SD card's boot partition as dunlin.enroll")?;
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// How the board reaches the fleet's broker: as we do, or by the address that is said; with what is its own.
fn broker(args: &EnrollArgs, fleet: &Fleet) -> Result<EnrolmentBroker> {
    let url = args.broker.as_ref().unwrap_or(&fleet.broker.url);
    let client = args.certificate.clone().zip(args.key.clone());
    if url.is_tls() {
        // What does not go together is said here, and not on the board.
        let tls = Tls { ca: fleet.broker.tls.ca.clone(), client: client.clone() };
        tls.client_config().context("the board could not use these certificates")?;
    }
    let read = |path: &Option<PathBuf>| path.as_deref().map(files::read_text).transpose();
    let password = match args.new_password {
        true => Some(new_password()?),
        false => read(&args.password_file)?.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
    };
    Ok(EnrolmentBroker {
        url: url.clone(),
        prefix: fleet.prefix.clone(),
        ca: read(&fleet.broker.tls.ca)?,
        certificate: read(&args.certificate)?,
        key: read(&args.key)?,
        user: password.as_ref().map(|_| args.user.clone().unwrap_or_else(|| args.device.as_str().into())),
        password,
    })
}

fn new_password() -> Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    getrandom::fill(&mut bytes).context("no random numbers")?;
    let mut text = String::new();
    for byte in bytes {
        // Into a String it cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
