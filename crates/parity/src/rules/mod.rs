//! The rules, in one readable place. Each excuses as little as it can, has a reason, and is counted.
//!
//! The first rule that covers a difference takes it. A rule of [`Class::Noise`] applies only where
//! the A/A control of the same run saw it; the others follow from what the routes are.

mod accounts;
mod cloud_init;
mod credentials;
mod database;
mod definition;
mod image_units;
mod machine;
mod noise;
mod podman;
mod tools;

use pleach_booted_state::Difference;

use crate::Rule;

/// All rules.
pub const RULES: &[&[Rule]] = &[
    noise::RULES,
    definition::RULES,
    image_units::RULES,
    accounts::RULES,
    machine::RULES,
    tools::RULES,
    podman::RULES,
    database::RULES,
    cloud_init::RULES,
    credentials::RULES,
];

/// All rules, flat.
pub fn all() -> Vec<Rule> {
    RULES.concat()
}

/// Whether the control must have seen the very key: a counter may stand still in two boots and move
/// in the third, a secret is another each time.
pub(crate) fn by_key(rule: &Rule) -> bool {
    rule.name == noise::SECRET
}

/// The path below `/etc` that a difference speaks of.
fn name_in_etc(difference: &Difference) -> Option<&str> {
    difference.key.as_deref()?.strip_prefix("/etc/")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_reasons_are_given() {
        let rules = super::all();
        let names: BTreeSet<_> = rules.iter().map(|rule| (rule.name, rule.section)).collect();
        assert_eq!(names.len(), rules.len());
        for rule in rules {
            assert!(rule.reason.len() > 20, "{rule:?} has no reason");
        }
    }
}
