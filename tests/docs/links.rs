//! Links lead somewhere, and the book has every page.

use std::path::{Component, Path, PathBuf};

use crate::page::{self, Page};

#[test]
fn every_relative_link_leads_to_a_file_and_an_anchor() {
    let pages = page::all();
    let mut broken = Vec::new();
    for page in &pages {
        for (target, line) in &page.links {
            if let Err(why) = follow(page, target, &pages) {
                broken.push(format!("{}: {target}: {why}", page.place(*line)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The book holds the folder `docs` alone: what lies beside it is no page there.
#[test]
fn chapters_link_to_chapters_only() {
    for page in page::chapters() {
        for (target, line) in &page.links {
            assert!(
                !target.starts_with(".."),
                "{}: {target} is not in the book",
                page.place(*line)
            );
        }
    }
}

#[test]
fn the_table_of_contents_has_every_chapter_once() {
    let contents = Page::read(Path::new("docs/SUMMARY.md"));
    let mut listed: Vec<PathBuf> = contents
        .links
        .iter()
        .map(|(target, _)| Path::new("docs").join(target))
        .collect();
    listed.sort();
    let there: Vec<PathBuf> = page::chapters().into_iter().map(|it| it.path).collect();
    assert_eq!(listed, there);
}

#[test]
fn a_newcomer_is_led_to_the_book_from_the_readme() {
    let readme = Page::read(Path::new("README.md"));
    for chapter in ["docs/getting-started.md", "docs/SUMMARY.md"] {
        assert!(
            readme.links.iter().any(|(target, _)| target == chapter),
            "README.md does not link to {chapter}"
        );
    }
}

fn follow(from: &Page, target: &str, pages: &[Page]) -> Result<(), &'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => from.path.clone(),
        file => simple(&from.path.parent().unwrap().join(file)),
    };
    if !page::root().join(&path).exists() {
        return Err("there is no such file");
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let page = pages.iter().find(|it| it.path == path);
    match page.map(|it| it.anchors.contains(anchor)) {
        Some(true) => Ok(()),
        Some(false) => Err("the page has no such heading"),
        None => Err("an anchor of something that is no page"),
    }
}

/// Without `..`, so that equal paths are equal.
fn simple(path: &Path) -> PathBuf {
    let mut simple = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(simple.pop()),
            component => simple.push(component),
        }
    }
    simple
}
