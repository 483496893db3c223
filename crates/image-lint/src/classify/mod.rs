//! Base or final, generic or specific: what speaks for it, and what follows.

mod applications;
mod build;
mod network;
mod people;

use std::collections::BTreeMap;

use pleach_fs_tree::TreePath;

use crate::packages::Packages;
use crate::report::{Certainty, Declared, Evidence, Role, Scope, SpeaksFor};
use crate::view::View;

pub(crate) use people::machine_id;

/// What an image is.
pub(crate) struct Class {
    pub(crate) role: Role,
    pub(crate) role_certainty: Certainty,
    pub(crate) scope: Scope,
    pub(crate) scope_certainty: Certainty,
    pub(crate) declared: Declared,
    pub(crate) evidence: Vec<Evidence>,
}

/// Where evidence is collected.
pub(crate) struct Found<'v, 'a> {
    view: &'v View<'a>,
    out: Vec<Evidence>,
}

impl Found<'_, '_> {
    fn add(
        &mut self,
        speaks_for: SpeaksFor,
        certainty: Certainty,
        path: &str,
        line: Option<usize>,
        what: impl Into<String>,
    ) {
        self.out.push(Evidence {
            speaks_for,
            certainty,
            layer: crate::view::layer_of(self.view, path),
            path: path.to_owned(),
            line,
            what: what.into(),
        });
    }
}

pub(crate) fn classify(
    view: &View<'_>,
    packages: &Packages,
    labels: &BTreeMap<String, String>,
) -> Class {
    let out = Vec::new();
    let mut found = Found { view, out };
    build::marks(view, &mut found);
    people::people(view, &mut found);
    network::network(view, packages, &mut found);
    applications::applications(view, packages, &mut found);
    let mut evidence = found.out;
    // In the order of the tree; the paths are written out, so components are compared.
    let key = |e: &Evidence| {
        (
            TreePath::new(&e.path).unwrap_or_default(),
            e.line,
            e.speaks_for,
        )
    };
    evidence.sort_by_cached_key(key);
    evidence.dedup();

    let declared = declared(labels);
    let (role, role_certainty) = role(&evidence, declared.role);
    let (scope, scope_certainty) = scope(&evidence, declared.scope);
    Class {
        role,
        role_certainty,
        scope,
        scope_certainty,
        declared,
        evidence,
    }
}

/// What labels and annotations say: `org.pleach.role`, `org.pleach.scope`, and the names that bootc
/// and ostree give an image that boots. A value that is none of the words says nothing.
fn declared(labels: &BTreeMap<String, String>) -> Declared {
    let label = |name: &str| labels.get(name).map(|value| value.trim());
    let yes = |name: &str| matches!(label(name), Some("1" | "true"));
    Declared {
        role: match label(ROLE) {
            Some("base") => Some(Role::Base),
            Some("final") => Some(Role::Final),
            _ => None,
        },
        scope: match label(SCOPE) {
            Some("generic") => Some(Scope::Generic),
            Some("specific") => Some(Scope::Specific),
            _ => None,
        },
        bootable: yes("containers.bootc") || yes("ostree.bootable"),
    }
}

/// The label by which an image says that it is a base or a final one.
pub(crate) const ROLE: &str = "org.pleach.role";
/// The label by which an image says that it is generic or specific.
pub(crate) const SCOPE: &str = "org.pleach.scope";

/// The strongest evidence for something.
fn strongest(evidence: &[Evidence], of: SpeaksFor) -> Option<Certainty> {
    let of = evidence.iter().filter(|e| e.speaks_for == of);
    of.map(|e| e.certainty).max()
}

/// A declaration counts unless more than a hint contradicts it. Without one the stronger evidence
/// does, and of two that are equal that for a final image: every final image is made from a base and
/// keeps its marks.
fn role(evidence: &[Evidence], declared: Option<Role>) -> (Role, Certainty) {
    let base = strongest(evidence, SpeaksFor::Base);
    let run = strongest(evidence, SpeaksFor::Final);
    match declared {
        Some(Role::Base) if run < Some(Certainty::Likely) => (Role::Base, Certainty::Certain),
        Some(Role::Final) if base < Some(Certainty::Likely) => (Role::Final, Certainty::Certain),
        _ => match base > run {
            true => (Role::Base, base.unwrap_or(Certainty::Hint)),
            false => (Role::Final, run.unwrap_or(Certainty::Hint)),
        },
    }
}

/// More than one hint, or one piece that is more than that, makes an image specific. That nothing is
/// found makes it likely that it is generic; certain is it only where it says so besides.
fn scope(evidence: &[Evidence], declared: Option<Scope>) -> (Scope, Certainty) {
    let specific = strongest(evidence, SpeaksFor::Specific);
    let count = evidence
        .iter()
        .filter(|e| e.speaks_for == SpeaksFor::Specific);
    match (declared, specific) {
        (_, Some(certainty @ (Certainty::Likely | Certainty::Certain))) => {
            (Scope::Specific, certainty)
        }
        (Some(scope), _) => (scope, Certainty::Certain),
        (None, Some(Certainty::Hint)) if count.count() > 1 => (Scope::Specific, Certainty::Hint),
        (None, Some(_)) => (Scope::Generic, Certainty::Hint),
        (None, None) => (Scope::Generic, Certainty::Likely),
    }
}
