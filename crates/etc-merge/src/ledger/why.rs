//! Why a path is as it is.

use std::fmt;

use pleach_fs_tree::{Inode, TreePath};

use super::{Ledger, Machine, Record, alike, still};
use crate::plan::NodeSummary;
use crate::sides::Same;
use crate::{Policies, Rule, Sides, State};

/// What became of something that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// It is there as it was put.
    Unchanged,
    /// The machine changed it.
    Changed,
    /// The machine removed it.
    Gone,
}

impl Since {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

/// All that is known of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why<'a, C> {
    /// The path.
    pub path: TreePath,
    /// What the image shipped there.
    pub pristine: Option<NodeSummary>,
    /// What the machine has.
    pub current: Option<NodeSummary>,
    /// How the two relate: [`State::ImageDefault`], or one of the local ones.
    pub state: State,
    /// Its record, and what became of what was put.
    pub record: Option<(&'a Record<C>, Since)>,
    /// The nearest record above, where it has none itself.
    pub above: Option<(&'a TreePath, &'a Record<C>)>,
    /// The rule that covers it.
    pub rule: Option<&'a Rule>,
}

impl<C: Clone + PartialEq> Ledger<C> {
    /// Explains a path. `policies` are all that a merge would use, the ledger's own
    /// [`pins`](Self::pins) included.
    pub fn why<'a>(
        &'a self,
        path: &TreePath,
        machine: Machine<'_, C>,
        policies: &'a Policies,
    ) -> Why<'a, C> {
        let pristine = machine.pristine.get(path);
        let current = machine.current.get(path);
        let node_type = |inode: Option<&Inode<C>>| inode.map(|inode| inode.kind.node_type());
        let same = alike(pristine, current);
        let types = Sides {
            pristine: node_type(pristine),
            current: node_type(current),
            new: node_type(pristine),
        };
        let own = Same {
            pristine_current: same,
            pristine_new: true,
            current_new: same,
        };
        let record = self.get(path).map(|record| {
            let since = match still(record.put.as_ref(), current) {
                true => Since::Unchanged,
                false if current.is_none() => Since::Gone,
                false => Since::Changed,
            };
            (record, since)
        });
        Why {
            path: path.clone(),
            pristine: pristine.map(NodeSummary::of),
            current: current.map(NodeSummary::of),
            state: State::new(types, own),
            above: match record {
                None => self.nearest(path),
                Some(_) => None,
            },
            record,
            rule: policies
                .covering(path)
                .and_then(|rule| policies.rules.get(rule)),
        }
    }
}

/// One line for each thing that is known, the path first.
impl<C> fmt::Display for Why<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.path, self.state)?;
        for (name, side) in [("image", self.pristine), ("machine", self.current)] {
            match side {
                Some(side) => writeln!(f, "  {name}: {side}")?,
                None => writeln!(f, "  {name}: nothing")?,
            }
        }
        match (self.record, self.above) {
            (Some((record, since)), _) => {
                let (owner, before) = (&record.owner, record.before.as_str());
                write!(f, "  put by: {owner}; before: {before}; since: ")?;
                f.write_str(since.as_str())?;
                f.write_str(if record.pinned { "; pinned\n" } else { "\n" })?;
            }
            (None, Some((path, record))) => {
                writeln!(f, "  put by: nobody known; {path} by {}", record.owner)?;
            }
            (None, None) => writeln!(f, "  put by: nobody known")?,
        }
        match self.rule {
            Some(rule) => writeln!(f, "  policy: {} ({})", rule.action, rule.origin),
            None => writeln!(f, "  policy: none, the default"),
        }
    }
}
