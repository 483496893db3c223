//! `pleach lint`: what an image is, and what is wrong with it.

use anyhow::Result;
use clap::{Args, ValueEnum};
use pleach_image_lint::{Severity, rules};
use serde_json::json;

use super::exit::End;
use super::fetch::Source;
use super::judge::{Asking, Judging, judge};
use super::output::{self, Format};

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
    format: Format,
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
        let report = judge(image, &self.source, &self.judging, &policy)?.report;
        match self.format {
            Format::Human => output::print(&report.to_string())?,
            Format::Json => output::print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        }
        let least = match self.fail_on {
            FailOn::Note => Severity::Note,
            FailOn::Warning => Severity::Warning,
            FailOn::Error => Severity::Error,
        };
        Ok(match report.worst() >= Some(least) {
            true => End::Differs,
            false => End::Fine,
        })
    }
}

fn list(format: Format) -> Result<String> {
    if format == Format::Json {
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
