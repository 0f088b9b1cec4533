//! The table of store kinds is the only place that knows a store by its scheme: nothing in `src/` asks for one, and what the
//! table says of pages and prices is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};

use offsite_backends::kinds::{self, KINDS};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the program: its path, and its lines without tests and comments.
fn sources() -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join("src")];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect();
                out.push((path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), lines));
            }
        }
    }
    assert!(out.len() > 100, "src has more files than {}", out.len());
    out
}

/// The texts of a line of code that stand between quotes.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

/// What reads other programs' configs makes URLs of them, and so has to name schemes.
fn translates(path: &str) -> bool {
    path.starts_with("src/config/import/") || path.starts_with("src/import/")
}

/// Whether a text is a scheme or the beginning of a URL, and not a sentence with an example in it.
fn asks_for_a_scheme(text: &str) -> bool {
    kinds::schemes().any(|scheme| text == scheme || text.strip_prefix(scheme) == Some("://"))
}

#[test]
fn nobody_above_the_table_asks_for_a_scheme() {
    for (path, lines) in sources().into_iter().filter(|(path, _)| !translates(path)) {
        for line in lines {
            // The word for one of several files is no scheme.
            let line = line.replace("\"file\", \"files\"", "");
            let asked = literals(&line).find(|text| asks_for_a_scheme(text));
            assert_eq!(asked, None, "{path} names a scheme; ask offsite_backends::kinds: {}", line.trim());
            let by_row = line.contains("kinds::access(error.scheme())");
            assert!(by_row || !line.contains(".scheme()"), "{path} asks for a scheme; ask offsite_backends::kinds: {}", line.trim());
        }
    }
}

#[test]
fn every_row_has_a_page_that_names_its_settings_and_variables() {
    for kind in KINDS {
        let page = fs::read_to_string(root().join(kind.docs)).unwrap_or_else(|error| panic!("{}: {error}", kind.docs));
        for scheme in kind.schemes {
            // The many services of one row are told together.
            let words = |name: &str| kind.schemes.len() > 1 || page.contains(name);
            for name in (kind.settings)(scheme) {
                assert!(words(name), "{} does not name the setting `{name}`", kind.docs);
            }
            for name in (kind.variables)(scheme) {
                assert!(words(&name), "{} does not name the variable `{name}`", kind.docs);
            }
            assert!(page.contains(&format!("{scheme}://")) || scheme == &"file", "{} does not name {scheme}://", kind.docs);
        }
    }
}

#[test]
fn every_price_of_the_table_is_in_the_list_of_prices() {
    let prices: serde_json::Value = serde_json::from_str(&fs::read_to_string(root().join("data/prices.json")).unwrap()).unwrap();
    for kind in KINDS {
        for row in kind.price.own.iter().chain(kind.price.servers.iter().map(|(_, row)| row)) {
            assert!(prices["prices"].get(row).is_some(), "data/prices.json has no `{row}`");
        }
    }
}
