//! `storage`: disks, arrays and filesystems.

use super::{Decoder, Entry, Object};
use crate::fields::{self, Field};
use crate::model::{Disk, Filesystem, Format, Origin, Partition, Raid};
use crate::source::Place;

/// Sizes are kept in MiB; this is far more than GPT can count in sectors.
const SIZE_MAX: i64 = i64::MAX >> 20;

impl Decoder<'_> {
    /// The absolute path of a device.
    pub(super) fn device(
        &mut self,
        object: &Object<'_>,
        table: &'static [Field],
    ) -> Option<String> {
        let (device, place, path) = self.required(object, "device", table)?;
        self.clean(device, place, &path).then(|| device.to_owned())
    }

    /// A list of devices, each given once.
    pub(super) fn devices(&mut self, object: &Object<'_>) -> Vec<String> {
        for (node, path) in self.list(object.get("devices")) {
            if let Some(device) = node.as_str() {
                self.clean(device, node.place, &path);
            }
        }
        self.strings(object, "devices", Some("device"))
    }

    pub(super) fn disk(&mut self, entry: Entry<'_>) -> Option<Disk> {
        let object = self.object(entry, fields::DISK)?;
        let device = self.device(&object, fields::DISK);
        let wipe_table = self.boolean(&object, "wipe_table");
        let mut partitions = Vec::new();
        for entry in self.list(object.get("partitions")) {
            partitions.extend(self.partition(entry));
        }
        self.partitions_apart(&partitions);
        let origin = self.origin(object.place, &object.path);
        let disk = Disk {
            device: device?,
            wipe_table,
            partitions,
            origin,
        };
        if self.format == Format::Butane {
            self.boot_disk_sense(&disk);
        }
        Some(disk)
    }

    fn partition(&mut self, entry: Entry<'_>) -> Option<Partition> {
        let object = self.object(entry, fields::PARTITION)?;
        let label = self.text(object.get("label"));
        if let Some((text, place, path)) = &label {
            if text.len() > 36 {
                self.error(
                    *place,
                    path,
                    "a partition's label has at most 36 characters",
                );
            } else if text.contains(':') {
                self.error(
                    *place,
                    path,
                    "a partition's label cannot hold ':', which sgdisk cuts it at",
                );
            }
        }
        let label = label.map(|(text, ..)| text.to_owned());
        let number = self.count(&object, "number").filter(|number| *number > 0);
        let size_mib = self.size(&object, "size_mib");
        let start_mib = self.size(&object, "start_mib");
        let type_guid = self.guid(&object, "type_guid");
        let guid = self.guid(&object, "guid");
        let wipe_partition_entry = self.boolean(&object, "wipe_partition_entry");
        let should_exist = self.boolean(&object, "should_exist");
        let resize = self.boolean(&object, "resize");
        let said = label.is_some()
            || type_guid.is_some()
            || guid.is_some()
            || size_mib.is_some()
            || start_mib.is_some();
        if should_exist == Some(false) && said {
            self.error(
                object.place,
                &object.path,
                "a partition that is not to exist has a number, and no label, size, start or GUID",
            );
        }
        if number.is_none() && label.is_none() {
            self.error(
                object.place,
                &object.path,
                "a partition needs a number above 0, or a label",
            );
        }
        Some(Partition {
            number,
            label,
            size_mib,
            start_mib,
            type_guid,
            guid,
            wipe_partition_entry,
            should_exist,
            resize,
            origin: self.origin(object.place, &object.path),
        })
    }

    fn size(&mut self, object: &Object<'_>, name: &str) -> Option<u64> {
        let entry = object.get(name)?;
        let value = self.integer(&entry)?;
        if !(0..=SIZE_MAX).contains(&value) {
            let message = format!("{value} MiB is no size: 0 to {SIZE_MAX} are");
            self.error(entry.0.place, &entry.1, message);
            return None;
        }
        u64::try_from(value).ok()
    }

    fn guid(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        let (text, place, path) = self.text(object.get(name))?;
        let groups: Vec<&str> = text.split('-').collect();
        let lengths = groups.iter().map(|group| group.len());
        let hexadecimal = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let formed = lengths.eq([8, 4, 4, 4, 12]) && groups.iter().all(hexadecimal);
        if !text.is_empty() && !formed {
            let message = format!(
                "'{}' is no GUID: it has the form 01234567-89AB-CDEF-EDCB-A98765432101",
                text.escape_debug()
            );
            self.error(place, &path, message);
            return None;
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Numbers, labels and places that two partitions want.
    fn partitions_apart(&mut self, partitions: &[Partition]) {
        for (index, partition) in partitions.iter().enumerate() {
            for earlier in &partitions[..index] {
                let line = earlier.origin.line;
                let what = if partition.number.is_some() && partition.number == earlier.number {
                    format!(
                        "partition number {} is",
                        partition.number.unwrap_or_default()
                    )
                } else if partition.label.is_some() && partition.label == earlier.label {
                    let label = partition.label.as_deref().unwrap_or_default();
                    format!("partition label '{label}' is")
                } else if overlap(partition, earlier) {
                    self.found_at(
                        &partition.origin,
                        format!("this partition overlaps the one in line {line}"),
                    );
                    continue;
                } else {
                    continue;
                };
                self.found_at(
                    &partition.origin,
                    format!("{what} given twice, first in line {line}"),
                );
            }
        }
    }

    fn found_at(&mut self, origin: &Origin, message: String) {
        let place = Place {
            line: origin.line,
            column: origin.column,
        };
        self.error(place, &origin.path, message);
    }

    /// What goes wrong with the boot disk of a Fedora CoreOS image, or with partitions that are to be
    /// kept.
    fn boot_disk_sense(&mut self, disk: &Disk) {
        const BOOT_DISK: &str = "/dev/disk/by-id/coreos-boot-disk";
        const RESERVED: &[(&str, u32)] = &[
            ("BIOS-BOOT", 1),
            ("PowerPC-PReP-boot", 1),
            ("EFI-SYSTEM", 2),
            ("boot", 3),
            ("root", 4),
        ];
        let wiped = disk.wipe_table == Some(true);
        for partition in &disk.partitions {
            let Some(label) = partition.label.as_deref() else {
                continue;
            };
            let mut warnings = Vec::new();
            if !wiped && disk.device != BOOT_DISK && partition.number.is_none() {
                warnings.push("a partition is not found again by its label: give it a number, or wipe the table");
            }
            let reserved = RESERVED.iter().find(|(name, _)| *name == label);
            if !wiped && reserved.is_some_and(|(_, number)| partition.number != Some(*number)) {
                warnings.push("this label belongs to a partition of the image with another number, and a new one is made");
            }
            if label == "root" {
                let others = disk.partitions.iter().filter(|other| *other != partition);
                match partition.size_mib {
                    None | Some(0) => {
                        if others
                            .clone()
                            .any(|other| other.start_mib.unwrap_or_default() == 0)
                        {
                            warnings.push("the root partition cannot grow: a partition that is placed by itself follows it");
                        }
                    }
                    Some(size) if size < 8192 => {
                        warnings.push("the root partition should have 8 GiB");
                    }
                    Some(_) => {}
                }
            }
            let origin = partition.origin.clone();
            let place = Place {
                line: origin.line,
                column: origin.column,
            };
            for warning in warnings {
                self.warn(place, &origin.path, warning);
            }
        }
    }

    pub(super) fn array(&mut self, entry: Entry<'_>) -> Option<Raid> {
        let object = self.object(entry, fields::RAID)?;
        let name = self.required(&object, "name", fields::RAID);
        let level = self.required(&object, "level", fields::RAID);
        let spares = self.count(&object, "spares");
        if let Some((level, place, path)) = &level {
            match *level {
                "linear" | "raid0" | "0" | "stripe" if spares.unwrap_or_default() > 0 => {
                    self.error(
                        *place,
                        path,
                        format!("an array of level '{level}' has no spares"),
                    );
                }
                "linear" | "raid0" | "0" | "stripe" | "raid1" | "1" | "mirror" | "raid4" | "4"
                | "raid5" | "5" | "raid6" | "6" | "raid10" | "10" => {}
                _ => {
                    self.error_help(
                        *place,
                        path,
                        format!("'{}' is no RAID level", level.escape_debug()),
                        "known: linear, raid0, raid1, raid4, raid5, raid6, raid10",
                    );
                }
            }
        }
        let devices = self.devices(&object);
        if devices.is_empty() {
            self.error(object.place, &object.path, "an array needs devices");
        }
        let options = self.strings(&object, "options", None);
        let origin = self.origin(object.place, &object.path);
        Some(Raid {
            name: name?.0.into(),
            level: level?.0.into(),
            devices,
            spares,
            options,
            origin,
        })
    }

    /// A filesystem, and where a mount unit for it is asked for.
    pub(super) fn filesystem(&mut self, entry: Entry<'_>) -> Option<(Filesystem, Option<Origin>)> {
        let object = self.object(entry, fields::FILESYSTEM)?;
        let device = self.device(&object, fields::FILESYSTEM);
        let format = self.filesystem_format(&object);
        let path = self
            .text(object.get("path"))
            .filter(|(text, ..)| !text.is_empty())
            .filter(|(text, place, path)| *text == "/" || self.clean(text, *place, path))
            .map(|(text, ..)| text.to_owned());
        let label = self
            .string(&object, "label")
            .filter(|label| !label.is_empty());
        let filesystem = Filesystem {
            device: device.clone().unwrap_or_default(),
            format,
            path,
            wipe_filesystem: self.boolean(&object, "wipe_filesystem"),
            label,
            uuid: self.string(&object, "uuid").filter(|uuid| !uuid.is_empty()),
            options: self.strings(&object, "options", None),
            mount_options: self.strings(&object, "mount_options", None),
            origin: self.origin(object.place, &object.path),
        };
        self.filesystem_sense(&object, &filesystem);
        let mount = self.boolean(&object, "with_mount_unit") == Some(true);
        let mount = mount
            .then(|| object.get("with_mount_unit"))
            .flatten()
            .filter(|(node, path)| self.mountable(&filesystem, node.place, path));
        let mount = mount.map(|(node, path)| self.origin(node.place, &path));
        device.map(|_| (filesystem, mount))
    }

    fn filesystem_format(&mut self, object: &Object<'_>) -> Option<String> {
        let (format, place, path) = self.text(object.get("format"))?;
        match format {
            "" => return None,
            "ext4" | "btrfs" | "xfs" | "vfat" | "swap" => {}
            "none" => {
                self.has("the format 'none'", (4, 3), place, &path);
            }
            other => {
                self.error_help(
                    place,
                    &path,
                    format!("'{}' is no format of a filesystem", other.escape_debug()),
                    "known: ext4, btrfs, xfs, vfat, swap, none",
                );
            }
        }
        Some(format.into())
    }

    fn filesystem_sense(&mut self, object: &Object<'_>, filesystem: &Filesystem) {
        let Some(format) = filesystem.format.as_deref() else {
            let said = filesystem.path.is_some()
                || filesystem.label.is_some()
                || filesystem.uuid.is_some()
                || filesystem.wipe_filesystem == Some(true)
                || !filesystem.options.is_empty()
                || !filesystem.mount_options.is_empty();
            if said {
                self.error(
                    object.place,
                    &object.path,
                    "'format' is required with anything but a device",
                );
            }
            return;
        };
        // From the manual pages of each mkfs; mkswap cuts in silence.
        let most = match format {
            "ext4" => 16,
            "btrfs" => 256,
            "xfs" => 12,
            "swap" => 15,
            "vfat" => 11,
            _ => return,
        };
        if let (Some(label), Some((node, path))) = (&filesystem.label, object.get("label"))
            && label.len() > most
        {
            let message = format!("a label of {format} has at most {most} characters");
            self.error(node.place, &path, message);
        }
    }

    /// Whether a mount or swap unit can be made.
    fn mountable(&mut self, filesystem: &Filesystem, place: Place, at: &str) -> bool {
        let Some(format) = filesystem.format.as_deref() else {
            self.error(place, at, "a mount unit needs the filesystem's format");
            return false;
        };
        let swap = format == "swap" && self.minor >= 4;
        match filesystem.path.as_deref() {
            _ if swap => true,
            None => {
                self.error(place, at, "a mount unit needs the filesystem's path");
                false
            }
            Some(path) => {
                let below = |top: &str| path == top || path.starts_with(&format!("{top}/"));
                let allowed = self.minor < 6 || below("/etc") || below("/var");
                if !allowed {
                    let message =
                        format!("'{path}' is not below /etc or /var, so it gets no mount unit");
                    self.error(place, at, message);
                }
                allowed
            }
        }
    }
}

/// Whether two partitions with known places share some of the disk.
fn overlap(a: &Partition, b: &Partition) -> bool {
    let span = |partition: &Partition| {
        let start = partition.start_mib.filter(|start| *start > 0)?;
        let size = partition.size_mib?;
        Some((start, start + size.max(1) - 1))
    };
    match (span(a), span(b)) {
        (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
        _ => false,
    }
}
