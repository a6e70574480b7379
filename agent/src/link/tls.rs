//! TLS by rustls with ring, from PEM files. There is no second crypto provider in the tree.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use super::Tls;

/// Why there can be no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not there or not PEM.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A file without what belongs into it.
    #[error("{path}: no certificate in it", path = .0.display())]
    Empty(PathBuf),
    /// Certificates that do not go together.
    #[error("the certificates: {0}")]
    Rustls(#[from] rustls::Error),
    /// A system without certificates of its own.
    #[error("this system has no certificates of its own: set `ca` ({0})")]
    NoSystemRoots(String),
}

impl Tls {
    /// What rustls needs to know.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(self.roots()?);
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let read = PrivateKeyDer::from_pem_file(key);
                let private = read.map_err(|source| TlsError::File { path: key.clone(), source })?;
                builder.with_client_auth_cert(certificates(certificate)?, private)?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => certificates(path)?.into_iter().try_for_each(|certificate| roots.add(certificate))?,
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                    return Err(TlsError::NoSystemRoots(errors.join("; ")));
                }
            }
        }
        Ok(roots)
    }
}

/// What a server of our own needs to know.
pub(crate) fn server_config(chain: &PathBuf, key: &PathBuf) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let read = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File { path: key.clone(), source })?;
    Ok(Arc::new(builder.with_no_client_auth().with_single_cert(certificates(chain)?, read)?))
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let at = |source| TlsError::File { path: path.clone(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(at)?.collect::<Result<_, _>>().map_err(at)?;
    if found.is_empty() { Err(TlsError::Empty(path.clone())) } else { Ok(found) }
}
