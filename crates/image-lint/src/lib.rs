#![doc = include_str!("../README.md")]

mod classify;
mod display;
mod report;
mod rules;
mod view;

pub use report::{
    Certainty, Declared, Evidence, FORMAT_VERSION, Finding, Report, Role, Scope, Severity, SpeaksFor,
    Suppressed,
};

use pleach_fs_tree::Tree;
use view::View;

/// Classifies and checks a merged image. `read` gives the bytes of a regular file; a file whose bytes
/// cannot be had counts as empty.
pub fn lint<C>(tree: &Tree<C>, read: &dyn Fn(&C) -> Option<Vec<u8>>) -> Report {
    let view = View::new(tree, read);
    let evidence = classify::evidence(&view);
    let role = match evidence.iter().any(|e| e.speaks_for == SpeaksFor::Base) {
        true => Role::Base,
        false => Role::Final,
    };
    let scope = match evidence.iter().any(|e| e.speaks_for == SpeaksFor::Specific) {
        true => Scope::Specific,
        false => Scope::Generic,
    };
    Report {
        format_version: FORMAT_VERSION,
        role,
        role_certainty: Certainty::Likely,
        scope,
        scope_certainty: Certainty::Likely,
        declared: Declared::default(),
        evidence,
        findings: rules::findings(&view),
        suppressed: Vec::new(),
        idle: Vec::new(),
        unread: Vec::new(),
        notes: Vec::new(),
        layers: Vec::new(),
    }
}
