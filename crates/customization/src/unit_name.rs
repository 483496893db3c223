//! Names of systemd units, systemd.unit(5).

/// Suffixes of units that can be written as files.
const SUFFIXES: &[&str] = &[
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// A unit's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitName<'a> {
    /// Before `@`, or the whole without its suffix.
    pub(crate) prefix: &'a str,
    /// Between `@` and the suffix: empty for a template.
    pub(crate) instance: Option<&'a str>,
    /// After the last dot.
    pub(crate) suffix: &'a str,
}

impl<'a> UnitName<'a> {
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (stem, suffix) = name.rsplit_once('.')?;
        Some(match stem.split_once('@') {
            Some((prefix, instance)) => Self {
                prefix,
                instance: Some(instance),
                suffix,
            },
            None => Self {
                prefix: stem,
                instance: None,
                suffix,
            },
        })
    }

    /// Whether it is a template, such as `getty@.service`.
    pub(crate) fn is_template(&self) -> bool {
        self.instance == Some("")
    }

    /// The template of an instance.
    pub(crate) fn template(&self) -> Option<String> {
        match self.instance {
            Some("") | None => None,
            Some(_) => Some(format!("{}@.{}", self.prefix, self.suffix)),
        }
    }

    /// The same name with another instance.
    pub(crate) fn with_instance(&self, instance: &str) -> String {
        format!("{}@{instance}.{}", self.prefix, self.suffix)
    }
}

/// Whether systemd takes `name`.
pub(crate) fn check(name: &str) -> Result<(), &'static str> {
    let Some(parts) = UnitName::parse(name) else {
        return Err("has no suffix such as '.service'");
    };
    if !SUFFIXES.contains(&parts.suffix) {
        return Err("has a suffix that is no unit type");
    }
    if name.len() > 255 {
        return Err("is longer than 255 characters");
    }
    if parts.prefix.is_empty() {
        return Err("has nothing before its suffix");
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
    if !parts.prefix.chars().all(valid)
        || !parts
            .instance
            .unwrap_or("")
            .chars()
            .all(|c| valid(c) || c == '@')
    {
        return Err("has characters other than letters, digits and ':-_.\\'");
    }
    Ok(())
}
