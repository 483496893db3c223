//! What was found, as a value.

use std::fmt;

use serde::Serialize;

/// What the image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// To be derived from.
    Base,
    /// To be run.
    Final,
}

/// How much is set up in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// No users, keys, network configuration or applications.
    Generic,
    /// Made for one use.
    Specific,
}

/// Something that speaks for a classification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// `base` or `specific`.
    pub speaks_for: &'static str,
    /// Where, escaped.
    pub path: String,
    /// The line, from 1, in a text file.
    pub line: Option<usize>,
    /// What.
    pub what: String,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's short name.
    pub rule: &'static str,
    /// Where, escaped.
    pub path: String,
    /// What is wrong, and why that matters.
    pub what: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Base or final.
    pub role: Role,
    /// Generic or specific.
    pub scope: Scope,
    /// What speaks for that, in the order of the tree.
    pub evidence: Vec<Evidence>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.speaks_for, self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.path, self.what)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Base => "base",
            Role::Final => "final",
        };
        let scope = match self.scope {
            Scope::Generic => "generic",
            Scope::Specific => "specific",
        };
        writeln!(f, "{role}, {scope}")?;
        self.evidence
            .iter()
            .try_for_each(|evidence| writeln!(f, "  {evidence}"))?;
        match self.findings.len() {
            0 => writeln!(f, "no findings"),
            1 => writeln!(f, "1 finding"),
            n => writeln!(f, "{n} findings"),
        }?;
        self.findings
            .iter()
            .try_for_each(|finding| writeln!(f, "  {finding}"))
    }
}
