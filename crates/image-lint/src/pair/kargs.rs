//! Kernel arguments of `/usr/lib/bootc/kargs.d` (bootc, "Kernel arguments").

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Change, KargChange};
use crate::view::View;

const FOLDER: &str = "/usr/lib/bootc/kargs.d";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    kargs: Vec<String>,
    #[serde(default)]
    match_architectures: Vec<String>,
}

/// File, architectures, argument.
type Argument = (String, Vec<String>, String);

/// Arguments that come or go, and which files could not be read.
pub(super) fn changes(old: &View<'_>, new: &View<'_>) -> (Vec<KargChange>, Vec<String>) {
    let (before, mut notes) = read(old, "old");
    let (after, more) = read(new, "new");
    notes.extend(more);
    let change = |change, (file, architectures, argument): &Argument| KargChange {
        change,
        argument: argument.clone(),
        file: file.clone(),
        architectures: architectures.clone(),
    };
    let gone = before
        .difference(&after)
        .map(|it| change(Change::Removed, it));
    let come = after
        .difference(&before)
        .map(|it| change(Change::Added, it));
    let mut all: Vec<_> = gone.chain(come).collect();
    all.sort_by(|a, b| (&a.file, &a.argument, a.change).cmp(&(&b.file, &b.argument, b.change)));
    (all, notes)
}

fn read(view: &View<'_>, which: &str) -> (BTreeSet<Argument>, Vec<String>) {
    let (mut out, mut notes) = (BTreeSet::new(), Vec::new());
    for item in view
        .children(FOLDER)
        .filter(|item| item.name().ends_with(".toml"))
    {
        let path = item.path.to_string();
        let text = String::from_utf8_lossy(&view.bytes(item)).into_owned();
        match toml::from_str::<File>(&text) {
            Ok(file) => {
                let arguments = file.kargs.into_iter();
                let of = |argument| (path.clone(), file.match_architectures.clone(), argument);
                out.extend(arguments.map(of));
            }
            Err(error) => notes.push(format!("{which}: {path}: {}", error.message())),
        }
    }
    (out, notes)
}
