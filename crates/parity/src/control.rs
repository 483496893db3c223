//! The A/A control: the same image booted twice. Only what differs there is noise.

use std::collections::{BTreeMap, BTreeSet};

use pleach_booted_state::{Difference, SectionName, Snapshot, compare};
use serde::{Deserialize, Serialize};

use crate::{Class, Context, Facts, Route, Rule, rules};

/// What two boots of one image differ in.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// How many differences each noise rule covered.
    pub noise: BTreeMap<String, usize>,
    /// What they covered: section and key.
    #[serde(default)]
    pub seen: BTreeSet<(SectionName, String)>,
    /// How many each rule of the class *machine* covered: two boots may show such a difference or
    /// not, so none is needed here.
    #[serde(default)]
    pub machine: BTreeMap<String, usize>,
    /// Differences that no such rule covers: the image does not boot the same twice, so nothing
    /// can be said about it.
    pub unexplained: Vec<Difference>,
    /// Noise rules that covered nothing. They are not applied anywhere else, and a control that has
    /// any is not sound.
    pub unused: Vec<String>,
}

impl Control {
    /// Compares two boots of the base image by the rules of noise and of the machine alone.
    pub fn new(first: &Snapshot, second: &Snapshot, rules: &[Rule]) -> Self {
        let facts = Facts::default();
        let context = Context {
            left: (Route::Base, first),
            right: (Route::Base, second),
            facts: &facts,
        };
        let of = |class| rules.iter().filter(move |rule: &&Rule| rule.class == class);
        let mut control = Self::default();
        for difference in compare(first, second) {
            let covers = |rule: &&Rule| rule.matches(&context, &difference);
            if let Some(rule) = of(Class::Noise).find(covers) {
                *control.noise.entry(rule.name.to_owned()).or_default() += 1;
                let key = difference.key.clone().unwrap_or_default();
                control.seen.insert((difference.section, key));
            } else if let Some(rule) = of(Class::Machine).find(covers) {
                *control.machine.entry(rule.name.to_owned()).or_default() += 1;
            } else {
                control.unexplained.push(difference);
            }
        }
        let used = |rule: &&Rule| control.noise.contains_key(rule.name);
        let unused = of(Class::Noise)
            .filter(|rule| !used(rule))
            .map(|rule| rule.name.to_owned());
        control.unused = unused.collect();
        control
    }

    /// Whether every difference was covered and every noise rule was needed.
    pub fn is_sound(&self) -> bool {
        self.unexplained.is_empty() && self.unused.is_empty()
    }

    /// Whether a rule may be applied to a difference outside the control: one of noise only if the
    /// control needed it, and where `by_key` says so only for the same key.
    pub(crate) fn allows(&self, rule: &Rule, difference: &Difference) -> bool {
        if rule.class != Class::Noise {
            return true;
        }
        let same = || {
            let key = difference.key.clone().unwrap_or_default();
            self.seen.contains(&(difference.section, key))
        };
        self.noise.contains_key(rule.name) && (!rules::by_key(rule) || same())
    }
}
