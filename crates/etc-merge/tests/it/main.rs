//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests read the vectors where the environment says, and make temporary directories; \
              and they say what they skip"
)]

#[cfg(feature = "fs")]
mod books;
mod by_content;
mod content_accounts;
mod content_keyed;
mod content_laws;
mod content_text;
#[cfg(feature = "fs")]
mod disk;
#[cfg(feature = "fs")]
mod disk_laws;
mod drift;
#[cfg(feature = "fs")]
mod faults;
#[cfg(feature = "fs")]
mod hostile;
#[cfg(feature = "fs")]
mod itself;
mod laws;
mod ledger;
#[cfg(feature = "fs")]
mod on_disk;
mod profiles;
mod random;
#[cfg(feature = "fs")]
mod real_ostree;
mod rules;
#[cfg(feature = "fs")]
mod system;
mod vector_file;
mod vectors;

use pleach_fs_tree::{Tree, dump, parse_dump};

type Etc = Tree<Vec<u8>>;

fn show(tree: &Etc) -> String {
    dump(tree, Clone::clone)
}

/// A tree from its dump, one path a line; the root and a time of 0 are understood.
fn tree(text: &str) -> Etc {
    let mut all = "/ directory 0755 0:0 0.0\n".to_owned();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        all.extend([line, "\n"]);
    }
    parse_dump(&all, Some).unwrap_or_else(|e| panic!("{e}\n{all}"))
}
