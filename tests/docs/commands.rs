//! Commands that the pages show have arguments that the program takes, and name examples and tests that exist.

use clap::{Parser as _, error::ErrorKind};
use leveret::cli::Cli;

use crate::page::{self, Block, Page};

/// A command on a page.
struct Command {
    words: Vec<String>,
    line: usize,
    /// It is named in a sentence, where arguments may be missing: `leveret backup`.
    is_mention: bool,
}

#[test]
fn every_leveret_command_has_arguments_that_the_program_takes() {
    let mut seen = 0;
    for page in page::all() {
        for command in commands(&page) {
            let Some(arguments) = of_leveret(&command.words) else {
                continue;
            };
            if let Err(error) = Cli::try_parse_from(arguments) {
                let place = page.place(command.line);
                assert!(
                    command.is_mention && lacks_something(&error),
                    "{place}: {error}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn every_example_and_test_that_a_command_names_exists() {
    for page in page::all() {
        for command in commands(&page) {
            for pair in command.words.windows(2) {
                let [flag, name] = pair else { continue };
                let places = match flag.as_str() {
                    "--example" => [
                        format!("examples/{name}.rs"),
                        format!("examples/{name}/main.rs"),
                    ],
                    "--test" => [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")],
                    _ => continue,
                };
                let exists = places.iter().any(|it| page::root().join(it).exists());
                assert!(exists, "{}: {flag} {name}", page.place(command.line));
            }
        }
    }
}

fn lacks_something(error: &clap::Error) -> bool {
    [
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ErrorKind::MissingRequiredArgument,
    ]
    .contains(&error.kind())
}

/// Every command of a page: in blocks of shell, and in sentences where it begins with the program.
fn commands(page: &Page) -> Vec<Command> {
    let mut found = Vec::new();
    let mut add = |text: &str, line: usize, is_mention: bool| {
        found.extend(split(text).into_iter().map(|words| Command {
            words,
            line,
            is_mention,
        }));
    };
    for block in &page.blocks {
        match block.language.as_str() {
            "sh" => add(&block.text, block.line, false),
            "console" => add(&typed(block), block.line, false),
            _ => {}
        }
    }
    for (span, line) in &page.spans {
        if span.starts_with("leveret ") || span.starts_with("cargo ") {
            add(span, *line, true);
        }
    }
    found
}

/// What is typed in a block that shows answers too.
fn typed(block: &Block) -> String {
    let lines = block.text.lines();
    lines
        .filter_map(|line| line.strip_prefix("$ "))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Splits shell into commands, and these into words. A line goes on where it ends in a backslash or within quotes.
pub fn split(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        open.push_str(line);
        if let Some(rest) = open.strip_suffix('\\') {
            open = rest.to_owned();
            continue;
        }
        match shlex::split(&open) {
            Some(words) => {
                let ends = |word: &String| ["|", "&&", "||", "&", ";"].contains(&word.as_str());
                found.extend(words.split(ends).map(<[String]>::to_vec));
                open.clear();
            }
            None => open.push('\n'),
        }
    }
    assert!(open.is_empty(), "quotes that do not end: {open}");
    found
}

/// The arguments if this runs the program: without variables before, and without what the shell redirects.
fn of_leveret(words: &[String]) -> Option<Vec<String>> {
    let is_assignment = |word: &&String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let words: Vec<&String> = words.iter().skip_while(is_assignment).collect();
    let program = words.first()?;
    if program.rsplit('/').next() != Some("leveret") {
        return None;
    }
    let until = words
        .iter()
        .position(|it| it.starts_with('>') || it.starts_with("2>"));
    let words = words.get(..until.unwrap_or(words.len()))?;
    // what the shell would fill in is a number wherever the pages have it
    let filled = |word: &&String| {
        if word.starts_with('$') {
            "1".to_owned()
        } else {
            (*word).clone()
        }
    };
    Some(words.iter().map(filled).collect())
}
