//! One document merged into another, by Ignition's rules: what the child says overrides, what it does
//! not say stays; lists of things with names are merged by name, options for commands are put one after
//! the other; files, directories and links share their paths.

mod storage;
mod text;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::model::{
    Contents, Customization, IgnitionSection, KernelArgument, KernelArguments, Proxy, Timeouts,
};
use crate::parse::Parsed;
use crate::validate;

/// Something that a list holds once.
pub(crate) trait Keyed {
    /// What tells it from the others.
    type Key: Hash + Eq;

    fn key(&self) -> Self::Key;

    /// What both say, the child's word counting.
    fn merged(self, child: Self, found: &mut Vec<Diagnostic>) -> Self;
}

/// Merges by key: the parent's order, then what only the child has.
fn list<T: Keyed>(parent: Vec<T>, child: Vec<T>, found: &mut Vec<Diagnostic>) -> Vec<T> {
    let mut places = HashMap::new();
    for (index, item) in child.iter().enumerate() {
        places.entry(item.key()).or_insert(index);
    }
    let mut child: Vec<Option<T>> = child.into_iter().map(Some).collect();
    let mut out = Vec::with_capacity(parent.len() + child.len());
    for item in parent {
        let same = places
            .get(&item.key())
            .and_then(|index| child[*index].take());
        out.push(match same {
            Some(same) => item.merged(same, found),
            None => item,
        });
    }
    out.extend(child.into_iter().flatten());
    out
}

/// Strings that a list holds once.
fn union(mut parent: Vec<String>, child: Vec<String>) -> Vec<String> {
    for text in child {
        if !parent.contains(&text) {
            parent.push(text);
        }
    }
    parent
}

/// Options for a command.
fn joined<T>(mut parent: Vec<T>, mut child: Vec<T>) -> Vec<T> {
    parent.append(&mut child);
    parent
}

/// `child` merged into `parent`. References to other documents are the parent's.
pub(crate) fn merge(
    mut parent: Customization,
    child: Customization,
    found: &mut Vec<Diagnostic>,
) -> Customization {
    // A path is one thing: the child's kind counts.
    let paths = |c: &Customization| -> [HashSet<String>; 3] {
        [
            c.directories.iter().map(|d| d.path.clone()).collect(),
            c.files.iter().map(|f| f.path.clone()).collect(),
            c.links.iter().map(|l| l.path.clone()).collect(),
        ]
    };
    let [directories, files, links] = paths(&child);
    parent
        .directories
        .retain(|d| !files.contains(&d.path) && !links.contains(&d.path));
    parent
        .files
        .retain(|f| !directories.contains(&f.path) && !links.contains(&f.path));
    parent
        .links
        .retain(|l| !directories.contains(&l.path) && !files.contains(&l.path));
    Customization {
        format: parent.format,
        version: parent.version,
        digest: parent.digest,
        directories: list(parent.directories, child.directories, found),
        files: list(parent.files, child.files, found),
        links: list(parent.links, child.links, found),
        units: list(parent.units, child.units, found),
        users: list(parent.users, child.users, found),
        groups: list(parent.groups, child.groups, found),
        kernel_arguments: arguments(parent.kernel_arguments, child.kernel_arguments),
        disks: list(parent.disks, child.disks, found),
        raid: list(parent.raid, child.raid, found),
        luks: list(parent.luks, child.luks, found),
        filesystems: list(parent.filesystems, child.filesystems, found),
        ignition: section(parent.ignition, child.ignition, found),
    }
}

/// An argument is either to exist or not: the child's word counts.
fn arguments(mut parent: KernelArguments, child: KernelArguments) -> KernelArguments {
    let has = |list: &[KernelArgument], argument: &KernelArgument| {
        list.iter().any(|known| known.value == argument.value)
    };
    parent
        .should_exist
        .retain(|a| !has(&child.should_not_exist, a));
    parent
        .should_not_exist
        .retain(|a| !has(&child.should_exist, a));
    let add = |parent: &mut Vec<KernelArgument>, child: Vec<KernelArgument>| {
        for argument in child {
            match parent
                .iter_mut()
                .find(|known| known.value == argument.value)
            {
                Some(known) => *known = argument,
                None => parent.push(argument),
            }
        }
    };
    add(&mut parent.should_exist, child.should_exist);
    add(&mut parent.should_not_exist, child.should_not_exist);
    parent
}

fn section(
    parent: IgnitionSection,
    child: IgnitionSection,
    found: &mut Vec<Diagnostic>,
) -> IgnitionSection {
    IgnitionSection {
        merge: joined(parent.merge, child.merge),
        replace: child.replace.or(parent.replace),
        timeouts: both(parent.timeouts, child.timeouts, |p, c| Timeouts {
            http_response_headers: c.http_response_headers.or(p.http_response_headers),
            http_total: c.http_total.or(p.http_total),
            origin: c.origin,
        }),
        certificate_authorities: list(
            parent.certificate_authorities,
            child.certificate_authorities,
            found,
        ),
        proxy: both(parent.proxy, child.proxy, |p, c| Proxy {
            http_proxy: c.http_proxy.or(p.http_proxy),
            https_proxy: c.https_proxy.or(p.https_proxy),
            no_proxy: union(p.no_proxy, c.no_proxy),
            origin: c.origin,
        }),
    }
}

fn both<T>(parent: Option<T>, child: Option<T>, merged: impl FnOnce(T, T) -> T) -> Option<T> {
    match (parent, child) {
        (Some(parent), Some(child)) => Some(merged(parent, child)),
        (parent, child) => child.or(parent),
    }
}

impl Customization {
    /// The customization with the documents that it refers to merged into it, or in its place.
    ///
    /// Ignition does the same at first boot; every other route needs it done before. A document that
    /// is not here, because it is fetched or its version is not known, stays a reference, and so do
    /// those after it, which could override it.
    ///
    /// # Errors
    /// Items of different documents that get into each other's way.
    ///
    /// # Example
    /// ```
    /// use pleach_customization::{Format, Input, NoLocalFiles, ParseOptions, parse};
    ///
    /// let text = r#"
    /// variant: fcos
    /// version: 1.5.0
    /// ignition:
    ///   config:
    ///     merge:
    ///       - inline: '{"ignition": {"version": "3.4.0"}, "systemd": {"units": [{"name": "a.service", "mask": true}]}}'
    /// systemd:
    ///   units:
    ///     - name: b.service
    /// "#;
    /// let input = Input { name: "site.bu", text, format: Format::Butane };
    /// let parsed = parse(&input, &NoLocalFiles, &ParseOptions::default())?;
    /// let merged = parsed.customization.merged()?.customization;
    /// assert_eq!(merged.units.len(), 2);
    /// assert_eq!(
    ///     merged.units[1].origin.to_string(),
    ///     "site.bu[$.ignition.config.merge.0]:1:58 ($.systemd.units.0)"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merged(&self) -> Result<Parsed, Diagnostics> {
        let mut found = Vec::new();
        let mut out = rendered(self, &mut found);
        out.format = self.format;
        out.version.clone_from(&self.version);
        out.digest.clone_from(&self.digest);
        validate::check(&out, &mut found);
        Parsed::of(out, found, "")
    }

    /// Whether anything is said besides what takes the document's place.
    pub(crate) fn says_more_than_replace(&self) -> bool {
        let mut rest = self.clone();
        rest.ignition.replace = None;
        rest.digest.clear();
        rest != Self::new(self.format, self.version.clone())
    }
}

/// Depth first, as Ignition does it.
fn rendered(document: &Customization, found: &mut Vec<Diagnostic>) -> Customization {
    if let Some(replace) = &document.ignition.replace {
        return match &replace.document {
            Some(inner) => rendered(inner, found),
            None => document.clone(),
        };
    }
    let mut out = document.clone();
    let mut references = std::mem::take(&mut out.ignition.merge).into_iter();
    while let Some(reference) = references.next() {
        let inner = reference
            .document
            .as_ref()
            .map(|inner| rendered(inner, found));
        let whole = inner.filter(|c| c.ignition.merge.is_empty() && c.ignition.replace.is_none());
        match whole {
            Some(inner) => out = merge(out, inner, found),
            None => {
                out.ignition.merge = std::iter::once(reference).chain(references).collect();
                return out;
            }
        }
    }
    out
}

/// Says that an item inherits what its own contents do not fit.
fn misfit(child: &Contents, parent: &Contents, what: &str, say: &str) -> Diagnostic {
    let message = format!(
        "these contents inherit {what} from {}, which does not fit them",
        parent.origin
    );
    let mut diagnostic = Diagnostic::about(Severity::Error, &child.origin, message);
    diagnostic.help = Some(format!("say {say} here too"));
    diagnostic
}
