//! What no single item can know: duplicates, and paths that get in each other's way.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{Customization, Origin};
use crate::unit_name::UnitName;

pub(crate) fn check(customization: &Customization, found: &mut Vec<Diagnostic>) {
    let c = customization;
    let mut once = |what: &str, items: &mut dyn Iterator<Item = (String, &Origin)>| {
        duplicates(what, items, found);
    };
    once(
        "unit",
        &mut c.units.iter().map(|u| (u.name.clone(), &u.origin)),
    );
    once(
        "user",
        &mut c.users.iter().map(|u| (u.name.clone(), &u.origin)),
    );
    once(
        "group",
        &mut c.groups.iter().map(|g| (g.name.clone(), &g.origin)),
    );
    let uids = c
        .users
        .iter()
        .filter_map(|u| Some((u.uid?.to_string(), &u.origin)));
    once("user ID", &mut uids.into_iter());
    let gids = c
        .groups
        .iter()
        .filter_map(|g| Some((g.gid?.to_string(), &g.origin)));
    once("group ID", &mut gids.into_iter());
    once(
        "disk",
        &mut c.disks.iter().map(|d| (d.device.clone(), &d.origin)),
    );
    once(
        "array",
        &mut c.raid.iter().map(|r| (r.name.clone(), &r.origin)),
    );
    once(
        "volume",
        &mut c.luks.iter().map(|l| (l.name.clone(), &l.origin)),
    );
    let filesystems = c.filesystems.iter();
    once(
        "filesystem",
        &mut filesystems.map(|f| (f.device.clone(), &f.origin)),
    );
    paths(c, found);
    whole_disks(c, found);
    templates(c, found);
}

fn error(origin: &Origin, message: String, found: &mut Vec<Diagnostic>) {
    found.push(Diagnostic::about(Severity::Error, origin, message));
}

fn warn(origin: &Origin, message: impl Into<String>, found: &mut Vec<Diagnostic>) {
    found.push(Diagnostic::about(Severity::Warning, origin, message));
}

/// The line of another item, and its document if that is another one.
fn line(other: &Origin, here: &Origin) -> String {
    match other.file == here.file {
        true => format!("line {}", other.line),
        false => format!("line {} of {}", other.line, other.file),
    }
}

fn duplicates(
    what: &str,
    items: &mut dyn Iterator<Item = (String, &Origin)>,
    found: &mut Vec<Diagnostic>,
) {
    let mut first: HashMap<String, &Origin> = HashMap::new();
    for (name, origin) in items {
        match first.get(&name) {
            Some(earlier) => {
                let first = line(earlier, origin);
                let message = format!("{what} '{name}' is given twice, first in {first}");
                error(origin, message, found);
            }
            None => {
                first.insert(name, origin);
            }
        }
    }
}

/// Filesystems that take a whole disk away.
fn whole_disks(c: &Customization, found: &mut Vec<Diagnostic>) {
    for filesystem in &c.filesystems {
        let Some(disk) = c.disks.iter().find(|disk| disk.device == filesystem.device) else {
            continue;
        };
        let line = line(&disk.origin, &filesystem.origin);
        if !disk.partitions.is_empty() {
            let message =
                format!("this filesystem overwrites the partitions of the disk in {line}");
            warn(&filesystem.origin, message, found);
        } else if disk.wipe_table == Some(true) && filesystem.wipe_filesystem != Some(true) {
            let message = format!("the disk in {line} is wiped, and this filesystem with it");
            warn(&filesystem.origin, message, found);
        }
    }
}

/// Instances that are enabled by a template that says nothing of it.
fn templates(c: &Customization, found: &mut Vec<Diagnostic>) {
    for unit in c
        .units
        .iter()
        .filter(|unit| unit.enabled == Some(true) && unit.unit_file().is_none())
    {
        let template = UnitName::parse(&unit.name).and_then(|name| name.template());
        let template = c
            .units
            .iter()
            .find(|known| Some(&known.name) == template.as_ref());
        let text = template.and_then(|template| template.unit_file());
        if text.is_some_and(|text| !text.lines().any(|line| line.trim() == "[Install]")) {
            let message = format!(
                "unit '{}' is enabled, but its template has no [Install] section, so nothing will start it",
                unit.name
            );
            warn(&unit.origin, message, found);
        }
    }
}

/// What takes a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    Directory,
    File,
    Link,
    Unit,
}

impl Taker {
    fn words(self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File => "a file",
            Self::Link => "a link",
            Self::Unit => "a unit or drop-in",
        }
    }
}

fn paths(c: &Customization, found: &mut Vec<Diagnostic>) {
    let mut taken: HashMap<String, (Taker, &Origin)> = HashMap::new();
    let mut items: Vec<(Taker, String, &Origin)> = Vec::new();
    items.extend(
        c.directories
            .iter()
            .map(|d| (Taker::Directory, d.path.clone(), &d.origin)),
    );
    items.extend(
        c.files
            .iter()
            .map(|f| (Taker::File, f.path.clone(), &f.origin)),
    );
    items.extend(
        c.links
            .iter()
            .map(|l| (Taker::Link, l.path.clone(), &l.origin)),
    );
    for unit in &c.units {
        let at = format!("/etc/systemd/system/{}", unit.name);
        for dropin in unit
            .dropins
            .iter()
            .filter(|dropin| dropin.contents.is_some())
        {
            items.push((
                Taker::Unit,
                format!("{at}.d/{}", dropin.name),
                &dropin.origin,
            ));
        }
        if unit.unit_file().is_some() || unit.mask == Some(true) {
            items.push((Taker::Unit, at, &unit.origin));
        }
    }
    for (taker, path, origin) in &items {
        if let Some((earlier, first)) = taken.get(path) {
            let (words, line) = (earlier.words(), line(first, origin));
            // Two units of one name have been reported as that.
            if (*earlier, *taker) != (Taker::Unit, Taker::Unit) {
                error(
                    origin,
                    format!("path '{path}' is given twice: {words} has it in {line}"),
                    found,
                );
            }
        } else {
            taken.insert(path.clone(), (*taker, origin));
        }
    }
    for (_, path, origin) in &items {
        let parents = path
            .match_indices('/')
            .skip(1)
            .map(|(slash, _)| &path[..slash]);
        for parent in parents {
            let Some((taker, first)) = taken.get(parent) else {
                continue;
            };
            if *taker != Taker::Directory {
                let (words, line) = (taker.words(), line(first, origin));
                error(
                    origin,
                    format!("'{path}' lies below '{parent}', which is {words} in {line}"),
                    found,
                );
            }
        }
    }
    for link in c.links.iter().filter(|link| link.hard == Some(true)) {
        if let Some((Taker::Directory, _)) = taken.get(&link.target) {
            error(
                &link.origin,
                format!("the target '{}' of a hard link is a directory", link.target),
                found,
            );
        }
    }
}
