//! What a token says of itself: for whom it is, from whom, until when, and whose it is.

use serde_json::Value;

use super::{Claims, Invalid, Options};

/// Whether the token is for this broker (RabbitMQ: `rabbit_oauth2_resource_server:resolve_resource_server_from_audience`).
pub(super) fn check_audience(claims: &Claims, options: &Options) -> Result<(), Invalid> {
    let us = options.resource_server_id.as_str();
    let ours = match claims.get("aud") {
        Some(Value::String(audience)) => audience.split(' ').any(|one| one == us),
        Some(Value::Array(audience)) => audience.iter().any(|one| one == us),
        _ => false,
    };
    if ours || !options.verify_audience {
        return Ok(());
    }
    let problem = match claims.contains_key("aud") {
        true => "no_matching_aud_found",
        false => "no_aud_found",
    };
    Err(Invalid::NotForUs(problem.to_owned()))
}

/// Whether it comes from the issuer that is configured.
pub(super) fn check_issuer(claims: &Claims, options: &Options) -> Result<(), Invalid> {
    let issuer = options.issuer.as_str();
    if issuer.is_empty() || claims.get("iss").is_some_and(|said| said == issuer) {
        return Ok(());
    }
    Err(Invalid::wrong(
        "the token is not from the issuer that is configured",
    ))
}

/// Whether it is still good (RabbitMQ: `rabbit_auth_backend_oauth2:validate_token_expiry`).
pub(super) fn check_expiry(claims: &Claims, options: &Options, now: u64) -> Result<(), String> {
    match claims.get("exp").map(seconds) {
        None if options.require_expiry => Err("Provided JWT token has no exp claim".to_owned()),
        None => Ok(()),
        Some(None) => {
            Err("Provided JWT token has an invalid exp claim: value is not a number".to_owned())
        }
        Some(Some(end)) if end.saturating_add(options.leeway) <= now => Err(format!(
            "Provided JWT token has expired at timestamp {end} (validated at {now})"
        )),
        Some(Some(_)) => Ok(()),
    }
}

/// Whether it is good already (RFC 7519, 4.1.5). RabbitMQ does not look.
pub(super) fn check_beginning(claims: &Claims, options: &Options, now: u64) -> Result<(), Invalid> {
    let Some(said) = claims.get("nbf") else {
        return Ok(());
    };
    let beginning = seconds(said).ok_or_else(|| {
        Invalid::wrong("Provided JWT token has an invalid nbf claim: value is not a number")
    })?;
    if beginning <= now.saturating_add(options.leeway) {
        return Ok(());
    }
    let problem = format!("the token is good from timestamp {beginning} on (validated at {now})");
    Err(Invalid::Wrong(problem))
}

/// When it ends, the difference of clocks included.
pub(super) fn end(claims: &Claims, options: &Options) -> Option<u64> {
    let end = claims.get("exp").and_then(seconds)?;
    Some(end.saturating_add(options.leeway))
}

fn seconds(value: &Value) -> Option<u64> {
    match value.as_f64() {
        Some(seconds) if seconds >= 0.0 => Some(seconds as u64),
        Some(_) => Some(0),
        None => None,
    }
}

/// The user's name (RabbitMQ: `username_from`).
pub(super) fn username<'a>(claims: &'a Claims, options: &Options) -> &'a str {
    let places = options.preferred_username_claims.iter();
    let mut names = places.filter_map(|claim| claims.get(claim)?.as_str());
    names.next().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::options, *};
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_token_is_for_those_whom_it_names() {
        let mut options = options();
        let check = |value: Value, options: &Options| {
            check_audience(&claims(value), options).map_err(|why| match why {
                Invalid::NotForUs(problem) => problem,
                Invalid::Wrong(problem) => panic!("{problem}"),
            })
        };
        for aud in [
            json!("rabbitmq"),
            json!("other rabbitmq"),
            json!(["other", "rabbitmq"]),
        ] {
            assert_eq!(check(json!({ "aud": aud }), &options), Ok(()));
        }
        for aud in [json!("rabbit"), json!([]), json!(1)] {
            let found = check(json!({ "aud": aud }), &options);
            assert_eq!(found, Err("no_matching_aud_found".to_owned()));
        }
        assert_eq!(check(json!({}), &options), Err("no_aud_found".to_owned()));
        options.verify_audience = false;
        assert_eq!(check(json!({ "aud": "rabbit" }), &options), Ok(()));
        assert_eq!(check(json!({}), &options), Ok(()));
    }

    #[test]
    fn a_token_ends_when_it_says_so_and_not_before_the_leeway_is_over() {
        let mut options = options();
        let check = |value: Value, options: &Options| check_expiry(&claims(value), options, 100);
        assert_eq!(check(json!({ "exp": 101 }), &options), Ok(()));
        assert_eq!(check(json!({ "exp": 101.9 }), &options), Ok(()));
        let expired = "Provided JWT token has expired at timestamp 100 (validated at 100)";
        assert_eq!(
            check(json!({ "exp": 100 }), &options),
            Err(expired.to_owned())
        );
        assert!(check(json!({ "exp": "tomorrow" }), &options).is_err());
        assert!(check(json!({}), &options).is_err());
        options.require_expiry = false;
        options.leeway = 5;
        assert_eq!(check(json!({}), &options), Ok(()));
        assert_eq!(check(json!({ "exp": 96 }), &options), Ok(()));
        assert!(check(json!({ "exp": 95 }), &options).is_err());
        assert_eq!(end(&claims(json!({ "exp": 96 })), &options), Some(101));
    }

    #[test]
    fn a_token_is_not_good_before_it_says_so() {
        let mut options = options();
        let check = |nbf: Value, options: &Options| {
            check_beginning(&claims(json!({ "nbf": nbf })), options, 100).is_ok()
        };
        assert!(check(json!(100), &options));
        assert!(!check(json!(101), &options));
        options.leeway = 1;
        assert!(check(json!(101), &options));
        for wrong in [json!("1"), json!("tomorrow"), Value::Null, json!([1])] {
            assert!(!check(wrong, &options));
        }
        assert!(check_beginning(&claims(json!({})), &options, 100).is_ok());
    }

    #[test]
    fn the_name_is_in_the_first_place_that_has_one() {
        let mut options = options();
        let all = claims(json!({ "sub": "s", "client_id": "c", "email": "e", "number": 1 }));
        assert_eq!(username(&all, &options), "s");
        options.preferred_username_claims = vec!["number".to_owned(), "email".to_owned()];
        assert_eq!(username(&all, &options), "e");
        assert_eq!(username(&claims(json!({})), &options), "unknown");
    }

    #[test]
    fn the_issuer_counts_where_one_is_configured() {
        let mut options = options();
        assert!(check_issuer(&claims(json!({})), &options).is_ok());
        options.issuer = "https://issuer".to_owned();
        assert!(check_issuer(&claims(json!({})), &options).is_err());
        assert!(check_issuer(&claims(json!({ "iss": "https://other" })), &options).is_err());
        assert!(check_issuer(&claims(json!({ "iss": "https://issuer" })), &options).is_ok());
    }
}
