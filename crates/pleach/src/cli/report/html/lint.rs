//! The parts about the image alone.

use maud::{Markup, html};
use pleach_image_lint::{Finding, Report, Severity};

use super::budget::{Budget, escaped};
use super::{more, scrolling};

pub(super) fn classification(report: &Report, budget: &mut Budget) -> Markup {
    let (shown, left) = budget.fit(&report.evidence, |evidence| {
        160 + escaped(&evidence.path) + escaped(&evidence.what)
    });
    let evidence = html! {
        table {
            caption { "What speaks for that" }
            thead {
                tr {
                    th scope="col" { "Where" } th scope="col" { "Speaks for" } th scope="col" { "How sure" }
                    th scope="col" { "What" } th scope="col" { "Layer" }
                }
            }
            tbody {
                @for evidence in shown {
                    tr {
                        th scope="row" { (place(&evidence.path, evidence.line)) }
                        td { (word(&evidence.speaks_for)) }
                        td { (evidence.certainty) }
                        td { (evidence.what) }
                        td { (layer(evidence.layer, &report.layers)) }
                    }
                }
            }
        }
    };
    let declared = &report.declared;
    html! {
        dl {
            div { dt { "Role" } dd { strong { (report.role) } " (" (report.role_certainty) ")" } }
            div { dt { "Scope" } dd { strong { (report.scope) } " (" (report.scope_certainty) ")" } }
            div {
                dt { "Declared by the image" }
                dd {
                    @match (&declared.role, &declared.scope) {
                        (None, None) => "nothing",
                        (role, scope) => {
                            @if let Some(role) = role { (role) " " }
                            @if let Some(scope) = scope { (scope) }
                        }
                    }
                    @if declared.bootable { ", bootable" }
                }
            }
        }
        @if report.evidence.is_empty() { p { "Nothing speaks for anything else." } }
        @else { (scrolling("What speaks for the classification", evidence)) (more(left)) }
    }
}

pub(super) fn findings(report: &Report, budget: &mut Budget) -> Markup {
    let size = |finding: &Finding| {
        300 + [&finding.path, &finding.what, &finding.why, &finding.fix]
            .into_iter()
            .map(|text| escaped(text))
            .sum::<usize>()
    };
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let (shown, left) = budget.fit(&findings, |&finding| size(finding));
    let (accepted, accepted_left) = budget.fit(&report.suppressed, |suppressed| {
        size(&suppressed.finding) + escaped(&suppressed.reason) + escaped(&suppressed.origin)
    });
    let remarks: Vec<String> = report
        .idle
        .iter()
        .map(|idle| format!("a suppression that nothing needed: {idle}"))
        .chain(report.unread.iter().map(|path| format!("not read: {path}")))
        .chain(report.notes.iter().cloned())
        .collect();
    let (remarks_shown, remarks_left) = budget.fit(&remarks, |text| 20 + escaped(text));
    html! {
        @if findings.is_empty() { p { "Nothing is wrong." } }
        @else {
            (scrolling("Findings", table("What is wrong, the worst first", shown.iter().copied(), report)))
            (more(left))
        }
        @if !report.suppressed.is_empty() {
            h3 { "Accepted, for a reason" }
            ul {
                @for suppressed in accepted {
                    li {
                        strong { (suppressed.finding.rule) } " " code { (suppressed.finding.path) } ": "
                        (suppressed.finding.what) ". Accepted by " (suppressed.origin) ": " (suppressed.reason)
                    }
                }
            }
            (more(accepted_left))
        }
        @if !remarks.is_empty() {
            h3 { "Remarks" }
            ul { @for remark in remarks_shown { li { (remark) } } }
            (more(remarks_left))
        }
    }
}

fn table<'a>(
    caption: &str,
    findings: impl Iterator<Item = &'a Finding>,
    report: &Report,
) -> Markup {
    html! {
        table {
            caption { (caption) }
            thead {
                tr {
                    th scope="col" { "Severity" } th scope="col" { "Rule" } th scope="col" { "Where" }
                    th scope="col" { "What, why, and what to do" } th scope="col" { "Layer" }
                }
            }
            tbody {
                @for finding in findings {
                    tr {
                        td class=(tone(finding.severity)) { (finding.severity) }
                        th scope="row" { (finding.rule) }
                        td { (place(&finding.path, finding.line)) }
                        td {
                            (finding.what)
                            details {
                                summary { "Why, and what to do" }
                                p { (finding.why) }
                                p { (finding.fix) }
                            }
                        }
                        td { (layer(finding.layer, &report.layers)) }
                    }
                }
            }
        }
    }
}

fn tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "na",
        Severity::Warning => "hm",
        Severity::Error => "bad",
    }
}

fn place(path: &str, line: Option<usize>) -> Markup {
    html! { code { (path) @if let Some(line) = line { ":" (line) } } }
}

/// A layer by its number and the beginning of its digest.
fn layer(layer: Option<usize>, layers: &[String]) -> Markup {
    let digest = layer.and_then(|layer| layers.get(layer));
    let short = digest.map(|digest| {
        digest
            .trim_start_matches("sha256:")
            .get(..12)
            .unwrap_or(digest)
    });
    html! {
        @if let (Some(layer), Some(short)) = (layer, short) { (layer + 1) " of " (layers.len()) ", " code { (short) } }
    }
}

/// As it is spelled in JSON.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
