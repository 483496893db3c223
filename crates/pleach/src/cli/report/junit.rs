//! Findings as JUnit XML: a test for each rule.

use std::collections::BTreeMap;

use anyhow::Result;
use pleach_image_lint::{Report, Severity, rules};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

/// A suite for the image: a rule that found something as bad as `least` fails, all others pass; what
/// was suppressed is skipped, with the reasons.
pub(crate) fn lint(report: &Report, subject: &str, least: Severity) -> Result<String> {
    let mut found = BTreeMap::<&str, Vec<String>>::new();
    let mut fails = BTreeMap::<&str, bool>::new();
    let mut suppressed = BTreeMap::<&str, Vec<String>>::new();
    for rule in rules() {
        found.insert(rule.id, Vec::new());
    }
    for finding in &report.findings {
        found
            .entry(&finding.rule)
            .or_default()
            .push(finding.to_string());
        *fails.entry(&finding.rule).or_default() |= finding.severity >= least;
    }
    for entry in &report.suppressed {
        let text = format!("{} [{}: {}]", entry.finding, entry.origin, entry.reason);
        suppressed
            .entry(&entry.finding.rule)
            .or_default()
            .push(text);
        found.entry(&entry.finding.rule).or_default();
    }
    let mut suite = TestSuite::new(subject);
    for (rule, lines) in found {
        let accepted = suppressed.remove(rule).unwrap_or_default();
        let failing = fails.get(rule).copied().unwrap_or_default();
        let status = if failing {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("{} findings", lines.len()));
            status.set_description(lines.join("\n"));
            status
        } else if !accepted.is_empty() {
            let mut status = TestCaseStatus::skipped();
            status.set_message(accepted.join("\n"));
            status
        } else {
            TestCaseStatus::success()
        };
        let mut case = TestCase::new(rule, status);
        case.set_classname("lint");
        if !failing && !lines.is_empty() {
            case.set_system_out(lines.join("\n"));
        }
        suite.add_test_case(case);
    }
    let mut junit = quick_junit::Report::new("pleach lint");
    junit.add_test_suite(suite);
    Ok(junit.to_string()?)
}
