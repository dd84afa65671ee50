//! A set of names, given by a pattern.

use crate::pattern::Pattern;

/// Patterns that hold any name.
const EVERYTHING: [&str; 3] = [".*", "^.*", ".*$"];

/// The names that a pattern of a permission stands for.
#[derive(Debug)]
pub(super) enum Names {
    /// All of them, which most users are given.
    Everything,
    /// The empty one, which only an empty routing key has (RabbitMQ: an empty pattern stands for `^$`).
    Empty,
    /// Those that match.
    Matching(Box<Pattern>),
    /// None: the pattern is none, so it was not made here. RabbitMQ refuses in this case too.
    Nothing,
}

impl Names {
    pub(super) fn compile(pattern: &str) -> Self {
        match pattern {
            "" | "^$" => Self::Empty,
            pattern if EVERYTHING.contains(&pattern) => Self::Everything,
            pattern => match Pattern::compile(pattern) {
                Ok(pattern) => Self::Matching(Box::new(pattern)),
                Err(error) => {
                    tracing::warn!("a permission's pattern {error}; it permits nothing");
                    Self::Nothing
                }
            },
        }
    }

    #[inline]
    pub(super) fn contain(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Empty => name.is_empty(),
            Self::Matching(pattern) => pattern.matches(name),
            Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(pattern: &str, name: &str) -> bool {
        Names::compile(pattern).contain(name)
    }

    #[test]
    fn a_pattern_holds_the_names_in_which_it_is_found() {
        assert!(contains(".*", "anything"));
        assert!(contains("^orders", "orders.new"));
        assert!(!contains("^orders$", "orders.new"));
        assert!(contains("new", "orders.new"));
    }

    #[test]
    fn an_empty_pattern_holds_the_empty_name_only() {
        for pattern in ["", "^$"] {
            assert!(contains(pattern, ""));
            assert!(!contains(pattern, "q"));
        }
    }

    #[test]
    fn what_is_no_pattern_holds_nothing() {
        assert!(!contains("(", "("));
    }
}
