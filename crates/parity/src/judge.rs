//! Two captures become a verdict.

use std::collections::{BTreeMap, BTreeSet};

use pleach_booted_state::{Difference, SectionName, Snapshot, Status, compare};
use serde::{Deserialize, Serialize};

use crate::{Class, Context, Control, Facts, Moment, Parting, Route, Rule, shape};

/// A booted system to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Capture<'a> {
    /// How it was customized.
    pub route: Route,
    /// What it is.
    pub snapshot: &'a Snapshot,
}

/// A difference that a rule expects.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The rule.
    pub rule: String,
    /// The difference.
    pub difference: Difference,
}

/// Something that no rule expects.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Defect {
    /// The two systems differ.
    Difference(Difference),
    /// What differs by definition does not have the shape that it must have.
    Shape {
        /// The route that is wrong.
        route: Route,
        /// What is wrong.
        what: String,
    },
}

/// How often a rule was used.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule.
    pub rule: String,
    /// What kind of reason it has.
    pub class: Class,
    /// The reason.
    pub reason: String,
    /// How many differences it covered.
    pub count: usize,
}

/// The verdict over two systems.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// When they were compared.
    #[serde(default)]
    pub moment: Moment,
    /// Route of the left system.
    pub left: Route,
    /// Route of the right system.
    pub right: Route,
    /// How many entries of each section are equal on both sides.
    pub equal: BTreeMap<SectionName, usize>,
    /// Rules that were used, most used first.
    pub rules: Vec<RuleCount>,
    /// Each expected difference.
    pub expected: Vec<Expected>,
    /// All others.
    pub defects: Vec<Defect>,
    /// How the defects in `/etc` came; see [`Verdict::explain`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partings: Vec<Parting>,
}

impl Verdict {
    /// Whether there is no defect.
    pub fn is_equal(&self) -> bool {
        self.defects.is_empty()
    }
}

/// Judges two systems. A noise rule applies only as far as the control saw it; `base` is the base
/// image alone, booted, against which each side's shape is held.
pub fn judge(
    left: Capture<'_>,
    right: Capture<'_>,
    base: &Snapshot,
    facts: &Facts,
    rules: &[Rule],
    control: &Control,
) -> Verdict {
    let context = Context {
        left: (left.route, left.snapshot),
        right: (right.route, right.snapshot),
        facts,
    };
    let mut counts = BTreeMap::<&str, (&Rule, usize)>::new();
    let mut expected = Vec::new();
    let mut defects = Vec::new();
    let differences = compare(left.snapshot, right.snapshot);
    let equal = equal_entries(left.snapshot, right.snapshot, &differences);
    for difference in differences {
        let usable =
            |rule: &&Rule| control.allows(rule, &difference) && rule.matches(&context, &difference);
        match rules.iter().find(usable) {
            Some(rule) => {
                counts.entry(rule.name).or_insert((rule, 0)).1 += 1;
                expected.push(Expected {
                    rule: rule.name.to_owned(),
                    difference,
                });
            }
            None => defects.push(Defect::Difference(difference)),
        }
    }
    for side in [left, right] {
        let wrong = shape::check(side, base, facts).into_iter();
        defects.extend(wrong.map(|what| Defect::Shape {
            route: side.route,
            what,
        }));
    }
    let mut rules: Vec<_> = counts
        .into_values()
        .map(|(rule, count)| RuleCount {
            rule: rule.name.to_owned(),
            class: rule.class,
            reason: rule.reason.to_owned(),
            count,
        })
        .collect();
    rules.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.rule.cmp(&b.rule)));
    Verdict {
        moment: Moment::First,
        partings: Vec::new(),
        left: left.route,
        right: right.route,
        equal,
        rules,
        expected,
        defects,
    }
}

/// Entries on both sides less those that differ somewhere.
fn equal_entries(
    left: &Snapshot,
    right: &Snapshot,
    differences: &[Difference],
) -> BTreeMap<SectionName, usize> {
    let mut different = BTreeMap::<SectionName, BTreeSet<&str>>::new();
    for difference in differences {
        // An entry that only the left side has is not among those of the right that are counted.
        let on_right = difference.right.is_some() || difference.attribute.is_some();
        if let Some(key) = difference.key.as_deref().filter(|_| on_right) {
            different.entry(difference.section).or_default().insert(key);
        }
    }
    let right: BTreeMap<_, _> = right.statuses().into_iter().collect();
    left.statuses()
        .into_iter()
        .filter_map(|(section, status)| match (status, right.get(&section)?) {
            (Status::Entries(_), Status::Entries(count)) => {
                let differ = different.get(&section).map_or(0, |keys| keys.len());
                Some((section, count - differ))
            }
            _ => None,
        })
        .collect()
}
