//! What the verbs of `pleach etc` print with `--format json`. The published schema is made of this.

mod make;

use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use make::plan;
pub(super) use make::{diff, outcome, paths, returned, rule, steps, why};

/// The version of all reports; it grows when something that was there is no longer, or means
/// something else.
pub(super) const FORMAT_VERSION: u32 = 1;

/// A report of `pleach etc`.
///
/// Paths are those below /etc, with a leading slash. They, and the names of extended attributes, are
/// escaped where they are not printable UTF-8: `\\`, `\n`, `\xNN`.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "report", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Report {
    /// `pleach etc diff`: where the machine is not what its image shipped.
    Diff {
        format_version: u32,
        /// All differences, the explained ones too.
        entries: Vec<DriftItem>,
        /// How many differences each class of noise explains.
        noise: Vec<NoiseCount>,
        /// How many differences each owner in the ownership ledger explains.
        owned: Vec<OwnedCount>,
        /// What is mounted there, and so was not compared.
        mounts: Vec<String>,
    },
    /// `pleach etc plan`: what an upgrade would do.
    Plan {
        format_version: u32,
        plan: Plan,
        /// What could not be compared, and why.
        notes: Vec<String>,
    },
    /// `pleach etc apply`: what an upgrade did.
    Apply {
        format_version: u32,
        /// Nothing was written.
        dry_run: bool,
        /// The target was as it should be already.
        unchanged: bool,
        plan: Plan,
    },
    /// `pleach etc undo`: the target and what was there before were exchanged.
    Undo {
        format_version: u32,
        /// Nothing was written.
        dry_run: bool,
        /// What was there before was removed instead.
        discarded: bool,
    },
    /// `pleach etc restore`, `release`, `adopt` and `pin`: what changed, on the machine and in the
    /// ownership ledger.
    Change {
        format_version: u32,
        verb: Verb,
        /// Nothing was written.
        dry_run: bool,
        /// Changes to the machine's /etc, in their order.
        steps: Vec<StepItem>,
        /// What became of each released record.
        returned: Vec<ReturnedItem>,
        /// Records that were written.
        recorded: Vec<String>,
        /// Records that were removed.
        forgotten: Vec<String>,
    },
    /// `pleach etc why`: all that is known of some paths.
    Why {
        format_version: u32,
        paths: Vec<WhyItem>,
    },
    /// `pleach etc policies`: the policies in the order in which they count.
    Policies {
        format_version: u32,
        rules: Vec<PolicyItem>,
        /// Files that count for nothing.
        masked: Vec<MaskedItem>,
    },
}

/// Which verb changed something.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verb {
    Restore,
    Release,
    Adopt,
    Pin,
}

/// What a side has at a path.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// directory, file, symlink, char-device, block-device, fifo or socket.
    #[serde(rename = "type")]
    node_type: String,
    /// Four octal digits.
    mode: String,
    uid: u32,
    gid: u32,
}

/// One path that is not the image's default.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriftItem {
    path: String,
    /// added, removed or changed.
    kind: String,
    /// What changed: type, content, mode, uid, gid, xattr:NAME.
    changed: Vec<String>,
    /// What the image shipped.
    pristine: Option<Node>,
    /// What the machine has.
    current: Option<Node>,
    /// The class of noise that explains it.
    noise: Option<String>,
    /// Who put it, by the ownership ledger.
    owner: Option<String>,
}

/// A class of noise, and how much it explains.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoiseCount {
    id: String,
    count: usize,
    reason: String,
    /// Where that is written.
    source: String,
}

/// An owner, and how much of the drift is his.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnedCount {
    owner: String,
    count: usize,
}

/// A planned merge.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The digest of all that the plan was made from: the three sides and the policies.
    inputs: String,
    /// How many paths the three sides have together.
    paths: usize,
    /// Each path that is not the same on all sides, in the order of a walk.
    entries: Vec<PlanItem>,
    /// Paths whose conflict refuses the whole merge.
    refused: Vec<String>,
    /// What is mounted there on the machine. What is below counts as untouched.
    mounts: Vec<String>,
}

/// What happens to one path.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanItem {
    path: String,
    /// image-default, image-updated, image-added, image-removed, local-added, local-modified,
    /// local-removed, converged, or conflict: and how the sides went apart.
    state: String,
    pristine: Option<Node>,
    current: Option<Node>,
    new: Option<Node>,
    /// What the result has: absent, local, image, merged or composed.
    resolution: String,
    /// What was merged, where it was.
    merged: Option<MergedNode>,
    /// The result has the machine's SELinux label.
    carries_label: bool,
    policy: Option<Policy>,
    conflicts: Vec<String>,
    notes: Vec<String>,
    /// The side that is saved beside the deployment: local or image.
    saved: Option<String>,
    /// The policy has to see what the files say, and this plan was made without.
    needs_contents: bool,
}

/// A content of one side with attributes of both.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergedNode {
    /// Whose content: local, image or both.
    content: String,
    /// Four octal digits.
    mode: String,
    uid: u32,
    gid: u32,
}

/// The policy of a path.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// The word of a drop-in.
    action: String,
    /// Of action keyed: ini, toml or json.
    format: Option<String>,
    /// Where it comes from.
    origin: String,
}

/// One change to the machine.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepItem {
    path: String,
    /// remove, put or attributes.
    action: String,
}

/// What became of a released record.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReturnedItem {
    path: String,
    /// already, restored, removed or kept.
    outcome: String,
    /// Why it was kept.
    why: Option<String>,
    /// Before it was put there was something of the machine's own, which does not come back.
    local_before: bool,
}

/// Who put a path.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerItem {
    /// etc, ignition, cloud-init, kickstart, hand, …
    route: String,
    document: Option<DocumentItem>,
    place: Option<PlaceItem>,
}

/// A document.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentItem {
    name: String,
    /// sha256: and 64 hexadecimal digits.
    digest: String,
}

/// A place in a document.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceItem {
    line: usize,
    column: usize,
    path: String,
}

/// What is known of a path.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhyItem {
    path: String,
    state: String,
    pristine: Option<Node>,
    current: Option<Node>,
    record: Option<RecordItem>,
    /// The nearest directory above that has a record.
    above: Option<String>,
    policy: Option<Policy>,
}

/// A record of the ownership ledger.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordItem {
    owner: OwnerItem,
    /// What was there before: absent, default or local.
    before: String,
    /// What became of it: unchanged, changed or gone.
    since: String,
    pinned: bool,
}

/// One rule.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyItem {
    paths: Vec<String>,
    action: String,
    /// Of action keyed: ini, toml or json.
    format: Option<String>,
    /// Of action derived: the command that makes it again.
    regenerate: Option<String>,
    reason: String,
    /// Where the reason is written.
    source: Option<String>,
    /// FILE:LINE, or the ownership ledger.
    origin: String,
}

/// A drop-in that counts for nothing.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaskedItem {
    file: String,
    /// The file of the same name that is read instead.
    by: String,
}

/// The schema of all reports.
#[allow(dead_code, reason = "of the two programs pleach-deploy prints it")]
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(Report)
}
