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
}

const fn field(name: &'static str, butane: u8, ignition: u8) -> Field {
    Field {
        name,
        butane,
        ignition,
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
    // The one unit among the names keeps its capitals.
    if let Some(stem) = name.strip_suffix("_mib") {
        return format!("{stem}MiB");
    }
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

pub(crate) const ROOT: &[Field] = &[
    field("variant", 0, NO),
    field("version", 0, NO),
    field("ignition", 0, 0),
    field("storage", 0, 0),
    field("systemd", 0, 0),
    field("passwd", 0, 0),
    field("kernel_arguments", 4, 3),
    field("boot_device", 3, NO),
    field("grub", 5, NO),
];

pub(crate) const IGNITION: &[Field] = &[
    field("version", NO, 0),
    field("config", 0, 0),
    field("proxy", 1, 1),
    field("security", 0, 0),
    field("timeouts", 0, 0),
];

pub(crate) const CONFIG: &[Field] = &[field("merge", 0, 0), field("replace", 0, 0)];

pub(crate) const SECURITY: &[Field] = &[field("tls", 0, 0)];

pub(crate) const TLS: &[Field] = &[field("certificate_authorities", 0, 0)];

pub(crate) const TIMEOUTS: &[Field] = &[
    field("http_response_headers", 0, 0),
    field("http_total", 0, 0),
];

pub(crate) const PROXY: &[Field] = &[
    field("http_proxy", 1, 1),
    field("https_proxy", 1, 1),
    field("no_proxy", 1, 1),
];

pub(crate) const STORAGE: &[Field] = &[
    field("directories", 0, 0),
    field("files", 0, 0),
    field("links", 0, 0),
    field("disks", 0, 0),
    field("raid", 0, 0),
    field("filesystems", 0, 0),
    field("luks", 2, 2),
    field("trees", 1, NO),
];

pub(crate) const TREE: &[Field] = &[field("local", 1, NO), field("path", 1, NO)];

pub(crate) const DISK: &[Field] = &[
    field("device", 0, 0),
    field("wipe_table", 0, 0),
    field("partitions", 0, 0),
];

pub(crate) const PARTITION: &[Field] = &[
    field("label", 0, 0),
    field("number", 0, 0),
    field("size_mib", 0, 0),
    field("start_mib", 0, 0),
    field("type_guid", 0, 0),
    field("guid", 0, 0),
    field("wipe_partition_entry", 0, 0),
    field("should_exist", 0, 0),
    field("resize", 2, 2),
];

pub(crate) const RAID: &[Field] = &[
    field("name", 0, 0),
    field("level", 0, 0),
    field("devices", 0, 0),
    field("spares", 0, 0),
    field("options", 0, 0),
];

pub(crate) const FILESYSTEM: &[Field] = &[
    field("device", 0, 0),
    field("format", 0, 0),
    field("path", 0, 0),
    field("wipe_filesystem", 0, 0),
    field("label", 0, 0),
    field("uuid", 0, 0),
    field("options", 0, 0),
    field("mount_options", 1, 1),
    field("with_mount_unit", 1, NO),
];

pub(crate) const LUKS: &[Field] = &[
    field("name", 2, 2),
    field("device", 2, 2),
    field("key_file", 2, 2),
    field("label", 2, 2),
    field("uuid", 2, 2),
    field("options", 2, 2),
    field("wipe_volume", 2, 2),
    field("clevis", 2, 2),
    field("discard", 5, 4),
    field("open_options", 5, 4),
    field("cex", 6, 5),
];

pub(crate) const CLEVIS: &[Field] = &[
    field("tang", 2, 2),
    field("tpm2", 2, 2),
    field("threshold", 2, 2),
    field("custom", 2, 2),
];

pub(crate) const TANG: &[Field] = &[
    field("url", 2, 2),
    field("thumbprint", 2, 2),
    field("advertisement", 5, 4),
];

pub(crate) const CLEVIS_CUSTOM: &[Field] = &[
    field("pin", 2, 2),
    field("config", 2, 2),
    field("needs_network", 2, 2),
];

pub(crate) const CEX: &[Field] = &[field("enabled", 6, 5)];

pub(crate) const BOOT_DEVICE: &[Field] = &[
    field("layout", 3, NO),
    field("luks", 3, NO),
    field("mirror", 3, NO),
];

pub(crate) const BOOT_LUKS: &[Field] = &[
    field("tang", 3, NO),
    field("tpm2", 3, NO),
    field("threshold", 3, NO),
    field("discard", 5, NO),
    field("device", 6, NO),
    field("cex", 6, NO),
];

pub(crate) const MIRROR: &[Field] = &[field("devices", 3, NO)];

pub(crate) const GRUB: &[Field] = &[field("users", 5, NO)];

pub(crate) const GRUB_USER: &[Field] = &[field("name", 5, NO), field("password_hash", 5, NO)];

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

/// Contents of a file or a key.
pub(crate) const RESOURCE: &[Field] = &[
    field("inline", 0, NO),
    field("local", 1, NO),
    field("source", 0, 0),
    field("compression", 0, 0),
    field("verification", 0, 0),
    field("http_headers", 1, 1),
];

/// Another document, or a certificate.
pub(crate) const REFERENCE: &[Field] = &[
    field("inline", 1, NO),
    field("local", 1, NO),
    field("source", 0, 0),
    field("compression", 1, 1),
    field("verification", 0, 0),
    field("http_headers", 1, 1),
];

pub(crate) const HTTP_HEADER: &[Field] = &[field("name", 1, 1), field("value", 1, 1)];

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
