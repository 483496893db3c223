//! What is laid out before there is a tree.

use pleach_customization::{Disk, Filesystem, Luks, Partition, Raid, Tang};
use serde_json::{Value, json};

use super::contents::resource;
use super::object;

pub(super) fn disk(d: &Disk) -> Value {
    object([
        ("device", json!(d.device)),
        ("wipeTable", json!(d.wipe_table)),
        ("partitions", d.partitions.iter().map(partition).collect()),
    ])
}

fn partition(p: &Partition) -> Value {
    object([
        ("number", json!(p.number)),
        ("label", json!(p.label)),
        ("sizeMiB", json!(p.size_mib)),
        ("startMiB", json!(p.start_mib)),
        ("typeGuid", json!(p.type_guid)),
        ("guid", json!(p.guid)),
        ("wipePartitionEntry", json!(p.wipe_partition_entry)),
        ("shouldExist", json!(p.should_exist)),
        ("resize", json!(p.resize)),
    ])
}

pub(super) fn raid(r: &Raid) -> Value {
    object([
        ("name", json!(r.name)),
        ("level", json!(r.level)),
        ("devices", json!(r.devices)),
        ("spares", json!(r.spares)),
        ("options", json!(r.options)),
    ])
}

pub(super) fn filesystem(f: &Filesystem) -> Value {
    object([
        ("device", json!(f.device)),
        ("format", json!(f.format)),
        ("path", json!(f.path)),
        ("wipeFilesystem", json!(f.wipe_filesystem)),
        ("label", json!(f.label)),
        ("uuid", json!(f.uuid)),
        ("options", json!(f.options)),
        ("mountOptions", json!(f.mount_options)),
    ])
}

pub(super) fn luks(l: &Luks) -> Value {
    let custom = l.clevis.custom.as_ref().map(|custom| {
        object([
            ("pin", json!(custom.pin)),
            ("config", json!(custom.config)),
            ("needsNetwork", json!(custom.needs_network)),
        ])
    });
    let clevis = object([
        ("tang", l.clevis.tang.iter().map(tang).collect()),
        ("tpm2", json!(l.clevis.tpm2)),
        ("threshold", json!(l.clevis.threshold)),
        ("custom", custom.unwrap_or_default()),
    ]);
    object([
        ("name", json!(l.name)),
        ("device", json!(l.device)),
        (
            "keyFile",
            l.key_file.as_ref().map(resource).unwrap_or_default(),
        ),
        ("label", json!(l.label)),
        ("uuid", json!(l.uuid)),
        ("options", json!(l.options)),
        ("discard", json!(l.discard)),
        ("openOptions", json!(l.open_options)),
        ("wipeVolume", json!(l.wipe_volume)),
        ("clevis", clevis),
        ("cex", object([("enabled", json!(l.cex))])),
    ])
}

fn tang(t: &Tang) -> Value {
    object([
        ("url", json!(t.url)),
        ("thumbprint", json!(t.thumbprint)),
        ("advertisement", json!(t.advertisement)),
    ])
}
