//! Reports from the values that the libraries give.

use std::path::Path;

use pleach_etc_merge::{
    Action, Because, Drift, Entry, Finding, Kept, MergePlan, NodeSummary, Note, Outcome, Owner,
    Resolution, Returned, Rule, Step, Why,
};
use pleach_fs_tree::{Digest, TreePath};

use super::*;
use crate::cli::etc::policy;

pub(in crate::cli::etc) fn paths<'a>(paths: impl IntoIterator<Item = &'a TreePath>) -> Vec<String> {
    paths.into_iter().map(ToString::to_string).collect()
}

fn node(node: NodeSummary) -> Node {
    Node {
        node_type: node.node_type.as_str().to_owned(),
        mode: format!("{:04o}", node.mode),
        uid: node.uid,
        gid: node.gid,
    }
}

pub(in crate::cli::etc) fn diff(drift: &Drift, mounts: &[TreePath]) -> Report {
    let entries = drift.entries().iter().map(|entry| {
        let (noise, owner) = match entry.because.clone() {
            Some(Because::Noise(id)) => (Some(id), None),
            Some(Because::Owned(owner)) => (None, Some(owner)),
            None => (None, None),
        };
        DriftItem {
            path: entry.path.to_string(),
            kind: entry.kind.as_str().to_owned(),
            changed: entry.kind.attributes(),
            pristine: entry.pristine.map(node),
            current: entry.current.map(node),
            noise,
            owner,
        }
    });
    let noise = drift.noise().into_iter().map(|(class, count)| NoiseCount {
        id: class.id.clone(),
        count,
        reason: class.reason.clone(),
        source: class.source.clone(),
    });
    let owned = drift.owned().into_iter().map(|(owner, count)| OwnedCount {
        owner: owner.to_owned(),
        count,
    });
    Report::Diff {
        format_version: FORMAT_VERSION,
        entries: entries.collect(),
        noise: noise.collect(),
        owned: owned.collect(),
        mounts: paths(mounts),
    }
}

pub(crate) fn plan(plan: &MergePlan, mounts: &[TreePath]) -> Plan {
    Plan {
        inputs: plan.inputs().to_string(),
        paths: plan.paths(),
        entries: plan.entries().iter().map(plan_item).collect(),
        refused: paths(plan.refused().map(|entry| &entry.path)),
        mounts: paths(mounts),
    }
}

fn policy_of(action: &Action, origin: &str) -> Policy {
    Policy {
        action: policy::word_of(action),
        format: policy::format_of(action).map(str::to_owned),
        origin: origin.to_owned(),
    }
}

fn plan_item(entry: &Entry) -> PlanItem {
    let (resolution, merged) = match &entry.resolution {
        Resolution::Absent => ("absent", None),
        Resolution::Local => ("local", None),
        Resolution::Image => ("image", None),
        Resolution::Merged { content, metadata } => {
            let merged = MergedNode {
                content: content.to_string(),
                mode: format!("{:04o}", metadata.mode),
                uid: metadata.uid,
                gid: metadata.gid,
            };
            ("merged", Some(merged))
        }
        Resolution::Composed { metadata, .. } => {
            let merged = MergedNode {
                content: "both".to_owned(),
                mode: format!("{:04o}", metadata.mode),
                uid: metadata.uid,
                gid: metadata.gid,
            };
            ("composed", Some(merged))
        }
    };
    let (mut conflicts, mut notes) = (Vec::new(), Vec::new());
    for finding in &entry.findings {
        match finding {
            Finding::Conflict(conflict) => conflicts.push(conflict.to_string()),
            Finding::Note(note) => notes.push(note.to_string()),
        }
    }
    PlanItem {
        path: entry.path.to_string(),
        state: entry.state.to_string(),
        pristine: entry.sides.pristine.map(node),
        current: entry.sides.current.map(node),
        new: entry.sides.new.map(node),
        resolution: resolution.to_owned(),
        merged,
        carries_label: entry.carries_label,
        policy: (entry.policy.as_ref()).map(|(action, origin)| policy_of(action, origin)),
        conflicts,
        notes,
        saved: entry.saved.map(|side| side.to_string()),
        needs_contents: entry.findings.contains(&Finding::Note(Note::NeedsContents)),
    }
}

pub(in crate::cli::etc) fn steps(steps: &[Step]) -> Vec<StepItem> {
    let item = |step: &Step| StepItem {
        path: step.path.to_string(),
        action: step.action.as_str().to_owned(),
    };
    steps.iter().map(item).collect()
}

pub(in crate::cli::etc) fn returned(all: &[Returned]) -> Vec<ReturnedItem> {
    let item = |returned: &Returned| {
        let (outcome, why) = outcome(&returned.outcome);
        ReturnedItem {
            path: returned.path.to_string(),
            outcome: outcome.to_owned(),
            why,
            local_before: returned.local_before,
        }
    };
    all.iter().map(item).collect()
}

/// One word, and why it is kept.
pub(in crate::cli::etc) fn outcome(outcome: &Outcome) -> (&'static str, Option<String>) {
    let why = match outcome {
        Outcome::Already => return ("already", None),
        Outcome::Restored => return ("restored", None),
        Outcome::Removed => return ("removed", None),
        Outcome::Kept(Kept::Changed) => "the machine changed it since".to_owned(),
        Outcome::Kept(Kept::Gone) => "the machine removed it since".to_owned(),
        Outcome::Kept(Kept::NotEmpty(path)) => format!("{path} is in it, which nobody releases"),
        Outcome::Kept(Kept::Blocked(path)) => format!("{path} is in the way"),
    };
    ("kept", Some(why))
}

pub(in crate::cli::etc) fn why(why: &Why<'_, Digest>) -> WhyItem {
    let owner = |owner: &Owner| OwnerItem {
        route: owner.route.clone(),
        document: owner.document.as_ref().map(|document| DocumentItem {
            name: document.name.clone(),
            digest: document.digest.clone(),
        }),
        place: owner.place.as_ref().map(|place| PlaceItem {
            line: place.line,
            column: place.column,
            path: place.path.clone(),
        }),
    };
    WhyItem {
        path: why.path.to_string(),
        state: why.state.to_string(),
        pristine: why.pristine.map(node),
        current: why.current.map(node),
        record: why.record.map(|(record, since)| RecordItem {
            owner: owner(&record.owner),
            before: record.before.as_str().to_owned(),
            since: since.as_str().to_owned(),
            pinned: record.pinned,
        }),
        above: why.above.map(|(path, _)| path.to_string()),
        policy: why.rule.map(|rule| policy_of(&rule.action, &rule.origin)),
    }
}

pub(in crate::cli::etc) fn rule(entry: &policy::Entry) -> PolicyItem {
    PolicyItem {
        paths: entry.patterns.iter().map(ToString::to_string).collect(),
        action: policy::word_of(&entry.action),
        format: policy::format_of(&entry.action).map(str::to_owned),
        regenerate: policy::regenerate_of(&entry.action).map(str::to_owned),
        reason: entry.reason.clone(),
        source: entry.source.clone(),
        origin: entry.origin.clone(),
    }
}

impl PolicyItem {
    /// A pin of the ownership ledger.
    pub(in crate::cli::etc) fn pin(rule: &Rule) -> Self {
        Self {
            paths: vec![rule.pattern.to_string()],
            action: rule.action.to_string(),
            format: None,
            regenerate: None,
            reason: "pinned".to_owned(),
            source: None,
            origin: rule.origin.clone(),
        }
    }
}

impl MaskedItem {
    pub(in crate::cli::etc) fn new(file: &Path, by: &Path) -> Self {
        Self {
            file: file.display().to_string(),
            by: by.display().to_string(),
        }
    }
}
