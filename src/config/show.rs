//! `leveret config show`: the configuration in effect, as a file that explains itself.

use std::fmt::{self, Write as _};

use super::layers::{Setting, Source};
use super::options::Kind;

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
        if matches!(setting.option.kind, Kind::Secret) && setting.source != Source::Default {
            append(&mut out, format_args!("# {name} is set, and not shown\n"));
            continue;
        }
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
