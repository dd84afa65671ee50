//! Where the values come from: built-in defaults, then the file, then the environment, then flags, the later one
//! counting.
//!
//! Every value is checked where it is read, so that an error names the line, the variable or the flag at fault, even
//! if a later layer would have replaced the value.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use toml::Spanned;
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::options::{ConfigOption, OPTIONS};
use crate::error::Error;

/// Where a value was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is the built-in default.
    Default,
    /// The configuration file, at this line and column, counted from 1.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// This environment variable.
    Environment(String),
    /// This command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The value of one option, and where it comes from.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which option.
    pub option: &'static ConfigOption,
    /// Its value, checked.
    pub value: Value,
    /// Who set it.
    pub source: Source,
}

impl Setting {
    /// Checks `value` before it becomes a setting.
    fn checked(option: &'static ConfigOption, value: Value, source: Source) -> Result<Self, Error> {
        match option.check(&value) {
            Ok(()) => Ok(Self {
                option,
                value,
                source,
            }),
            Err(problem) => Err(Error::InvalidValue {
                source_name: source.to_string(),
                key: option.key,
                problem,
            }),
        }
    }
}

/// The built-in defaults: one setting for every option.
pub fn defaults() -> Result<Vec<Setting>, Error> {
    OPTIONS.iter().map(default_of).collect()
}

fn default_of(option: &'static ConfigOption) -> Result<Setting, Error> {
    let value = Value::deserialize(
        toml::de::ValueDeserializer::parse(option.default).map_err(Error::OptionsTable)?,
    )
    .map_err(Error::OptionsTable)?;
    Setting::checked(option, value, Source::Default)
}

/// What the TOML file at `path` sets.
///
/// # Errors
/// [`Error::UnreadableConfig`] when it cannot be read, [`Error::InvalidToml`] when it is no TOML, [`Error::UnknownKey`] for
/// a key that does not exist and [`Error::InvalidValue`] for a value that is not admitted, each with its line.
pub fn file(path: &Path) -> Result<Vec<Setting>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::UnreadableConfig {
        path: path.to_owned(),
        error,
    })?;
    let file = File { path, text: &text };
    let document = DeTable::parse(&text).map_err(|error| file.syntax_error(&error))?;
    let mut settings = Vec::new();
    file.table(document.get_ref(), "", &mut settings)?;
    Ok(settings)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn table(
        &self,
        table: &DeTable<'_>,
        section: &str,
        settings: &mut Vec<Setting>,
    ) -> Result<(), Error> {
        for (name, value) in table {
            let separator = if section.is_empty() { "" } else { "." };
            let key = format!("{section}{separator}{}", name.get_ref());
            let source = self.position(name.span().start);
            match (ConfigOption::find(&key), value.get_ref()) {
                (Some(option), _) => {
                    settings.push(Setting::checked(option, to_value(value)?, source)?)
                }
                (None, DeValue::Table(inner)) if is_section(&key) => {
                    self.table(inner, &key, settings)?
                }
                (None, _) => return Err(unknown_key(&key, &source)),
            }
        }
        Ok(())
    }

    fn position(&self, offset: usize) -> Source {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Source::File {
            path: self.path.to_owned(),
            line,
            column,
        }
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Error {
        let source_name = self
            .position(error.span().unwrap_or_default().start)
            .to_string();
        Error::InvalidToml {
            source_name,
            problem: error.message().replace('\n', ", "),
        }
    }
}

fn to_value(value: &Spanned<DeValue<'_>>) -> Result<Value, Error> {
    Value::deserialize(value.clone().into_deserializer()).map_err(Error::OptionsTable)
}

fn is_section(key: &str) -> bool {
    OPTIONS
        .iter()
        .any(|option| option.section_and_name().0 == key)
}

fn unknown_key(key: &str, source: &Source) -> Error {
    let advice = if is_section(key) {
        format!("{key} is a section: write [{key}], then its options below")
    } else {
        match nearest(key) {
            Some(known) => format!("did you mean {known}?"),
            None => "\"leveret config show\" lists every key".to_owned(),
        }
    };
    Error::UnknownKey {
        source_name: source.to_string(),
        key: key.to_owned(),
        advice,
    }
}

/// The option whose key, with or without its section, is most like `key`.
fn nearest(key: &str) -> Option<&'static str> {
    let name = key.rsplit('.').next().unwrap_or(key);
    let likeness = |option: &ConfigOption| {
        let whole = strsim::normalized_damerau_levenshtein(key, option.key);
        let last = strsim::normalized_damerau_levenshtein(name, option.section_and_name().1);
        whole.max(last)
    };
    let candidates = OPTIONS.iter().map(|option| (likeness(option), option.key));
    let (likeness, key) = candidates.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness >= 0.6).then_some(key)
}

/// What the environment sets, and the names of `LEVERET_*` variables that set nothing.
///
/// Those are not an error: a container platform adds variables of its own for a service that is named leveret
/// (`LEVERET_PORT_5672_TCP_ADDR`).
///
/// # Errors
/// [`Error::InvalidValue`] for a value that is not admitted.
pub fn environment(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(Vec<Setting>, Vec<UnknownVariable>), Error> {
    let (mut settings, mut aliases, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (name, text) in variables {
        if let Some(own) = own_name(&name) {
            aliases.extend(setting_of(&own, &name, &text)?);
        } else if name.starts_with("LEVERET_") && name != CONFIG_VARIABLE {
            match setting_of(&name, &name, &text)? {
                Some(setting) => settings.push(setting),
                None => unknown.push(UnknownVariable::new(name)),
            }
        }
    }
    // In front of Leveret's own, which count.
    aliases.extend(settings);
    Ok((aliases, unknown))
}

/// What the official image of RabbitMQ calls some of our variables otherwise.
const ALIASES: [&str; 3] = ["DEFAULT_USER", "DEFAULT_PASS", "DEFAULT_VHOST"];

/// Leveret's name of a variable of that image.
fn own_name(name: &str) -> Option<String> {
    let rest = name.strip_prefix("RABBITMQ_")?;
    let known = ALIASES.contains(&rest.strip_suffix("_FILE").unwrap_or(rest));
    known.then(|| format!("LEVERET_{rest}"))
}

/// What a variable that is called `own`, or by its user `name`, sets. None if no option has it.
fn setting_of(own: &str, name: &str, text: &str) -> Result<Option<Setting>, Error> {
    let source = || Source::Environment(name.to_owned());
    let of_file = |option: &&ConfigOption| option.file_variable().as_deref() == Some(own);
    if let Some(option) = OPTIONS.iter().find(of_file) {
        let value = read_value(option, name, text)?;
        return Setting::checked(option, value, source()).map(Some);
    }
    let option = OPTIONS
        .iter()
        .find(|option| option.environment_variable() == own);
    let setting = |option| Setting::checked(option, option.parse_text(text), source());
    option.map(setting).transpose()
}

/// The value in the file that `variable` names. One line end at its end is the editor's.
fn read_value(option: &ConfigOption, variable: &str, path: &str) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::InvalidValue {
        source_name: format!("environment variable {variable}"),
        key: option.key,
        problem: format!("cannot be read from {path}: {error}"),
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(option.parse_text(text.strip_suffix('\r').unwrap_or(text)))
}

/// The environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "LEVERET_CONFIG";

/// A `LEVERET_*` environment variable that no option has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The variable that may have been meant.
    pub nearest: Option<String>,
}

impl UnknownVariable {
    fn new(name: String) -> Self {
        let candidates = OPTIONS.iter().map(|option| {
            let known = option.environment_variable();
            (strsim::normalized_damerau_levenshtein(&name, &known), known)
        });
        let nearest = candidates.max_by(|a, b| a.0.total_cmp(&b.0));
        let nearest = nearest
            .filter(|(likeness, _)| *likeness >= 0.8)
            .map(|(_, known)| known);
        Self { name, nearest }
    }
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "environment variable {} sets no option and is ignored",
            self.name
        )?;
        match &self.nearest {
            Some(nearest) => write!(f, ": did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// What command-line flags set: pairs of the option's key and the values given, one for each use of the flag.
///
/// # Errors
/// [`Error::InvalidValue`] for a value that is not admitted.
pub fn flags(given: &[(&str, Vec<String>)]) -> Result<Vec<Setting>, Error> {
    let used = given.iter().filter(|(_, values)| !values.is_empty());
    used.filter_map(|(key, values)| Some((ConfigOption::find(key)?, values)))
        .map(|(option, values)| {
            let source = Source::Flag(option.flag.unwrap_or(option.key));
            Setting::checked(option, option.parse_text(&values.join(",")), source)
        })
        .collect()
}
