//! TLS by rustls: what the configuration says of it, as acceptors of connections.
//!
//! Certificates are renewed while a broker runs, so their files are looked at again and again ([`Tls::watch`]). New ones
//! are for new connections; those that are open keep theirs.

mod certificate_name;
mod load;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
    time::SystemTime,
};

use parking_lot::RwLock;
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::CertificateDer},
};

use crate::{config, error::Error};

/// Time between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// What TLS connections are accepted with.
#[derive(Debug)]
pub struct Tls {
    options: config::Tls,
    current: RwLock<Arc<ServerConfig>>,
}

/// When the files were written last, and how long they were.
type Stamp = Vec<Option<(SystemTime, u64)>>;

impl Tls {
    /// Reads certificates and keys.
    ///
    /// # Errors
    /// [`Error::Tls`]: a file that is missing, no PEM, expired or does not fit the others.
    pub fn open(options: &config::Tls) -> Result<Arc<Self>, Error> {
        let current = RwLock::new(load::load(options)?);
        let options = options.clone();
        Ok(Arc::new(Self { options, current }))
    }

    /// For a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read()))
    }

    /// The user that a client's certificate stands for, as the configuration says; `None` if it names none.
    pub fn login_name(&self, certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
        certificate_name::of(certificate, self.options.login_name)
    }

    /// The file of the certificate that clients see, and when it is no longer valid, in seconds since 1970.
    pub fn expiry(&self) -> Option<(PathBuf, u64)> {
        let path = &self.options.certificate;
        let expires_at = load::expires_at("tls.certificate", path).ok()?;
        Some((path.into(), expires_at))
    }

    /// Reads the files again whenever one of them changes, for ever. Wrong ones are left alone, with a line in the log.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = self.stamp();
        loop {
            sleep(INTERVAL).await;
            let tls = Arc::clone(&self);
            let looked = spawn_blocking(move || tls.look(seen)).await;
            seen = looked.unwrap_or_default();
        }
    }

    fn look(&self, seen: Stamp) -> Stamp {
        let stamp = self.stamp();
        if stamp != seen {
            match load::load(&self.options) {
                Ok(current) => {
                    *self.current.write() = current;
                    tracing::info!("TLS certificates read again");
                }
                Err(error) => tracing::error!("TLS certificates stay as they were: {error}"),
            }
        }
        stamp
    }

    fn stamp(&self) -> Stamp {
        let options = &self.options;
        let files = [&options.certificate, &options.key, &options.client_ca];
        let files = files.map(|file| std::fs::metadata(Path::new(file)).ok());
        let stamps = files.iter().map(|file| {
            let file = file.as_ref()?;
            Some((file.modified().ok()?, file.len()))
        });
        stamps.collect()
    }
}

/// What the configuration wants; `None` if nothing listens for TLS.
///
/// # Errors
/// As [`Tls::open`].
pub fn configured(config: &config::Config) -> Result<Option<Arc<Tls>>, Error> {
    let used = !config.tls.listen.is_empty() || !config.http.tls_listen.is_empty();
    used.then(|| Tls::open(&config.tls)).transpose()
}
