//! From the configuration's files and words to what rustls needs.

use std::{fmt, sync::Arc};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    config::{self, ClientCertificates},
    error::Error,
};

/// Reads everything and checks that it fits.
pub(super) fn load(options: &config::Tls) -> Result<Arc<ServerConfig>, Error> {
    let chain = certificates("tls.certificate", &options.certificate)?;
    if let Some(leaf) = chain.first() {
        check_validity(leaf, &options.certificate)?;
    }
    let key = file("tls.key", &options.key)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong(&options.key, format_args!("holds no private key: {error}")))?;
    let provider = Arc::new(provider(options)?);
    let verifier = verifier(options, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(options))
        .map_err(|error| wrong("tls.versions and tls.ciphers", error))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        let files = format!("{} and {}", options.certificate, options.key);
        wrong(&files, error)
    })?;
    Ok(Arc::new(config))
}

fn wrong(what: &str, problem: impl fmt::Display) -> Error {
    Error::Tls {
        what: what.to_owned(),
        problem: problem.to_string(),
    }
}

fn file<'a>(option: &str, path: &'a str) -> Result<&'a str, Error> {
    match path {
        "" => Err(wrong(
            option,
            "must name a file, for there are addresses to listen for TLS",
        )),
        path => Ok(path),
    }
}

fn certificates(option: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(file(option, path)?);
    let read = read.and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| match error {
        pem::Error::Io(error) => wrong(path, error),
        other => wrong(path, format_args!("holds no certificates: {other}")),
    })?;
    match certificates.is_empty() {
        true => Err(wrong(path, "holds no certificates")),
        false => Ok(certificates),
    }
}

/// When the first certificate of a file is no longer valid, in seconds since 1970.
///
/// # Errors
/// The file holds none.
pub fn expires_at(option: &str, path: &str) -> Result<u64, Error> {
    let all = certificates(option, path)?;
    let none = || wrong(path, "holds no certificates");
    let certificate = all.first().ok_or_else(none)?;
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) = parsed.map_err(|error| wrong(path, error))?;
    Ok(u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default())
}

fn check_validity(certificate: &CertificateDer<'_>, path: &str) -> Result<(), Error> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) =
        parsed.map_err(|error| wrong(path, format_args!("holds no X.509 certificate: {error}")))?;
    let validity = parsed.validity();
    if validity.is_valid() {
        return Ok(());
    }
    let (from, to) = (validity.not_before, validity.not_after);
    let problem = format_args!("the certificate is valid from {from} to {to}, and not now");
    Err(wrong(path, problem))
}

/// The cryptography with the cipher suites that are admitted.
fn provider(options: &config::Tls) -> Result<CryptoProvider, Error> {
    let mut provider = ring::default_provider();
    if options.ciphers.is_empty() {
        return Ok(provider);
    }
    let name_of = |suite: &tokio_rustls::rustls::SupportedCipherSuite| {
        format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
    };
    let known: Vec<_> = provider.cipher_suites.iter().map(name_of).collect();
    for name in &options.ciphers {
        if !known.contains(name) {
            let problem = format!(
                "unknown cipher suite {name}; there are {}",
                known.join(", ")
            );
            return Err(wrong("tls.ciphers", problem));
        }
    }
    provider
        .cipher_suites
        .retain(|suite| options.ciphers.contains(&name_of(suite)));
    Ok(provider)
}

fn versions(options: &config::Tls) -> Vec<&'static SupportedProtocolVersion> {
    let all = [("1.3", &TLS13), ("1.2", &TLS12)];
    let admitted = all
        .into_iter()
        .filter(|(name, _)| options.versions.iter().any(|version| version == name));
    admitted.map(|(_, version)| version).collect()
}

fn verifier(
    options: &config::Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    if options.client_certificates == ClientCertificates::None {
        return Ok(None);
    }
    let path = &options.client_ca;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.client_ca", path)? {
        roots.add(certificate).map_err(|error| wrong(path, error))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match options.client_certificates {
        ClientCertificates::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|error| wrong(path, error))?;
    Ok(Some(verifier))
}
