//! The configuration for reading: `leveret config show`, and the page `docs/configuration.md`.

use std::fmt::{self, Write as _};

use super::layers::{Setting, Source};
use super::options::{ConfigOption, OPTIONS};

/// Every option with its meaning, default, value and source, as TOML that is a valid configuration file.
pub fn as_toml(settings: &[Setting]) -> String {
    let mut out = String::from(
        "# Configuration of Leveret, as it is in effect. A valid configuration file.\n",
    );
    let mut section = "";
    for setting in settings {
        let (its_section, name) = setting.option.section_and_name();
        if its_section != section {
            section = its_section;
            append(&mut out, format_args!("\n[{section}]\n"));
        }
        append(&mut out, format_args!("\n{}", comment(setting)));
        append(&mut out, format_args!("{name} = {}\n", setting.value));
    }
    out
}

fn comment(setting: &Setting) -> String {
    let option = setting.option;
    let set_by = match option.flag {
        Some(flag) => format!("{}, {flag}", option.environment_variable()),
        None => option.environment_variable(),
    };
    let mut lines = wrap(option.meaning, 98);
    lines.push(format!(
        "Admitted: {}. Default: {}. Set by: {set_by}.",
        option.admitted(),
        option.default
    ));
    if setting.source != Source::Default {
        lines.push(format!("Value from: {}.", setting.source));
    }
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Writing to a `String` cannot fail.
fn append(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// The page `docs/configuration.md`.
pub fn as_markdown() -> String {
    let mut out = String::from(PAGE_START);
    let mut section = None;
    for option in OPTIONS {
        let its_section = option.section_and_name().0;
        if section != Some(its_section) {
            section = Some(its_section);
            let title = if its_section.is_empty() {
                "At the top".to_owned()
            } else {
                format!("`[{its_section}]`")
            };
            append(&mut out, format_args!("\n## {title}\n"));
        }
        append(&mut out, format_args!("{}", markdown(option)));
    }
    out
}

fn markdown(option: &ConfigOption) -> String {
    let flag = option
        .flag
        .map(|flag| format!(", flag `{flag}`"))
        .unwrap_or_default();
    format!(
        "\n### `{}`\n\n{}\n\n- Default: `{}`\n- Admitted: {}\n- Environment: `{}`{flag}\n",
        option.key,
        option.meaning,
        option.default,
        option.admitted(),
        option.environment_variable(),
    )
}

const PAGE_START: &str = "\
<!-- Generated from src/config/options.rs: UPDATE_DOCS=1 cargo test --bin leveret configuration_page -->
# Configuration

Leveret runs without any configuration. Values come from four places, the later one counting:

1. the built-in defaults,
2. a TOML file: `leveret --config leveret.toml`, or the environment variable `LEVERET_CONFIG`,
3. environment variables: `LEVERET_`, then the key in capitals with `_` for the dot; lists are separated by commas
   (`LEVERET_AMQP_LISTEN=127.0.0.1:5672,[::1]:5672`),
4. command-line flags; those of a list may be repeated.

A key that does not exist and a value that is not admitted stop the start with one line that names the place:

```text
leveret.toml:3:1: unknown key amqp.frame_mx: did you mean amqp.frame_max?
```

`leveret config check` does only this check. `leveret config show` prints every option with its meaning, its value and
where the value comes from, as a file that can be edited and used. A `LEVERET_*` variable that no option has is ignored,
with a warning in the log.
";
