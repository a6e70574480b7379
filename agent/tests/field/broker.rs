//! A mosquitto of our own on a free port, configured with the very lines that README gives: TLS 1.3,
//! client certificates, passwords, an ACL file.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{needs::mosquitto, ports::free_port, site::eventually};

/// Users of the broker, each with a certificate and a password.
pub(crate) const USERS: [&str; 3] = ["operator", "pi-kitchen", "pi-hall"];

/// The first lines of README's configuration and of its ACL.
const CONFIG: &str = "listener 8883\n";
const ACL: &str = "# /etc/mosquitto/acl\n";

pub(crate) struct Mosquitto {
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Mosquitto {
    /// As README has it: it keeps what it is told to keep, also over its own SIGKILL.
    pub(crate) fn start() -> Self {
        Self::configured(block(CONFIG))
    }

    /// As README has it, but for what it keeps: that is said here.
    pub(crate) fn start_with(more: &str) -> Self {
        let config = block(CONFIG);
        let keeps = |line: &&str| line.starts_with("persistence") || line.starts_with("autosave");
        let lines: Vec<_> = config.lines().filter(|line| !keeps(line)).collect();
        Self::configured(format!("{}\n{more}", lines.join("\n")))
    }

    fn configured(config: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        write_certificates(dir.path());
        write_passwords(dir.path());
        let here = dir.path().display().to_string();
        let listen = format!("listener {port} 127.0.0.1\npersistence_location {here}/\nuser root\n");
        let config = config.replace("/etc/mosquitto", &here).replacen(CONFIG, &listen, 1);
        fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        fs::write(dir.path().join("acl"), block(ACL)).unwrap();
        let mut broker = Self { dir, port, process: None };
        broker.restart();
        broker
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A file of the broker's folder: `ca.pem`, `<user>.pem`, `<user>.key`, `<user>.password`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn restart(&mut self) {
        let program = mosquitto::program().expect("mosquitto is installed");
        let mut command = Command::new(program);
        command.arg("-c").arg(self.file("mosquitto.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let port = self.port;
        eventually("mosquitto listens", Duration::from_secs(60), || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// SIGKILL: what it did not save is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM, as at a reboot.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            crate::site::terminate(&process);
            process.wait().unwrap();
        }
    }
}

/// The block of README that begins with this line, word for word.
fn block(first: &str) -> String {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once(&format!("```\n{first}")).expect("README has such a block");
    let (block, _) = rest.split_once("```").expect("it ends");
    format!("{first}{block}")
}

fn write_certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the CA of this test");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    for (file, name) in [("broker", "localhost")].into_iter().chain(USERS.map(|user| (user, user))) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        // Were it the same as the CA's, OpenSSL would take the certificate for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &ca).unwrap();
        fs::write(dir.join(file).with_extension("pem"), certificate.pem()).unwrap();
        fs::write(dir.join(file).with_extension("key"), key.serialize_pem()).unwrap();
    }
}

fn write_passwords(dir: &Path) {
    let passwords = dir.join("passwords");
    fs::write(&passwords, "").unwrap();
    for user in USERS {
        let password = format!("the password of {user}");
        fs::write(dir.join(user).with_extension("password"), &password).unwrap();
        let made = Command::new("mosquitto_passwd").arg("-b").arg(&passwords).args([user, &password]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}
