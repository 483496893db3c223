//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests open their own temporary directories and run tools"
)]

mod layout;
mod write;

use std::io::{self, Cursor};

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

/// A content source for trees that hold their contents.
fn bytes() -> impl FnMut(&Vec<u8>) -> io::Result<Cursor<Vec<u8>>> {
    |content| Ok(Cursor::new(content.clone()))
}
