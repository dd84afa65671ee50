//! Certificates for tests: an authority, and what it signs, as PEM files in a folder of their own.

use std::{fs, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Somebody who signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// The files of a certificate and its key.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority with its folder, in which `ca.pem` is its certificate.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Leveret's tests");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a root");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Self { issuer, folder };
        fs::write(authority.root(), authority.issuer.pem()).expect("to write");
        authority
    }

    /// The file of the root certificate.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a server on this machine.
    pub fn server(&self, file: &str) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.sign(file, CertificateParams::new(names).expect("names"), file)
    }

    /// One for a client with this common name.
    pub fn client(&self, name: &str) -> Pair {
        self.sign(name, CertificateParams::default(), name)
    }

    /// One for a server that was valid long ago.
    pub fn expired(&self) -> Pair {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign("expired", params, "expired")
    }

    fn sign(&self, file: &str, mut params: CertificateParams, name: &str) -> Pair {
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = Pair {
            certificate: self.folder.path().join(format!("{file}.pem")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        fs::write(&pair.certificate, certificate.pem()).expect("to write");
        fs::write(&pair.key, key.serialize_pem()).expect("to write");
        pair
    }
}
