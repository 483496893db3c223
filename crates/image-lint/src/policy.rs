//! What whoever releases an image asks of it, and what they accept.

use std::str::FromStr;

use thiserror::Error;

use crate::glob::glob;
use crate::own::Own;
use crate::report::{Finding, Role, Scope, Suppressed};
use crate::rules;

/// What an image has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Base or final.
    Role(Role),
    /// Generic or specific.
    Scope(Scope),
}

impl FromStr for Requirement {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "base" => Ok(Self::Role(Role::Base)),
            "final" => Ok(Self::Role(Role::Final)),
            "generic" => Ok(Self::Scope(Scope::Generic)),
            "specific" => Ok(Self::Scope(Scope::Specific)),
            other => Err(PolicyError::Requirement(other.to_owned())),
        }
    }
}

/// A finding that somebody has a reason to live with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    /// The rule.
    pub rule: String,
    /// Where; everywhere if it is `None`. A pattern: `*` stays within a component, `**` does not.
    pub path: Option<String>,
    /// The reason.
    pub reason: String,
    /// Who says so, for the report.
    pub origin: String,
}

/// What cannot be a policy.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not one of the four words.
    #[error("{0}: an image is base or final, and generic or specific")]
    Requirement(String),
    /// A suppression is `RULE[:PATH]=REASON`.
    #[error("{0}: a finding is accepted with RULE[:PATH]=REASON, and the reason is not left out")]
    NoReason(String),
    /// There is no such rule.
    #[error("{origin}: there is no rule {rule}")]
    UnknownRule {
        /// Who asks for it.
        origin: String,
        /// What was asked for.
        rule: String,
    },
}

impl FromStr for Allow {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let no_reason = || PolicyError::NoReason(text.to_owned());
        // A path may hold the sign as well; a rule's name does not.
        let (rule, path, reason) = match text.split_once([':', '=']) {
            Some((rule, rest)) if text.as_bytes()[rule.len()] == b':' => {
                let (path, reason) = rest.rsplit_once('=').ok_or_else(no_reason)?;
                (rule, Some(path.to_owned()), reason)
            }
            Some((rule, reason)) => (rule, None, reason),
            None => return Err(no_reason()),
        };
        let reason = reason.trim();
        if rule.is_empty() || reason.is_empty() || path.as_deref() == Some("") {
            return Err(no_reason());
        }
        Ok(Self {
            rule: rule.to_owned(),
            path,
            reason: reason.to_owned(),
            origin: "the command line".to_owned(),
        })
    }
}

impl Allow {
    fn fits(&self, finding: &Finding) -> bool {
        let path = |pattern: &String| glob(pattern.as_bytes(), finding.path.as_bytes());
        self.rule == finding.rule && self.path.as_ref().is_none_or(path)
    }

    fn shown(&self) -> String {
        let Self { rule, path, .. } = self;
        let path = path
            .as_ref()
            .map(|path| format!(":{path}"))
            .unwrap_or_default();
        format!("{rule}{path} ({}: {})", self.origin, self.reason)
    }
}

/// What an image is held to besides the rules that hold for all.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What it has to be.
    pub require: Vec<Requirement>,
    /// What is accepted.
    pub allow: Vec<Allow>,
    /// More rules.
    pub own: Vec<Own>,
}

impl Policy {
    /// Whether everything that it names is there.
    ///
    /// # Errors
    /// When something is accepted that no rule would find: it is spelled another way.
    pub fn check(&self) -> Result<(), PolicyError> {
        let known = |rule: &str| {
            rules::rules().iter().any(|known| known.id == rule)
                || self.own.iter().any(|own| own.id() == rule)
        };
        match self.allow.iter().find(|allow| !known(&allow.rule)) {
            Some(Allow { rule, origin, .. }) => Err(PolicyError::UnknownRule {
                origin: origin.clone(),
                rule: rule.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Findings that stay, those that are accepted, and what was accepted for nothing.
    pub(crate) fn suppress(
        &self,
        findings: Vec<Finding>,
    ) -> (Vec<Finding>, Vec<Suppressed>, Vec<String>) {
        let mut needed = vec![false; self.allow.len()];
        let (mut stay, mut suppressed) = (Vec::new(), Vec::new());
        for finding in findings {
            match self.allow.iter().position(|allow| allow.fits(&finding)) {
                None => stay.push(finding),
                Some(index) => {
                    needed[index] = true;
                    let Allow { reason, origin, .. } = self.allow[index].clone();
                    suppressed.push(Suppressed {
                        finding,
                        reason,
                        origin,
                    });
                }
            }
        }
        let idle = self.allow.iter().zip(needed);
        let idle = idle.filter(|(_, needed)| !needed);
        (
            stay,
            suppressed,
            idle.map(|(allow, _)| allow.shown()).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suppression_has_a_reason() {
        let check = |text: &str, expect: Option<(&str, Option<&str>, &str)>| {
            let allow = text.parse::<Allow>().ok();
            let found = allow
                .as_ref()
                .map(|a| (&*a.rule, a.path.as_deref(), &*a.reason));
            assert_eq!(found, expect, "{text}");
        };
        check("kernel=a container", Some(("kernel", None, "a container")));
        check("kernel=a: b = c", Some(("kernel", None, "a: b = c")));
        check(
            "private-key:/etc/a=b/**=a test's",
            Some(("private-key", Some("/etc/a=b/**"), "a test's")),
        );
        check("kernel", None);
        check("kernel=", None);
        check("kernel= ", None);
        check("kernel:/x", None);
        check("kernel:=x", None);
        check("=x", None);
    }
}
