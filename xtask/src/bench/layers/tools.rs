//! Who is measured, and with whom.

use clap::ValueEnum;

/// How a subject's layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "each says what it is")]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// A layout becomes a directory.
    Directory,
    /// A layout becomes a commit of an ostree repository, or what the peer has for one.
    Ostree,
    /// Both, from a registry on this machine.
    Registry,
    /// The same image with another small layer on top comes to a repository that has the first one.
    Upgrade,
}

impl Row {
    pub(super) const fn tools(self) -> &'static [Tool] {
        match self {
            Self::Directory => &[
                Tool::Pleach,
                Tool::LowMemory,
                Tool::Umoci,
                Tool::PodmanOverlay,
                Tool::PodmanVfs,
                Tool::SkopeoTar,
                Tool::Floor,
            ],
            Self::Ostree | Self::Upgrade => &[Tool::PleachOstree, Tool::OstreeExt, Tool::Composefs],
            Self::Registry => &[
                Tool::Pleach,
                Tool::PodmanOverlay,
                Tool::PleachOstree,
                Tool::OstreeExt,
                Tool::Composefs,
            ],
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Ostree => "ostree",
            Self::Registry => "registry",
            Self::Upgrade => "upgrade",
        }
    }
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Pleach,
    LowMemory,
    Umoci,
    PodmanOverlay,
    PodmanVfs,
    /// No merge: whiteouts are extracted as files.
    SkopeoTar,
    Floor,
    PleachOstree,
    OstreeExt,
    Composefs,
}

impl Tool {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pleach => "pleach",
            Self::LowMemory => "pleach --low-memory",
            Self::Umoci => "umoci",
            Self::PodmanOverlay => "podman, overlay",
            Self::PodmanVfs => "podman, vfs",
            Self::SkopeoTar => "skopeo copy, tar",
            Self::Floor => "floor",
            Self::PleachOstree => "pleach --ostree-repo",
            Self::OstreeExt => "ostree-ext 0.15.3",
            Self::Composefs => "composefs 0.9.4",
        }
    }

    /// Which of our ways does the same.
    pub(super) const fn ours(self) -> Self {
        match self {
            Self::PleachOstree | Self::OstreeExt | Self::Composefs => Self::PleachOstree,
            _ => Self::Pleach,
        }
    }

    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Pleach | Self::LowMemory | Self::PleachOstree)
    }
}
