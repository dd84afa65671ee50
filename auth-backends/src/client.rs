//! Asking over HTTP: with a bound on everything, over TLS by rustls, and without any proxy.

use std::{fs, sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use ureq::{
    Agent, Body,
    http::Response,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::Error;

/// How a client asks.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// A PEM file of the roots that servers' certificates have to come from; empty for those that browsers trust.
    pub ca_file: String,
    /// How long an answer may take altogether.
    pub timeout: Duration,
}

/// Somebody who asks over HTTP. Connections are kept for the next question.
#[derive(Debug)]
pub(crate) struct Client(Agent);

/// An answer: its status and as much of its text as is wanted.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Client {
    /// A client that follows at most so many redirections.
    ///
    /// # Errors
    /// The file of roots cannot be used.
    pub(crate) fn new(options: &ClientOptions, redirections: u32) -> Result<Self, Error> {
        let roots = match options.ca_file.as_str() {
            "" => RootCerts::WebPki,
            path => RootCerts::Specific(Arc::new(certificates(path)?)),
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            .max_redirects(redirections)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(64)
            .max_idle_connections(64)
            .user_agent("Leveret")
            .proxy(None)
            .build();
        Ok(Self(config.new_agent()))
    }

    /// Asks by GET. `url` may hold secrets, `shown` is what errors say.
    pub(crate) fn get(&self, url: &str, shown: &str, most: u64) -> Result<Reply, Error> {
        reply(self.0.get(url).call(), shown, most)
    }

    /// Asks by POST, with a form.
    pub(crate) fn post(&self, url: &str, form: &str, most: u64) -> Result<Reply, Error> {
        let request = self.0.post(url);
        let request = request.content_type("application/x-www-form-urlencoded");
        reply(request.send(form), url, most)
    }
}

fn reply(
    called: Result<Response<Body>, ureq::Error>,
    url: &str,
    most: u64,
) -> Result<Reply, Error> {
    let unreachable = |error: ureq::Error| Error::Unreachable {
        url: url.to_owned(),
        problem: error.to_string(),
    };
    let mut response = called.map_err(unreachable)?;
    let body = response.body_mut().with_config().limit(most);
    Ok(Reply {
        text: body.read_to_string().map_err(unreachable)?,
        status: response.status().as_u16(),
    })
}

/// Checks an address that is configured. A password in it would be shown wherever the address is.
///
/// # Errors
/// It is none, or holds a user or password.
pub(crate) fn check_address(option: &'static str, address: &str) -> Result<(), Error> {
    let wrong = |problem: &str| Error::Option {
        option,
        problem: problem.to_owned(),
    };
    let schemes = ["http://", "https://"];
    let rest = schemes.iter().find_map(|it| address.strip_prefix(it));
    let rest =
        rest.ok_or_else(|| wrong("must be the address of a service, http:// or https://"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.contains('@') {
        true => Err(wrong("must not hold a user or password")),
        false => Ok(()),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate<'static>>, Error> {
    let wrong = |problem: String| Error::File {
        path: path.to_owned(),
        problem,
    };
    let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.map_err(|error| wrong(format!("holds no certificates: {error}")))?;
    if read.is_empty() {
        return Err(wrong("holds no certificates".to_owned()));
    }
    let certificates = read.iter().map(|der| Certificate::from_der(der).to_owned());
    Ok(certificates.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_no_password() {
        let check = |address| check_address("x", address).map_err(|error| error.to_string());
        for good in ["http://a/b", "https://a:1", "http://a/b@c", "http://a?b@c"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for wrong in ["", "a", "ftp://a"] {
            assert!(check(wrong).unwrap_err().contains("http://"), "{wrong}");
        }
        for secret in ["http://u:secret@a/b", "https://u@a", "http://u:@a?x"] {
            assert_eq!(
                check(secret).unwrap_err(),
                "x must not hold a user or password"
            );
        }
    }
}
