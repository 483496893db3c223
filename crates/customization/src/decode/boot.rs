//! `boot_device` and `grub`: the boot disk of a Fedora CoreOS image, mirrored or encrypted, and who may
//! change what it boots.
//!
//! The partitions are those of the image: a new one must not be smaller, nor begin elsewhere.

use std::fmt::Write as _;

use super::{Decoder, Entry};
use crate::fields;
use crate::model::{
    Clevis, Contents, Customization, Disk, File, Filesystem, Luks, Origin, Partition, Raid, Source,
    Tang,
};

const RESERVED: (&str, u64, Option<&str>) =
    ("reserved", 1, Some("8DA63339-0007-60C0-C436-083AC8230908"));
const BIOS: (&str, u64, Option<&str>) = ("bios", 1, Some("21686148-6449-6E6F-744E-656564454649"));
const PREP: (&str, u64, Option<&str>) = ("prep", 4, Some("9E1A2D38-C612-4316-AA26-8B49521E5A8B"));
const ESP: (&str, u64, Option<&str>) = ("esp", 127, Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
const BOOT: (&str, u64, Option<&str>) = ("boot", 384, None);
const ROOT: (&str, u64, Option<&str>) = ("root", 0, None);

/// `boot_device`, checked.
pub(super) struct BootDevice {
    layout: String,
    mirror: Vec<(String, Origin)>,
    luks: Option<BootLuks>,
    origin: Origin,
}

struct BootLuks {
    tang: Vec<Tang>,
    tpm2: Option<bool>,
    threshold: Option<u32>,
    discard: Option<bool>,
    cex: Option<bool>,
    device: Option<String>,
    origin: Origin,
}

impl Decoder<'_> {
    pub(super) fn boot_device(&mut self, entry: Entry<'_>) -> Option<BootDevice> {
        let object = self.object(entry, fields::BOOT_DEVICE)?;
        let layout = self.text(object.get("layout"));
        let luks = object.get("luks").and_then(|entry| self.boot_luks(entry));
        let mut mirror = Vec::new();
        if let Some(entry) = object.get("mirror")
            && let Some(object) = self.object(entry, fields::MIRROR)
        {
            let devices = self.devices(&object);
            let places = self.list(object.get("devices"));
            let origins = places
                .iter()
                .map(|(node, path)| self.origin(node.place, path));
            mirror = devices.into_iter().zip(origins).collect();
            if mirror.len() == 1 {
                self.error(
                    object.place,
                    &object.path,
                    "a mirror needs at least two devices",
                );
            }
            if !mirror.is_empty() && layout.is_none() {
                self.warn(
                    object.place,
                    &object.path,
                    "say the layout of the image too: it is taken for x86_64",
                );
            }
        }
        if let Some((name, place, path)) = &layout {
            let device = luks.as_ref().and_then(|luks| luks.device.as_deref());
            let problem = match *name {
                "x86_64" | "aarch64" | "ppc64le" => None,
                _ if self.minor < 6 => Some("known: aarch64, ppc64le, x86_64"),
                "s390x-virt" => None,
                "s390x-eckd" => disk_problem(
                    device,
                    "/dev/dasd",
                    "the layout needs luks.device, a whole disk such as /dev/dasda",
                ),
                "s390x-zfcp" => disk_problem(
                    device,
                    "/dev/sd",
                    "the layout needs luks.device, a whole disk such as /dev/sda",
                ),
                _ => Some("known: aarch64, ppc64le, s390x-eckd, s390x-virt, s390x-zfcp, x86_64"),
            };
            if let Some(help) = problem {
                let message = format!("the layout '{}' cannot be used", name.escape_debug());
                self.error_help(*place, path, message, help);
            }
            if name.starts_with("s390x") && !mirror.is_empty() {
                self.error(*place, path, "there are no mirrors on s390x");
            }
        }
        let layout = layout.map_or("x86_64", |(name, ..)| name).to_owned();
        if let (Some(luks), Some((node, path))) = (&luks, object.get("luks"))
            && luks.cex == Some(true)
        {
            if !layout.starts_with("s390x") {
                self.error(node.place, &path, "cex needs one of the layouts of s390x");
            }
            if !luks.tang.is_empty() || luks.tpm2 == Some(true) {
                self.error(node.place, &path, "cex and clevis cannot be used together");
            }
        }
        Some(BootDevice {
            layout,
            mirror,
            luks,
            origin: self.origin(object.place, &object.path),
        })
    }

    fn boot_luks(&mut self, entry: Entry<'_>) -> Option<BootLuks> {
        let object = self.object(entry, fields::BOOT_LUKS)?;
        let (tang, tpm2, threshold) = self.pins(&object);
        Some(BootLuks {
            tang,
            tpm2,
            threshold,
            discard: self.boolean(&object, "discard"),
            cex: self.cex(&object),
            device: self
                .string(&object, "device")
                .filter(|device| !device.is_empty()),
            origin: self.origin(object.place, &object.path),
        })
    }

    /// `grub.users`: a file that GRUB reads from the boot filesystem.
    pub(super) fn grub(&mut self, entry: Entry<'_>, out: &mut Customization) {
        let Some(object) = self.object(entry, fields::GRUB) else {
            return;
        };
        let mut names = Vec::new();
        let mut passwords = String::new();
        for entry in self.list(object.get("users")) {
            let Some(user) = self.object(entry, fields::GRUB_USER) else {
                continue;
            };
            let name = self.required(&user, "name", fields::GRUB_USER);
            let hash = self.required(&user, "password_hash", fields::GRUB_USER);
            for (text, place, path) in [&name, &hash].into_iter().flatten() {
                // The hash is kept out of the message.
                if text.contains(|c: char| c.is_whitespace() || "\"'$\\".contains(c)) {
                    self.error(
                        *place,
                        path,
                        "blanks, quotes, '$' and '\\' cannot be in a command of GRUB",
                    );
                }
            }
            if let (Some((name, ..)), Some((hash, ..))) = (name, hash) {
                names.push(name);
                // Writing to a string cannot fail.
                let _ = writeln!(passwords, "password_pbkdf2 {name} {hash}");
            }
        }
        if names.is_empty() {
            return;
        }
        let origin = self.origin(object.place, &object.path);
        let names = names.join(" ");
        let text = format!("# Generated by Butane\n\nset superusers=\"{names}\"\n{passwords}");
        let boot = Filesystem {
            path: Some("/boot".into()),
            ..filesystem("/dev/disk/by-label/boot", "ext4", None, None, &origin)
        };
        out.filesystems.push(boot);
        out.files.push(File {
            path: "/boot/grub2/user.cfg".into(),
            overwrite: None,
            contents: None,
            append: vec![Contents {
                source: Source::Bytes(text.into_bytes()),
                hash: None,
                compression: None,
                origin: origin.clone(),
            }],
            mode: None,
            user: None,
            group: None,
            published: false,
            origin,
        });
    }
}

/// A whole disk: the prefix and one letter.
fn disk_problem(device: Option<&str>, prefix: &str, help: &'static str) -> Option<&'static str> {
    let letter = device.and_then(|device| device.strip_prefix(prefix));
    match letter.map(str::as_bytes) {
        Some([b'a'..=b'z']) => None,
        _ => Some(help),
    }
}

fn filesystem(
    device: &str,
    format: &str,
    label: Option<&str>,
    wipe: Option<bool>,
    origin: &Origin,
) -> Filesystem {
    Filesystem {
        device: device.into(),
        format: Some(format.into()),
        path: None,
        wipe_filesystem: wipe,
        label: label.map(Into::into),
        uuid: None,
        options: Vec::new(),
        mount_options: Vec::new(),
        origin: origin.clone(),
    }
}

impl BootDevice {
    /// The disks, arrays, volumes and filesystems that it stands for.
    pub(super) fn laid_out(self, mut out: Customization) -> Customization {
        let luks = self.luks.as_ref().filter(|luks| {
            luks.tpm2 == Some(true) || !luks.tang.is_empty() || luks.cex == Some(true)
        });
        let mirrored = !self.mirror.is_empty();
        if mirrored {
            self.mirror_disks(&mut out);
        }
        if let Some(luks) = luks {
            let whole = luks.device.as_deref().unwrap_or_default();
            let device = match &*self.layout {
                "s390x-eckd" => format!("{whole}2"),
                "s390x-zfcp" => format!("{whole}4"),
                _ if mirrored => "/dev/md/md-root".into(),
                _ => "/dev/disk/by-partlabel/root".into(),
            };
            let clevis = match luks.cex {
                Some(true) => Clevis::default(),
                _ => Clevis {
                    tang: luks.tang.clone(),
                    tpm2: luks.tpm2,
                    threshold: luks.threshold,
                    custom: None,
                },
            };
            out.luks.push(Luks {
                name: "root".into(),
                device,
                key_file: None,
                label: Some("luks-root".into()),
                uuid: None,
                options: Vec::new(),
                discard: luks.discard,
                open_options: Vec::new(),
                wipe_volume: Some(true),
                clevis,
                cex: luks.cex.filter(|cex| *cex),
                origin: luks.origin.clone(),
            });
        }
        if luks.is_some() || mirrored {
            let device = match luks {
                Some(_) => "/dev/mapper/root",
                None => "/dev/md/md-root",
            };
            let root = filesystem(device, "xfs", Some("root"), Some(true), &self.origin);
            out.filesystems.push(root);
        }
        out
    }

    fn mirror_disks(&self, out: &mut Customization) {
        let (first, second) = match &*self.layout {
            "aarch64" => (RESERVED, ESP),
            "ppc64le" => (PREP, RESERVED),
            _ => (BIOS, ESP),
        };
        for (index, (device, origin)) in self.mirror.iter().enumerate() {
            let number = index + 1;
            let partition = |(name, size, guid): (&str, u64, Option<&str>)| Partition {
                number: None,
                label: Some(format!("{name}-{number}")),
                size_mib: (size > 0).then_some(size),
                start_mib: None,
                type_guid: guid.map(Into::into),
                guid: None,
                wipe_partition_entry: None,
                should_exist: None,
                resize: None,
                origin: origin.clone(),
            };
            out.disks.push(Disk {
                device: device.clone(),
                wipe_table: Some(true),
                partitions: [first, second, BOOT, ROOT].map(partition).into(),
                origin: origin.clone(),
            });
            if second == ESP {
                let label = format!("esp-{number}");
                let device = format!("/dev/disk/by-partlabel/{label}");
                let esp = filesystem(&device, "vfat", Some(&label), Some(true), origin);
                out.filesystems.push(esp);
            }
        }
        let array = |name: &str, part: &str, options: Vec<String>| Raid {
            name: name.into(),
            level: "raid1".into(),
            devices: (1..=self.mirror.len())
                .map(|number| format!("/dev/disk/by-partlabel/{part}-{number}"))
                .collect(),
            spares: None,
            options,
            origin: self.origin.clone(),
        };
        // The superblock of md-boot is at its end, so that GRUB need not know of RAID.
        out.raid
            .push(array("md-boot", "boot", vec!["--metadata=1.0".into()]));
        out.raid.push(array("md-root", "root", Vec::new()));
        let boot = filesystem(
            "/dev/md/md-boot",
            "ext4",
            Some("boot"),
            Some(true),
            &self.origin,
        );
        out.filesystems.push(boot);
    }
}
