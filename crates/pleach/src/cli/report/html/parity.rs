//! The matrix of routes and moments.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};
use pleach_parity::{Cell, Class, Judged, MatrixReport, Moment, Outcome, Verdict};

use super::budget::{Budget, cut, escaped};
use super::{counted, more, scrolling};

/// Characters of a difference; an entry's whole JSON is for the machine's report.
const DIFFERENCE: usize = 400;

/// Lists of expected differences. Many cells have the same: it is shown once.
struct Lists {
    budget: Budget,
    /// By rule and lines, the cell that shows them.
    shown: HashMap<(String, Vec<String>), usize>,
}

/// Whether all is equal, if something was compared; and that in words.
pub(super) fn summary(reports: &[MatrixReport]) -> (Option<bool>, String) {
    let cells = reports
        .iter()
        .map(|report| report.cells.len())
        .sum::<usize>();
    if cells == 0 {
        return (None, "not asked".to_owned());
    }
    let defects = reports.iter().map(MatrixReport::defects).sum::<usize>();
    let all = reports.iter().flat_map(|report| &report.cells);
    let count = |wanted: fn(&Outcome) -> bool| all.clone().filter(|j| wanted(&j.outcome)).count();
    let equal = count(|outcome| matches!(outcome, Outcome::Verdict(v) if v.is_equal()));
    let not = count(|outcome| matches!(outcome, Outcome::NotCompared(_)));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let mut text = format!(
        "{equal} of {cells} cells equal, {}",
        counted(defects, "defect")
    );
    for (count, word) in [(not, "not compared"), (failed, "failed")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    (Some(reports.iter().all(MatrixReport::is_equal)), text)
}

pub(super) fn matrices(reports: &[MatrixReport], budget: &mut Budget) -> Markup {
    if reports.is_empty() {
        return html! { p { "No report of pleach parity was given." } };
    }
    // Cells are numbered over all matrices, by which they are linked. Each may have as much of what is
    // left as every one after it.
    let mut first = 0;
    // Defects come first, and share alike.
    let mut lists = Lists {
        budget: budget.share(4),
        shown: HashMap::new(),
    };
    let mut left: usize = reports.iter().map(|report| report.cells.len()).sum();
    let parts = reports.iter().map(|report| {
        let mut cells = Vec::new();
        for judged in &report.cells {
            let mut part = budget.share(left);
            cells.push(cell(judged, first + cells.len(), &mut part, &mut lists));
            budget.give_back(part);
            left -= 1;
        }
        let part = html! {
            (scrolling("The matrix of routes and moments", matrix(report, first)))
            (runs(report))
            h3 { "What came of each" }
            @for cell in &cells { (cell) }
            (rules(report))
        };
        first += cells.len();
        part
    });
    let parts: Vec<Markup> = parts.collect();
    html! { @for part in &parts { (part) } }
}

fn matrix(report: &MatrixReport, first: usize) -> Markup {
    let moments = &report.matrix.moments;
    let booted = match report.matrix.booted {
        true => "booted",
        false => "as composed; nothing was booted",
    };
    let numbers = first..;
    let numbered: Vec<(usize, &Judged)> = numbers.zip(&report.cells).collect();
    let same = |a: &(usize, &Judged), b: &(usize, &Judged)| {
        let subject = |cell: &Cell| (cell.image.clone(), cell.customization.clone());
        subject(&a.1.cell) == subject(&b.1.cell)
    };
    html! {
        table.matrix {
            caption {
                "Pairs of routes by moments, " (booted) ". Each cell leads to what it found."
            }
            thead {
                tr {
                    th scope="col" { "Routes" }
                    @for moment in moments { th scope="col" { (moment) " " span.what { (moment.what()) } } }
                }
            }
            @for group in numbered.chunk_by(same) {
                @let subject = &group[0].1.cell;
                tbody {
                    tr {
                        th.subject colspan=(moments.len() + 1) scope="rowgroup" {
                            (subject.image) " with " (subject.customization)
                        }
                    }
                    @for row in group.chunk_by(|a, b| routes(&a.1.cell) == routes(&b.1.cell)) {
                        tr {
                            th scope="row" { (routes(&row[0].1.cell)) }
                            @for moment in moments { (square(row, *moment)) }
                        }
                    }
                }
            }
        }
    }
}

fn routes(cell: &Cell) -> String {
    format!("{} and {}", cell.left, cell.right)
}

/// The cell's word with a mark beside its colour.
fn square(row: &[(usize, &Judged)], moment: Moment) -> Markup {
    let Some((number, judged)) = row.iter().find(|(_, judged)| judged.cell.moment == moment) else {
        return html! { td.na { "–" } };
    };
    let (tone, mark) = tone(&judged.outcome);
    let summary = judged.outcome.summary();
    let label = format!("{summary}: {} at {moment}", routes(&judged.cell));
    html! {
        td class=(tone) {
            a href={ "#c" (number) } aria-label=(label) { span aria-hidden="true" { (mark) " " } (summary) }
        }
    }
}

fn tone(outcome: &Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Verdict(verdict) if verdict.is_equal() => ("ok", "✓"),
        Outcome::Verdict(_) => ("bad", "✗"),
        Outcome::NotCompared(_) => ("na", "–"),
        Outcome::Failed(_) => ("bad", "!"),
    }
}

/// What a cell opens to. The link leads to something inside, which makes the browser open it.
fn cell(judged: &Judged, number: usize, budget: &mut Budget, lists: &mut Lists) -> Markup {
    let (tone, mark) = tone(&judged.outcome);
    html! {
        details.cell {
            summary class=(tone) { span aria-hidden="true" { (mark) " " } (judged.outcome.summary()) ": " (judged.cell) }
            div id={ "c" (number) } tabindex="-1" {
                @match &judged.outcome {
                    Outcome::Verdict(verdict) => (self::verdict(verdict, number, budget, lists)),
                    Outcome::NotCompared(why) | Outcome::Failed(why) => (reason(why, budget)),
                }
            }
        }
    }
}

fn reason(why: &str, budget: &mut Budget) -> Markup {
    let text = [cut(why, 2000)];
    let (shown, left) = budget.fit(&text, |text| escaped(text));
    html! {
        @for text in shown { p { (text) } }
        (more(left))
    }
}

fn verdict(verdict: &Verdict, number: usize, budget: &mut Budget, lists: &mut Lists) -> Markup {
    let equal: usize = verdict.equal.values().sum();
    let text = |text: String| cut(&text, DIFFERENCE);
    let defects: Vec<String> = verdict
        .defects
        .iter()
        .map(|d| text(d.to_string()))
        .collect();
    let size = |text: &String| 10 + escaped(text);
    let (shown, left) = budget.fit(&defects, size);
    let mut by_rule = BTreeMap::<&str, Vec<String>>::new();
    for expected in &verdict.expected {
        let line = text(expected.difference.to_string());
        by_rule.entry(&expected.rule).or_default().push(line);
    }
    html! {
        p { (equal) " entries are equal, " (verdict.expected.len()) " differences are expected; " (counted(verdict.defects.len(), "defect")) "." }
        @if !defects.is_empty() {
            h4 { "Defects" }
            ul { @for defect in shown { li { code { (defect) } } } }
            (more(left))
        }
        @if !verdict.partings.is_empty() {
            @let (shown, left) = budget.fit(&verdict.partings, |parting| {
                120 + [&parting.path, &parting.left, &parting.right].map(|t| escaped(t)).iter().sum::<usize>()
            });
            h4 { "How they parted" }
            (more(left))
            ul {
                @for parting in shown {
                    li {
                        code { (parting.path) } ": " (verdict.left) ": " (parting.left) "; " (verdict.right) ": " (parting.right)
                        @if let Some(mend) = &parting.mend { "; mended by " code { (mend) } }
                    }
                }
            }
        }
        @if !verdict.rules.is_empty() {
            @let (rules, left) = budget.fit(&verdict.rules, |rule| 100 + rule.rule.len());
            h4 { "Expected" }
            @if left > 0 { p.more { (left) " more rules were used; the JSON report has them." } }
            ul {
                @for rule in rules {
                    @let all = by_rule.remove(&*rule.rule).unwrap_or_default();
                    li {
                        (rule.count) " by " strong { (rule.rule) } " (" (rule.class.as_str()) ")"
                        (expected(&rule.rule, all, number, lists))
                    }
                }
            }
        }
    }
}

/// The differences that a rule expects: listed once, and linked to wherever they are the same.
fn expected(rule: &str, lines: Vec<String>, number: usize, lists: &mut Lists) -> Markup {
    let list = (rule.to_owned(), lines);
    if let Some(first) = lists.shown.get(&list) {
        return html! { ", " a href={ "#c" (first) } { "listed above" } };
    }
    // What is the same everywhere is needed once only, so the first may take much.
    let mut part = lists.budget.share(20);
    let (shown, left) = part.fit(&list.1, |text| 10 + escaped(text));
    let markup = html! {
        @if left > 0 { ", " (left) " of them in the JSON report only" }
        ul { @for line in shown { li { (line) } } }
    };
    lists.budget.give_back(part);
    if left == 0 {
        lists.shown.insert(list, number);
    }
    markup
}

/// What a run has to fulfil besides its cells.
fn runs(report: &MatrixReport) -> Markup {
    let unsound = report
        .runs
        .iter()
        .filter(|run| run.control.as_ref().is_some_and(|c| !c.is_sound()));
    let failed = report
        .runs
        .iter()
        .flat_map(|run| run.failed_checks.iter().map(move |check| (run, check)));
    html! {
        @for run in unsound {
            p.bad { "The A/A control of " (run.image) " is not sound: two boots of it differ, so nothing can be said." }
        }
        @for (run, check) in failed {
            p.bad { (run.image) " with " (run.customization) ": " (cut(check, 2000)) }
        }
    }
}

/// Every rule that was used, with its reason, once.
fn rules(report: &MatrixReport) -> Markup {
    let mut used = BTreeMap::<&str, (Class, &str, usize)>::new();
    for judged in &report.cells {
        if let Outcome::Verdict(verdict) = &judged.outcome {
            for rule in &verdict.rules {
                let entry = used
                    .entry(&rule.rule)
                    .or_insert((rule.class, &*rule.reason, 0));
                entry.2 += rule.count;
            }
        }
    }
    let table = html! {
        table {
            caption { "Why a difference can be expected" }
            thead {
                tr { th scope="col" { "Rule" } th scope="col" { "Kind" } th scope="col" { "Differences" } th scope="col" { "Reason" } }
            }
            tbody {
                @for (rule, (class, reason, count)) in &used {
                    tr { th scope="row" { (rule) } td { (class.as_str()) } td.number { (count) } td { (reason) } }
                }
            }
        }
    };
    html! {
        @if !used.is_empty() { h3 { "Rules" } (scrolling("Rules", table)) }
    }
}
