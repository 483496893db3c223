//! The items that only Ignition can carry, by name.

use super::{Contents, Customization, Origin};

/// An item that is nothing but an instruction to Ignition: no image and no other route can hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectOnly<'a> {
    /// The item, in words: `disk /dev/vda`.
    pub item: String,
    /// Where it was asked for.
    pub origin: &'a Origin,
    /// What kind it is.
    pub kind: InjectOnlyKind,
}

/// Why an item is Ignition's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InjectOnlyKind {
    /// Disks, arrays, encrypted volumes and filesystems: laid out before there is a tree.
    Disk,
    /// Timeouts, proxies and certificates: about Ignition's own fetches.
    Fetching,
    /// Another document, merged into this one or taking its place, that was not resolved.
    Document,
}

impl Customization {
    /// The items that only Ignition can carry, in the model's order. Files whose contents are
    /// [remote](Contents::remote) are not among them: they are files.
    pub fn inject_only(&self) -> Vec<InjectOnly<'_>> {
        let mut out = Vec::new();
        let mut add = |item: String, origin, kind| out.push(InjectOnly { item, origin, kind });
        use InjectOnlyKind::{Disk, Document, Fetching};
        for disk in &self.disks {
            add(format!("disk {}", disk.device), &disk.origin, Disk);
        }
        for raid in &self.raid {
            add(format!("RAID array {}", raid.name), &raid.origin, Disk);
        }
        for luks in &self.luks {
            add(format!("LUKS volume {}", luks.name), &luks.origin, Disk);
        }
        for filesystem in &self.filesystems {
            let item = format!("filesystem on {}", filesystem.device);
            add(item, &filesystem.origin, Disk);
        }
        let section = &self.ignition;
        if let Some(timeouts) = &section.timeouts {
            add("timeouts of fetches".into(), &timeouts.origin, Fetching);
        }
        if let Some(proxy) = &section.proxy {
            add("proxy of fetches".into(), &proxy.origin, Fetching);
        }
        let name = |what: &str, contents: &Contents| match contents.remote() {
            Some(remote) => format!("{what} {remote}"),
            None => format!("{what} ({})", contents.origin.path),
        };
        for authority in &section.certificate_authorities {
            let item = name("certificate authority", authority);
            add(item, &authority.origin, Fetching);
        }
        for reference in &section.merge {
            let item = name("merged document", &reference.contents);
            add(item, &reference.contents.origin, Document);
        }
        if let Some(reference) = &section.replace {
            let item = name("replacement document", &reference.contents);
            add(item, &reference.contents.origin, Document);
        }
        out
    }
}
