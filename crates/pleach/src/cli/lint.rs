//! `pleach lint`: what an image is, and what is wrong with it.

use anyhow::Result;
use clap::{Args, ValueEnum};
use pleach_image_lint::{Severity, rules};
use serde_json::json;

use super::exit::End;
use super::fetch::Source;
use super::judge::{Asking, Judging, judge};
use super::output;
use super::report::{junit, sarif};

/// Classify an image and check it, without running it and without being root.
///
/// Exits with 1 if something is found that is as bad as --fail-on says. The rules, what they are
/// for, and how one's own are written: docs/lint.md.
#[derive(Args)]
pub(crate) struct Lint {
    /// An image, or rootfs:DIR, the root of a system in a directory.
    #[arg(required_unless_present = "list")]
    image: Option<String>,
    /// Print the rules that hold for every image, and nothing else.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    judging: Judging,
    /// The least that fails.
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOn,
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum, default_value_t)]
    format: LintFormat,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum LintFormat {
    /// For people.
    #[default]
    Human,
    /// For machines.
    Json,
    /// SARIF 2.1.0, for code-scanning services.
    Sarif,
    /// JUnit XML: a test for each rule.
    Junit,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum FailOn {
    /// Also what is only worth knowing.
    Note,
    /// What works, and not as somebody will expect.
    #[default]
    Warning,
    /// What leaks, does not deploy or does not boot.
    Error,
}

impl Lint {
    pub(crate) fn run(&self) -> Result<End> {
        let policy = self.asking.policy()?;
        let Some(image) = self.image.as_ref().filter(|_| !self.list) else {
            output::print(&list(self.format)?)?;
            return Ok(End::Fine);
        };
        let least = match self.fail_on {
            FailOn::Note => Severity::Note,
            FailOn::Warning => Severity::Warning,
            FailOn::Error => Severity::Error,
        };
        let judged = judge(image, &self.source, &self.judging, &policy)?;
        let (name, report) = (&judged.name, &judged.report);
        output::print(&match self.format {
            LintFormat::Human => report.to_string(),
            LintFormat::Json => serde_json::to_string_pretty(report)? + "\n",
            LintFormat::Sarif => serde_json::to_string_pretty(&sarif::lint(report, name))? + "\n",
            LintFormat::Junit => junit::lint(report, name, least)?,
        })?;
        Ok(match report.worst() >= Some(least) {
            true => End::Differs,
            false => End::Fine,
        })
    }
}

fn list(format: LintFormat) -> Result<String> {
    if format != LintFormat::Human {
        let rules = rules().iter().map(|rule| {
            json!({
                "id": rule.id,
                "severity": rule.severity,
                "title": rule.title,
                "why": rule.why,
                "fix": rule.fix,
                "source": rule.source,
            })
        });
        return Ok(serde_json::to_string_pretty(&rules.collect::<Vec<_>>())? + "\n");
    }
    let rules = rules().iter().map(|rule| {
        let (id, severity, title) = (rule.id, rule.severity.to_string(), rule.title);
        format!(
            "{severity:8} {id}: {title}\n    why: {}\n    fix: {}\n",
            rule.why, rule.fix
        )
    });
    Ok(rules.collect())
}
