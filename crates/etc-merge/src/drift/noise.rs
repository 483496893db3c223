//! The noise model: what a machine writes below `/etc` by itself, as data.

use pleach_fs_tree::TreePath;

use crate::{Error, Pattern};

/// Differences that are to be expected, all for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseClass {
    /// A short name, for reports.
    pub id: String,
    /// Why they are to be expected.
    pub reason: String,
    /// Where that is written: manual pages.
    pub source: String,
}

/// Which paths are noise, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseModel {
    classes: Vec<NoiseClass>,
    /// The class is an index; the first pattern that covers a path counts.
    patterns: Vec<(Pattern, usize)>,
}

/// Id, reason, source and patterns.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const SHIPPED: &[Row] = &[
    (
        "machine-identity",
        "each machine has its own",
        "machine-id(5), hostname(5), iscsi-iname(8), nvme-gen-hostnqn(1)",
        &[
            "machine-id",
            "hostname",
            "iscsi/initiatorname.iscsi",
            "nvme/hostid",
            "nvme/hostnqn",
        ],
    ),
    (
        "machine-secrets",
        "keys that a machine makes for itself when it has none",
        "ssh-keygen(1), option -A",
        &["ssh/ssh_host_*_key", "ssh/ssh_host_*_key.pub"],
    ),
    (
        "locks-and-backups",
        "tools that edit a file leave them beside it",
        "lckpwdf(3), useradd(8), vipw(8), dpkg(1), rpm(8), ucf(1)",
        &[
            ".pwd.lock",
            "passwd-",
            "group-",
            "shadow-",
            "gshadow-",
            "subuid-",
            "subgid-",
            "**/*.dpkg-old",
            "**/*.dpkg-dist",
            "**/*.dpkg-new",
            "**/*.dpkg-tmp",
            "**/*.dpkg-bak",
            "**/*.ucf-old",
            "**/*.ucf-dist",
            "**/*.ucf-new",
            "**/*.rpmsave",
            "**/*.rpmnew",
            "**/*.rpmorig",
            "**/*~",
            "**/.*.sw[a-p]",
        ],
    ),
    (
        "accounts",
        "services and people get accounts on the machine",
        "systemd-sysusers(8), useradd(8), passwd(1), subuid(5)",
        &["passwd", "group", "shadow", "gshadow", "subuid", "subgid"],
    ),
    (
        "generated",
        "made from other files, and made again when those change",
        "ldconfig(8), update-ca-certificates(8), update-ca-trust(8), update-alternatives(1), \
         update-crypto-policies(8), systemd-resolved.service(8), mount(8), hwclock(8), \
         systemd-hwdb(8), dconf(1), semodule(8)",
        &[
            "ld.so.cache",
            "ssl/certs/ca-certificates.crt",
            "ssl/certs/????????.[0-9]",
            "ssl/certs/java/cacerts",
            "pki/ca-trust/extracted/**",
            "pki/java/cacerts",
            "alternatives/**",
            "crypto-policies/back-ends/**",
            "crypto-policies/state/**",
            "resolv.conf",
            "mtab",
            "adjtime",
            "udev/hwdb.bin",
            "dconf/db/distro",
            "dconf/db/gdm",
            "dconf/db/local",
            "dconf/db/site",
            "selinux/*/policy/**",
            "selinux/*/contexts/files/*.bin",
        ],
    ),
    (
        "stamps",
        "written when an update has been noticed",
        "systemd-update-done.service(8)",
        &[".updated"],
    ),
    (
        "ledger",
        "the ownership ledger itself",
        "pleach etc",
        &["pleach/ownership.json"],
    ),
];

impl NoiseModel {
    /// Nothing is noise.
    pub fn none() -> Self {
        Self {
            classes: Vec::new(),
            patterns: Vec::new(),
        }
    }

    /// What is known of Debian's, Fedora's and SUSE's tools.
    pub fn shipped() -> Self {
        let mut model = Self::none();
        for &(id, reason, source, patterns) in SHIPPED {
            let class = NoiseClass {
                id: id.to_owned(),
                reason: reason.to_owned(),
                source: source.to_owned(),
            };
            model
                .push(class, patterns)
                .expect("the patterns in this file can be read");
        }
        model
    }

    /// One class more, behind those that are there.
    ///
    /// # Errors
    /// When a pattern cannot be read.
    pub fn push(&mut self, class: NoiseClass, patterns: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        let index = self.classes.len();
        let read = patterns.iter().map(|p| Ok((Pattern::new(p)?, index)));
        let read = read.collect::<Result<Vec<_>, Error>>()?;
        self.patterns.extend(read);
        self.classes.push(class);
        Ok(())
    }

    /// The classes, in order.
    pub fn classes(&self) -> &[NoiseClass] {
        &self.classes
    }

    /// The class of a path: that of the first pattern that covers it.
    pub fn class_of(&self, path: &TreePath) -> Option<&NoiseClass> {
        let covering = self.patterns.iter().find(|(p, _)| p.covers(path));
        covering.map(|(_, class)| &self.classes[*class])
    }
}
