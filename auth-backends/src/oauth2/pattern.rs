//! Patterns in scopes: of vhosts, of queues and exchanges, of routing keys (RabbitMQ: `wildcard`,
//! `rabbit_oauth2_scope`).

use fancy_regex::RegexBuilder;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use super::PatternSyntax;

/// The most bytes of a regular expression.
const LONGEST: usize = 2048;

/// Steps after which a match is given up.
const MATCH_LIMIT: usize = 10_000;

/// What means something else in scopes with wildcards.
const SPECIAL: &AsciiSet = &AsciiSet::EMPTY
    .add(b'*')
    .add(b'/')
    .add(b'%')
    .add(b'+')
    .add(b':');

/// What regular expressions may not hold: they would match other than all of a name, or not as they look.
const REJECTED: [&str; 17] = [
    "(?i", "(?I", "(?m", "(?M", "(?s", "(?S", "(?x", "(?X", "(?J", "(?U", "(?n", "(?-", "(?C",
    "(?#", "(*", "(?R", "(?0",
];

/// Whether `name` is one of those that `pattern` stands for.
pub(super) fn matches(syntax: PatternSyntax, name: &str, pattern: &str) -> bool {
    match syntax {
        PatternSyntax::Wildcard => wildcard(name.as_bytes(), pattern).unwrap_or(false),
        PatternSyntax::Regex => regex(name, pattern),
    }
}

/// RabbitMQ's `wildcard:match`: each part is looked for behind the one before it, at the first place where it is found.
fn wildcard(name: &[u8], pattern: &str) -> Option<bool> {
    let parts: Option<Vec<_>> = pattern.split('*').map(url_decoded).collect();
    let parts = parts?;
    let (first, rest) = parts.split_first()?;
    let Some(mut left) = name.strip_prefix(first.as_slice()) else {
        return Some(false);
    };
    for (number, part) in rest.iter().enumerate() {
        let last = number + 1 == rest.len();
        match (part.is_empty(), last) {
            (true, true) => return Some(true),
            (true, false) => {}
            _ if left.is_empty() => return Some(false),
            _ => {
                let found = left.windows(part.len()).position(|window| window == part);
                let Some(at) = found else {
                    return Some(false);
                };
                left = left.get(at + part.len()..)?;
            }
        }
    }
    Some(left.is_empty())
}

/// As `cow_qs:urldecode` does it; `None` if a percent sign has no two digits behind it.
fn url_decoded(part: &str) -> Option<Vec<u8>> {
    let mut after_percent = part.split('%').skip(1);
    let good = after_percent.all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let spaced = part.replace('+', " ");
    good.then(|| percent_decode_str(&spaced).collect())
}

fn regex(name: &str, pattern: &str) -> bool {
    let rejected = REJECTED.iter().any(|construct| pattern.contains(construct));
    if pattern.len() > LONGEST || rejected {
        tracing::warn!(pattern, "a scope's pattern is too long or not supported");
        return false;
    }
    let whole = format!(r"\A(?:{pattern})\z");
    match RegexBuilder::new(&whole)
        .backtrack_limit(MATCH_LIMIT)
        .build()
    {
        Ok(regex) => regex.is_match(name).unwrap_or(false),
        Err(error) => {
            tracing::warn!(pattern, "a scope's pattern is none: {error}");
            false
        }
    }
}

/// A text as a part of a scope that stands for nothing but itself.
pub(super) fn literal(syntax: PatternSyntax, text: &str) -> String {
    match syntax {
        PatternSyntax::Wildcard => utf8_percent_encode(text, SPECIAL).to_string(),
        // What divides a scope into its parts must not stand in one of them.
        PatternSyntax::Regex => fancy_regex::escape(text)
            .replace('/', r"\x2F")
            .replace(':', r"\x3A"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        let matches = |name, pattern| matches(PatternSyntax::Wildcard, name, pattern);
        for (name, pattern) in [
            ("value", "value"),
            ("value", "*"),
            ("", "*"),
            ("", ""),
            ("value", "val*"),
            ("value", "*lue"),
            ("value", "v*l*e"),
            ("value", "v**e"),
            ("value", "value*"),
            ("a/b", "a%2Fb"),
            ("a b", "a+b"),
            ("a*b", "a%2ab"),
        ] {
            assert!(matches(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [
            ("value", "valu"),
            ("value", ""),
            ("value", "*x"),
            ("value", "alue"),
            ("value", "value*e"),
            ("value", "v%zz"),
            ("value", "value%2"),
            // The first place counts, as in RabbitMQ.
            ("aba", "*a"),
        ] {
            assert!(!matches(name, pattern), "{name} {pattern}");
        }
    }

    #[test]
    fn a_regular_expression_matches_all_of_a_name() {
        let matches = |name, pattern| matches(PatternSyntax::Regex, name, pattern);
        assert!(matches("orders-1", r"orders-\d"));
        assert!(matches("b", "a|b"));
        assert!(!matches("orders-12", r"orders-\d"));
        assert!(!matches("a\n", "a"));
        let long = "a".repeat(LONGEST + 1);
        for wrong in ["(", "(?i)a", "a(*FAIL)", &*long] {
            assert!(!matches("a", wrong), "{wrong}");
        }
        let escaped = literal(PatternSyntax::Regex, "a.b");
        assert!(matches("a.b", &escaped));
        assert!(!matches("axb", &escaped));
    }
}
