//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests open their own temporary directories and run tools"
)]

mod archive;
mod bombs;
mod cache;
mod differential;
mod fuzz;
mod hostile;
mod kept;
mod law;
mod layout;
mod merge;
mod mutations;
#[cfg(feature = "ostree")]
mod ostree;
#[path = "../../fuzz/properties/mod.rs"]
mod properties;
mod vectors;
mod write;

use std::io::{self, Cursor};

use pleach_fs_tree::{Tree, dump, parse_dump};

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

/// A content source for trees that hold their contents.
fn bytes() -> impl FnMut(&Vec<u8>) -> io::Result<Cursor<Vec<u8>>> {
    |content| Ok(Cursor::new(content.clone()))
}

/// An error with all its causes, each said once.
fn full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) if !error.to_string().contains(&source.to_string()) => {
            format!("{error}: {}", full(source))
        }
        Some(source) if source.source().is_some() => format!("{error}: {}", full(source)),
        _ => error.to_string(),
    }
}

/// Whether owners, devices and all extended attributes can be written.
fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn open(path: &std::path::Path) -> cap_std::fs::Dir {
    cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority()).unwrap()
}
