//! The rules: a table of them, and one function each.

mod accounts;
mod boot;
mod class;
mod images;
mod layers;
mod modes;
mod secrets;
mod state;
mod table;
mod tree;
mod units;

use pleach_fs_tree::TreePath;

use crate::classify::Class;
use crate::packages::Packages;
use crate::policy::Policy;
use crate::report::{Finding, Severity};
use crate::view::{Item, View, layer_of};

pub(crate) use boot::kernel_arguments;

/// A rule that holds for every image.
#[non_exhaustive]
pub struct Rule {
    /// Its name. Those that `bootc container lint` has too are called as there.
    pub id: &'static str,
    /// How bad it is to break it.
    pub severity: Severity,
    /// What it is about, as the title of a list.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
    check: fn(&Subject<'_, '_>) -> Vec<Hit>,
}

/// All rules, in the order of a report.
pub fn rules() -> &'static [Rule] {
    &table::RULES
}

/// What rules ask.
pub(crate) struct Subject<'s, 'a> {
    pub(crate) view: &'s View<'a>,
    pub(crate) packages: &'s Packages,
    pub(crate) hidden: &'s [HiddenFile<'s>],
    pub(crate) base: Option<crate::OfBase<'s>>,
    pub(crate) class: &'s Class,
    /// Whether there is an image, which could have labels.
    pub(crate) has_labels: bool,
}

/// See [`Hidden`](crate::Hidden).
pub(crate) struct HiddenFile<'s> {
    pub(crate) path: &'s TreePath,
    pub(crate) layer: usize,
    pub(crate) by: usize,
    pub(crate) bytes: Box<dyn Fn() -> Vec<u8> + 's>,
}

/// A place where a rule is broken.
struct Hit {
    path: String,
    line: Option<usize>,
    layer: Option<usize>,
    what: String,
}

/// At a path, of which no more is known.
fn hit(path: impl Into<String>, what: impl Into<String>) -> Hit {
    Hit {
        path: path.into(),
        line: None,
        layer: None,
        what: what.into(),
    }
}

fn hit_line(path: impl Into<String>, line: usize, what: impl Into<String>) -> Hit {
    Hit {
        line: Some(line),
        ..hit(path, what)
    }
}

fn hit_item(view: &View<'_>, item: &Item<'_>, what: impl Into<String>) -> Hit {
    Hit {
        layer: view.layer(&item.path),
        ..hit(item.path.to_string(), what)
    }
}

/// What all rules find, those of the policy last.
pub(crate) fn findings(subject: &Subject<'_, '_>, policy: &Policy) -> Vec<Finding> {
    let mut out = Vec::new();
    for rule in rules() {
        let mut hits = (rule.check)(subject);
        if rule.id == "require" {
            hits = class::required(subject, &policy.require);
        }
        out.extend(hits.into_iter().map(|hit| Finding {
            rule: rule.id.to_owned(),
            severity: rule.severity,
            layer: hit.layer.or_else(|| layer_of(subject.view, &hit.path)),
            path: hit.path,
            line: hit.line,
            what: hit.what,
            why: rule.why.to_owned(),
            fix: rule.fix.to_owned(),
        }));
    }
    for own in &policy.own {
        out.extend(own.findings(subject.view));
    }
    out
}
