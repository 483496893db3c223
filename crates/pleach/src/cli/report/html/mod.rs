//! The page, from values alone. It has no script; what opens, opens by `details`.

mod budget;
mod changes;
mod lint;
mod parity;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use pleach_image_lint::{Pair, Report, Severity};
use pleach_parity::{Cell, Judged, MatrixReport};

use self::budget::{Budget, escaped};
use super::origins::{PathOrigin, Place};

/// Bytes that a page may have.
const PAGE: usize = 1_950_000;
/// What is on every page: styles, headings.
const FIXED: usize = 30_000;
/// A cell without its name and what it found: its square in the matrix and what it opens to.
const CELL: usize = 540;

/// All that is on a page.
pub(super) struct Release<'a> {
    /// The image, with its digest.
    pub(super) name: &'a str,
    pub(super) lint: &'a Report,
    pub(super) parity: &'a [MatrixReport],
    pub(super) diff: Option<&'a Pair>,
    pub(super) origins: &'a [PathOrigin],
}

/// A part of the page.
struct Section {
    id: &'static str,
    title: &'static str,
    body: Markup,
}

pub(super) fn page(release: &Release<'_>) -> String {
    let mut budget = Budget::new(PAGE.saturating_sub(FIXED + cells(release.parity)));
    // Each has a share, so that none takes it all; parity, the longest, has what they leave.
    let mut body = |make: &dyn Fn(&mut Budget) -> Markup| {
        let mut part = budget.share(5);
        let body = make(&mut part);
        budget.give_back(part);
        body
    };
    let classification = body(&|budget| lint::classification(release.lint, budget));
    let findings = body(&|budget| lint::findings(release.lint, budget));
    let changes = release.diff.map(|pair| {
        let etc = body(&|budget| changes::etc(pair, budget));
        (etc, body(&|budget| changes::pair(pair, budget)))
    });
    let origins = body(&|budget| origins(release.origins, budget));
    let mut sections = vec![
        Section {
            id: "classification",
            title: "What the image is",
            body: classification,
        },
        Section {
            id: "lint",
            title: "Findings",
            body: findings,
        },
        Section {
            id: "parity",
            title: "Parity",
            body: parity::matrices(release.parity, &mut budget),
        },
    ];
    if let Some((etc, changes)) = changes {
        sections.push(Section {
            id: "etc",
            title: "The merge of /etc",
            body: etc,
        });
        sections.push(Section {
            id: "changes",
            title: "What changes",
            body: changes,
        });
    }
    if !release.origins.is_empty() {
        sections.push(Section {
            id: "origins",
            title: "Where customized paths come from",
            body: origins,
        });
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'";
                title { "Release report: " (release.name) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                header {
                    p.kind { "Release report" }
                    h1 { (release.name) }
                    (summary(release))
                    nav aria-label="Parts of the report" {
                        ul {
                            @for section in &sections {
                                li { a href={ "#" (section.id) } { (section.title) } }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" {
                    @for section in &sections {
                        section aria-labelledby=(section.id) {
                            h2 id=(section.id) tabindex="-1" { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer {
                    p { "Made by pleach " (env!("CARGO_PKG_VERSION")) ". It needs no network and runs no script." }
                }
            }
        }
    };
    page.into_string()
}

/// Bytes of all cells without what they found.
fn cells(reports: &[MatrixReport]) -> usize {
    let cells = reports.iter().flat_map(|report| &report.cells);
    let one = |judged: &Judged| {
        // At its square's row and where it opens.
        let Cell {
            image,
            customization,
            ..
        } = &judged.cell;
        CELL + 2 * (escaped(image) + escaped(customization))
    };
    cells.map(one).sum()
}

/// The verdicts in one line each.
fn summary(release: &Release<'_>) -> Markup {
    let report = release.lint;
    let worst = report.worst();
    let of = |severity| {
        report
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .count()
    };
    let counts = [Severity::Error, Severity::Warning, Severity::Note].map(of);
    let (fine, text) = parity::summary(release.parity);
    html! {
        ul.summary {
            li.ok { strong { "Image" } " " (report.role) ", " (report.scope) }
            li class=(tone(worst < Some(Severity::Warning), worst == Some(Severity::Warning))) {
                strong { "Findings" } " "
                (counted(counts[0], "error")) ", " (counted(counts[1], "warning")) ", " (counted(counts[2], "note"))
            }
            li class=(tone(fine == Some(true), fine.is_none())) { strong { "Parity" } " " (text) }
            @if let Some(merge) = release.diff.and_then(|pair| pair.etc_merge.as_ref()) {
                li class=(tone(merge.conflicts == 0, false)) {
                    strong { "/etc" } " " (counted(merge.conflicts, "conflict")) " in the merge"
                }
            }
        }
    }
}

/// `1 defect`, `2 defects`.
fn counted(count: usize, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    }
}

fn tone(good: bool, unsure: bool) -> &'static str {
    match (good, unsure) {
        (true, _) => "ok",
        (false, true) => "hm",
        (false, false) => "bad",
    }
}

/// A table that scrolls by itself where it is wider than the page, by keyboard too.
fn scrolling(label: &str, table: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) { (table) }
    }
}

/// Says what there was no room for.
fn more(left: usize) -> Markup {
    html! {
        @if left > 0 {
            p.more { (left) " more are not on this page; the JSON report has them." }
        }
    }
}

fn origins(origins: &[PathOrigin], budget: &mut Budget) -> Markup {
    let (shown, left) = budget.fit(origins, |origin| {
        let layers = match &origin.place {
            Place::Layers(layers) => layers.len() * 120,
            _ => 60,
        };
        120 + origin.path.len() + origin.document.len() + layers
    });
    let table = html! {
        table {
            caption { "Each path that the document names: the line that does, and the layer that the image has it from" }
            thead {
                tr { th scope="col" { "Path" } th scope="col" { "Document" } th scope="col" { "From" } }
            }
            tbody {
                @for origin in shown {
                    tr {
                        th scope="row" { code { (origin.path) } }
                        td { (origin.document) }
                        td { (place(&origin.place)) }
                    }
                }
            }
        }
    };
    html! {
        (scrolling("Where customized paths come from", table))
        (more(left))
    }
}

fn place(place: &Place) -> Markup {
    html! {
        @match place {
            Place::Machine => "no layer has it: a machine gets it when it is injected",
            Place::Unknown => "a directory has no layers",
            Place::Layers(layers) => {
                @for (index, (layer, entry)) in layers.iter().enumerate() {
                    @if index > 0 { br; "hides one from " }
                    "layer " code { (layer) }
                    @if let Some(entry) = entry { ", entry " (entry) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
