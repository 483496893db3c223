//! Every error about what is laid out before there is a tree, and about what Ignition fetches, in its
//! exact words.

use pleach_customization::Format;

use crate::support::{butane, parse_text, said};

/// The findings about a document, one a line, without their line and column.
fn findings(text: &str, format: Format) -> String {
    let said = match parse_text(text, format) {
        Err(errors) => errors,
        Ok(parsed) => {
            let warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
            warnings.join("\n")
        }
    };
    let lines = said.lines().map(|line| {
        let place = line.splitn(4, ':').collect::<Vec<_>>();
        match place[..] {
            [_, line, column, rest]
                if line.parse::<u32>().is_ok() && column.parse::<u32>().is_ok() =>
            {
                rest.trim()
            }
            _ => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(body: &str, expect: &str) {
    let text = butane(body);
    assert_eq!(
        findings(&text, Format::Butane),
        expect,
        "\n--- document\n{text}"
    );
    said(expect);
}

#[track_caller]
fn in_storage(list: &str, given: &str, expect: &str) {
    check(&format!("storage: {{{list}: [{{{given}}}]}}"), expect);
}

#[test]
pub(crate) fn disks() {
    let disk = |given: &str, expect: &str| in_storage("disks", given, expect);
    disk(
        "wipe_table: true",
        "error: 'device' is required ($.storage.disks.0)",
    );
    disk(
        "device: ''",
        "error: 'device' is required ($.storage.disks.0.device)",
    );
    disk(
        "device: sda",
        "error: path 'sda' is not absolute ($.storage.disks.0.device)",
    );
    disk(
        "device: /dev/../sda",
        "error: path '/dev/../sda' has the component '..' ($.storage.disks.0.device)",
    );
    check(
        "storage: {disks: [{device: /dev/a}, {device: /dev/a}]}",
        "error: disk '/dev/a' is given twice, first in line 3 ($.storage.disks.1)",
    );
    let partitions = |given: &str, expect: &str| {
        disk(
            &format!("device: /dev/a, wipe_table: true, partitions: [{given}]"),
            &expect.replace("$P", "$.storage.disks.0.partitions"),
        );
    };
    partitions(
        "{size_mib: 1}",
        "error: a partition needs a number above 0, or a label ($P.0)",
    );
    partitions(
        "{number: 0}",
        "error: a partition needs a number above 0, or a label ($P.0)",
    );
    partitions(
        "{number: -1, label: a}",
        "error: -1 is not between 0 and 4294967295 ($P.0.number)",
    );
    partitions(
        "{number: 1, size_mib: -5}",
        "error: -5 MiB is no size: 0 to 8796093022207 are ($P.0.size_mib)",
    );
    partitions(
        "{number: 1, start_mib: 8796093022208}",
        "error: 8796093022208 MiB is no size: 0 to 8796093022207 are ($P.0.start_mib)",
    );
    partitions(
        &format!("{{label: {}}}", "l".repeat(37)),
        "error: a partition's label has at most 36 characters ($P.0.label)",
    );
    partitions(
        "{label: 'a:b'}",
        "error: a partition's label cannot hold ':', which sgdisk cuts it at ($P.0.label)",
    );
    for name in ["guid", "type_guid"] {
        partitions(
            &format!("{{number: 1, {name}: 0FC63DAF}}"),
            &format!(
                "error: '0FC63DAF' is no GUID: it has the form 01234567-89AB-CDEF-EDCB-A98765432101 ($P.0.{name})"
            ),
        );
    }
    let gone = "error: a partition that is not to exist has a number, and no label, size, start or GUID ($P.0)";
    for more in [
        "label: a",
        "size_mib: 1",
        "start_mib: 1",
        "guid: 0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    ] {
        partitions(&format!("{{number: 1, should_exist: false, {more}}}"), gone);
    }
    partitions(
        "{number: 1}, {number: 1}",
        "error: partition number 1 is given twice, first in line 3 ($P.1)",
    );
    partitions(
        "{label: a}, {label: a}",
        "error: partition label 'a' is given twice, first in line 3 ($P.1)",
    );
    let overlap = "error: this partition overlaps the one in line 3 ($P.1)";
    let spans = |a: (u32, u32), b: (u32, u32), expect: &str| {
        let one = |number: u32, (start, size): (u32, u32)| {
            format!("{{number: {number}, start_mib: {start}, size_mib: {size}}}")
        };
        partitions(&format!("{}, {}", one(1, a), one(2, b)), expect);
    };
    spans((1, 100), (100, 1), overlap);
    spans((50, 10), (1, 100), overlap);
    spans((1, 100), (50, 10), overlap);
    spans((1, 100), (100, 0), overlap);
    spans((1, 99), (100, 1), "");
    // Places that Ignition chooses are not known.
    spans((0, 100), (50, 100), "");
}

#[test]
pub(crate) fn boot_disks() {
    let warns = |device: &str, given: &str, expect: &str| {
        let body = format!("storage: {{disks: [{{device: {device}, partitions: [{given}]}}]}}");
        check(&body, &expect.replace("$P", "$.storage.disks.0.partitions"));
    };
    warns(
        "/dev/a",
        "{label: data}",
        "warning: a partition is not found again by its label: give it a number, or wipe the table ($P.0)",
    );
    let boot = "/dev/disk/by-id/coreos-boot-disk";
    warns(boot, "{label: data}", "");
    warns(
        boot,
        "{label: EFI-SYSTEM, number: 5}",
        "warning: this label belongs to a partition of the image with another number, and a new one is made ($P.0)",
    );
    warns(
        boot,
        "{label: root, number: 4, size_mib: 4096}",
        "warning: the root partition should have 8 GiB ($P.0)",
    );
    warns(
        boot,
        "{label: root, number: 4}, {label: var}",
        "warning: the root partition cannot grow: a partition that is placed by itself follows it ($P.0)",
    );
    warns(
        boot,
        "{label: root, number: 4, size_mib: 8192}, {label: var}",
        "",
    );
}

#[test]
pub(crate) fn arrays() {
    let raid = |given: &str, expect: &str| in_storage("raid", given, expect);
    raid(
        "level: raid1, devices: [/dev/a]",
        "error: 'name' is required ($.storage.raid.0)",
    );
    raid(
        "name: a, devices: [/dev/a]",
        "error: 'level' is required ($.storage.raid.0)",
    );
    raid(
        "name: a, level: raid1",
        "error: an array needs devices ($.storage.raid.0)",
    );
    raid(
        "name: a, level: raid7, devices: [/dev/a]",
        "error: 'raid7' is no RAID level ($.storage.raid.0.level)\n  help: known: linear, raid0, raid1, raid4, raid5, raid6, raid10",
    );
    for level in ["linear", "raid0", "0", "stripe"] {
        raid(
            &format!("name: a, level: '{level}', devices: [/dev/a], spares: 1"),
            &format!("error: an array of level '{level}' has no spares ($.storage.raid.0.level)"),
        );
    }
    for level in [
        "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6", "6", "raid10", "10",
    ] {
        raid(
            &format!("name: a, level: '{level}', devices: [/dev/a], spares: 1"),
            "",
        );
    }
    raid(
        "name: a, level: raid1, devices: [a]",
        "error: path 'a' is not absolute ($.storage.raid.0.devices.0)",
    );
    raid(
        "name: a, level: raid1, devices: [/dev/a, /dev/a]",
        "error: device '/dev/a' is given twice ($.storage.raid.0.devices.1)",
    );
    raid(
        "name: a, level: raid1, devices: [/dev/a], spares: -1",
        "error: -1 is not between 0 and 4294967295 ($.storage.raid.0.spares)",
    );
    check(
        "storage: {raid: [{name: a, level: '1', devices: [/dev/a]}, {name: a, level: '1', devices: [/dev/b]}]}",
        "error: array 'a' is given twice, first in line 3 ($.storage.raid.1)",
    );
}

#[test]
pub(crate) fn filesystems() {
    let fs = |given: &str, expect: &str| in_storage("filesystems", given, expect);
    fs(
        "format: ext4",
        "error: 'device' is required ($.storage.filesystems.0)",
    );
    fs("device: /dev/a", "");
    fs(
        "device: /dev/a, format: zfs",
        "error: 'zfs' is no format of a filesystem ($.storage.filesystems.0.format)\n  help: known: ext4, btrfs, xfs, vfat, swap, none",
    );
    for more in [
        "path: /a",
        "label: a",
        "uuid: a",
        "wipe_filesystem: true",
        "options: [a]",
        "mount_options: [a]",
    ] {
        fs(
            &format!("device: /dev/a, {more}"),
            "error: 'format' is required with anything but a device ($.storage.filesystems.0)",
        );
    }
    for (format, most) in [
        ("ext4", 16),
        ("btrfs", 256),
        ("xfs", 12),
        ("swap", 15),
        ("vfat", 11),
    ] {
        fs(
            &format!(
                "device: /dev/a, format: {format}, label: {}",
                "l".repeat(most)
            ),
            "",
        );
        fs(
            &format!(
                "device: /dev/a, format: {format}, label: {}",
                "l".repeat(most + 1)
            ),
            &format!(
                "error: a label of {format} has at most {most} characters ($.storage.filesystems.0.label)"
            ),
        );
    }
    fs(
        "device: /dev/a, format: ext4, path: var",
        "error: path 'var' is not absolute ($.storage.filesystems.0.path)",
    );
    fs("device: /dev/a, format: ext4, path: /", "");
    let mount = |given: &str, problem: &str| {
        fs(
            &format!("device: /dev/a, with_mount_unit: true{given}"),
            &format!("error: {problem} ($.storage.filesystems.0.with_mount_unit)"),
        );
    };
    mount("", "a mount unit needs the filesystem's format");
    mount(", format: xfs", "a mount unit needs the filesystem's path");
    mount(
        ", format: xfs, path: /srv",
        "'/srv' is not below /etc or /var, so it gets no mount unit",
    );
    mount(
        ", format: xfs, path: /variable",
        "'/variable' is not below /etc or /var, so it gets no mount unit",
    );
    check(
        "storage: {filesystems: [{device: /dev/a}, {device: /dev/a}]}",
        "error: filesystem '/dev/a' is given twice, first in line 3 ($.storage.filesystems.1)",
    );
    check(
        "storage: {disks: [{device: /dev/a, partitions: [{number: 1}]}], filesystems: [{device: /dev/a, format: xfs}]}",
        "warning: this filesystem overwrites the partitions of the disk in line 3 ($.storage.filesystems.0)",
    );
    check(
        "storage: {disks: [{device: /dev/a, wipe_table: true}], filesystems: [{device: /dev/a, format: xfs}]}",
        "warning: the disk in line 3 is wiped, and this filesystem with it ($.storage.filesystems.0)",
    );
    // Before these versions.
    let old = |minor: u8, given: &str, expect: &str| {
        let text =
            format!("variant: fcos\nversion: 1.{minor}.0\nstorage: {{filesystems: [{{{given}}}]}}");
        assert_eq!(findings(&text, Format::Butane), expect, "{text}");
    };
    old(
        5,
        "device: /dev/a, format: xfs, path: /srv, with_mount_unit: true",
        "",
    );
    old(
        3,
        "device: /dev/a, format: swap, with_mount_unit: true",
        "error: a mount unit needs the filesystem's path ($.storage.filesystems.0.with_mount_unit)",
    );
    old(
        3,
        "device: /dev/a, format: none",
        "error: the format 'none' is there since version 1.4.0, and this document says 1.3.0 ($.storage.filesystems.0.format)\n  help: raise the document's version to 1.4.0",
    );
}

#[test]
pub(crate) fn volumes() {
    let luks = |given: &str, expect: &str| {
        in_storage("luks", given, &expect.replace("$L", "$.storage.luks.0"));
    };
    luks("device: /dev/a", "error: 'name' is required ($L)");
    luks("name: a", "error: 'device' is required ($L)");
    luks(
        "name: a/b, device: /dev/a",
        "error: a volume's name is a file name, without '/' ($L.name)",
    );
    luks(
        "name: a, device: a",
        "error: path 'a' is not absolute ($L.device)",
    );
    luks(
        &format!("name: a, device: /dev/a, label: {}", "l".repeat(48)),
        "error: a volume's label has at most 47 characters ($L.label)",
    );
    luks(
        "name: a, device: /dev/a, open_options: [x, x]",
        "error: option 'x' is given twice ($L.open_options.1)",
    );
    luks("name: a, device: /dev/a, options: [x, x]", "");
    luks(
        "name: a, device: /dev/a, key_file: {source: nonsense}",
        "error: this is no URL with a known scheme ($L.key_file.source)\n  help: known: data, file, http, https, tftp, s3, gs, arn",
    );
    luks(
        "name: a, device: /dev/a, cex: {enabled: true}, key_file: {inline: k}",
        "error: cex and a key file cannot be used together ($L.cex)",
    );
    luks(
        "name: a, device: /dev/a, cex: {enabled: true}, clevis: {tpm2: true}",
        "error: cex and clevis cannot be used together ($L.cex)",
    );
    check(
        "storage: {luks: [{name: a, device: /dev/a}, {name: a, device: /dev/b}]}",
        "error: volume 'a' is given twice, first in line 3 ($.storage.luks.1)",
    );
    let clevis = |given: &str, expect: &str| {
        luks(
            &format!("name: a, device: /dev/a, clevis: {{{given}}}"),
            expect,
        );
    };
    clevis(
        "threshold: -1",
        "error: -1 is not between 0 and 4294967295 ($L.clevis.threshold)",
    );
    clevis(
        "custom: {config: '{}'}",
        "error: 'pin' is required ($L.clevis.custom)",
    );
    clevis(
        "custom: {pin: tpm2}",
        "error: 'config' is required ($L.clevis.custom)",
    );
    clevis(
        "custom: {needs_network: true, config: '{}'}",
        "error: 'pin' is required ($L.clevis.custom)",
    );
    clevis("custom: {needs_network: false}", "");
    clevis(
        "custom: {pin: yubikey, config: '{}'}",
        "error: 'yubikey' is no clevis pin ($L.clevis.custom.pin)\n  help: known: tpm2, tang, sss",
    );
    for more in ["tpm2: true", "threshold: 1"] {
        clevis(
            &format!("{more}, custom: {{pin: sss, config: '{{}}'}}"),
            "error: 'custom' takes the place of tang, tpm2 and threshold, and so stands alone ($L.clevis)",
        );
    }
    clevis(
        "tang: [{url: http://t}]",
        "error: 'thumbprint' is required ($L.clevis.tang.0)",
    );
    clevis(
        "tang: [{thumbprint: t}]",
        "error: 'url' is required ($L.clevis.tang.0)",
    );
    for url in ["t", "tftp://t", "http:", "http:///a"] {
        clevis(
            &format!("tang: [{{url: '{url}', thumbprint: t}}]"),
            "error: the URL of a Tang server begins with http:// or https:// and names a host ($L.clevis.tang.0.url)",
        );
    }
    clevis(
        "tang: [{url: http://t, thumbprint: t, advertisement: '{'}]",
        "error: an advertisement is JSON, and this is not ($L.clevis.tang.0.advertisement)",
    );
    clevis(
        "tang: [{url: http://t, thumbprint: t}, {url: http://t, thumbprint: u}]",
        "error: the Tang server 'http://t' is given twice ($L.clevis.tang.1)",
    );
}

#[test]
pub(crate) fn boot_device_and_grub() {
    let boot = |given: &str, expect: &str| check(&format!("boot_device: {{{given}}}"), expect);
    boot(
        "layout: riscv",
        "error: the layout 'riscv' cannot be used ($.boot_device.layout)\n  help: known: aarch64, ppc64le, s390x-eckd, s390x-virt, s390x-zfcp, x86_64",
    );
    let text = "variant: fcos\nversion: 1.5.0\nboot_device: {layout: s390x-virt}";
    assert_eq!(
        findings(text, Format::Butane),
        "error: the layout 's390x-virt' cannot be used ($.boot_device.layout)\n  help: known: aarch64, ppc64le, x86_64"
    );
    boot(
        "layout: x86_64, mirror: {devices: [/dev/a]}",
        "error: a mirror needs at least two devices ($.boot_device.mirror)",
    );
    boot(
        "layout: x86_64, mirror: {devices: [/dev/a, /dev/a]}",
        "error: a mirror needs at least two devices ($.boot_device.mirror)\nerror: device '/dev/a' is given twice ($.boot_device.mirror.devices.1)",
    );
    boot(
        "mirror: {devices: [/dev/a, /dev/b]}",
        "warning: say the layout of the image too: it is taken for x86_64 ($.boot_device.mirror)",
    );
    boot(
        "layout: s390x-virt, mirror: {devices: [/dev/a, /dev/b]}",
        "error: there are no mirrors on s390x ($.boot_device.layout)",
    );
    for (device, layout, example) in [
        ("", "s390x-eckd", "/dev/dasda"),
        (", luks: {device: /dev/sda}", "s390x-eckd", "/dev/dasda"),
        (", luks: {device: /dev/dasda1}", "s390x-eckd", "/dev/dasda"),
        ("", "s390x-zfcp", "/dev/sda"),
        (", luks: {device: /dev/dasda}", "s390x-zfcp", "/dev/sda"),
    ] {
        boot(
            &format!("layout: {layout}{device}"),
            &format!(
                "error: the layout '{layout}' cannot be used ($.boot_device.layout)\n  help: the layout needs luks.device, a whole disk such as {example}"
            ),
        );
    }
    boot(
        "luks: {cex: {enabled: true}}",
        "error: cex needs one of the layouts of s390x ($.boot_device.luks)",
    );
    boot(
        "layout: s390x-virt, luks: {cex: {enabled: true}, tpm2: true}",
        "error: cex and clevis cannot be used together ($.boot_device.luks)",
    );
    let grub =
        |given: &str, expect: &str| check(&format!("grub: {{users: [{{{given}}}]}}"), expect);
    grub(
        "password_hash: x",
        "error: 'name' is required ($.grub.users.0)",
    );
    grub(
        "name: root",
        "error: 'password_hash' is required ($.grub.users.0)",
    );
    grub(
        "name: a b, password_hash: x",
        "error: blanks, quotes, '$' and '\\' cannot be in a command of GRUB ($.grub.users.0.name)",
    );
}

#[test]
pub(crate) fn other_documents_and_fetches() {
    let section = |given: &str, expect: &str| {
        check(
            &format!("ignition: {{{given}}}"),
            &expect.replace("$I", "$.ignition"),
        )
    };
    let merge =
        |given: &str, expect: &str| section(&format!("config: {{merge: [{given}]}}"), expect);
    merge(
        "{}",
        "error: a merged document needs contents ($I.config.merge.0)",
    );
    merge(
        "{source: ''}",
        "error: a merged document needs contents ($I.config.merge.0)",
    );
    merge(
        "{source: 'http://a/b'}, {source: 'http://a/b'}",
        "error: this document is given twice, first in line 3 ($I.config.merge.1.source)",
    );
    merge(
        "{source: 'data:,%ff'}",
        "error: the document is not UTF-8 text ($I.config.merge.0)",
    );
    merge(
        "{inline: '{'}",
        "error: not JSON: a key in quotes is expected here ($)",
    );
    merge(
        r#"{inline: '{"ignition": {"version": "3.0.0"}, "storag": {}}'}"#,
        "error: unknown field 'storag' ($.storag)\n  help: did you mean 'storage'?",
    );
    merge(
        r#"{inline: '{"ignition": {"version": "3.9.0"}}'}"#,
        "warning: version '3.9.0' is not supported ($.ignition.version)\n  help: it is passed on to Ignition unread; no other route can use it",
    );
    section(
        r#"config: {replace: {inline: '{"ignition": {"version": "3.0.0"}}'}}, timeouts: {http_total: 1}"#,
        "warning: Ignition puts this document in place of all that is said here besides ($I.config.replace.inline)",
    );
    section(
        "timeouts: {http_total: -1}",
        "error: -1 is not between 0 and 4294967295 ($I.timeouts.http_total)",
    );
    let authority = |given: &str, expect: &str| {
        section(
            &format!("security: {{tls: {{certificate_authorities: [{given}]}}}}"),
            expect,
        );
    };
    authority(
        "{}",
        "error: a certificate authority needs contents ($I.security.tls.certificate_authorities.0)",
    );
    authority(
        "{inline: a}, {inline: a}",
        "error: this certificate authority is given twice, first in line 3 ($I.security.tls.certificate_authorities.1.inline)",
    );
    let url = "error: the URL of a proxy begins with http:// or https:// and names a host";
    section(
        "proxy: {http_proxy: proxy}",
        &format!("{url} ($I.proxy.http_proxy)"),
    );
    section(
        "proxy: {https_proxy: 'socks5://p'}",
        &format!("{url} ($I.proxy.https_proxy)"),
    );
    section(
        "proxy: {https_proxy: 'http://p'}",
        "warning: what is fetched by https: goes to this proxy in the clear ($I.proxy.https_proxy)",
    );
    section(
        "proxy: {no_proxy: [a, a]}",
        "error: host 'a' is given twice ($I.proxy.no_proxy.1)",
    );
    let gated = |what: &str, minor: u8, since: u8, source: &str| {
        let text = format!(
            r#"{{"ignition":{{"version":"3.{minor}.0"}},"storage":{{"files":[{{"path":"/a","contents":{source}}}]}}}}"#
        );
        let at = if what == "'sha256'" {
            "verification.hash"
        } else {
            "source"
        };
        let expect = format!(
            "error: {what} is there since version 3.{since}.0, and this document says 3.{minor}.0 ($.storage.files.0.contents.{at})\n  help: raise the document's version to 3.{since}.0"
        );
        assert_eq!(findings(&text, Format::Ignition), expect, "{text}");
        said(&expect);
    };
    gated("the scheme 'gs'", 1, 2, r#"{"source":"gs://a/b"}"#);
    gated("the scheme 'arn'", 3, 4, r#"{"source":"arn:aws:s3:::a/b"}"#);
    gated(
        "'sha256'",
        0,
        1,
        &format!(
            r#"{{"source":"data:,","verification":{{"hash":"sha256-{}"}}}}"#,
            "0".repeat(64)
        ),
    );
}

/// What older versions of the document do not have.
#[test]
pub(crate) fn older_documents() {
    let butane = |minor: u8, body: &str, expect: &str| {
        let text = format!("variant: fcos\nversion: 1.{minor}.0\n{body}");
        assert_eq!(findings(&text, Format::Butane), expect, "{text}");
        said(expect);
    };
    butane(
        5,
        "boot_device: {layout: s390x-virt}",
        "error: the layout 's390x-virt' cannot be used ($.boot_device.layout)\n  help: known: aarch64, ppc64le, x86_64",
    );
    butane(
        3,
        "storage: {filesystems: [{device: /dev/a, format: none}]}",
        "error: the format 'none' is there since version 1.4.0, and this document says 1.3.0 ($.storage.filesystems.0.format)\n  help: raise the document's version to 1.4.0",
    );
}

#[test]
pub(crate) fn owners_of_hard_links() {
    for owner in ["user: {id: 0}", "group: {name: a}"] {
        let name = owner.split(':').next().unwrap();
        in_storage(
            "links",
            &format!("path: /etc/a, target: /etc/b, hard: true, {owner}"),
            &format!(
                "warning: a hard link has no owner of its own, and Ignition sets none: give it to the target ($.storage.links.0.{name})"
            ),
        );
    }
    check(
        "systemd: {units: [{name: 'a@.service', contents: '[Unit]'}, {name: 'a@b.service', enabled: true}]}",
        "warning: unit 'a@b.service' is enabled, but its template has no [Install] section, so nothing will start it ($.systemd.units.1)",
    );
}

#[test]
pub(crate) fn what_no_other_row_says() {
    in_storage(
        "links",
        "path: /a, target: \"b\\0\"",
        "error: this cannot be a link's target ($.storage.links.0.target)",
    );
    for argument in ["''", "' '", "\"a\\nb\""] {
        check(
            &format!("kernel_arguments: {{should_exist: [{argument}]}}"),
            "error: a kernel argument is one line of text, and not empty ($.kernel_arguments.should_exist.0)",
        );
    }
    let long = format!("{}.service", "u".repeat(250));
    check(
        &format!("systemd: {{units: [{{name: {long}}}]}}"),
        &format!(
            "error: unit name '{long}' is longer than 255 characters ($.systemd.units.0.name)"
        ),
    );
    check(
        "systemd: {units: [{name: a.service, contents: \"[A]\\0\"}]}",
        "error: not a unit file: it holds a NUL ($.systemd.units.0.contents)",
    );
    check(
        "storage: &s {files: *s}",
        "error: this alias is inside of what it stands for ($)",
    );
    check(
        "systemd: {units: [{name: a.service, contents: '[A]'}]}\nstorage: {directories: [{path: /etc/systemd/system/a.service}]}",
        "error: path '/etc/systemd/system/a.service' is given twice: a directory has it in line 4 ($.systemd.units.0)",
    );
    for (text, problem) in [
        (r#"{"a": 1 "b": 2}"#, "',' or '}' is expected here"),
        (
            r#"{"a": "\u12"}"#,
            "four hexadecimal digits are expected here",
        ),
        (r#"{"a": -}"#, "this is no number"),
    ] {
        let found = findings(text, Format::Ignition);
        assert_eq!(found, format!("error: not JSON: {problem} ($)"), "{text}");
        said(&found);
    }
}
