use std::fs;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_deployment::Error;
use pleach_deployment::disk::{
    self, DiskOptions, DiskSize, EspOptions, Filesystem, InstallOptions, PartitionIds, Region,
    Target,
};

use crate::support::{Scratch, TIMESTAMP, can_run, deployed, run};

const UUID: &str = "01234567-89ab-4def-8123-456789abcdef";
const MIB: u64 = 1 << 20;
const TOOLS: [&str; 9] = [
    "mkfs.ext4",
    "debugfs",
    "e2fsck",
    "mkfs.vfat",
    "mcopy",
    "fsck.fat",
    "losetup",
    "sfdisk",
    "mount",
];

fn options<'a>(esp: Option<&'a Dir>, filesystem: Filesystem) -> InstallOptions<'a> {
    let mut disk = DiskOptions::new(UUID, UUID, TIMESTAMP);
    disk.size = DiskSize::Free(64 * MIB);
    disk.journal_bytes = 8 * MIB;
    let mut options = InstallOptions::new(disk);
    options.filesystem = filesystem;
    options.esp = esp.map(|content| EspOptions {
        content,
        bytes: Some(64 * MIB),
        volume_id: 0x1234_abcd,
        ids: PartitionIds {
            disk: "11111111-2222-4333-8444-000000000000".into(),
            esp: "11111111-2222-4333-8444-000000000001".into(),
            root: "11111111-2222-4333-8444-000000000002".into(),
        },
    });
    options
}

/// What an ESP may hold: names that are long, deep and in both cases.
fn esp_content(scratch: &Scratch) -> Dir {
    let dir = scratch.dir("esp");
    for (path, bytes) in [
        ("EFI/BOOT/BOOTX64.EFI", vec![7; 100_000]),
        (
            "loader/entries/ostree-1-os+3.conf",
            b"linux /ostree/x\n".to_vec(),
        ),
        (
            "ostree/os-0123456789012345678901234567890123456789/vmlinuz-9.9.9",
            vec![8; 3 << 20],
        ),
    ] {
        let path = scratch.path("esp").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

/// A loop device that goes when this does.
struct Device(PathBuf);

impl Device {
    fn of(file: &Path, at: Option<Region>) -> Self {
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]);
        if let Some(at) = at {
            losetup.arg(format!("--offset={}", at.offset));
            losetup.arg(format!("--sizelimit={}", at.bytes));
        }
        Self(run(losetup.arg(file)).trim().into())
    }

    fn target(&self) -> (Dir, PathBuf) {
        let dir = Dir::open_ambient_dir("/dev", ambient_authority()).unwrap();
        (dir, self.0.file_name().unwrap().into())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        run(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// A mount that goes when this does.
struct Mount(PathBuf);

impl Mount {
    fn of(device: &Device, scratch: &Scratch) -> Self {
        let path = scratch.path("mnt");
        fs::create_dir_all(&path).unwrap();
        run(Command::new("mount")
            .args(["-o", "ro"])
            .arg(&device.0)
            .arg(&path));
        Self(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

/// All but the sizes of directories, which are each filesystem's own, what some make by themselves, and
/// hard links of symbolic links, which mkfs.ext4 makes copies of.
fn listing(root: &Path) -> Vec<String> {
    let output = run(Command::new("find")
        .arg(root)
        .args(["-path", "*/lost+found", "-prune"])
        .args(["-o", "-type", "d", "-printf", "%P %y %m %U:%G\\n"])
        .args(["-o", "-type", "l", "-printf", "%P %y %U:%G %l\\n"])
        .args(["-o", "-printf", "%P %y %m %U:%G %n %s\\n"]));
    let mut lines: Vec<_> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Lines that only one of two has.
fn different(one: &[String], other: &[String]) -> Vec<String> {
    let only = |a: &[String], b: &[String], sign| {
        let lines = a.iter().filter(|line| !b.contains(line));
        lines
            .map(|line| format!("{sign}{line}"))
            .collect::<Vec<_>>()
    };
    [only(one, other, '-'), only(other, one, '+')].concat()
}

/// Digests of all attributes, and of contents.
fn contents(root: &Path) -> String {
    run(Command::new("sh").current_dir(root).args([
        "-c",
        "find . -path ./lost+found -prune -o -type f -print0 | sort -z | xargs -0 sha256sum; \
         find . -path ./lost+found -prune -o ! -type l -print0 | sort -z | xargs -0 getfattr -d -m- 2>/dev/null",
    ]))
}

/// The ESP is checked and read by programs that know nothing of us.
fn check_esp(scratch: &Scratch, image: &Path, at: Region) {
    let esp = scratch.path("esp.img");
    let mut bytes = vec![0; at.bytes as usize];
    fs::File::open(image)
        .unwrap()
        .read_exact_at(&mut bytes, at.offset)
        .unwrap();
    fs::write(&esp, bytes).unwrap();
    run(Command::new("fsck.fat").arg("-n").arg(&esp));
    let out = scratch.path("esp.out");
    fs::create_dir_all(&out).unwrap();
    run(Command::new("mcopy")
        .env("MTOOLSRC", "/dev/null")
        .arg("-s")
        .arg("-i")
        .arg(&esp)
        .arg("::*")
        .arg(&out));
    let diff = Command::new("diff")
        .arg("-r")
        .arg(scratch.path("esp"))
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        diff.status.success(),
        "{}",
        String::from_utf8_lossy(&diff.stdout)
    );
}

#[test]
fn a_disk_has_partitions_that_others_understand() {
    let more = ["mkfs.xfs", "mkfs.btrfs", "getfattr"];
    if !can_run(&[&TOOLS[..], &more].concat()) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, _) = deployed(&scratch, "root=LABEL=root");
    let (root, esp, out) = (
        scratch.dir("sysroot"),
        esp_content(&scratch),
        scratch.dir("out"),
    );
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs] {
        let name = format!("{filesystem:?}.img");
        let at = (&out, Path::new(&name));
        let options = options(Some(&esp), filesystem);
        let bytes = disk::install(&root, Target::File(at.0, at.1), &options).unwrap();
        let image = scratch.path("out").join(&name);
        assert_eq!(fs::metadata(&image).unwrap().len(), bytes, "{name}");
        let table = run(Command::new("sfdisk").arg("--dump").arg(&image));
        let line = |number: usize| {
            let mut lines = table.lines().filter(|line| line.contains(" : start="));
            lines
                .nth(number - 1)
                .unwrap_or_else(|| panic!("{table}"))
                .to_owned()
        };
        let expect = |line: &str, words: &[&str]| {
            for word in words {
                assert!(line.contains(word), "{name}: no {word} in {line}");
            }
        };
        expect(
            &table,
            &[
                "label: gpt",
                "label-id: 11111111-2222-4333-8444-000000000000",
            ],
        );
        expect(
            &line(1),
            &[
                "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
                "uuid=11111111-2222-4333-8444-000000000001",
                "start=        2048",
            ],
        );
        expect(
            &line(2),
            &[
                "type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
                "uuid=11111111-2222-4333-8444-000000000002",
            ],
        );
        let verify = Command::new("sfdisk")
            .arg("--verify")
            .arg(&image)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stdout).into_owned()
            + &String::from_utf8_lossy(&verify.stderr);
        assert!(
            verify.status.success() && said.contains("No errors"),
            "{name}: {said}"
        );

        let (esp_at, root_at) = disk::partitions(at).unwrap().expect("a table");
        check_esp(&scratch, &image, esp_at);
        let device = Device::of(&image, Some(root_at));
        if filesystem == Filesystem::Ext4 {
            run(Command::new("e2fsck").arg("-fn").arg(&device.0));
            assert_eq!(
                disk::boot_entries(at).unwrap(),
                sysroot.boot_entries().unwrap()
            );
        }
        let id = run(Command::new("blkid")
            .args(["-p", "-o", "export"])
            .arg(&device.0));
        expect(
            &id,
            &[
                &format!("UUID={UUID}"),
                "LABEL=root",
                &format!("TYPE={}", format!("{filesystem:?}").to_lowercase()),
            ],
        );
        let mount = Mount::of(&device, &scratch);
        let differ = different(&listing(&scratch.path("sysroot")), &listing(&mount.0));
        assert_eq!(differ, [""; 0], "{name}");
        assert!(
            contents(&mount.0) == contents(&scratch.path("sysroot")),
            "{name}: contents or attributes"
        );
        let deployment = mount.0.join(&sysroot.deployments().unwrap()[0].path);
        let flags = run(Command::new("lsattr").arg("-d").arg(&deployment));
        assert!(
            flags.split(' ').next().unwrap().contains('i'),
            "{name}: {flags}"
        );
        drop(mount);
        drop(device);
        fs::remove_file(image).unwrap();
    }
    let left = run(Command::new("losetup")
        .arg("--list")
        .arg("--noheadings")
        .args(["-O", "BACK-FILE"]));
    assert!(!left.contains("out"), "loop devices are left: {left}");
}

#[test]
fn a_device_is_used_whole_and_only_when_it_holds_nothing() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    deployed(&scratch, "root=LABEL=root");
    let (root, esp) = (scratch.dir("sysroot"), esp_content(&scratch));
    let file = scratch.path("device.img");
    let size = |bytes: u64| fs::File::create(&file).unwrap().set_len(bytes).unwrap();
    let install = |device: &Device, wipe: bool| {
        let (dir, name) = device.target();
        let mut options = options(Some(&esp), Filesystem::Ext4);
        options.wipe = wipe;
        disk::install(&root, Target::Device(&dir, &name), &options)
    };
    let digest = || run(Command::new("sha256sum").arg(&file));

    // Too small: said with how much is needed, and not touched.
    size(100 * MIB);
    let before = digest();
    let needed = match install(&Device::of(&file, None), false) {
        Err(Error::NoSpace { needed, free, .. }) => {
            assert_eq!(free, 100 * MIB);
            needed
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        digest(),
        before,
        "a device that is too small was written to"
    );
    size(needed - MIB);
    assert!(matches!(
        install(&Device::of(&file, None), false),
        Err(Error::NoSpace { .. })
    ));

    // Enough, and more.
    size(needed + 77 * MIB);
    let device = Device::of(&file, None);
    assert_eq!(install(&device, false).unwrap(), needed + 77 * MIB);
    let (esp_at, root_at) = disk::partitions((&scratch.dir(""), Path::new("device.img")))
        .unwrap()
        .unwrap();
    check_esp(&scratch, &file, esp_at);
    assert_eq!(
        root_at.offset + root_at.bytes,
        needed + 76 * MIB,
        "the root takes the rest"
    );
    let part = Device::of(&file, Some(root_at));
    run(Command::new("e2fsck").arg("-fn").arg(&part.0));
    drop(part);

    // It holds something now.
    let before = digest();
    match install(&device, false) {
        Err(Error::TargetHolds { .. }) => {}
        other => panic!("{other:?}"),
    }
    // In use: opened so that nobody else may, as a mount does.
    let exclusive = rustix::fs::OFlags::EXCL.bits() as i32;
    let held = fs::OpenOptions::new()
        .read(true)
        .custom_flags(exclusive)
        .open(&device.0)
        .unwrap();
    match install(&device, true) {
        Err(Error::TargetBusy { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(digest(), before, "a device that was refused was written to");
    drop(held);
    install(&device, true).unwrap();

    // An install that fails leaves no partition table, so nobody takes it for a disk.
    let (dir, name) = device.target();
    let mut options = options(Some(&esp), Filesystem::Ext4);
    options.wipe = true;
    options.disk.debugfs = "no-such-debugfs".into();
    match disk::install(&root, Target::Device(&dir, &name), &options) {
        Err(Error::ToolMissing {
            package: "e2fsprogs",
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    let at = scratch.dir("");
    assert_eq!(
        disk::partitions((&at, Path::new("device.img"))).unwrap(),
        None
    );
}

#[test]
fn a_file_is_whole_or_not_there() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    deployed(&scratch, "root=LABEL=root");
    let (root, esp, out) = (
        scratch.dir("sysroot"),
        esp_content(&scratch),
        scratch.dir("out"),
    );
    let target = Target::File(&out, Path::new("a.img"));
    let names = || fs::read_dir(scratch.path("out")).unwrap().count();

    let mut missing = options(Some(&esp), Filesystem::Ext4);
    missing.disk.mkfs = "no-such-mkfs".into();
    assert!(matches!(
        disk::install(&root, target, &missing),
        Err(Error::ToolMissing { .. })
    ));
    let mut small = options(Some(&esp), Filesystem::Ext4);
    small.disk.size = DiskSize::Bytes(80 * MIB);
    let needed = match disk::install(&root, target, &small) {
        Err(Error::NoSpace { needed, free, .. }) if free == 80 * MIB => needed,
        other => panic!("{other:?}"),
    };
    let mut no_room = options(Some(&esp), Filesystem::Ext4);
    no_room.esp.as_mut().unwrap().bytes = Some(4 * MIB);
    match disk::install(&root, target, &no_room) {
        Err(Error::NoSpace { what, .. }) => assert_eq!(what, "the EFI system partition"),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(), 0, "something is left of what failed");
    small.disk.size = DiskSize::Bytes(needed);
    assert_eq!(disk::install(&root, target, &small).unwrap(), needed);
    match disk::install(&root, target, &small) {
        Err(Error::TargetHolds { what: "a file", .. }) => {}
        other => panic!("{other:?}"),
    }
    // The same once more, byte for byte.
    let first = fs::read(scratch.path("out/a.img")).unwrap();
    small.wipe = true;
    disk::install(&root, target, &small).unwrap();
    assert!(
        first == fs::read(scratch.path("out/a.img")).unwrap(),
        "two installs differ"
    );
    assert_eq!(names(), 1);
}
