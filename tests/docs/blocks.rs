//! What the pages show as TOML, JSON and names of options is what the program reads.

use std::fs;

use leveret::config::{self, options::OPTIONS};

use crate::page;

#[test]
fn every_toml_block_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leveret.toml");
    let mut read = 0;
    for page in page::all() {
        for block in page.blocks_of("toml") {
            fs::write(&file, &block.text).unwrap();
            let place = page.place(block.line);
            if let Err(error) = config::load(Some(&file), [], &[]) {
                panic!("{place}: {error}");
            }
            read += 1;
        }
    }
    assert!(read > 5, "only {read} configurations were found");
}

#[test]
fn every_json_block_is_json() {
    for page in page::all() {
        for block in page.blocks_of("json") {
            let read = serde_json::from_str::<serde_json::Value>(&block.text);
            assert!(read.is_ok(), "{}: {read:?}", page.place(block.line));
        }
    }
}

#[test]
fn every_option_that_is_named_exists() {
    let sections: Vec<&str> = OPTIONS
        .iter()
        .filter_map(|option| Some(option.key.split_once('.')?.0))
        .collect();
    for page in page::all() {
        for (span, line) in &page.spans {
            let key = span.split_once(" = ").map_or(span.as_str(), |(key, _)| key);
            let section = key.split_once('.').map(|(section, _)| section);
            let is_key = key
                .chars()
                .all(|c| c.is_ascii_lowercase() || "._".contains(c));
            if !is_key || !section.is_some_and(|it| sections.contains(&it)) {
                continue;
            }
            assert!(
                OPTIONS.iter().any(|option| option.key == key) || FILES.contains(&key),
                "{}: there is no option {key}",
                page.place(*line)
            );
        }
    }
}

/// Things that look like an option and are a file.
const FILES: [&str; 1] = ["definitions.json"];

#[test]
fn every_variable_that_is_named_sets_an_option() {
    for page in page::all() {
        let blocks = page.blocks.iter().map(|it| (it.text.as_str(), it.line));
        let spans = page.spans.iter().map(|(text, line)| (text.as_str(), *line));
        for (text, line) in blocks.chain(spans) {
            for name in
                text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            {
                if name.starts_with("LEVERET_") && !is_known(name) {
                    panic!("{}: {name} sets nothing", page.place(line));
                }
            }
        }
    }
}

fn is_known(name: &str) -> bool {
    let option = name.strip_suffix("_FILE").unwrap_or(name);
    // the tests' own, what is no option, and the beginning of them all
    let others = [
        "LEVERET_",
        "LEVERET_CONFIG",
        "LEVERET_STATUS_USER",
        "LEVERET_STATUS_PASSWORD",
    ];
    name.starts_with("LEVERET_TEST_")
        || others.contains(&name)
        || OPTIONS.iter().any(|it| it.environment_variable() == option)
        || OPTIONS.iter().any(|it| it.environment_variable() == name)
}
