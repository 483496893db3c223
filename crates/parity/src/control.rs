//! The A/A control: the same image booted twice. Only what differs there is noise.

use std::collections::BTreeMap;

use pleach_booted_state::{Difference, Snapshot, compare};
use serde::{Deserialize, Serialize};

use crate::{Class, Context, Facts, Route, Rule};

/// What two boots of one image differ in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// How many differences each noise rule covered.
    pub noise: BTreeMap<String, usize>,
    /// Differences that no noise rule covers: the image does not boot the same twice, so nothing
    /// can be said about it.
    pub unexplained: Vec<Difference>,
    /// Noise rules that covered nothing. They are not applied anywhere else, and a control that has
    /// any is not sound.
    pub unused: Vec<String>,
}

impl Control {
    /// Compares two boots of the base image by the noise rules alone.
    pub fn new(first: &Snapshot, second: &Snapshot, rules: &[Rule]) -> Self {
        let facts = Facts::default();
        let context = Context {
            left: (Route::Base, first),
            right: (Route::Base, second),
            facts: &facts,
        };
        let noise_rules = || rules.iter().filter(|rule| rule.class == Class::Noise);
        let mut control = Self::default();
        for difference in compare(first, second) {
            match noise_rules().find(|rule| rule.matches(&context, &difference)) {
                Some(rule) => *control.noise.entry(rule.name.to_owned()).or_default() += 1,
                None => control.unexplained.push(difference),
            }
        }
        let used = |rule: &&Rule| control.noise.contains_key(rule.name);
        let unused = noise_rules()
            .filter(|rule| !used(rule))
            .map(|rule| rule.name.to_owned());
        control.unused = unused.collect();
        control
    }

    /// Whether every difference was covered and every noise rule was needed.
    pub fn is_sound(&self) -> bool {
        self.unexplained.is_empty() && self.unused.is_empty()
    }

    /// Whether a rule may be applied outside the control.
    pub(crate) fn allows(&self, rule: &Rule) -> bool {
        rule.class != Class::Noise || self.noise.contains_key(rule.name)
    }
}
