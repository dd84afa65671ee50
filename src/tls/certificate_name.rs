//! The user's name in a client certificate (RabbitMQ: `rabbit_ssl:peer_cert_auth_name`).

use std::sync::Arc;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{Oid, OidRegistry},
    prelude::FromDer as _,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::config::LoginName;

/// The name that the certificate has where `place` says.
pub(super) fn of(certificate: &CertificateDer<'_>, place: LoginName) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = match place {
        LoginName::CommonName => common_name(certificate.subject())?,
        LoginName::DistinguishedName => distinguished_name(certificate.subject()),
        LoginName::SanDns | LoginName::SanEmail | LoginName::SanUri => {
            alternative_name(&certificate, place)?
        }
    };
    (!name.is_empty()).then(|| name.into())
}

/// Several are joined by commas, as RabbitMQ does it.
fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let names: Result<Vec<_>, _> = subject.iter_common_name().map(|cn| cn.as_str()).collect();
    names.ok().map(|names| names.join(","))
}

/// The subject as RFC 4514 writes it: the last part first.
fn distinguished_name(subject: &X509Name<'_>) -> String {
    let registry = OidRegistry::default().with_x509();
    let parts = subject.iter_rdn().map(|part| {
        let attributes: Vec<_> = part.iter().map(|a| attribute(a, &registry)).collect();
        attributes.join("+")
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>, registry: &OidRegistry<'_>) -> String {
    let kind = short_name(attribute.attr_type(), registry);
    let value = attribute.as_str().unwrap_or_default();
    format!("{kind}={}", escape(value))
}

/// The type's short name in capitals, or its number.
fn short_name(kind: &Oid<'_>, registry: &OidRegistry<'_>) -> String {
    let known = registry.get(kind).map(|entry| entry.sn());
    match known {
        Some("commonName") => "CN".to_owned(),
        Some("organizationName") => "O".to_owned(),
        Some("organizationalUnitName" | "organizationalUnit") => "OU".to_owned(),
        Some("countryName") => "C".to_owned(),
        Some("localityName") => "L".to_owned(),
        Some("stateOrProvinceName") => "ST".to_owned(),
        Some("emailAddress") => "EMAILADDRESS".to_owned(),
        Some(name) => name.to_uppercase(),
        None => kind.to_id_string(),
    }
}

/// RFC 4514, 2.4.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.chars().enumerate() {
        let at_the_edge = match character {
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if at_the_edge || ",+\"\\<>;".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn alternative_name(certificate: &X509Certificate<'_>, place: LoginName) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut fitting = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match (place, name) {
            (LoginName::SanDns, GeneralName::DNSName(name))
            | (LoginName::SanEmail, GeneralName::RFC822Name(name))
            | (LoginName::SanUri, GeneralName::URI(name)) => Some((*name).to_owned()),
            _ => None,
        });
    fitting.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate() -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example, Inc");
        params
            .distinguished_name
            .push(DnType::CommonName, "somebody");
        params.subject_alt_names = vec![
            SanType::DnsName("client.example".try_into().unwrap()),
            SanType::DnsName("other.example".try_into().unwrap()),
            SanType::Rfc822Name("somebody@example".try_into().unwrap()),
        ];
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_name_is_where_the_configuration_says() {
        let certificate = certificate();
        let name = |place| of(&certificate, place);
        assert_eq!(name(LoginName::CommonName).as_deref(), Some("somebody"));
        assert_eq!(
            name(LoginName::DistinguishedName).as_deref(),
            Some(r"CN=somebody,O=Example\, Inc,C=DE")
        );
        assert_eq!(name(LoginName::SanDns).as_deref(), Some("client.example"));
        assert_eq!(
            name(LoginName::SanEmail).as_deref(),
            Some("somebody@example")
        );
        assert_eq!(name(LoginName::SanUri), None);
    }

    #[test]
    fn a_distinguished_name_is_escaped_as_rfc_4514_says() {
        assert_eq!(escape(" #a,b+c "), r"\ #a\,b\+c\ ");
        assert_eq!(escape("#a"), r"\#a");
        assert_eq!(escape(r#"a"b\c"#), r#"a\"b\\c"#);
    }
}
