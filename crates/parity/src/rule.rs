//! A rule calls some differences expected. It has a name and a reason, and is counted.

use std::fmt;

use pleach_booted_state::{Difference, SectionName, Snapshot};
use serde::{Deserialize, Serialize};

use crate::{Facts, Route};

/// Why a difference can be expected at all.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Two boots of one image differ in it. Such a rule applies only where the A/A control saw it.
    Noise,
    /// It is what telling the routes apart means: checksums, boot entries.
    Definition,
    /// Tools on the routes write the same effect in different bytes or places.
    Tool,
    /// The kernel sizes it by the machine that it finds.
    Machine,
}

impl Class {
    /// As it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Definition => "definition",
            Self::Tool => "tool",
            Self::Machine => "machine",
        }
    }
}

/// The two systems that are compared, for rules that must look beyond one difference.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Route and snapshot of the left system.
    pub left: (Route, &'a Snapshot),
    /// Route and snapshot of the right system.
    pub right: (Route, &'a Snapshot),
    /// What is known of the customization.
    pub facts: &'a Facts,
}

impl<'a> Context<'a> {
    /// Whether one of the two came by `route`.
    pub fn has(&self, route: Route) -> bool {
        self.left.0 == route || self.right.0 == route
    }

    /// Whether the difference is an entry that only one side has, and that side came by `route`.
    pub fn only_on(&self, route: Route, difference: &Difference) -> bool {
        difference.attribute.is_none()
            && match (&difference.left, &difference.right) {
                (Some(_), None) => self.left.0 == route,
                (None, Some(_)) => self.right.0 == route,
                _ => false,
            }
    }

    /// The snapshot of the side that came by `route`, and the other one.
    pub fn sides(&self, route: Route) -> Option<(&'a Snapshot, &'a Snapshot)> {
        if self.left.0 == route {
            Some((self.left.1, self.right.1))
        } else if self.right.0 == route {
            Some((self.right.1, self.left.1))
        } else {
            None
        }
    }
}

/// A named reason to expect a difference.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Short, in kebab case; reports count by it.
    pub name: &'static str,
    /// Why the difference is no defect, for people.
    pub reason: &'static str,
    /// What kind of reason that is.
    pub class: Class,
    /// The section that it speaks of.
    pub section: SectionName,
    /// Whether it covers this difference, which is in its section.
    pub covers: fn(&Context<'_>, &Difference) -> bool,
}

impl Rule {
    /// Whether it covers the difference.
    pub fn matches(&self, context: &Context<'_>, difference: &Difference) -> bool {
        self.section == difference.section && (self.covers)(context, difference)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
