//! A document, taken apart into what a route carries or does not.

use std::fmt;

use super::{Keeper, Placement, Subject, Verdict};
use crate::model::{
    Customization, Directory, Dropin, File, Group, InjectOnly, KernelArgument, Link, Origin, Owner,
    Unit, User,
};

/// One item of a document.
#[derive(Debug, Clone)]
pub(crate) enum Item<'a> {
    Directory(&'a Directory),
    File(&'a File),
    Link(&'a Link),
    UnitFile(&'a Unit),
    Dropin(&'a Unit, &'a Dropin),
    Enablement(&'a Unit, bool),
    Mask(&'a Unit, bool),
    Group(&'a Group),
    GroupPassword(&'a Group),
    User(&'a User),
    UserPassword(&'a User),
    KernelArgument(&'a KernelArgument),
    KernelArgumentRemoval(&'a KernelArgument),
    InjectOnly(InjectOnly<'a>),
}

/// Every item, in the model's order.
pub(crate) fn items(c: &Customization) -> impl Iterator<Item = Item<'_>> {
    let groups = c.groups.iter().flat_map(|group| {
        let password = group.password_hash.as_ref();
        let password = password.map(|_| Item::GroupPassword(group));
        std::iter::once(Item::Group(group)).chain(password)
    });
    let users = c.users.iter().flat_map(|user| {
        // An empty hash locks the password, which every route does of itself.
        let password = user.password_hash.as_ref();
        let password = password.filter(|hash| !hash.expose().is_empty());
        let password = password.map(|_| Item::UserPassword(user));
        std::iter::once(Item::User(user)).chain(password)
    });
    let arguments = &c.kernel_arguments;
    (c.directories.iter().map(Item::Directory))
        .chain(c.files.iter().map(Item::File))
        .chain(c.links.iter().map(Item::Link))
        .chain(c.units.iter().flat_map(unit_items))
        .chain(groups)
        .chain(users)
        .chain(arguments.should_exist.iter().map(Item::KernelArgument))
        .chain((arguments.should_not_exist.iter()).map(Item::KernelArgumentRemoval))
        .chain(c.inject_only().into_iter().map(Item::InjectOnly))
}

/// What one unit asks for; nothing where it says its name alone.
pub(crate) fn unit_items(unit: &Unit) -> impl Iterator<Item = Item<'_>> {
    let file = unit.unit_file().map(|_| Item::UnitFile(unit));
    let written = |dropin: &&Dropin| dropin.contents.is_some();
    let dropins = unit.dropins.iter().filter(written);
    let dropins = dropins.map(move |dropin| Item::Dropin(unit, dropin));
    let enablement = unit.enabled.map(|on| Item::Enablement(unit, on));
    let mask = unit.mask.map(|on| Item::Mask(unit, on));
    file.into_iter()
        .chain(dropins)
        .chain(enablement)
        .chain(mask)
}

impl<'a> Item<'a> {
    /// Where it was asked for.
    pub(crate) fn origin(&self) -> &'a Origin {
        match self {
            Self::Directory(directory) => &directory.origin,
            Self::File(file) => &file.origin,
            Self::Link(link) => &link.origin,
            Self::Dropin(_, dropin) => &dropin.origin,
            Self::UnitFile(unit) | Self::Enablement(unit, _) | Self::Mask(unit, _) => &unit.origin,
            Self::Group(group) | Self::GroupPassword(group) => &group.origin,
            Self::User(user) | Self::UserPassword(user) => &user.origin,
            Self::KernelArgument(argument) | Self::KernelArgumentRemoval(argument) => {
                &argument.origin
            }
            Self::InjectOnly(item) => item.origin,
        }
    }

    pub(crate) fn placed(&self, verdict: Verdict) -> Placement {
        Placement {
            item: self.to_string(),
            origin: self.origin().clone(),
            verdict,
        }
    }

    /// What rules of the policy are about it.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Directory(directory) => {
                let path = Subject::Path(Keeper::of(&directory.path));
                let owner = named(&[&directory.user, &directory.group]);
                [path, Subject::Directory]
                    .into_iter()
                    .chain(owner)
                    .collect()
            }
            Self::File(file) => {
                let setuid = file.mode.is_some_and(|mode| mode & 0o6000 != 0);
                let mut contents = file.contents.iter().chain(&file.append);
                let remote = contents.any(|contents| contents.remote().is_some());
                let kept = file.contents.is_none() && file.append.is_empty();
                let said = [
                    (true, Subject::Path(Keeper::of(&file.path))),
                    (setuid, Subject::Setuid),
                    (!file.append.is_empty(), Subject::Append),
                    (kept, Subject::KeptContents),
                    (remote, Subject::Remote),
                    (file.is_private() && !file.published, Subject::PrivateFile),
                ];
                let said = said
                    .into_iter()
                    .filter_map(|(is, subject)| is.then_some(subject));
                said.chain(named(&[&file.user, &file.group])).collect()
            }
            Self::Link(link) => {
                let keeper = Keeper::of(&link.path);
                let across = keeper.file_system() != Keeper::of(&link.target).file_system();
                let what = match (link.hard == Some(true), across) {
                    (false, _) => Subject::Link,
                    (true, true) => Subject::HardLinkAcross,
                    (true, false) if keeper == Keeper::Var => Subject::HardLinkInVar,
                    (true, false) => Subject::HardLink,
                };
                let owner = named(&[&link.user, &link.group]);
                [Subject::Path(keeper), what]
                    .into_iter()
                    .chain(owner)
                    .collect()
            }
            Self::UnitFile(_) => vec![Subject::Unit],
            Self::Dropin(..) => vec![Subject::Dropin],
            Self::Enablement(_, true) => vec![Subject::Enable],
            Self::Enablement(_, false) => vec![Subject::Disable],
            Self::Mask(_, true) => vec![Subject::Mask],
            Self::Mask(_, false) => vec![Subject::Unmask],
            Self::Group(group) => vec![account(group.should_exist, Subject::Group)],
            Self::User(user) => vec![account(user.should_exist, Subject::User)],
            Self::GroupPassword(_) => vec![Subject::GroupPassword],
            Self::UserPassword(_) => vec![Subject::UserPassword],
            Self::KernelArgument(_) => vec![Subject::KernelArgument],
            Self::KernelArgumentRemoval(_) => vec![Subject::KernelArgumentRemoval],
            Self::InjectOnly(item) => vec![Subject::InjectOnly(item.kind)],
        }
    }
}

fn account(should_exist: Option<bool>, subject: Subject) -> Subject {
    match should_exist {
        Some(false) => Subject::AccountRemoval,
        _ => subject,
    }
}

fn named(owners: &[&Option<Owner>]) -> Option<Subject> {
    let other = |owner: &&Option<Owner>| matches!(owner, Some(Owner::Name(name)) if name != "root");
    owners.iter().any(other).then_some(Subject::NamedOwner)
}

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "directory {}", directory.path),
            Self::File(file) => write!(f, "file {}", file.path),
            Self::Link(link) if link.hard == Some(true) => write!(f, "hard link {}", link.path),
            Self::Link(link) => write!(f, "link {}", link.path),
            Self::UnitFile(unit) => write!(f, "unit {}", unit.name),
            Self::Dropin(unit, dropin) => write!(f, "drop-in {} of {}", dropin.name, unit.name),
            Self::Enablement(unit, true) => write!(f, "enabling of {}", unit.name),
            Self::Enablement(unit, false) => write!(f, "disabling of {}", unit.name),
            Self::Mask(unit, true) => write!(f, "masking of {}", unit.name),
            Self::Mask(unit, false) => write!(f, "unmasking of {}", unit.name),
            Self::Group(group) => write!(f, "{}group {}", removal(group.should_exist), group.name),
            Self::GroupPassword(group) => write!(f, "password of group {}", group.name),
            Self::User(user) => write!(f, "{}user {}", removal(user.should_exist), user.name),
            Self::UserPassword(user) => write!(f, "password of user {}", user.name),
            Self::KernelArgument(argument) => write!(f, "kernel argument {}", argument.value),
            Self::KernelArgumentRemoval(argument) => {
                write!(f, "removal of kernel argument {}", argument.value)
            }
            Self::InjectOnly(item) => f.write_str(&item.item),
        }
    }
}

fn removal(should_exist: Option<bool>) -> &'static str {
    match should_exist {
        Some(false) => "removal of ",
        _ => "",
    }
}
