//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    reason = "tests open their own temporary directories"
)]

mod model;
mod on_disk;

use pleach_fs_tree::{Tree, TreePath, dump, parse_dump};

/// A tree from its dump; file contents are bytes.
fn tree(text: &str) -> Tree<Vec<u8>> {
    let text: String = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(|l| format!("{l}\n"))
        .collect();
    parse_dump(&text, Some).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn show(tree: &Tree<Vec<u8>>) -> String {
    dump(tree, Clone::clone)
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap_or_else(|e| panic!("{e}"))
}
