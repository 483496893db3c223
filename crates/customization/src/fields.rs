//! Which fields there are, since which version: one table for both spellings.
//!
//! Sources: the field lists of Butane's `fcos` specifications 1.0.0 to 1.6.0 and of Ignition's
//! specifications 3.0.0 to 3.5.0. Ignition spells a name in camel case where Butane uses snake case.

use crate::model::Format;

/// The field is not in this spelling.
const NO: u8 = u8::MAX;

/// A field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    /// Butane's spelling.
    pub(crate) name: &'static str,
    /// Minor version of Butane's fcos 1.x.0 that brought it.
    butane: u8,
    /// Minor version of Ignition 3.x.0 that brought it.
    ignition: u8,
    /// Why it cannot be carried, if it cannot.
    pub(crate) unsupported: Option<&'static str>,
}

const fn field(name: &'static str, butane: u8, ignition: u8) -> Field {
    Field {
        name,
        butane,
        ignition,
        unsupported: None,
    }
}

const fn unsupported(name: &'static str, butane: u8, ignition: u8, why: &'static str) -> Field {
    Field {
        name,
        butane,
        ignition,
        unsupported: Some(why),
    }
}

impl Field {
    /// The name in a spelling.
    pub(crate) fn spelled(&self, format: Format) -> String {
        match format {
            Format::Butane => self.name.to_owned(),
            Format::Ignition => camel(self.name),
        }
    }

    /// The minor version that brought it, if the spelling has it at all.
    pub(crate) fn since(&self, format: Format) -> Option<u8> {
        let since = match format {
            Format::Butane => self.butane,
            Format::Ignition => self.ignition,
        };
        (since != NO).then_some(since)
    }
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// Highest minor version that is known.
pub(crate) const fn newest(format: Format) -> u8 {
    match format {
        Format::Butane => 6,
        Format::Ignition => 5,
    }
}

/// A full version text from a minor version.
pub(crate) fn version(format: Format, minor: u8) -> String {
    match format {
        Format::Butane => format!("1.{minor}.0"),
        Format::Ignition => format!("3.{minor}.0"),
    }
}

const DISKS: &str = "disks are laid out before there is a tree to customize";

pub(crate) const ROOT: &[Field] = &[
    field("variant", 0, NO),
    field("version", 0, NO),
    field("ignition", 0, 0),
    field("storage", 0, 0),
    field("systemd", 0, 0),
    field("passwd", 0, 0),
    field("kernel_arguments", 4, 3),
    unsupported("boot_device", 3, NO, DISKS),
    unsupported(
        "grub",
        5,
        NO,
        "the boot loader's own users are not part of the tree",
    ),
];

pub(crate) const IGNITION: &[Field] = &[
    field("version", NO, 0),
    unsupported("config", 0, 0, "documents are not merged"),
    unsupported("proxy", 1, 1, "nothing is fetched"),
    unsupported("security", 0, 0, "nothing is fetched"),
    unsupported("timeouts", 0, 0, "nothing is fetched"),
];

pub(crate) const STORAGE: &[Field] = &[
    field("directories", 0, 0),
    field("files", 0, 0),
    field("links", 0, 0),
    unsupported("disks", 0, 0, DISKS),
    unsupported("raid", 0, 0, DISKS),
    unsupported("filesystems", 0, 0, DISKS),
    unsupported("luks", 2, 2, DISKS),
    unsupported("trees", 1, NO, "directories of local files are not read"),
];

pub(crate) const DIRECTORY: &[Field] = &[
    field("path", 0, 0),
    field("overwrite", 0, 0),
    field("mode", 0, 0),
    field("user", 0, 0),
    field("group", 0, 0),
];

pub(crate) const FILE: &[Field] = &[
    field("path", 0, 0),
    field("overwrite", 0, 0),
    field("contents", 0, 0),
    field("append", 0, 0),
    field("mode", 0, 0),
    field("user", 0, 0),
    field("group", 0, 0),
];

pub(crate) const LINK: &[Field] = &[
    field("path", 0, 0),
    field("overwrite", 0, 0),
    field("target", 0, 0),
    field("hard", 0, 0),
    field("user", 0, 0),
    field("group", 0, 0),
];

pub(crate) const OWNER: &[Field] = &[field("id", 0, 0), field("name", 0, 0)];

pub(crate) const RESOURCE: &[Field] = &[
    field("inline", 0, NO),
    field("local", 1, NO),
    field("source", 0, 0),
    field("compression", 0, 0),
    field("verification", 0, 0),
    unsupported("http_headers", 1, 1, "nothing is fetched"),
];

pub(crate) const VERIFICATION: &[Field] = &[field("hash", 0, 0)];

pub(crate) const SYSTEMD: &[Field] = &[field("units", 0, 0)];

pub(crate) const UNIT: &[Field] = &[
    field("name", 0, 0),
    field("enabled", 0, 0),
    field("mask", 0, 0),
    field("contents", 0, 0),
    field("contents_local", 5, NO),
    field("dropins", 0, 0),
];

pub(crate) const DROPIN: &[Field] = &[
    field("name", 0, 0),
    field("contents", 0, 0),
    field("contents_local", 5, NO),
];

pub(crate) const PASSWD: &[Field] = &[field("users", 0, 0), field("groups", 0, 0)];

pub(crate) const USER: &[Field] = &[
    field("name", 0, 0),
    field("should_exist", 2, 2),
    field("uid", 0, 0),
    field("gecos", 0, 0),
    field("home_dir", 0, 0),
    field("no_create_home", 0, 0),
    field("primary_group", 0, 0),
    field("groups", 0, 0),
    field("shell", 0, 0),
    field("system", 0, 0),
    field("no_user_group", 0, 0),
    field("no_log_init", 0, 0),
    field("password_hash", 0, 0),
    field("ssh_authorized_keys", 0, 0),
    field("ssh_authorized_keys_local", 5, NO),
];

pub(crate) const GROUP: &[Field] = &[
    field("name", 0, 0),
    field("should_exist", 2, 2),
    field("gid", 0, 0),
    field("system", 0, 0),
    field("password_hash", 0, 0),
];

pub(crate) const KERNEL_ARGUMENTS: &[Field] =
    &[field("should_exist", 4, 3), field("should_not_exist", 4, 3)];

/// The known name nearest to `name`, if it is near enough to be what was meant.
pub(crate) fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates
        .map(|candidate| (distance(name, &candidate), candidate))
        .filter(|(far, candidate)| *far <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance, where a letter's case and `-` for `_` cost nothing.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars()
            .take(64)
            .filter(|c| !matches!(c, '_' | '-'))
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let (a, b) = (fold(a), fold(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = cost.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
