//! Regular expressions over names: which queues and exchanges a policy is for, which resources a user may touch.
//!
//! RabbitMQ compiles them with Erlang's `re`, which is PCRE, and gives up on a match after 50,000 steps (`rabbit_re`).
//! Here plain expressions run in linear time, and those that need more, such as the common `^(?!amq\.)`, backtrack
//! within the same bound.

use std::fmt;

use fancy_regex::{Error as RegexError, Regex, RegexBuilder};

use crate::arguments::Quoted;

/// The most bytes that a pattern may have (`rabbit_re:max_pattern_length`).
pub const MAX_PATTERN_LENGTH: usize = 1024;

/// Steps after which a backtracking match is given up (`rabbit_re:match_limit`).
const MATCH_LIMIT: usize = 50_000;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// Why a text is no pattern; displayed in the words that follow the thing's name in RabbitMQ's texts: `pattern must not
/// exceed 1024 bytes`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// More than [`MAX_PATTERN_LENGTH`] bytes.
    #[error("must not exceed {MAX_PATTERN_LENGTH} bytes")]
    TooLong,
    /// No regular expression: the reason, and the byte where it stands, as `re:compile` gives them.
    #[error("should be regular expression but is invalid: {{{reason},{position}}}", reason = Quoted(.0), position = .1)]
    Invalid(String, usize),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// It is too long, or no regular expression.
    pub fn compile(text: &str) -> Result<Self, PatternError> {
        Self::build(text, false)
    }

    fn build(text: &str, caseless: bool) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_LENGTH {
            return Err(PatternError::TooLong);
        }
        let mut builder = RegexBuilder::new(text);
        builder.backtrack_limit(MATCH_LIMIT);
        builder.case_insensitive(caseless);
        let regex = builder.build();
        regex.map(Self).map_err(|error| match error {
            RegexError::ParseError(position, reason) => {
                PatternError::Invalid(reason.to_string(), position)
            }
            other => PatternError::Invalid(other.to_string(), 0),
        })
    }

    /// Compiles a pattern that finds letters in either case.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_caseless(text: &str) -> Result<Self, PatternError> {
        Self::build(text, true)
    }

    /// Whether the pattern is found somewhere in `name`. One that takes too long is not found.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
    }
}

/// The pattern's text.
impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::compile(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_pattern_is_searched_for_anywhere_unless_it_is_anchored() {
        assert!(matches("b", "abc"));
        assert!(!matches("^b", "abc"));
        assert!(matches("", "abc"));
        assert!(!matches("^$", "abc"));
    }

    #[test]
    fn look_around_and_references_work_as_in_erlang() {
        assert!(matches(r"^(?!amq\.)", "orders"));
        assert!(!matches(r"^(?!amq\.)", "amq.topic"));
        assert!(matches(r"^(?!amq\.).*", "orders"));
        assert!(matches(r"^(.)\1$", "aa"));
    }

    #[test]
    fn a_match_that_explodes_is_given_up() {
        let pattern = Pattern::compile(r"^(a+)+\1$").unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(200))));
    }

    #[test]
    fn a_pattern_of_1024_bytes_is_the_longest() {
        assert!(Pattern::compile(&"a".repeat(1024)).is_ok());
        let error = Pattern::compile(&"a".repeat(1025)).unwrap_err();
        assert_eq!(error.to_string(), "must not exceed 1024 bytes");
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_reason_and_place() {
        let error = Pattern::compile("a(b").unwrap_err().to_string();
        let start = "should be regular expression but is invalid: {\"";
        assert!(error.starts_with(start), "{error}");
        assert!(Pattern::compile("*").is_err());
        assert!(Pattern::compile("[z-a]").is_err());
    }
}
