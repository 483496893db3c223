//! Which route can carry what.
//!
//! `policy` says it of each kind of item, `keeper` of each path, and `item` takes a document apart.

mod item;
mod keeper;
mod policy;
mod route;
mod rule;

pub(crate) use item::{Item, items, unit_items};
pub use keeper::{KEEPERS, Keeper, Place};
pub use policy::{BONDS, ROUTES, rules};
pub use route::{Route, RouteError};
pub use rule::{Bond, Rule, Subject, Verdicts};

use crate::model::{Customization, Origin};

/// Whether a route carries an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As the document says it.
    Carried,
    /// With the same effect by another way.
    CarriedDifferently {
        /// What is done instead.
        how: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Not at all.
    Refused {
        /// Why.
        why: &'static str,
        /// What to do.
        instead: &'static str,
    },
}

/// What a route makes of one item of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// The item, in words: `file /etc/motd`.
    pub item: String,
    /// Where it was asked for.
    pub origin: Origin,
    /// Whether the route carries it.
    pub verdict: Verdict,
}

impl Placement {
    /// Whether it is carried just as the document says it.
    pub fn is_carried(&self) -> bool {
        self.verdict == Verdict::Carried
    }

    /// Why it is refused and what to do instead, if it is.
    pub fn refused(&self) -> Option<(&'static str, &'static str)> {
        match self.verdict {
            Verdict::Refused { why, instead } => Some((why, instead)),
            _ => None,
        }
    }

    /// Its refusal, if it is refused.
    pub fn refusal(&self) -> Option<Refusal> {
        let (why, instead) = self.refused()?;
        Some(Refusal {
            origin: self.origin.clone(),
            item: self.item.clone(),
            why,
            instead,
        })
    }
}

/// One item that a route cannot carry, with what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {item}: {why}; {instead}")]
pub struct Refusal {
    /// Where it was asked for.
    pub origin: Origin,
    /// The item, in words: `file /usr/bin/x`.
    pub item: String,
    /// Why not.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

/// Everything that a route cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refused(pub Vec<Refusal>);

/// The items that `route` carries in another way than the document says.
///
/// # Errors
/// When there are items that it cannot carry at all: all of them.
pub fn carried(customization: &Customization, route: Route) -> Result<Vec<Placement>, Refused> {
    let placements = placement(customization, route);
    let refused: Vec<_> = placements.iter().filter_map(Placement::refusal).collect();
    match refused.is_empty() {
        true => Ok(placements.into_iter().filter(|p| !p.is_carried()).collect()),
        false => Err(Refused(refused)),
    }
}

/// What `route` makes of every item of the document, each on its own, in the model's order.
pub fn placement(customization: &Customization, route: Route) -> Vec<Placement> {
    items(customization)
        .map(|item| item.placed(verdict(&item, route)))
        .collect()
}

/// The policy's verdict: the first refusal of what is said of an item, or else the first difference.
pub(crate) fn verdict(item: &Item<'_>, route: Route) -> Verdict {
    let said = item
        .subjects()
        .into_iter()
        .map(|subject| of(subject, route));
    said.reduce(|worst, next| match (worst, next) {
        (Verdict::Refused { .. }, _) | (_, Verdict::Carried) => worst,
        (Verdict::CarriedDifferently { .. }, Verdict::CarriedDifferently { .. }) => worst,
        _ => next,
    })
    .unwrap_or(Verdict::Carried)
}

fn of(subject: Subject, route: Route) -> Verdict {
    let rule = rules().find(|rule| rule.subject == subject);
    rule.expect("a test holds every subject to a rule")
        .verdicts
        .of(route)
}
