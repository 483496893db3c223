//! The vectors: measured cases with what libostree gave, and what a merge that loses nothing gives.

use pleach_etc_merge::{Finding, MergePlan, Policies, RefusalKind, State, ostree, plan};
use pleach_fs_tree::{Kind, TreePath};

use crate::vector_file::{Vector, read};
use crate::{Etc, show};

/// Vectors for which `strict` gives something better than their `proposed`: name, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn vectors() {
    let vectors = read();
    let mut failed = Vec::new();
    for vector in &vectors {
        let strict = match EXCEPTIONS.iter().find(|(name, _)| *name == vector.name) {
            Some(_) => Ok(()),
            None => strict(vector),
        };
        for (profile, result) in [("strict", strict), ("ostree", follows_ostree(vector))] {
            if let Err(why) = result {
                failed.push(format!("{profile} {}: {why}", vector.name));
            }
        }
    }
    let (count, all) = (failed.len(), 2 * vectors.len());
    assert!(
        failed.is_empty(),
        "{}\n{count} of {all} failed",
        failed.join("\n")
    );
}

#[test]
fn vector_exceptions_are_needed() {
    for vector in read() {
        if let Some((name, why)) = EXCEPTIONS.iter().find(|(name, _)| *name == vector.name) {
            assert!(!why.is_empty(), "{name}: no reason");
            assert!(strict(&vector).is_err(), "{name}: no exception is needed");
        }
    }
}

fn strict(vector: &Vector) -> Result<(), String> {
    let [pristine, current, new] = ["base", "current", "new"].map(|field| vector.tree(field));
    let plan = plan(&pristine, &current, &new, &Policies::default()).map_err(|e| e.to_string())?;
    let result = plan.result(&current, &new).map_err(|e| e.to_string())?;
    same_tree(&vector.proposed(), &result)?;
    same_states(vector, &plan)?;
    let told = told(&plan);
    for (path, kind) in vector.report() {
        // One for a directory covers what is below, and may be told of what is below instead.
        let covers = |told: &TreePath| told.starts_with(&path) || path.starts_with(told);
        if !told
            .iter()
            .any(|told| covers(&told.0) && same_kind(&kind, &told.1))
        {
            return Err(format!("{kind} at {path} is not reported:\n{plan}"));
        }
    }
    for entry in plan.conflicts() {
        if !has_reason(&plan, &entry.path) {
            return Err(format!(
                "a conflict without a reason at {}:\n{plan}",
                entry.path
            ));
        }
    }
    Ok(())
}

/// A conflict has a reason if each two of the sides differ, there or below.
pub(crate) fn has_reason(plan: &MergePlan, path: &TreePath) -> bool {
    let [mut local, mut image, mut apart] = [false; 3];
    for entry in plan.entries().iter().filter(|e| e.path.starts_with(path)) {
        match entry.state {
            State::ImageDefault => {}
            State::Converged => (local, image) = (true, true),
            State::Diverged { .. } => (local, image, apart) = (true, true, true),
            State::LocalAdded | State::LocalModified | State::LocalRemoved => {
                (local, apart) = (true, true);
            }
            State::ImageAdded | State::ImageUpdated | State::ImageRemoved => {
                (image, apart) = (true, true);
            }
        }
    }
    local && image && apart
}

fn told(plan: &MergePlan) -> Vec<(TreePath, String)> {
    let entries = plan.entries().iter();
    let told = entries.flat_map(|e| e.findings.iter().map(|f| (e.path.clone(), f)));
    told.map(|(path, finding)| match finding {
        Finding::Note(pleach_etc_merge::Note::SpecialSkipped) => {
            (path, "special-in-current".to_owned())
        }
        finding => (path, finding.to_string()),
    })
    .collect()
}

/// The vectors name an extended attribute in their own way.
fn same_kind(vector: &str, ours: &str) -> bool {
    let attribute = |kind: &str| kind.strip_prefix("conflict:attr:").map(str::to_owned);
    match (attribute(vector), attribute(ours)) {
        (Some(vector), Some(ours)) => match ours.strip_prefix("xattr:") {
            Some(name) => vector.ends_with(name) || vector.starts_with("xattr"),
            None => vector == ours,
        },
        _ => vector == ours,
    }
}

fn same_states(vector: &Vector, plan: &MergePlan) -> Result<(), String> {
    let Some(mut expected) = vector.states() else {
        return Ok(());
    };
    expected.sort();
    let listed = plan
        .entries()
        .iter()
        .filter(|e| e.state != State::ImageDefault);
    let ours: Vec<_> = listed
        .map(|e| (e.path.clone(), e.state.to_string()))
        .collect();
    match expected == ours {
        true => Ok(()),
        false => Err(format!("states: expected {expected:?}\n got {ours:?}")),
    }
}

fn follows_ostree(vector: &Vector) -> Result<(), String> {
    let [pristine, current, new] = ["base", "current", "new"].map(|field| vector.tree(field));
    let result = ostree(&pristine, &current, &new);
    if vector.escaped() {
        return match result {
            Err(refusal) if refusal.kind == RefusalKind::Escape => Ok(()),
            Err(refusal) => Err(format!("leaves the tree, but refused otherwise: {refusal}")),
            Ok(_) => Err("leaves the tree, but was not refused".to_owned()),
        };
    }
    match (vector.ostree(), result) {
        (Ok(expected), Ok(result)) => same_tree(&expected, &result),
        // What libostree found outside of the tree is not looked at here.
        (_, Err(refusal)) if refusal.kind == RefusalKind::Escape && leads_out(&new) => Ok(()),
        (Err(expected), Err(refusal)) if expected == error_kind(refusal.kind) => Ok(()),
        (Err(expected), Err(refusal)) => Err(format!("expected {expected}, got {refusal}")),
        (Ok(_), Err(refusal)) => Err(format!("refused: {refusal}")),
        (Err(expected), Ok(_)) => Err(format!("expected the error {expected}, got a tree")),
    }
}

/// Whether a link leads out of the tree.
fn leads_out(tree: &Etc) -> bool {
    tree.walk().any(|(path, id)| {
        let Kind::Symlink(target) = &tree.inode(id).kind else {
            return false;
        };
        let mut depth = path.depth() - 1;
        target.first() == Some(&b'/')
            || target
                .split(|&b| b == b'/')
                .any(|component| match component {
                    b".." if depth == 0 => true,
                    b".." => {
                        depth -= 1;
                        false
                    }
                    b"" | b"." => false,
                    _ => {
                        depth += 1;
                        false
                    }
                })
    })
}

fn error_kind(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::FileOverDirectory => "file-vs-dir",
        RefusalKind::NotADirectory => "notdir",
        RefusalKind::NoParent => "noent-parent",
        RefusalKind::SpecialInDirectory => "special-in-dir",
        RefusalKind::Loop => "loop",
        _ => "other",
    }
}

fn same_tree(expected: &Etc, ours: &Etc) -> Result<(), String> {
    let (expected, ours) = (show(expected), show(ours));
    if expected == ours {
        return Ok(());
    }
    let differs = |a: &str, b: &str| {
        a.lines()
            .find(|line| !b.lines().any(|l| l == *line))
            .map(str::to_owned)
    };
    Err(format!(
        "expected {:?}, got {:?}",
        differs(&expected, &ours),
        differs(&ours, &expected)
    ))
}
