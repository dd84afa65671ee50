//! What values options admit, and how texts become values.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use toml::Value;

use super::options::{ConfigOption, OPTIONS};

/// What values an option admits.
#[derive(Debug)]
pub enum Kind {
    /// Any text but an empty one.
    Text,
    /// Any text.
    OptionalText,
    /// Yes or no.
    Boolean,
    /// The same, never shown.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Integer(RangeInclusive<i64>),
    /// A whole number of bytes above 1, or a part of something: above 0, at most 1, written with a decimal point.
    BytesOrFraction,
    /// The path of a file, possibly empty.
    File,
    /// A list of these words, at least one.
    Choices(&'static [&'static str]),
    /// A list of texts, possibly empty.
    Texts,
    /// A list of `address:port`.
    Addresses,
    /// Directives of a log filter: a level, or `target=level`, separated by commas.
    LogFilter,
}

/// Options whose environment variable has a sibling that ends in `_FILE` and names a file with the value, as containers
/// are given secrets.
const FROM_FILES: [&str; 3] = ["default_vhost", "default_user", "default_pass"];

impl ConfigOption {
    /// The environment variable that names a file with the value, if the option has one.
    pub fn file_variable(&self) -> Option<String> {
        let has = FROM_FILES.contains(&self.key);
        has.then(|| format!("{}_FILE", self.environment_variable()))
    }

    /// The option with this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|option| option.key == key)
    }

    /// The environment variable that sets it: `amqp.frame_max` is `LEVERET_AMQP_FRAME_MAX`.
    pub fn environment_variable(&self) -> String {
        format!("LEVERET_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The section (empty at the top of the file) and the key inside it.
    pub fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// The value that `text`, from an environment variable or a flag, stands for. What cannot be of the option's
    /// kind stays text, so that [`check`](Self::check) complains about it.
    pub fn parse_text(&self, text: &str) -> Value {
        match self.kind {
            Kind::Integer(_) => text
                .trim()
                .parse()
                .map(Value::Integer)
                .unwrap_or_else(|_| text.into()),
            Kind::BytesOrFraction => {
                let number = text.trim();
                let whole = number.parse().map(Value::Integer);
                whole
                    .or_else(|_| number.parse().map(Value::Float))
                    .unwrap_or_else(|_| text.into())
            }
            Kind::Texts | Kind::Choices(_) | Kind::Addresses => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Value::Array(items.map(Value::from).collect())
            }
            Kind::Boolean => match text.trim().parse() {
                Ok(yes) => Value::Boolean(yes),
                Err(_) => text.into(),
            },
            Kind::Text
            | Kind::OptionalText
            | Kind::Secret
            | Kind::File
            | Kind::Choice(_)
            | Kind::LogFilter => text.into(),
        }
    }

    /// What is admitted, for documentation: `4096 to 16777216`.
    pub fn admitted(&self) -> String {
        match &self.kind {
            Kind::Text | Kind::Secret => "text".into(),
            Kind::OptionalText => "text, possibly empty".into(),
            Kind::Boolean => "true, false".into(),
            Kind::Choice(words) => words.join(", "),
            Kind::File => "path of a file".into(),
            Kind::Choices(words) => format!("list of {}", words.join(", ")),
            Kind::Integer(range) => format!("{} to {}", range.start(), range.end()),
            Kind::BytesOrFraction => "whole number of bytes, or fraction from 0.0 to 1.0".into(),
            Kind::Texts => "list of texts".into(),
            Kind::Addresses => "list of address:port".into(),
            Kind::LogFilter => "log level, or list of target=level".into(),
        }
    }

    /// Checks kind and range.
    ///
    /// # Errors
    /// What the value should have been, as the end of a sentence that begins with the key.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match (&self.kind, value) {
            (Kind::Text, Value::String(text)) if !text.is_empty() => Ok(()),
            (Kind::Text, _) => Err(format!("must be a text that is not empty, not {value}")),
            (Kind::OptionalText, Value::String(_)) => Ok(()),
            (Kind::OptionalText, _) => Err(format!("must be a text, not {value}")),
            (Kind::Boolean, Value::Boolean(_)) => Ok(()),
            (Kind::Boolean, _) => Err(format!("must be true or false, not {value}")),
            (Kind::Secret, Value::String(text)) if !text.is_empty() => Ok(()),
            (Kind::Secret, _) => Err("must be a text that is not empty".to_owned()),
            (Kind::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => Ok(()),
            (Kind::Choice(words), _) => {
                Err(format!("must be one of {}, not {value}", words.join(", ")))
            }
            (Kind::Integer(range), Value::Integer(number)) if range.contains(number) => Ok(()),
            (Kind::Integer(range), _) => Err(format!(
                "must be a whole number from {} to {}, not {value}",
                range.start(),
                range.end()
            )),
            (Kind::BytesOrFraction, Value::Integer(2..)) => Ok(()),
            (Kind::BytesOrFraction, Value::Float(part)) if *part > 0.0 && *part <= 1.0 => Ok(()),
            (Kind::BytesOrFraction, _) => Err(format!(
                "must be a whole number of bytes above 1 or a fraction such as 0.6, not {value}"
            )),
            (Kind::File, Value::String(_)) => Ok(()),
            (Kind::File, _) => Err(format!("must be the path of a file, not {value}")),
            (Kind::Choices(words), Value::Array(items))
                if !items.is_empty()
                    && items
                        .iter()
                        .all(|item| item.as_str().is_some_and(|item| words.contains(&item))) =>
            {
                Ok(())
            }
            (Kind::Choices(words), _) => Err(format!(
                "must be a list of {}, not {value}",
                words.join(", ")
            )),
            (Kind::Texts, Value::Array(items)) if items.iter().all(Value::is_str) => Ok(()),
            (Kind::Texts, _) => Err(format!("must be a list of texts, not {value}")),
            (Kind::Addresses, Value::Array(items)) => items.iter().try_for_each(check_address),
            (Kind::Addresses, _) => Err(format!("must be a list of address:port, not {value}")),
            (Kind::LogFilter, Value::String(text)) => check_log_filter(text),
            (Kind::LogFilter, _) => Err(format!("must be a text, not {value}")),
        }
    }
}

fn check_address(item: &Value) -> Result<(), String> {
    match item.as_str().map(str::parse::<SocketAddr>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!(
            "must be a list of address:port such as \"127.0.0.1:5672\" or \"[::]:5672\", not {item}"
        )),
    }
}

/// Stricter than the filter's own parser, which takes a misspelt level for the name of a module.
fn check_log_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let directive_is_good = |directive: &str| match directive.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(directive),
    };
    if text.split(',').all(directive_is_good)
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
    {
        return Ok(());
    }
    Err(format!(
        "must be one of {} or a list as \"info,leveret::net=debug\", not \"{text}\"",
        LEVELS.join(", ")
    ))
}
