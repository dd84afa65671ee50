//! The page `docs/configuration.md`, written and compared by the tests.

use super::options::{ConfigOption, OPTIONS};

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
            out += &format!("\n## {title}\n");
        }
        out += &markdown(option);
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
<!-- Generated from src/config/options.rs: UPDATE_DOCS=1 cargo test --lib configuration_page -->
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
