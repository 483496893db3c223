//! What the image says it is, and what it has to be.

use super::{Hit, Subject, hit};
use crate::classify::{ROLE, SCOPE};
use crate::policy::Requirement;
use crate::report::{Certainty, Evidence, Role, Scope, SpeaksFor};

pub(super) fn none(_: &Subject<'_, '_>) -> Vec<Hit> {
    Vec::new()
}

fn against_role(role: Role) -> SpeaksFor {
    match role {
        Role::Base => SpeaksFor::Final,
        Role::Final => SpeaksFor::Base,
    }
}

/// Evidence for something that is more than a hint.
fn against<'s>(
    subject: &'s Subject<'_, '_>,
    what: SpeaksFor,
) -> impl Iterator<Item = &'s Evidence> {
    let evidence = subject.class.evidence.iter();
    evidence.filter(move |e| e.speaks_for == what && e.certainty >= Certainty::Likely)
}

fn at(evidence: &Evidence, what: String) -> Hit {
    Hit {
        line: evidence.line,
        layer: evidence.layer,
        ..hit(&evidence.path, what)
    }
}

/// Each piece of evidence that contradicts a declaration. One that an image which says that it is
/// specific might be generic is none: nothing proves it.
pub(super) fn declared(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let declared = &subject.class.declared;
    let mut out = Vec::new();
    if let Some(role) = declared.role {
        out.extend(against(subject, against_role(role)).map(|evidence| {
            at(
                evidence,
                format!("{}, and {ROLE} says {role}", evidence.what),
            )
        }));
    }
    if declared.scope == Some(Scope::Generic) {
        out.extend(against(subject, SpeaksFor::Specific).map(|evidence| {
            at(
                evidence,
                format!("{}, and {SCOPE} says generic", evidence.what),
            )
        }));
    }
    out
}

pub(super) fn labels(subject: &Subject<'_, '_>) -> Vec<Hit> {
    // Of a tree without an image nothing can be said.
    match subject.class.declared.bootable || !subject.has_labels {
        true => Vec::new(),
        false => vec![hit(
            "/",
            "neither containers.bootc nor ostree.bootable is set",
        )],
    }
}

/// What speaks against each requirement that is not met; where nothing does, that nothing speaks for
/// it.
pub(super) fn required(subject: &Subject<'_, '_>, require: &[Requirement]) -> Vec<Hit> {
    let class = subject.class;
    let mut out = Vec::new();
    for requirement in require {
        let (met, wanted, contrary) = match *requirement {
            Requirement::Role(role) => (class.role == role, role.to_string(), against_role(role)),
            Requirement::Scope(scope) => (
                class.scope == scope,
                scope.to_string(),
                match scope {
                    Scope::Generic => SpeaksFor::Specific,
                    Scope::Specific => SpeaksFor::Generic,
                },
            ),
        };
        if met {
            continue;
        }
        let before = out.len();
        let evidence = class.evidence.iter().filter(|e| e.speaks_for == contrary);
        out.extend(evidence.map(|evidence| {
            let what = format!(
                "{} speaks for {contrary}, and {wanted} is required",
                evidence.what
            );
            at(evidence, what)
        }));
        if out.len() == before {
            out.push(hit(
                "/",
                format!("nothing speaks for {wanted}, which is required"),
            ));
        }
    }
    out
}
