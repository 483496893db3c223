//! The parts about two images.

use maud::{Markup, html};
use pleach_image_lint::{AccountKind, FileChange, Pair, UnitState};

use super::budget::{Budget, escaped};
use super::{counted, more, scrolling};

pub(super) fn etc(pair: &Pair, budget: &mut Budget) -> Markup {
    let Some(merge) = &pair.etc_merge else {
        return html! {
            p { "No machine was named; pleach diff --machine or --etc says what the merge does on one." }
        };
    };
    let mut entries: Vec<_> = merge.entries.iter().collect();
    entries.sort_by_key(|entry| !entry.conflict);
    let (shown, left) = budget.fit(&entries, |entry| {
        let findings = entry.findings.iter().map(|text| 8 + escaped(text));
        140 + escaped(&entry.path)
            + entry.state.len()
            + entry.resolution.len()
            + findings.sum::<usize>()
    });
    let table = html! {
        table {
            caption { "Each path of /etc that is not the same on all three sides; conflicts first" }
            thead {
                tr {
                    th scope="col" { "Path" } th scope="col" { "How the sides lie" }
                    th scope="col" { "What the result has" } th scope="col" { "To know" }
                }
            }
            tbody {
                @for entry in shown {
                    tr {
                        th scope="row" { code { (entry.path) } }
                        td class=[entry.conflict.then_some("bad")] { (entry.state) }
                        td { (entry.resolution) }
                        td { @for finding in &entry.findings { div { (finding) } } }
                    }
                }
            }
        }
    };
    html! {
        p {
            "On " code { (merge.machine) } ", from " code { (pair.old) } " to " code { (pair.new) } ": "
            (merge.entries.len()) " paths to decide, " strong { (counted(merge.conflicts, "conflict")) } "."
        }
        @for note in &merge.notes { p { "Note: " (note) } }
        @if entries.is_empty() { p { "The machine has changed nothing, and the images ship the same." } }
        @else { (scrolling("The merge of /etc", table)) (more(left)) }
    }
}

pub(super) fn pair(pair: &Pair, budget: &mut Budget) -> Markup {
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
    let packages = pair.packages.iter().map(|package| {
        let (old, new) = (side(&package.old), side(&package.new));
        format!("{}: {old} → {new} ({})", package.name, package.database)
    });
    let units = pair.units.iter().map(|unit| {
        let state = |state: Option<UnitState>| match state {
            Some(state) => format!("{state}"),
            None => "–".to_owned(),
        };
        let preset = unit
            .preset
            .as_ref()
            .map(|preset| format!(" (preset: {preset})"));
        let (old, new) = (state(unit.old), state(unit.new));
        format!("{}: {old} → {new}{}", unit.unit, preset.unwrap_or_default())
    });
    let accounts = pair.accounts.iter().map(|account| {
        let kind = match account.kind {
            AccountKind::User => "user",
            AccountKind::Group => "group",
        };
        let drift = account
            .drift
            .as_ref()
            .map(|drift| format!(" — drift: {drift}"));
        let (old, new) = (side(&account.old), side(&account.new));
        format!(
            "{kind} {}: {old} → {new}{}",
            account.name,
            drift.unwrap_or_default()
        )
    });
    let kargs = pair
        .kargs
        .iter()
        .map(|karg| format!("{} {} ({})", karg.change, karg.argument, karg.file));
    let file = |file: &FileChange| {
        let what = match file.what.is_empty() {
            true => String::new(),
            false => format!(": {}", file.what.join(", ")),
        };
        let package = file
            .package
            .as_ref()
            .map(|package| format!(" (package {package})"));
        format!(
            "{} {}{what}{}",
            file.change,
            file.path,
            package.unwrap_or_default()
        )
    };
    let var = pair.var.iter().map(|var| match &var.declared {
        Some(place) => format!("{} {} (made at boot: {place})", var.change, var.path),
        None => format!("{} {}: will not arrive", var.change, var.path),
    });
    let lists: [(&str, Vec<String>); 8] = [
        ("Packages", packages.collect()),
        ("Units", units.collect()),
        ("Users and groups", accounts.collect()),
        ("Kernel arguments", kargs.collect()),
        (
            "Content of /var: does not arrive on a machine that is there",
            var.collect(),
        ),
        ("Defaults of /etc", pair.etc.iter().map(file).collect()),
        ("Files", pair.files.iter().map(file).collect()),
        ("Notes", pair.notes.clone()),
    ];
    html! {
        p { "From " code { (pair.old) } " to " code { (pair.new) } "." }
        @if pair.is_empty() { p { "The images are the same." } }
        @for (title, lines) in &lists {
            @if !lines.is_empty() { (list(title, lines, budget)) }
        }
    }
}

fn list(title: &str, lines: &[String], budget: &mut Budget) -> Markup {
    // No list takes all from those that follow.
    let mut part = budget.share(2);
    let (shown, left) = part.fit(lines, |line| 10 + escaped(line));
    budget.give_back(part);
    html! {
        details open[lines.len() <= 20] {
            summary { (title) ": " (lines.len()) }
            ul { @for line in shown { li { (line) } } }
            (more(left))
        }
    }
}
