//! How what parity found is printed.

use anyhow::Result;
use clap::ValueEnum;
use pleach_parity::{Control, MatrixReport, Outcome, Report, Verdict};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::cli::output;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ParityFormat {
    /// For people.
    #[default]
    Human,
    /// For machines.
    Json,
    /// JUnit XML: a test for each pair of routes and moment.
    Junit,
}

pub(super) fn print_report(report: &Report, failed: &[String], format: ParityFormat) -> Result<()> {
    output::print(&match format {
        ParityFormat::Human => report.to_string(),
        ParityFormat::Json => report.to_json(),
        ParityFormat::Junit => of_report(report, failed)?,
    })
}

pub(super) fn print_matrix(report: &MatrixReport, format: ParityFormat) -> Result<()> {
    output::print(&match format {
        ParityFormat::Human => report.to_string(),
        ParityFormat::Json => report.to_json(),
        ParityFormat::Junit => of_matrix(report)?,
    })
}

fn of_report(report: &Report, failed: &[String]) -> Result<String> {
    let subject = |name: &str| report.subject.get(name).cloned().unwrap_or_default();
    let mut suite = TestSuite::new(format!("{}, {}", subject("base"), subject("customization")));
    let verdicts = report.verdicts.iter();
    suite.add_test_cases(verdicts.map(|verdict| case(name(verdict), Judged::Verdict(verdict))));
    for (route, why) in &report.not_compared {
        suite.add_test_case(case(route.clone(), Judged::NotCompared(why)));
    }
    suite.add_test_cases(run(report.control.as_ref(), failed));
    finish([suite])
}

fn of_matrix(report: &MatrixReport) -> Result<String> {
    let same = |a: &pleach_parity::Judged, b: &pleach_parity::Judged| {
        a.cell.image == b.cell.image && a.cell.customization == b.cell.customization
    };
    let suites = report.cells.chunk_by(same).map(|cells| {
        let first = &cells[0].cell;
        let mut suite = TestSuite::new(format!("{}, {}", first.image, first.customization));
        suite.add_test_cases(cells.iter().map(|judged| {
            let cell = &judged.cell;
            let name = format!("{} and {} at {}", cell.left, cell.right, cell.moment);
            case(
                name,
                match &judged.outcome {
                    Outcome::Verdict(verdict) => Judged::Verdict(verdict),
                    Outcome::NotCompared(why) => Judged::NotCompared(why),
                    Outcome::Failed(why) => Judged::Failed(why),
                },
            )
        }));
        let of = |run: &&pleach_parity::Run| {
            run.image == first.image && run.customization == first.customization
        };
        for one in report.runs.iter().filter(of) {
            suite.add_test_cases(run(one.control.as_ref(), &one.failed_checks));
        }
        suite
    });
    finish(suites)
}

enum Judged<'a> {
    Verdict(&'a Verdict),
    NotCompared(&'a str),
    Failed(&'a str),
}

fn name(verdict: &Verdict) -> String {
    format!(
        "{} and {} at {}",
        verdict.left, verdict.right, verdict.moment
    )
}

fn case(name: String, judged: Judged<'_>) -> TestCase {
    let status = match judged {
        Judged::Verdict(verdict) if verdict.is_equal() => TestCaseStatus::success(),
        Judged::Verdict(verdict) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let lines: Vec<_> = verdict.defects.iter().map(ToString::to_string).collect();
            status.set_message(format!("{} defects", lines.len()));
            status.set_description(lines.join("\n"));
            status
        }
        Judged::NotCompared(why) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why);
            status
        }
        Judged::Failed(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(why);
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname("parity");
    case
}

/// What a run has to fulfil besides its cells.
fn run(control: Option<&Control>, failed: &[String]) -> Vec<TestCase> {
    let failure = |name: &str, message: &str| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(message);
        let mut case = TestCase::new(name, status);
        case.set_classname("parity");
        case
    };
    let unsound = control.is_some_and(|control| !control.is_sound());
    let unsound = unsound.then(|| failure("A/A control", "two boots of the base image differ"));
    let checks = failed.iter().map(|text| failure("check", text));
    unsound.into_iter().chain(checks).collect()
}

fn finish(suites: impl IntoIterator<Item = TestSuite>) -> Result<String> {
    let mut report = quick_junit::Report::new("pleach parity");
    report.add_test_suites(suites);
    Ok(report.to_string()?)
}
