//! What the service answers.

use broker_core::{authentication::Refusal, permissions::Answer};

/// What is said of a login: tags, or that it is refused. An error if it is neither.
pub(super) fn of_login(text: &str) -> Result<Result<Vec<String>, Refusal>, String> {
    let text = text.trim();
    let denied = || Ok(Err(Refusal::new("Denied by the backing HTTP service")));
    if let Some(reason) = text.strip_prefix("deny ") {
        tracing::info!("HTTP authentication denied: {reason}");
        return denied();
    }
    let lower = text.to_lowercase();
    if lower == "deny" {
        return denied();
    }
    match lower.strip_prefix("allow") {
        Some(tags) => Ok(Ok(tags.split_whitespace().map(str::to_owned).collect())),
        None => Err("bad_response".to_owned()),
    }
}

/// What is said of a permission; `None` if it is neither yes nor no.
pub(super) fn of_question(text: &str, disclose: bool) -> Option<Answer> {
    let text = text.trim();
    if let Some(reason) = text.strip_prefix("deny ") {
        tracing::info!("HTTP authorization denied: {reason}");
        return Some(match disclose {
            true => Answer::RefusedBecause(reason.to_owned()),
            false => Answer::Refused,
        });
    }
    match text.to_lowercase().as_str() {
        "allow" => Some(Answer::Allowed),
        "deny" => Some(Answer::Refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_allowed_with_tags_or_denied() {
        let tags = |text| of_login(text).unwrap().unwrap();
        assert!(tags("allow").is_empty());
        assert_eq!(
            tags(" Allow administrator  Management\n"),
            ["administrator", "management"]
        );
        for text in ["deny", "DENY\n", "deny for a reason"] {
            assert!(of_login(text).unwrap().is_err(), "{text}");
        }
        for text in ["", "yes", "denied", "<html>"] {
            assert!(of_login(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_permission_is_allowed_or_denied_and_nothing_else() {
        assert_eq!(of_question("allow\n", false), Some(Answer::Allowed));
        assert_eq!(of_question("Deny", false), Some(Answer::Refused));
        assert_eq!(of_question("deny it is late", false), Some(Answer::Refused));
        let because = Answer::RefusedBecause("it is late".to_owned());
        assert_eq!(of_question("deny it is late", true), Some(because));
        for text in ["", "allow administrator", "allowed", "yes"] {
            assert_eq!(of_question(text, true), None, "{text}");
        }
    }
}
