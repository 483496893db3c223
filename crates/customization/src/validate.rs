//! What no single item can know: duplicates, and paths that get in each other's way.

use std::collections::HashMap;

use crate::decode::Decoder;
use crate::model::{Customization, Origin};
use crate::source::Place;

pub(crate) fn check(decoder: &mut Decoder<'_>, customization: &Customization) {
    let c = customization;
    duplicates(
        decoder,
        "unit",
        c.units
            .iter()
            .map(|unit| (unit.name.as_str(), &unit.origin)),
    );
    duplicates(
        decoder,
        "user",
        c.users
            .iter()
            .map(|user| (user.name.as_str(), &user.origin)),
    );
    duplicates(
        decoder,
        "group",
        c.groups
            .iter()
            .map(|group| (group.name.as_str(), &group.origin)),
    );
    let uids = c
        .users
        .iter()
        .filter_map(|user| Some((user.uid?.to_string(), &user.origin)));
    let uids: Vec<_> = uids.collect();
    duplicates(
        decoder,
        "user ID",
        uids.iter().map(|(id, origin)| (id.as_str(), *origin)),
    );
    let gids = c
        .groups
        .iter()
        .filter_map(|group| Some((group.gid?.to_string(), &group.origin)));
    let gids: Vec<_> = gids.collect();
    duplicates(
        decoder,
        "group ID",
        gids.iter().map(|(id, origin)| (id.as_str(), *origin)),
    );
    paths(decoder, customization);
}

fn place(origin: &Origin) -> Place {
    Place {
        line: origin.line,
        column: origin.column,
    }
}

fn duplicates<'a>(
    decoder: &mut Decoder<'_>,
    what: &str,
    items: impl Iterator<Item = (&'a str, &'a Origin)>,
) {
    let mut first: HashMap<&str, &Origin> = HashMap::new();
    for (name, origin) in items {
        if let Some(earlier) = first.get(name) {
            let line = earlier.line;
            decoder.error(
                place(origin),
                &origin.path,
                format!("{what} '{name}' is given twice, first in line {line}"),
            );
        } else {
            first.insert(name, origin);
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

fn paths(decoder: &mut Decoder<'_>, c: &Customization) {
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
            let (words, line) = (earlier.words(), first.line);
            // Two units of one name have been reported as that.
            if (*earlier, *taker) != (Taker::Unit, Taker::Unit) {
                decoder.error(
                    place(origin),
                    &origin.path,
                    format!("path '{path}' is given twice: {words} has it in line {line}"),
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
                let (words, line) = (taker.words(), first.line);
                decoder.error(
                    place(origin),
                    &origin.path,
                    format!("'{path}' lies below '{parent}', which is {words} in line {line}"),
                );
            }
        }
    }
    for link in c.links.iter().filter(|link| link.hard == Some(true)) {
        if let Some((Taker::Directory, _)) = taken.get(&link.target) {
            decoder.error(
                place(&link.origin),
                &link.origin.path,
                format!("the target '{}' of a hard link is a directory", link.target),
            );
        }
    }
}
