//! Which paths are looked at, and how closely.

/// How closely a path and what is below it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Everything, and the content of files as a digest.
    Digest,
    /// Everything but content.
    Size,
    /// Everything but content and size: what is written all the time, or at no fixed time.
    Metadata,
    /// The path and its direct entries, but not what is in them.
    Entries,
    /// The path alone, and only where the walk of another rule comes across it.
    Node,
}

/// A rule for a path and what is below it, up to the next rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// An absolute path; links on the way to it are followed inside the root.
    pub path: String,
    /// How closely.
    pub look: Look,
    /// Why.
    pub reason: String,
}

const PATHS: &[(&str, Look, &str)] = &[
    (
        "/",
        Look::Entries,
        "the shape of the root: its links and mount points",
    ),
    ("/etc", Look::Digest, "the configuration"),
    (
        "/var",
        Look::Digest,
        "the state, as a whole; what follows are exceptions",
    ),
    ("/root", Look::Digest, "a home"),
    ("/home", Look::Digest, "the homes, wherever they are"),
    (
        "/opt",
        Look::Digest,
        "local software, a link into /var on ostree systems",
    ),
    (
        "/srv",
        Look::Digest,
        "data, a link into /var on ostree systems",
    ),
    (
        "/usr/local",
        Look::Digest,
        "local software, a link into /var on ostree systems",
    ),
    (
        "/run/systemd/generator.early",
        Look::Digest,
        "units that came as credentials",
    ),
    (
        "/var/cache",
        Look::Metadata,
        "programs write it again when they like",
    ),
    ("/var/log", Look::Metadata, "logs grow while one looks"),
    (
        "/var/log/journal",
        Look::Node,
        "names hold sequence numbers; see journal_problems",
    ),
    ("/var/tmp", Look::Node, "names are random"),
    (
        "/var/lib/systemd/coredump",
        Look::Node,
        "names hold times; see failed_units",
    ),
    (
        "/var/lib/containers",
        Look::Node,
        "container storage has its own tools",
    ),
    (
        "/var/lib/docker",
        Look::Node,
        "container storage has its own tools",
    ),
];

const USR: &[(&str, Look, &str)] = &[
    (
        "/usr",
        Look::Size,
        "reading all of it takes minutes under emulation",
    ),
    (
        "/usr/etc",
        Look::Node,
        "the defaults of /etc: what a derived image changes by definition",
    ),
    ("/usr/local", Look::Node, "stands in paths"),
];

fn rules(table: &[(&str, Look, &str)]) -> Vec<PathRule> {
    let rule = |&(path, look, reason): &(&str, Look, &str)| PathRule {
        path: path.to_owned(),
        look,
        reason: reason.to_owned(),
    };
    table.iter().map(rule).collect()
}

impl PathRule {
    /// The rules of the section `paths`.
    pub fn paths() -> Vec<Self> {
        rules(PATHS)
    }

    /// The rules of the section `etc_defaults`.
    pub fn etc_defaults() -> Vec<Self> {
        rules(&[("/usr/etc", Look::Digest, "what the image shipped as /etc")])
    }

    /// The rules of the section `usr`, without digests.
    pub fn usr() -> Vec<Self> {
        rules(USR)
    }

    /// The rules of the section `usr`, with digests.
    pub fn usr_with_digests() -> Vec<Self> {
        let mut rules = Self::usr();
        rules[0].look = Look::Digest;
        rules[0].reason = "all content".to_owned();
        rules
    }
}
