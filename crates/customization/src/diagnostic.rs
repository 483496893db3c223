//! What is wrong with a document, and where.

use std::fmt;

use crate::model::Origin;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document is accepted, but says something that it can hardly mean.
    Warning,
    /// The document is refused.
    Error,
}

/// One finding about a document, with its place.
///
/// Prints as `site.bu:12:7: error: message ($.storage.files.0.mode)`, and the help, if there is one,
/// on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Whether it refuses the document.
    pub severity: Severity,
    /// The document's name, as the caller gave it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Where in the document: `$.storage.files.0.mode`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(
            f,
            "{}:{}:{}: {severity}: {} ({})",
            self.file, self.line, self.column, self.message, self.path
        )?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl Diagnostic {
    /// A finding about an item.
    pub(crate) fn about(severity: Severity, origin: &Origin, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: origin.file.to_string(),
            line: origin.line,
            column: origin.column,
            path: origin.path.to_string(),
            message: message.into(),
            help: None,
        }
    }
}

/// Everything that was found in a document that is refused: at least one error, and its warnings, in
/// the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn new(mut found: Vec<Diagnostic>, file: &str) -> Self {
        sort(&mut found, file);
        Self(found)
    }

    /// The findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// The errors among them.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|d| d.severity == Severity::Error)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

/// Text order, so that a person can work through the list from the top: the document first, then those
/// that it merges.
pub(crate) fn sort(found: &mut [Diagnostic], file: &str) {
    let key = |d: &Diagnostic| {
        (
            d.file != file,
            d.file.clone(),
            d.line,
            d.column,
            d.path.clone(),
        )
    };
    found.sort_by_cached_key(key);
}
