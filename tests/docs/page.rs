//! A page of Markdown, taken apart into what the tests look at.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page, with its path below the repository's root.
pub struct Page {
    pub path: PathBuf,
    /// Targets of links and images, with the line of each.
    pub links: Vec<(String, usize)>,
    /// What a link to this page may name behind `#`.
    pub anchors: HashSet<String>,
    /// Fenced blocks.
    pub blocks: Vec<Block>,
    /// Code within sentences, with its line.
    pub spans: Vec<(String, usize)>,
    /// Cells of tables that are code and nothing else, with their line: texts that the page lists.
    pub code_cells: Vec<(String, usize)>,
}

/// A fenced block of code.
pub struct Block {
    pub language: String,
    pub text: String,
    pub line: usize,
}

/// The folder that everything else is relative to.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The chapters of the book: all Markdown in `docs/` but its table of contents.
pub fn chapters() -> Vec<Page> {
    let folder = fs::read_dir(root().join("docs")).expect("the folder docs");
    let mut paths: Vec<PathBuf> = folder
        .map(|entry| Path::new("docs").join(entry.unwrap().file_name()))
        .filter(|path| {
            path.extension().is_some_and(|it| it == "md") && !path.ends_with("SUMMARY.md")
        })
        .collect();
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// The chapters, and the pages beside the source.
pub fn all() -> Vec<Page> {
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/order-pipeline/README.md",
    ];
    let mut pages = chapters();
    pages.extend(others.map(|path| Page::read(Path::new(path))));
    pages
}

impl Page {
    /// Reads a page; the path is below the root.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(root().join(path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut page = Self {
            path: path.to_owned(),
            links: Vec::new(),
            anchors: HashSet::new(),
            blocks: Vec::new(),
            spans: Vec::new(),
            code_cells: Vec::new(),
        };
        page.take_apart(&text);
        page
    }

    /// A place in the page, as an editor understands it.
    pub fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// The blocks of a language.
    pub fn blocks_of(&self, language: &str) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |it| it.language == language)
    }

    fn take_apart(&mut self, text: &str) {
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        let mut cell: Option<Cell> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => self.add_anchor(&heading.take().unwrap()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    self.links.push((dest_url.to_string(), line));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.to_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    let text = String::new();
                    block = Some(Block {
                        language,
                        text,
                        line,
                    });
                }
                Event::End(TagEnd::CodeBlock) => self.blocks.extend(block.take()),
                Event::Start(Tag::TableCell) => cell = Some(Cell::default()),
                Event::End(TagEnd::TableCell) => {
                    let code = cell.take().and_then(Cell::only_code);
                    self.code_cells.extend(code.map(|code| (code, line)));
                }
                Event::Code(code) => {
                    self.spans.push((code.to_string(), line));
                    heading.iter_mut().for_each(|it| it.push_str(&code));
                    cell.iter_mut()
                        .for_each(|it| it.code.push(code.to_string()));
                }
                Event::Text(part) => {
                    block.iter_mut().for_each(|it| it.text.push_str(&part));
                    heading.iter_mut().for_each(|it| it.push_str(&part));
                    cell.iter_mut().for_each(|it| it.has_words = true);
                }
                _ => {}
            }
        }
    }

    /// As GitHub and mdBook make anchors of headings.
    fn add_anchor(&mut self, heading: &str) {
        let anchor: String = heading
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => c.to_lowercase().next(),
                _ => None,
            })
            .collect();
        let mut unique = anchor.clone();
        let mut number = 0;
        while !self.anchors.insert(unique) {
            number += 1;
            unique = format!("{anchor}-{number}");
        }
    }
}

#[derive(Default)]
struct Cell {
    code: Vec<String>,
    has_words: bool,
}

impl Cell {
    fn only_code(mut self) -> Option<String> {
        let alone = self.code.len() == 1 && !self.has_words;
        self.code.pop().filter(|_| alone)
    }
}
