//! A report for people.

use std::fmt;

use crate::{Certainty, Evidence, Finding, Report, Role, Scope, Severity, SpeaksFor, Suppressed};

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Final => "final",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generic => "generic",
            Self::Specific => "specific",
        })
    }
}

impl fmt::Display for SpeaksFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Final => "final",
            Self::Generic => "generic",
            Self::Specific => "specific",
        })
    }
}

impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hint => "hint",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// `PATH:LINE (layer N)`.
fn place(
    f: &mut fmt::Formatter<'_>,
    path: &str,
    line: Option<usize>,
    layer: Option<usize>,
) -> fmt::Result {
    f.write_str(path)?;
    if let Some(line) = line {
        write!(f, ":{line}")?;
    }
    match layer {
        Some(layer) => write!(f, " (layer {layer})"),
        None => Ok(()),
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: ", self.speaks_for, self.certainty)?;
        place(f, &self.path, self.line, self.layer)?;
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.severity, self.rule)?;
        place(f, &self.path, self.line, self.layer)?;
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n    accepted by {}: {}",
            self.finding, self.origin, self.reason
        )
    }
}

/// Classification, evidence, findings, each with why and what to do where a rule is met first.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, scope, .. } = self;
        writeln!(
            f,
            "{role} ({}), {scope} ({})",
            self.role_certainty, self.scope_certainty
        )?;
        for evidence in &self.evidence {
            writeln!(f, "  {evidence}")?;
        }
        match self.findings.len() {
            0 => writeln!(f, "no findings"),
            1 => writeln!(f, "1 finding"),
            n => writeln!(f, "{n} findings"),
        }?;
        let mut last = None;
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
            if last != Some(&finding.rule) {
                writeln!(f, "    why: {}\n    fix: {}", finding.why, finding.fix)?;
            }
            last = Some(&finding.rule);
        }
        if !self.suppressed.is_empty() {
            writeln!(f, "{} accepted", self.suppressed.len())?;
        }
        for suppressed in &self.suppressed {
            writeln!(f, "  {suppressed}")?;
        }
        for idle in &self.idle {
            writeln!(f, "accepted, and not there: {idle}")?;
        }
        match &self.unread[..] {
            [] => Ok(()),
            [one] => writeln!(f, "not read: {one}"),
            [first, ..] => writeln!(
                f,
                "not read: {} files, the first {first}",
                self.unread.len()
            ),
        }?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
