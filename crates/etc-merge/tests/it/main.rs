//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the vectors from the checkout, or from where the environment says"
)]

mod laws;
mod random;
mod vector_file;
mod vectors;

use pleach_fs_tree::{Tree, dump};

type Etc = Tree<Vec<u8>>;

fn show(tree: &Etc) -> String {
    dump(tree, Clone::clone)
}
