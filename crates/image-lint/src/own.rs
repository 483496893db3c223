//! Rules of whoever releases the image, from files.

use serde::Deserialize;
use thiserror::Error;

use crate::glob::glob;
use crate::policy::Allow;
use crate::report::{Finding, Severity};
use crate::rules;
use crate::view::{View, lines};

/// A rule of one's own: paths that must not be there, paths that must, lines that must not be in files.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Own {
    id: String,
    #[serde(default = "warning")]
    severity: Severity,
    why: String,
    fix: String,
    #[serde(default)]
    deny_path: Vec<String>,
    #[serde(default)]
    require_path: Vec<String>,
    #[serde(default)]
    deny_content: Vec<Content>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    path: String,
    line: String,
}

fn warning() -> Severity {
    Severity::Warning
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Own>,
    #[serde(default)]
    allow: Vec<Accepted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    rule: String,
    path: Option<String>,
    reason: String,
}

/// A file of rules that is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OwnError {
    /// It is not TOML, or has something else than rules in it.
    #[error("{name}: {message}")]
    Syntax {
        /// The file.
        name: String,
        /// What is wrong, with the line.
        message: String,
    },
    /// A rule without a name, or with that of another one, or that asks for nothing.
    #[error("{name}: the rule {id:?} {what}")]
    Rule {
        /// The file.
        name: String,
        /// The rule.
        id: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something is accepted without a reason.
    #[error("{name}: {rule} is accepted without a reason")]
    NoReason {
        /// The file.
        name: String,
        /// What is accepted.
        rule: String,
    },
}

impl Own {
    /// Reads a file of rules, and of what is accepted; `name` is the file's, for messages.
    ///
    /// # Errors
    /// When it is not in the form of one.
    pub fn parse(name: &str, text: &str) -> Result<(Vec<Self>, Vec<Allow>), OwnError> {
        let file: File = toml::from_str(text).map_err(|error| OwnError::Syntax {
            name: name.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        for rule in &file.rule {
            let asks = [&rule.deny_path, &rule.require_path];
            let nothing = asks.iter().all(|list| list.is_empty()) && rule.deny_content.is_empty();
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            let what = if rule.id.is_empty() || !rule.id.bytes().all(word) {
                "is not named with small letters, digits and -"
            } else if rules::rules().iter().any(|known| known.id == rule.id) {
                "has the name of a rule that is always there"
            } else if nothing {
                "asks for nothing"
            } else if rule.why.trim().is_empty() || rule.fix.trim().is_empty() {
                "says neither why nor what to do"
            } else {
                continue;
            };
            return Err(OwnError::Rule {
                name: name.to_owned(),
                id: rule.id.clone(),
                what,
            });
        }
        let mut allow = Vec::new();
        for Accepted { rule, path, reason } in file.allow {
            if reason.trim().is_empty() {
                let name = name.to_owned();
                return Err(OwnError::NoReason { name, rule });
            }
            let origin = name.to_owned();
            allow.push(Allow {
                rule,
                path,
                reason,
                origin,
            });
        }
        Ok((file.rule, allow))
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it looks into a file: an index of an image has to keep such files as well as those that
    /// [`wants`](crate::wants) names. The path is that in the image, without a slash in front.
    pub fn wants(&self, path: &[u8]) -> bool {
        let path = [b"/", path].concat();
        let fits = |content: &Content| glob(content.path.as_bytes(), &path);
        self.deny_content.iter().any(fits)
    }

    pub(crate) fn findings(&self, view: &View<'_>) -> Vec<Finding> {
        let finding = |path: String, line, what: &str| Finding {
            rule: self.id.clone(),
            severity: self.severity,
            layer: crate::view::layer_of(view, &path),
            path,
            line,
            what: what.to_owned(),
            why: self.why.clone(),
            fix: self.fix.clone(),
        };
        let fits = |pattern: &String, path: &str| glob(pattern.as_bytes(), path.as_bytes());
        let mut out = Vec::new();
        let mut missing: Vec<&String> = self.require_path.iter().collect();
        for item in &view.items {
            let path = item.path.to_string();
            missing.retain(|pattern| !fits(pattern, &path));
            if self.deny_path.iter().any(|pattern| fits(pattern, &path)) {
                out.push(finding(path.clone(), None, "must not be in the image"));
            }
            for content in &self.deny_content {
                if !item.is_file() || !fits(&content.path, &path) {
                    continue;
                }
                for (number, line) in lines(&view.bytes(item)) {
                    if fits_line(&content.line, &line) {
                        out.push(finding(
                            path.clone(),
                            Some(number),
                            "has a line that must not be",
                        ));
                    }
                }
            }
        }
        for pattern in missing {
            out.push(finding(pattern.clone(), None, "must be in the image"));
        }
        out
    }
}

/// In a line no character separates, as `/` does in a path.
fn fits_line(pattern: &str, line: &str) -> bool {
    glob(pattern.replace('*', "**").as_bytes(), line.as_bytes())
}
