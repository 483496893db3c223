//! What `systemctl enable` and `systemctl disable` do to the links in `/etc/systemd/system`.

use std::collections::BTreeSet;

use super::unit_file::{self, ETC, Found, UnitFile};
use super::view::{join, lossy, split};
use super::work::Work;
use super::{Action, BaseView, Kind, LowerErrorKind};
use crate::model::Origin;
use crate::unit_name::{self, UnitName};

/// Enables a unit, and those that it names with `Also`.
pub(super) fn enable(work: &mut Work<'_>, name: &str, origin: &Origin) {
    let mut done = BTreeSet::new();
    let mut next = vec![name.to_owned()];
    while let Some(unit) = next.pop() {
        if !done.insert(unit.clone()) {
            continue;
        }
        match unit_file::find(work, &unit) {
            Found::Unit(found) => {
                let also = found
                    .install
                    .also
                    .iter()
                    .map(|also| expand(work, &found, "Also", also, origin));
                let also: Vec<Option<String>> = also.collect();
                next.extend(also.into_iter().flatten());
                links(work, &found, origin);
            }
            // One that only `Also` names is passed over when it is missing or masked.
            _ if unit != name => {}
            Found::Masked => {
                work.error(origin, LowerErrorKind::MaskedUnit { name: name.into() });
            }
            Found::Missing => {
                work.error(origin, LowerErrorKind::UnknownUnit { name: name.into() });
            }
        }
    }
}

fn bad(work: &mut Work<'_>, unit: &UnitFile, setting: String, reason: String, origin: &Origin) {
    let kind = LowerErrorKind::Install {
        name: unit.name.clone(),
        setting,
        reason,
    };
    work.error(origin, kind);
}

/// One value of a setting as a unit name, specifiers replaced.
fn expand(
    work: &mut Work<'_>,
    unit: &UnitFile,
    key: &str,
    value: &str,
    origin: &Origin,
) -> Option<String> {
    let name = unit_file::specifiers(value, &unit.name).and_then(|name| {
        unit_name::check(&name)
            .map(|()| name)
            .map_err(str::to_owned)
    });
    match name {
        Ok(name) => Some(name),
        Err(reason) => {
            bad(work, unit, format!("{key}={value}"), reason, origin);
            None
        }
    }
}

fn links(work: &mut Work<'_>, unit: &UnitFile, origin: &Origin) {
    if unit.linked {
        link(work, &format!("{ETC}/{}", unit.name), unit, true, origin);
    }
    aliases(work, unit, origin);
    let Some(parts) = UnitName::parse(&unit.name) else {
        return;
    };
    // A template stands for its default instance; without one, only other templates can want it.
    let (name, template) = match (&unit.install.default_instance, parts.is_template()) {
        (Some(instance), true) => (parts.with_instance(instance), false),
        (None, is_template) => (unit.name.clone(), is_template),
        (Some(_), false) => (unit.name.clone(), false),
    };
    let named = UnitFile {
        name: name.clone(),
        ..unit.clone()
    };
    let install = &unit.install;
    let kinds = [
        ("WantedBy", "wants", &install.wanted_by),
        ("RequiredBy", "requires", &install.required_by),
        ("UpheldBy", "upholds", &install.upheld_by),
    ];
    for (key, suffix, values) in kinds {
        for value in values {
            let Some(target) = expand(work, &named, key, value, origin) else {
                continue;
            };
            let to_template = UnitName::parse(&target).is_some_and(|parts| parts.is_template());
            if template && !to_template {
                let reason = "a template without DefaultInstance cannot be started".to_owned();
                bad(work, unit, format!("{key}={value}"), reason, origin);
                continue;
            }
            link(
                work,
                &format!("{ETC}/{target}.{suffix}/{name}"),
                unit,
                false,
                origin,
            );
        }
    }
}

fn aliases(work: &mut Work<'_>, unit: &UnitFile, origin: &Origin) {
    let Some(parts) = UnitName::parse(&unit.name) else {
        return;
    };
    for value in &unit.install.alias {
        let Some(alias) = expand(work, unit, "Alias", value, origin) else {
            continue;
        };
        let Some(named) = UnitName::parse(&alias) else {
            continue;
        };
        if named.suffix != parts.suffix || named.instance.is_some() != parts.instance.is_some() {
            let reason = format!("'{}' cannot have this alias", unit.name);
            bad(work, unit, format!("Alias={value}"), reason, origin);
            continue;
        }
        let name = match parts.instance {
            Some(instance) if named.is_template() => named.with_instance(instance),
            _ => alias.clone(),
        };
        if name != unit.name {
            link(work, &format!("{ETC}/{name}"), unit, true, origin);
        }
    }
}

/// Makes a link to a unit, unless it is there.
fn link(work: &mut Work<'_>, path: &str, unit: &UnitFile, alias: bool, origin: &Origin) {
    let Some(resolved) = work.parent_resolved(path, origin) else {
        return;
    };
    match work.node(&resolved).map(|node| node.kind) {
        None => {
            let target = unit.path.clone().into_bytes();
            work.change(
                &resolved,
                Action::Symlink {
                    target,
                    uid: 0,
                    gid: 0,
                },
                origin,
            );
        }
        // Of a link in a .wants directory only the name counts.
        Some(Kind::Symlink(target)) => {
            let same = split(&target).1 == split(unit.path.as_bytes()).1;
            if alias && !same {
                let found = "a link to something else";
                work.error(
                    origin,
                    LowerErrorKind::Exists {
                        path: lossy(&resolved),
                        found,
                    },
                );
            }
        }
        Some(_) => {
            let found = "something that is no link";
            work.error(
                origin,
                LowerErrorKind::Exists {
                    path: lossy(&resolved),
                    found,
                },
            );
        }
    }
}

/// Removes every link that enables a unit, and those of the units that it names with `Also`.
pub(super) fn disable(work: &mut Work<'_>, name: &str, origin: &Origin) {
    let mut names = BTreeSet::new();
    let mut next = vec![name.to_owned()];
    while let Some(unit) = next.pop() {
        if !names.insert(unit.clone()) {
            continue;
        }
        if let Found::Unit(found) = unit_file::find(work, &unit) {
            let also = found.install.also.iter();
            next.extend(also.filter_map(|also| unit_file::specifiers(also, &found.name).ok()));
            names.insert(found.name);
        }
    }
    let Ok(root) = work.resolve(ETC.as_bytes()) else {
        return;
    };
    // A removed alias may itself be the target of other links.
    while let Some((path, link)) = enabling_link(work, &root, &names) {
        work.change(&path, Action::Remove, origin);
        names.insert(link);
    }
}

/// The first link below `root` that has one of the names, or leads to a file of that name.
fn enabling_link(
    work: &Work<'_>,
    root: &[u8],
    names: &BTreeSet<String>,
) -> Option<(Vec<u8>, String)> {
    let kind = |path: &[u8]| work.node(path).map(|node| node.kind);
    let top = work.names(root).into_iter().map(|name| join(root, &name));
    let mut paths: Vec<Vec<u8>> = Vec::new();
    for path in top {
        let is_list = [&b".wants"[..], b".requires", b".upholds"]
            .iter()
            .any(|end| path.ends_with(end));
        match kind(&path) {
            Some(Kind::Directory) if is_list => {
                paths.extend(work.names(&path).into_iter().map(|name| join(&path, &name)));
            }
            _ => paths.push(path),
        }
    }
    paths.into_iter().find_map(|path| {
        let Some(Kind::Symlink(target)) = kind(&path) else {
            return None;
        };
        let name = lossy(split(&path).1);
        let parts = UnitName::parse(&name)?;
        let template = parts
            .template()
            .is_some_and(|template| names.contains(&template));
        let leads = names.contains(&lossy(split(&target).1));
        let is = target != b"/dev/null" && (names.contains(&name) || template || leads);
        is.then_some((path, name))
    })
}
