//! What is merged in `storage`.

use super::{Keyed, both, joined, list, misfit, union};
use crate::decode::resource::{gunzip, hashed_as};
use crate::diagnostic::Diagnostic;
use crate::model::{
    Clevis, Compression, Contents, Directory, Disk, File, Filesystem, HttpHeader, Link, Luks,
    Owner, Partition, Raid, Source, Tang,
};

/// An ID counts before a name, whoever said it: Ignition keeps both, and looks at the ID first.
fn owner(parent: Option<Owner>, child: Option<Owner>) -> Option<Owner> {
    match (parent, child) {
        (Some(Owner::Id(id)), Some(Owner::Name(_))) => Some(Owner::Id(id)),
        (parent, child) => child.or(parent),
    }
}

/// What the child does not say of its contents it inherits, fitting or not.
fn contents(parent: Contents, child: Contents, found: &mut Vec<Diagnostic>) -> Contents {
    let mut out = child;
    if out.compression.is_none() {
        out.compression = parent.compression;
        if let (Some(Compression::Gzip), Source::Bytes(raw)) = (out.compression, &out.source) {
            // They were taken for what they are, and Ignition will take them for what is inherited.
            match gunzip(raw, usize::MAX >> 1) {
                Some(data) => out.source = Source::Bytes(data),
                None => found.push(misfit(
                    &out,
                    &parent,
                    "the compression",
                    "`compression: ''`",
                )),
            }
        }
    }
    if out.hash.is_none() {
        out.hash = parent.hash.clone();
        let differs = out.hash.as_ref().is_some_and(|hash| {
            out.bytes()
                .is_some_and(|bytes| hashed_as(hash, bytes) != *hash)
        });
        if differs {
            found.push(misfit(&out, &parent, "the hash", "the verification"));
        }
    }
    if let (Source::Remote(parent), Source::Remote(child)) = (parent.source, &mut out.source) {
        let own = std::mem::take(&mut child.headers);
        child.headers = headers(parent.headers, own);
    }
    out
}

/// By name; one without a value takes away what is inherited.
fn headers(parent: Vec<HttpHeader>, child: Vec<HttpHeader>) -> Vec<HttpHeader> {
    let mut child: Vec<Option<HttpHeader>> = child.into_iter().map(Some).collect();
    let mut out = Vec::new();
    for header in parent {
        let same = child
            .iter_mut()
            .find_map(|slot| slot.take_if(|known| known.name == header.name));
        match same {
            Some(same) if same.value.is_none() => {}
            Some(same) => out.push(same),
            None => out.push(header),
        }
    }
    out.extend(child.into_iter().flatten());
    out
}

fn optional(
    parent: Option<Contents>,
    child: Option<Contents>,
    found: &mut Vec<Diagnostic>,
) -> Option<Contents> {
    both(parent, child, |parent, child| {
        contents(parent, child, found)
    })
}

impl Keyed for Contents {
    type Key = Vec<u8>;

    fn key(&self) -> Vec<u8> {
        match &self.source {
            Source::Bytes(bytes) => [b"data:,", &bytes[..]].concat(),
            Source::Remote(remote) => remote.url.clone().into_bytes(),
        }
    }

    fn merged(self, child: Self, found: &mut Vec<Diagnostic>) -> Self {
        contents(self, child, found)
    }
}

impl Keyed for Directory {
    type Key = String;

    fn key(&self) -> String {
        self.path.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            overwrite: child.overwrite.or(self.overwrite),
            mode: child.mode.or(self.mode),
            user: owner(self.user, child.user),
            group: owner(self.group, child.group),
            ..child
        }
    }
}

impl Keyed for File {
    type Key = String;

    fn key(&self) -> String {
        self.path.clone()
    }

    fn merged(self, child: Self, found: &mut Vec<Diagnostic>) -> Self {
        Self {
            overwrite: child.overwrite.or(self.overwrite),
            contents: optional(self.contents, child.contents, found),
            append: joined(self.append, child.append),
            mode: child.mode.or(self.mode),
            user: owner(self.user, child.user),
            group: owner(self.group, child.group),
            published: self.published && child.published,
            ..child
        }
    }
}

impl Keyed for Link {
    type Key = String;

    fn key(&self) -> String {
        self.path.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            overwrite: child.overwrite.or(self.overwrite),
            hard: child.hard.or(self.hard),
            user: owner(self.user, child.user),
            group: owner(self.group, child.group),
            ..child
        }
    }
}

impl Keyed for Disk {
    type Key = String;

    fn key(&self) -> String {
        self.device.clone()
    }

    fn merged(self, child: Self, found: &mut Vec<Diagnostic>) -> Self {
        Self {
            wipe_table: child.wipe_table.or(self.wipe_table),
            partitions: list(self.partitions, child.partitions, found),
            ..child
        }
    }
}

impl Keyed for Partition {
    /// The label counts only where there is no number.
    type Key = (Option<u32>, Option<String>);

    fn key(&self) -> Self::Key {
        match self.number {
            Some(number) => (Some(number), None),
            None => (None, self.label.clone()),
        }
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            label: child.label.or(self.label),
            size_mib: child.size_mib.or(self.size_mib),
            start_mib: child.start_mib.or(self.start_mib),
            type_guid: child.type_guid.or(self.type_guid),
            guid: child.guid.or(self.guid),
            wipe_partition_entry: child.wipe_partition_entry.or(self.wipe_partition_entry),
            should_exist: child.should_exist.or(self.should_exist),
            resize: child.resize.or(self.resize),
            ..child
        }
    }
}

impl Keyed for Raid {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            devices: union(self.devices, child.devices),
            spares: child.spares.or(self.spares),
            options: joined(self.options, child.options),
            ..child
        }
    }
}

impl Keyed for Filesystem {
    type Key = String;

    fn key(&self) -> String {
        self.device.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            format: child.format.or(self.format),
            path: child.path.or(self.path),
            wipe_filesystem: child.wipe_filesystem.or(self.wipe_filesystem),
            label: child.label.or(self.label),
            uuid: child.uuid.or(self.uuid),
            options: joined(self.options, child.options),
            mount_options: joined(self.mount_options, child.mount_options),
            ..child
        }
    }
}

impl Keyed for Luks {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn merged(self, child: Self, found: &mut Vec<Diagnostic>) -> Self {
        Self {
            key_file: optional(self.key_file, child.key_file, found),
            label: child.label.or(self.label),
            uuid: child.uuid.or(self.uuid),
            options: joined(self.options, child.options),
            discard: child.discard.or(self.discard),
            open_options: union(self.open_options, child.open_options),
            wipe_volume: child.wipe_volume.or(self.wipe_volume),
            clevis: Clevis {
                tang: list(self.clevis.tang, child.clevis.tang, found),
                tpm2: child.clevis.tpm2.or(self.clevis.tpm2),
                threshold: child.clevis.threshold.or(self.clevis.threshold),
                custom: both(
                    self.clevis.custom,
                    child.clevis.custom,
                    |parent, mut child| {
                        child.needs_network = child.needs_network.or(parent.needs_network);
                        child
                    },
                ),
            },
            cex: child.cex.or(self.cex),
            ..child
        }
    }
}

impl Keyed for Tang {
    type Key = String;

    fn key(&self) -> String {
        self.url.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            advertisement: child.advertisement.or(self.advertisement),
            ..child
        }
    }
}
