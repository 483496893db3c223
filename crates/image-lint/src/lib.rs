#![doc = include_str!("../README.md")]

mod classify;
mod report;
mod rules;
mod view;

pub use report::{Evidence, Finding, Report, Role, Scope};

use pleach_fs_tree::Tree;
use view::View;

/// Classifies and checks a merged image. `read` gives the bytes of a regular file; a file whose bytes
/// cannot be had counts as empty.
pub fn lint<C>(tree: &Tree<C>, read: &dyn Fn(&C) -> Option<Vec<u8>>) -> Report {
    let view = View::new(tree, read);
    let evidence = classify::evidence(&view);
    let role = match evidence.iter().any(|e| e.speaks_for == "base") {
        true => Role::Base,
        false => Role::Final,
    };
    let scope = match evidence.iter().any(|e| e.speaks_for == "specific") {
        true => Scope::Specific,
        false => Scope::Generic,
    };
    Report {
        role,
        scope,
        evidence,
        findings: rules::findings(&view),
    }
}
