#![doc = include_str!("../README.md")]

mod accounts;
mod classify;
mod display;
mod glob;
mod own;
mod packages;
mod pair;
mod policy;
mod report;
mod rpm;
mod rules;
mod secrets;
mod systemd;
mod view;
mod wants;

use std::collections::BTreeMap;

use pleach_fs_tree::{Metadata, Tree, TreePath};

pub use own::{Own, OwnError};
pub use pair::{
    AccountChange, AccountKind, Change, EtcMerge, EtcMergeEntry, FileChange, KargChange,
    MAX_DATABASE, PAIR_FORMAT_VERSION, PackageChange, Pair, UnitChange, UnitState, VarContent,
    pair, pair_wants,
};
pub use policy::{Allow, Policy, PolicyError, Requirement};
pub use report::{
    Certainty, Declared, Evidence, FORMAT_VERSION, Finding, Report, Role, Scope, Severity,
    SpeaksFor, Suppressed,
};
pub use rules::{Rule, rules};
pub use wants::{MAX_TEXT, largest, wants};

use packages::Packages;
use view::View;

/// Gives the bytes of a file, by its path and what the tree holds of it.
pub type Read<'a, C> = &'a dyn Fn(&TreePath, &C) -> Option<Vec<u8>>;
/// Gives the layer of a path.
pub type LayerOf<'a> = &'a dyn Fn(&TreePath) -> Option<usize>;
/// Gives the metadata that a path has in the base.
pub type OfBase<'a> = &'a dyn Fn(&TreePath) -> Option<Metadata>;

/// What is looked at: a merged tree, and what else is known of it.
pub struct Image<'a, C> {
    /// The tree.
    pub tree: &'a Tree<C>,
    /// The bytes of a regular file; `None` where they cannot be had, which the report says.
    pub read: Read<'a, C>,
    /// The bytes of a regular file, counted.
    pub size: &'a dyn Fn(&C) -> u64,
    /// Labels of the configuration, and annotations of the manifest, which count more.
    pub labels: &'a BTreeMap<String, String>,
    /// The digests of the layers, the lowest first; empty where there are none.
    pub layers: &'a [String],
    /// The layer that put something at a path, by its index.
    pub layer: LayerOf<'a>,
    /// Regular files of layers that higher ones hide.
    pub hidden: &'a [Hidden<C>],
    /// The metadata that a path has in the image that this one is made from; no such image was given
    /// if it is `None`.
    pub base: Option<OfBase<'a>>,
}

/// A regular file of a layer that a higher one hides: who pulls the image gets it all the same.
#[derive(Debug, Clone)]
pub struct Hidden<C> {
    /// Its path.
    pub path: TreePath,
    /// The layer that has it, by its index.
    pub layer: usize,
    /// The layer that hides it.
    pub by: usize,
    /// Its content.
    pub content: C,
}

/// Classifies and checks a merged image. `read` gives the bytes of a regular file; a file whose bytes
/// cannot be had counts as empty. Rules about layers and about a base find nothing.
pub fn lint<C>(tree: &Tree<C>, read: &dyn Fn(&C) -> Option<Vec<u8>>) -> Report {
    let image = Image {
        tree,
        read: &|_, content| read(content),
        size: &|content| read(content).map_or(0, |bytes| bytes.len() as u64),
        labels: &BTreeMap::new(),
        layers: &[],
        layer: &|_| None,
        hidden: &[],
        base: None,
    };
    inspect(&image, &Policy::default())
}

/// Classifies and checks an image by a policy.
pub fn inspect<C>(image: &Image<'_, C>, policy: &Policy) -> Report {
    let view = View::new(image);
    let hidden = image.hidden.iter().map(|hidden| rules::HiddenFile {
        path: &hidden.path,
        layer: hidden.layer,
        by: hidden.by,
        bytes: Box::new(|| match (image.size)(&hidden.content) > MAX_TEXT {
            true => Vec::new(),
            false => (image.read)(&hidden.path, &hidden.content).unwrap_or_default(),
        }),
    });
    let hidden: Vec<_> = hidden.collect();
    let packages = Packages::read(&view);
    let class = classify::classify(&view, &packages, image.labels);
    let subject = rules::Subject {
        view: &view,
        packages: &packages,
        hidden: &hidden,
        base: image.base,
        class: &class,
        has_labels: !image.layers.is_empty(),
    };
    let findings = rules::findings(&subject, policy);
    let (findings, suppressed, idle) = policy.suppress(findings);
    let mut notes = packages.notes.clone();
    if image.base.is_none() {
        notes.push(
            "no image was given that this one is made from: setuid bits are not compared"
                .to_owned(),
        );
    }
    Report {
        format_version: FORMAT_VERSION,
        role: class.role,
        role_certainty: class.role_certainty,
        scope: class.scope,
        scope_certainty: class.scope_certainty,
        declared: class.declared,
        evidence: class.evidence,
        findings,
        suppressed,
        idle,
        unread: view.unread(),
        notes,
        layers: image.layers.to_vec(),
    }
}
