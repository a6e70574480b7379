//! The certificate of a door, which is read again when its files have changed: whoever renews it need not restart the agent.
//!
//! It is looked at when somebody connects. A connection keeps what it began with.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use tokio_rustls::TlsAcceptor;

use super::settings::Certificate;
use crate::link::{TlsError, server_config};

/// How long to wait at least before the files are looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate that is in use.
pub(super) struct InUse {
    files: Certificate,
    /// Of what was read last, whether it is in use or was no good.
    seen: [Option<Stamp>; 2],
    looked_at: Instant,
    acceptor: TlsAcceptor,
}

/// What of a file is another one when its content is: inode, length, and when it changed.
type Stamp = (u64, u64, i64, i64);

impl InUse {
    pub(super) fn read(files: Certificate, now: Instant) -> Result<Self, TlsError> {
        let seen = stamps(&files);
        let acceptor = read(&files)?;
        Ok(Self { files, seen, looked_at: now, acceptor })
    }

    /// What to speak with now.
    pub(super) fn acceptor(&mut self, now: Instant) -> TlsAcceptor {
        let chain = self.files.chain.display().to_string();
        match self.look(now) {
            None => {}
            Some(Ok(())) => tracing::info!("{chain}: the new certificate is in use"),
            Some(Err(error)) => {
                tracing::error!("{chain}: the new certificate is no good, the old one stays in use: {error}");
            }
        }
        self.acceptor.clone()
    }

    /// Takes what is new, if there is anything; whether it was any good.
    fn look(&mut self, now: Instant) -> Option<Result<(), TlsError>> {
        if now < self.looked_at + LOOK {
            return None;
        }
        self.looked_at = now;
        // Before it is read: what changes meanwhile is looked at the next time.
        let seen = stamps(&self.files);
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        Some(read(&self.files).map(|acceptor| self.acceptor = acceptor))
    }
}

fn read(files: &Certificate) -> Result<TlsAcceptor, TlsError> {
    server_config(&files.chain, &files.key).map(TlsAcceptor::from)
}

fn stamps(files: &Certificate) -> [Option<Stamp>; 2] {
    [&files.chain, &files.key].map(|path| stamp(path))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::io::duplex;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::link::Tls;

    type Pair = rcgen::CertifiedKey<rcgen::KeyPair>;

    fn pair() -> Pair {
        rcgen::generate_simple_self_signed(["localhost".into()]).unwrap()
    }

    /// Puts a file in the place of another one, as those do who renew certificates.
    fn put(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// What a client sees that trusts this certificate.
    async fn shown(acceptor: TlsAcceptor, trusted: &Pair) -> Option<CertificateDer<'static>> {
        let ca = tempfile::NamedTempFile::new().unwrap();
        fs::write(ca.path(), trusted.cert.pem()).unwrap();
        let connector = TlsConnector::from(Tls { ca: Some(ca.path().into()), client: None }.client_config().unwrap());
        let (ours, theirs) = duplex(16 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let (_, stream) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
        let certificates = stream.ok()?.get_ref().1.peer_certificates()?.to_vec();
        certificates.into_iter().next()
    }

    #[tokio::test]
    async fn what_is_renewed_is_used_and_what_is_no_good_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [chain, key] = ["door.pem", "door.key"].map(|name| dir.path().join(name));
        let files = Certificate { chain: chain.clone(), key: key.clone() };
        let [old, new, newest] = [(); 3].map(|()| pair());
        put(&chain, &old.cert.pem());
        put(&key, &old.signing_key.serialize_pem());
        let mut now = Instant::now();
        let mut used = InUse::read(files, now).unwrap();
        assert_eq!(shown(used.acceptor(now), &old).await.as_ref(), Some(old.cert.der()));
        now += LOOK;
        assert!(used.look(now).is_none(), "nothing is new");

        put(&chain, &new.cert.pem());
        put(&key, &new.signing_key.serialize_pem());
        assert_eq!(shown(used.acceptor(now), &old).await.as_ref(), Some(old.cert.der()), "it was just looked at");
        now += LOOK;
        assert_eq!(shown(used.acceptor(now), &new).await.as_ref(), Some(new.cert.der()));

        // The certificate is there before its key, as it may be for a moment.
        put(&chain, &newest.cert.pem());
        now += LOOK;
        let why = used.look(now).unwrap().unwrap_err().to_string();
        assert!(why.starts_with("the certificates: "), "{why}");
        now += LOOK;
        assert!(used.look(now).is_none(), "it is told once");
        assert_eq!(shown(used.acceptor(now), &new).await.as_ref(), Some(new.cert.der()));
        put(&key, &newest.signing_key.serialize_pem());
        now += LOOK;
        assert_eq!(shown(used.acceptor(now), &newest).await.as_ref(), Some(newest.cert.der()));

        for bad in [|path: &Path| put(path, "rubbish"), |path: &Path| fs::remove_file(path).unwrap()] {
            bad(&chain);
            now += LOOK;
            let why = used.look(now).unwrap().unwrap_err().to_string();
            assert!(why.contains("door.pem: "), "{why}");
            assert_eq!(shown(used.acceptor(now), &newest).await.as_ref(), Some(newest.cert.der()));
        }
    }
}
