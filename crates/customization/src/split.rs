//! A document, divided into what a route carries and what is left for the machine's first boot.
//!
//! Some items are nothing alone: accounts get their numbers one after the other, a file needs the
//! account that owns it, a hard link the file that it is another name of. What belongs together goes
//! together, so that each part can be carried out without the other.

use std::collections::BTreeSet;

use crate::model::{Customization, IgnitionSection, KernelArguments, Origin, Owner, User};
use crate::placement::{
    Bond, Item, Placement, Refusal, Route, Verdict, items, unit_items, verdict,
};

/// A document in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// What the route carries.
    pub carried: Customization,
    /// What it leaves, for Ignition. Each item of the document is in one of the two, whole.
    pub remainder: Customization,
    /// Each item of the document with what became of it: what is refused is in the remainder.
    pub placements: Vec<Placement>,
}

impl Split {
    /// Whether the route carries all of it.
    pub fn is_whole(&self) -> bool {
        items(&self.remainder).next().is_none()
    }

    /// What is in the remainder, with why.
    pub fn refusals(&self) -> impl Iterator<Item = Refusal> {
        self.placements.iter().filter_map(Placement::refusal)
    }
}

/// Divides a document into what `route` carries and the rest.
///
/// The rest is a document for Ignition, which does it at first boot, whether what the route carried
/// is there by then (derive, etc, kickstart) or comes later in the same boot. What Ignition cannot do
/// either is in `split(&rest, Route::Ignition).remainder`.
pub fn split(customization: &Customization, route: Route) -> Split {
    split_without(customization, route, &[])
}

/// As [`split`], with items that the route turned out not to carry: `refused` are named by where they
/// were asked for. An image layer, for one, cannot change a file below `/var` that the image has.
pub fn split_without(customization: &Customization, route: Route, refused: &[Refusal]) -> Split {
    let said = |origin: &Origin| refused.iter().find(|refusal| refusal.origin == *origin);
    let mut placed: Vec<Placed<'_>> = items(customization)
        .map(|item| Placed {
            verdict: match (verdict(&item, route), said(item.origin())) {
                (verdict @ Verdict::Refused { .. }, _) | (verdict, None) => verdict,
                (_, Some(refusal)) => Verdict::Refused {
                    why: refusal.why,
                    instead: refusal.instead,
                },
            },
            ties: ties(&item, customization, route),
            item,
        })
        .collect();
    follow(&mut placed);
    let left: BTreeSet<Key> = placed
        .iter()
        .filter(|p| p.is_refused())
        .map(|p| key(&p.item))
        .collect();
    let placements = placed
        .into_iter()
        .map(|placed| placed.item.placed(placed.verdict))
        .collect();
    Split {
        carried: part(customization, &|item| !left.contains(&key(item)), true),
        remainder: part(customization, &|item| left.contains(&key(item)), false),
        placements,
    }
}

/// An item on its way into one of the parts.
struct Placed<'a> {
    item: Item<'a>,
    verdict: Verdict,
    ties: Ties<'a>,
}

impl Placed<'_> {
    fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused { .. })
    }
}

/// A bond with what is bound by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tie<'a>(Bond, &'a str);

/// What an item is for others, and what others are for it.
#[derive(Default)]
struct Ties<'a> {
    gives: Vec<Tie<'a>>,
    needs: Vec<Tie<'a>>,
    /// Whether Ignition can carry the item, so that what it needs has to be there by then.
    pulls: bool,
}

impl<'a> Ties<'a> {
    /// What is torn where the item is refused.
    fn torn(&self) -> impl Iterator<Item = Tie<'a>> {
        // A directory may come later than what is in it.
        let pulled = |tie: &&Tie<'a>| self.pulls && tie.0 != Bond::Directory;
        self.gives
            .iter()
            .chain(self.needs.iter().filter(pulled))
            .copied()
    }
}

/// Refuses what belongs to something that is refused.
fn follow(placed: &mut [Placed<'_>]) {
    let mut torn = BTreeSet::new();
    loop {
        let before = torn.len();
        torn.extend(
            placed
                .iter()
                .filter(|p| p.is_refused())
                .flat_map(|p| p.ties.torn()),
        );
        if torn.len() == before {
            return;
        }
        for placed in placed.iter_mut().filter(|p| !p.is_refused()) {
            if let Some(Tie(bond, _)) = placed.ties.needs.iter().find(|tie| torn.contains(*tie)) {
                placed.verdict = bond.broken();
            }
        }
    }
}

fn ties<'a>(item: &Item<'a>, c: &'a Customization, route: Route) -> Ties<'a> {
    let by_ignition = !matches!(verdict(item, Route::Ignition), Verdict::Refused { .. });
    let mut ties = Ties {
        pulls: by_ignition && route != Route::Ignition,
        ..Ties::default()
    };
    // Ignition takes the other document instead of this one.
    if c.ignition.replace.is_some() {
        ties.gives.push(Tie(Bond::Replacement, ""));
        ties.needs.push(Tie(Bond::Replacement, ""));
    }
    match item {
        Item::Group(_) | Item::GroupPassword(_) | Item::User(_) | Item::UserPassword(_) => {
            ties.gives.push(Tie(Bond::Accounts, ""));
            ties.needs.push(Tie(Bond::Accounts, ""));
        }
        Item::UnitFile(unit)
        | Item::Dropin(unit, _)
        | Item::Enablement(unit, _)
        | Item::Mask(unit, _) => {
            ties.gives.push(Tie(Bond::Unit, &unit.name));
            ties.needs.push(Tie(Bond::Unit, &unit.name));
        }
        Item::Directory(directory) => {
            ties.gives.push(Tie(Bond::Directory, &directory.path));
            ties.path(&directory.path, &[&directory.user, &directory.group], c);
        }
        Item::File(file) => {
            ties.gives.push(Tie(Bond::HardLink, &file.path));
            ties.needs.push(Tie(Bond::HardLink, &file.path));
            ties.path(&file.path, &[&file.user, &file.group], c);
        }
        Item::Link(link) if link.hard == Some(true) => {
            ties.needs.push(Tie(Bond::HardLink, &link.target));
            ties.path(&link.path, &[], c);
        }
        Item::Link(link) => ties.path(&link.path, &[&link.user, &link.group], c),
        _ => {}
    }
    ties
}

impl<'a> Ties<'a> {
    fn path(&mut self, path: &'a str, owners: &[&Option<Owner>], c: &Customization) {
        if owned(owners, c) || at_home(path, c) {
            self.needs.push(Tie(Bond::Accounts, ""));
        }
        // A parent that nobody has made yet would be made without its mode and owner.
        let parents = path.match_indices('/').skip(1);
        self.needs
            .extend(parents.map(|(slash, _)| Tie(Bond::Directory, &path[..slash])));
    }
}

/// Whether an owner is an account of the document. A user may come with a group of its name.
fn owned(owners: &[&Option<Owner>], c: &Customization) -> bool {
    let known = |name: &String| {
        c.users.iter().any(|user| user.name == *name)
            || c.groups.iter().any(|group| group.name == *name)
    };
    owners
        .iter()
        .any(|owner| matches!(owner, Some(Owner::Name(name)) if known(name)))
}

/// Whether a path is below the home of a user of the document, which comes with the user.
fn at_home(path: &str, c: &Customization) -> bool {
    let plain = |path: &str| match (
        path.strip_prefix("/var/home/"),
        path.strip_prefix("/var/roothome/"),
    ) {
        (Some(rest), _) => format!("/home/{rest}"),
        (_, Some(rest)) => format!("/root/{rest}"),
        _ => path.to_owned(),
    };
    let home = |user: &User| match (&user.home_dir, &*user.name) {
        (Some(home), _) => plain(&format!("{}/", home.trim_end_matches('/'))),
        (None, "root") => "/root/".to_owned(),
        (None, name) => format!("/home/{name}/"),
    };
    c.users
        .iter()
        .any(|user| plain(&format!("{path}/")).starts_with(&home(user)))
}

/// An item's place and words; two items that have both are the same.
type Key = (std::sync::Arc<str>, String);

fn key(item: &Item<'_>) -> Key {
    (item.origin().path.clone(), item.to_string())
}

/// The document with those items alone that are wanted. What is no item, since it does nothing (a unit
/// with its name alone), is kept where `idle` says so.
fn part(c: &Customization, wanted: &dyn Fn(&Item<'_>) -> bool, idle: bool) -> Customization {
    fn some<'a, T: Clone>(
        list: &'a [T],
        item: impl Fn(&'a T) -> Item<'a>,
        wanted: &dyn Fn(&Item<'_>) -> bool,
    ) -> Vec<T> {
        list.iter()
            .filter(|entry| wanted(&item(entry)))
            .cloned()
            .collect()
    }
    let arguments = &c.kernel_arguments;
    let mut part = c.clone();
    part.directories = some(&c.directories, Item::Directory, wanted);
    part.files = some(&c.files, Item::File, wanted);
    part.links = some(&c.links, Item::Link, wanted);
    // A unit stays whole; one that asks for nothing goes with what is carried.
    part.units
        .retain(|unit| unit_items(unit).next().map_or(idle, |item| wanted(&item)));
    part.users = some(&c.users, Item::User, wanted);
    part.groups = some(&c.groups, Item::Group, wanted);
    part.kernel_arguments = KernelArguments {
        should_exist: some(&arguments.should_exist, Item::KernelArgument, wanted),
        should_not_exist: some(
            &arguments.should_not_exist,
            Item::KernelArgumentRemoval,
            wanted,
        ),
    };
    // They are Ignition's alone, so all of them are in one part.
    if !(c.inject_only().into_iter()).any(|item| wanted(&Item::InjectOnly(item))) {
        part.disks.clear();
        part.raid.clear();
        part.luks.clear();
        part.filesystems.clear();
        part.ignition = IgnitionSection::default();
    }
    part
}
