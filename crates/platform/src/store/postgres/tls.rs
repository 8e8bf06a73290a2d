//! TLS to PostgreSQL. The server's certificate is always verified.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::{StoreError, StoreOptions};

/// The connector, `None` if the configuration does without TLS.
pub(super) fn connector(
    options: &StoreOptions,
    config: &tokio_postgres::Config,
) -> Result<Option<MakeRustlsConnect>, StoreError> {
    if config.get_ssl_mode() == SslMode::Disable {
        return Ok(None);
    }
    let Some(path) = &options.tls_ca else {
        // The constructor with the public authorities asks rustls for the process's provider.
        let _ = aws_lc_rs::default_provider().install_default();
        return Ok(Some(MakeRustlsConnect::with_webpki_roots()));
    };
    let unusable = |reason: String| {
        StoreError::Options(format!("`store.tls_ca` ({}) cannot be used: {reason}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(tls)))
}
