//! What the bearer of a token may do: `read:vhost/queue`, `write:vhost/exchange/routing-key` and the like (RabbitMQ:
//! `rabbit_oauth2_scope`).

use std::{collections::HashMap, fmt, sync::Arc};

use broker_core::{
    authentication::{Identity, NotRenewed, unix_time},
    permissions::{About, Answer, Authoriser, Operation, Question, Renewal},
};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Claims, Invalid, OAuth2, PatternSyntax, claims, pattern, scopes};

/// The bearer of a token.
pub(super) struct Bearer {
    backend: Arc<OAuth2>,
    name: Arc<str>,
    claims: Claims,
    scopes: Vec<String>,
    /// What the scopes say of what was asked before: they do not change.
    decided: Mutex<HashMap<Question, bool>>,
}

/// Questions that are remembered at most. Beyond it the memory starts over.
const CAPACITY: usize = 256;

impl fmt::Debug for Bearer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Bearer of {}'s token", self.name)
    }
}

/// A scope that is a permission.
#[derive(Debug, PartialEq, Eq)]
struct Permission<'a> {
    operation: Operation,
    vhost: &'a str,
    name: &'a str,
    routing_key: Option<&'a str>,
}

impl<'a> Permission<'a> {
    fn parse(scope: &'a str) -> Option<Self> {
        let (operation, place) = scope.split_once(':')?;
        let operation = match operation {
            "read" => Operation::Read,
            "write" => Operation::Write,
            "configure" => Operation::Configure,
            _ => return None,
        };
        let mut parts = place.split('/');
        let permission = Self {
            operation,
            vhost: parts.next()?,
            name: parts.next()?,
            routing_key: parts.next(),
        };
        parts.next().is_none().then_some(permission)
    }

    fn allows(&self, question: &Question, syntax: PatternSyntax) -> bool {
        let matches = |name: &str, pattern: &str| pattern::matches(syntax, name, pattern);
        if !matches(&question.vhost, self.vhost) {
            return false;
        }
        match &question.about {
            About::Vhost(_) => true,
            About::Resource {
                name, operation, ..
            } => *operation == self.operation && matches(name, self.name),
            About::Topic {
                exchange,
                routing_key,
                operation,
            } => {
                let key = self.routing_key;
                *operation == self.operation
                    && key.is_some_and(|pattern| matches(routing_key, pattern))
                    && matches(exchange, self.name)
            }
        }
    }
}

impl Bearer {
    pub(super) fn new(backend: Arc<OAuth2>, claims: Claims, scopes: Vec<String>) -> Self {
        Self {
            name: claims::username(&claims, &backend.options).into(),
            backend,
            claims,
            scopes,
            decided: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn tags(&self) -> Vec<String> {
        scopes::tags(&self.scopes)
    }

    /// The answer at `now`, in seconds since 1970.
    pub(super) fn answer_at(&self, question: &Question, now: u64) -> Answer {
        let options = &self.backend.options;
        if let Err(expired) = claims::check_expiry(&self.claims, options, now) {
            return Answer::Failed(format!("\"{expired}\""));
        }
        match self.allows(question) {
            true => Answer::Allowed,
            false => Answer::Refused,
        }
    }

    fn allows(&self, question: &Question) -> bool {
        if let Some(allowed) = self.decided.lock().get(question) {
            return *allowed;
        }
        let syntax = self.backend.options.pattern_syntax;
        let allowed = self.scopes.iter().any(|scope| {
            let scope = expanded(scope, &self.claims, &question.vhost, syntax);
            Permission::parse(&scope).is_some_and(|it| it.allows(question, syntax))
        });
        let mut decided = self.decided.lock();
        if decided.len() >= CAPACITY {
            decided.clear();
        }
        decided.insert(question.clone(), allowed);
        allowed
    }

    fn renewed(&self, token: &[u8]) -> Result<Self, NotRenewed> {
        let backend = &self.backend;
        let refused = |invalid: Invalid| match invalid {
            Invalid::NotForUs(_) => NotRenewed::Failed(invalid.reason()),
            Invalid::Wrong(_) => NotRenewed::Refused(invalid.reason()),
        };
        let unchecked = backend.read_token(token).map_err(refused)?;
        let keys = backend.keys.find(&unchecked.key);
        let keys = keys.map_err(|problem| refused(Invalid::Wrong(problem)))?;
        let claims = backend.verify(&unchecked, &keys).map_err(refused)?;
        claims::check_beginning(&claims, &backend.options, unix_time()).map_err(refused)?;
        let bearer = backend.bearer(claims).map_err(refused)?;
        match bearer.name == self.name {
            true => Ok(bearer),
            false => Err(NotRenewed::Refused(
                "Not allowed to change username on refreshed token".to_owned(),
            )),
        }
    }
}

impl Authoriser for Bearer {
    fn backend(&self) -> &'static str {
        "rabbit_auth_backend_oauth2"
    }

    fn answer_now(&self, user: &Identity, question: &Question) -> Option<Answer> {
        Some(self.answer(user, question))
    }

    fn answer(&self, _: &Identity, question: &Question) -> Answer {
        self.answer_at(question, unix_time())
    }

    fn answers_count_for(&self) -> Option<u64> {
        None
    }

    fn expires_at(&self) -> Option<u64> {
        claims::end(&self.claims, &self.backend.options)
    }

    fn renew(&self, secret: &[u8]) -> Result<Renewal, NotRenewed> {
        let bearer = self.renewed(secret)?;
        Ok(Renewal {
            tags: bearer.tags(),
            authoriser: Arc::new(bearer),
        })
    }
}

/// A scope with `{vhost}` and `{claim}` put in (RabbitMQ: `parse_scope`). What stands in braces is a name without dots
/// and stars; a brace that is not closed spoils the scope. A value stands for itself: a claim that a user can choose must
/// not bring stars or further parts.
fn expanded(scope: &str, claims: &Claims, vhost: &str, syntax: PatternSyntax) -> String {
    let mut out = String::with_capacity(scope.len());
    let mut rest = scope;
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let end = behind.find(['{', '}', '.', '*']).unwrap_or(behind.len());
        let Some((name, closed)) = behind.split_at_checked(end) else {
            return String::new();
        };
        let Some(after) = closed.strip_prefix('}') else {
            return String::new();
        };
        let value = match name {
            "vhost" => vhost,
            name => claims.get(name).and_then(Value::as_str).unwrap_or(name),
        };
        out.push_str(&pattern::literal(syntax, value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_permission_names_vhost_and_resource_and_perhaps_a_routing_key() {
        let parse = Permission::parse;
        let read = Permission {
            operation: Operation::Read,
            vhost: "v",
            name: "n",
            routing_key: None,
        };
        assert_eq!(parse("read:v/n"), Some(read));
        let key = parse("write:v/n/a.*").and_then(|it| it.routing_key);
        assert_eq!(key, Some("a.*"));
        for none in [
            "read:v",
            "read:v/n/k/x",
            "tag:administrator",
            "delete:v/n",
            "read",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn names_in_braces_are_put_in() {
        let claims = json!({ "sub": "a.b", "number": 1 });
        let claims = claims.as_object().unwrap();
        let with = |scope| expanded(scope, claims, "/v", PatternSyntax::Wildcard);
        assert_eq!(with("read:{vhost}/{sub}-*"), "read:%2Fv/a.b-*");
        assert_eq!(with("read:{number}/{none}"), "read:number/none");
        assert_eq!(with("read:a/b"), "read:a/b");
        assert_eq!(with("read:{vhost/b"), "");
        assert_eq!(with("read:{a.b}/b"), "");
        let escaped = expanded("read:{vhost}/{sub}", claims, "/v", PatternSyntax::Regex);
        assert_eq!(escaped, r"read:\x2Fv/a\.b");
    }

    #[test]
    fn what_is_put_in_stands_for_itself() {
        for syntax in [PatternSyntax::Wildcard, PatternSyntax::Regex] {
            for value in [
                "*", "a/b", "100%", "a+b", "x:y", "%2A", "a b", "/", ".*", "(a",
            ] {
                let claims = json!({ "sub": value });
                let claims = claims.as_object().unwrap();
                let allows = |vhost: &str, name: &str| {
                    let scope = expanded("read:{vhost}/{sub}", claims, vhost, syntax);
                    let about = About::Resource {
                        kind: "queue",
                        name: name.to_owned(),
                        operation: Operation::Read,
                    };
                    let vhost = vhost.into();
                    let question = Question { vhost, about };
                    Permission::parse(&scope).is_some_and(|it| it.allows(&question, syntax))
                };
                for vhost in ["/", "*", "v"] {
                    assert!(allows(vhost, value), "{value} in {vhost}");
                    assert!(!allows(vhost, "another"), "{value} in {vhost}");
                }
            }
        }
    }
}
