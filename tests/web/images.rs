//! The pictures of the web page that the README shows. They are made by the page itself, against a broker under load:
//!
//! ```sh
//! UPDATE_IMAGES=1 cargo test --test web images
//! ```

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{browser, support::Broker};

/// The most bytes of a picture: it is part of every clone of the repository.
const LARGEST: u64 = 200 * 1024;

const IMAGES: [&str; 4] = ["overview", "queue", "exchange", "policy"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images")
}

#[test]
fn readme_shows_pictures_of_the_page_that_are_there() {
    if env::var_os("UPDATE_IMAGES").is_some() {
        fs::create_dir_all(folder()).unwrap();
        let broker = Broker::start();
        let flow = "draws_the_pictures_of_the_readme";
        browser::start("images.mjs", flow, &broker).finish();
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for image in IMAGES {
        let file = folder().join(format!("{image}.png"));
        let found = fs::metadata(&file);
        let length = found.map(|file| file.len()).unwrap_or_default();
        assert!(length > 0, "{} is missing", file.display());
        assert!(length <= LARGEST, "{} has {length} bytes", file.display());
        let named = format!("docs/images/{image}.png");
        assert!(readme.contains(&named), "README.md does not show {named}");
    }
}
