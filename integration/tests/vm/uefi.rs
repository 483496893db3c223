//! Disks that boot by themselves: firmware, systemd-boot, a boot loader entry that counts its boots; and
//! deployments that do not come up, from which the machine comes back without hands.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use pleach_integration::block_log::{self, Overlay, SECTOR};
use pleach_integration::disk::{Disk, discard};
use pleach_integration::esp::Esp;
use pleach_integration::setting::{Answer, Setting};

/// The fallback and the default, as the installer names their entries.
const OLD: &str = "ostree-1-default.conf";
const NEW: &str = "ostree-2-default.conf";
/// The default, with one boot to try, and having tried it.
const NEW_ONCE: &str = "ostree-2-default+1.conf";
const NEW_FAILED: &str = "ostree-2-default+0-1.conf";

pub(crate) fn trials(setting: &Arc<Result<Setting>>, whole: bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |name: &str, always: bool, test: fn(&Setting) -> Result<()>| {
        if whole || always {
            trials.push(crate::trial(&format!("uefi::{name}"), setting, test));
        }
    };
    add("boots_and_is_found_good", true, boots_and_is_found_good);
    add("xfs_boots", false, |setting| {
        other_root_boots(setting, "xfs")
    });
    add("btrfs_boots", false, |setting| {
        other_root_boots(setting, "btrfs")
    });
    add(
        "falls_back_after_three_tries",
        false,
        falls_back_after_three_tries,
    );
    add("power_cut_in_the_counter", false, power_cut_in_the_counter);
    for bad in BAD {
        if whole || bad.always {
            let name = format!("uefi::falls_back_from_{}", bad.name);
            let test = move |setting: &Setting| falls_back(setting, bad);
            trials.push(crate::trial(&name, setting, test));
        }
    }
    trials
}

/// A deployment that does not come up.
struct Bad {
    name: &'static str,
    always: bool,
    /// Butane that the image is derived with.
    document: Option<&'static str>,
    /// What is done to the disk.
    damage: fn(&Esp) -> Result<()>,
    /// Its entry on the ESP afterwards.
    entry: &'static str,
}

const BAD: &[Bad] = &[
    Bad {
        name: "a_failing_unit",
        always: true,
        document: Some(FAILING_UNIT),
        damage: |_| Ok(()),
        entry: NEW_FAILED,
    },
    Bad {
        name: "a_reboot_loop",
        always: false,
        document: Some(REBOOT_LOOP),
        damage: |_| Ok(()),
        entry: NEW_FAILED,
    },
    Bad {
        name: "a_missing_kernel",
        always: false,
        document: None,
        damage: |esp| {
            esp.edit(NEW_ONCE, |line| match line.starts_with("linux ") {
                true => format!("{line}-gone"),
                false => line.to_owned(),
            })
        },
        // The boot loader offers no entry whose kernel is not there, so it tries none.
        entry: NEW_ONCE,
    },
    Bad {
        name: "a_broken_initramfs",
        always: false,
        document: None,
        damage: |esp| {
            let whole = esp.read(&esp.named(NEW_ONCE, "initrd")?)?;
            esp.make_directory("/ostree/broken")?;
            esp.write("/ostree/broken/initramfs.img", &whole[..whole.len() / 3])?;
            esp.edit(NEW_ONCE, |line| match line.starts_with("initrd ") {
                true => "initrd /ostree/broken/initramfs.img".to_owned(),
                false => line.to_owned(),
            })
        },
        entry: NEW_FAILED,
    },
    Bad {
        name: "a_missing_root",
        always: false,
        document: None,
        damage: |esp| {
            esp.edit(NEW_ONCE, |line| {
                line.replace("ostree=/ostree/boot.", "ostree=/ostree/gone.")
            })
        },
        entry: NEW_FAILED,
    },
];

const FAILING_UNIT: &str = "\
variant: fcos
version: 1.5.0
systemd:
  units:
    - name: site-broken.service
      enabled: true
      contents: |
        [Service]
        Type=oneshot
        ExecStart=/usr/bin/false
        [Install]
        WantedBy=multi-user.target
";

const REBOOT_LOOP: &str = "\
variant: fcos
version: 1.5.0
systemd:
  units:
    - name: site-restless.service
      enabled: true
      contents: |
        [Service]
        Type=oneshot
        ExecStart=/usr/bin/systemctl reboot --force
        [Install]
        WantedBy=multi-user.target
";

fn folder(setting: &Setting, name: &str) -> Result<PathBuf> {
    let folder = setting.output.join("uefi").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn version(setting: &Setting, tag: &str) -> Result<String> {
    let (layout, _) = setting.base.rsplit_once(':').context("a base with a tag")?;
    Ok(format!("{layout}:{tag}"))
}

/// A disk of an image that falls back to v1.
pub(crate) fn install(
    setting: &Setting,
    folder: &Path,
    image: &str,
    more: &[&str],
) -> Result<PathBuf> {
    let disk = folder.join("disk.img");
    let path = disk.display().to_string();
    let fallback = version(setting, "v1")?;
    let mut arguments = vec!["deploy", "install", image, "--target", &path];
    arguments.extend(["--fallback", &fallback]);
    arguments.extend(more);
    setting.done(&arguments)?;
    Ok(disk)
}

/// The disk of v2 that the bad ones are made of, with one boot to try.
fn template(setting: &Setting) -> Result<PathBuf> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let make = || {
            let folder = folder(setting, "template")?;
            install(
                setting,
                &folder,
                &version(setting, "v2")?,
                &["--boot-tries", "1"],
            )
        };
        make().map_err(|error| format!("{error:?}"))
    });
    made.clone().map_err(|error| anyhow!(error))
}

/// A machine that came up, and what it left.
pub(crate) struct Machine {
    answer: Answer,
    pub(crate) disk: PathBuf,
    console: String,
}

/// Boots a disk by firmware, and runs a check in whatever comes up.
pub(crate) fn boot(
    folder: &Path,
    setting: &Setting,
    disk: &Path,
    check: &str,
    more: &[&str],
) -> Result<Machine> {
    let script = folder.join("check.sh");
    std::fs::write(&script, check)?;
    let output = folder.join("boot");
    let texts = [disk, &script, &setting.agent, &output].map(|path| path.display().to_string());
    let [disk, script, agent, path] = texts.each_ref().map(String::as_str);
    let mut arguments = vec!["capture", disk, "--uefi", "--check", script];
    arguments.extend(["--agent", agent, "--output", path]);
    arguments.extend(more);
    let answer = setting.pleach(&arguments)?;
    let (mut attempt, mut console) = (PathBuf::new(), String::new());
    for number in 1.. {
        let next = output.join(format!("boot-{number}/attempt-1"));
        let Ok(said) = std::fs::read(next.join("console.log")) else {
            break;
        };
        console.push_str(&String::from_utf8_lossy(&said));
        attempt = next;
    }
    let Answer {
        code,
        stdout,
        stderr,
    } = &answer;
    ensure!(*code == Some(0), "{code:?}\n{stdout}\n{stderr}");
    Ok(Machine {
        answer,
        disk: attempt.join("disk.img"),
        console,
    })
}

/// Kernels that were started, by what each says first.
fn kernels(console: &str) -> usize {
    console.matches("] Linux version ").count()
}

fn is_up(version: &str) -> String {
    format!(
        "#!/bin/sh\n\
         set -eux\n\
         . /usr/lib/os-release\n\
         test \"$IMAGE_VERSION\" = {version}\n\
         test -d /sys/firmware/efi\n\
         test \"$(findmnt --noheadings --output FSTYPE --types vfat --target /efi/loader)\" = vfat\n\
         ls /efi/loader/entries\n\
         ostree admin status | tee status\n\
         test \"$(grep -c 'default [0-9a-f]*\\.0' status)\" = 2\n\
         ! systemctl is-failed multi-user.target\n"
    )
}

/// Firmware, boot loader, entry, root: and a boot that is good loses its counter. The guest's own ostree
/// understands what it runs on.
fn boots_and_is_found_good(setting: &Setting) -> Result<()> {
    let folder = folder(setting, "good")?;
    let disk = install(setting, &folder, &version(setting, "v2")?, &[])?;
    let entries = Esp::of(&disk).entries()?;
    ensure!(
        entries == ["ostree-1-default.conf", "ostree-2-default+3.conf"],
        "{entries:?}"
    );
    let check =
        is_up("v2") + "systemctl is-active boot-complete.target systemd-bless-boot.service\n";
    let machine = boot(&folder, setting, &disk, &check, &[])?;
    let entries = Esp::of(&machine.disk).entries()?;
    ensure!(entries == [OLD, NEW], "{entries:?}\n{:?}", machine.answer);
    ensure!(kernels(&machine.console) == 1, "{}", machine.console);
    discard(&folder)
}

fn other_root_boots(setting: &Setting, filesystem: &str) -> Result<()> {
    let folder = folder(setting, filesystem)?;
    let more = ["--filesystem", filesystem];
    let disk = install(setting, &folder, &version(setting, "v2")?, &more)?;
    let root =
        format!("test \"$(findmnt --noheadings --output FSTYPE /sysroot)\" = {filesystem}\n");
    let check = is_up("v2")
        + &root
        + "lsattr -d /sysroot/ostree/deploy/default/deploy/*.0 | grep -- ----i\n";
    let machine = boot(&folder, setting, &disk, &check, &[])?;
    let entries = Esp::of(&machine.disk).entries()?;
    ensure!(entries == [OLD, NEW], "{entries:?}\n{:?}", machine.answer);
    discard(&folder)
}

/// The machine is left to itself, and is up in the old deployment; the entry of the new one says that it
/// failed.
fn falls_back(setting: &Setting, bad: &Bad) -> Result<()> {
    let folder = folder(setting, bad.name)?;
    let disk = match bad.document {
        Some(document) => {
            let path = folder.join("bad.bu");
            std::fs::write(&path, document)?;
            let image = format!("oci:{}:bad", folder.join("image").display());
            let (base, path) = (version(setting, "v2")?, path.display().to_string());
            setting.done(&[
                "derive", "--base", &base, "--config", &path, "--output", &image,
            ])?;
            install(setting, &folder, &image, &["--boot-tries", "1"])?
        }
        None => Disk::copy(&template(setting)?, &folder.join("disk.img"))?
            .path()
            .to_owned(),
    };
    let esp = Esp::of(&disk);
    ensure!(esp.entries()? == [OLD, NEW_ONCE], "{:?}", esp.entries()?);
    (bad.damage)(&esp).context("damaging it")?;
    let machine = boot(&folder, setting, &disk, &is_up("v1"), &["--restarts"])?;
    let entries = Esp::of(&machine.disk).entries()?;
    ensure!(
        entries.contains(&bad.entry.to_owned()),
        "{entries:?}\n{:?}",
        machine.answer
    );
    ensure!(entries.contains(&OLD.to_owned()), "{entries:?}");
    let tried = bad.entry == NEW_FAILED;
    ensure!(
        kernels(&machine.console) == 1 + usize::from(tried),
        "{} kernels were started",
        kernels(&machine.console)
    );
    discard(&folder)
}

/// All of the default number of tries are made.
fn falls_back_after_three_tries(setting: &Setting) -> Result<()> {
    let folder = folder(setting, "three-tries")?;
    let disk = install(setting, &folder, &version(setting, "v2")?, &[])?;
    let lose_root = |line: &str| line.replace("ostree=/ostree/boot.", "ostree=/ostree/gone.");
    Esp::of(&disk).edit("ostree-2-default+3.conf", lose_root)?;
    let machine = boot(&folder, setting, &disk, &is_up("v1"), &["--restarts"])?;
    let entries = Esp::of(&machine.disk).entries()?;
    ensure!(
        entries.contains(&"ostree-2-default+0-3.conf".to_owned()),
        "{entries:?}"
    );
    ensure!(
        kernels(&machine.console) == 4,
        "{} kernels",
        kernels(&machine.console)
    );
    discard(&folder)
}

/// A boot that is counted and found good, with every write to its disk in a log; then each state that a cut
/// inside the two updates of the counter (the firmware's driver renames the entry, later Linux's does) can
/// have left on the ESP: all offer the old deployment whole. One that lost the new entry is booted.
fn power_cut_in_the_counter(setting: &Setting) -> Result<()> {
    let folder = folder(setting, "power-cut")?;
    let disk = install(setting, &folder, &version(setting, "v2")?, &[])?;
    let before = boot(&folder, setting, &disk, &is_up("v2"), &[])?;
    let attempt = before.disk.parent().context("in its attempt")?;
    let (log, after) = logged(attempt)?;

    let sectors = Esp::sectors();
    let epochs = block_log::read(&log, sectors)?;
    let work = Disk::copy(&disk, &folder.join("state.img"))?;
    let last = block_log::last(&epochs);
    apply(work.path(), &last)?;
    // The log is all there is: it leads to what the machine left.
    let (replayed, left) = (Esp::of(work.path()).entries()?, Esp::of(&after).entries()?);
    ensure!(
        replayed == left && left == [OLD, NEW],
        "{replayed:?} {left:?}"
    );
    apply(work.path(), &before_of(&disk, &last)?)?;

    let original = Esp::of(&disk);
    let old = original.read(&format!("/loader/entries/{OLD}"))?;
    let states = block_log::states(&epochs);
    let (mut lost, mut with_new) = (None, 0);
    for state in &states {
        apply(work.path(), state)?;
        let esp = Esp::of(work.path());
        let offered = offered(&esp, &original)?;
        ensure!(
            offered.contains(&OLD.to_owned())
                && esp.read(&format!("/loader/entries/{OLD}"))? == old,
            "{offered:?} in the state of the sectors {:?}",
            state.keys()
        );
        match offered.iter().any(|name| name.starts_with("ostree-2-")) {
            true => with_new += 1,
            false => lost = lost.or(Some(state)),
        }
        apply(work.path(), &before_of(&disk, state)?)?;
    }
    println!(
        "power cut in the counter: {} writes in {} epochs, {} distinct states, {with_new} of them offer the new entry too",
        epochs.iter().map(Vec::len).sum::<usize>(),
        epochs.len(),
        states.len()
    );
    ensure!(states.len() > 10, "only {} states", states.len());
    if let Some(state) = lost {
        apply(work.path(), state)?;
        let folder = self::folder(setting, "power-cut-boot")?;
        boot(&folder, setting, work.path(), &is_up("v1"), &[])?;
        discard(&folder)?;
    }
    // An ESP without the entry is told apart from one with it.
    original.remove(&format!("/loader/entries/{OLD}"))?;
    ensure!(
        !offered(&original, &original)?.contains(&OLD.to_owned()),
        "the check sees nothing"
    );
    std::fs::remove_file(log)?;
    discard(&folder)
}

/// The same boot once more, with a log of what is written to the disk: the log, and the disk after it.
fn logged(attempt: &Path) -> Result<(PathBuf, PathBuf)> {
    const DRIVE: &str = "file=disk.img,if=none,id=root,format=raw,snapshot=off,cache=unsafe,aio=threads,discard=unmap";
    const LOGGED: &str = "if=none,id=root,driver=blklogwrites,file.driver=file,file.filename=disk.img,\
                          log.driver=file,log.filename=disk.log,log-sector-size=512,cache=writeback";
    let script = std::fs::read_to_string(attempt.join("repro.sh"))?;
    ensure!(script.contains(DRIVE), "{script}");
    let script = script
        .replace(DRIVE, LOGGED)
        .replace("\ncd again\n", "\ncd again\n: >disk.log\n");
    let path = attempt.join("logged.sh");
    std::fs::write(&path, script)?;
    let output = std::process::Command::new("timeout")
        .arg("600")
        .arg("sh")
        .arg(&path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let again = attempt.join("again");
    Ok((again.join("disk.log"), again.join("disk.img")))
}

/// Entries that the boot loader can boot: what they name is there, of the size that it had.
fn offered(esp: &Esp, original: &Esp) -> Result<Vec<String>> {
    let mut offered = Vec::new();
    for entry in esp.entries()? {
        let files = ["linux ", "initrd "].map(|key| {
            let path = esp.named(&entry, key).ok()?;
            let (now, then) = (esp.size(&path).ok()?, original.size(&path).ok()?);
            (now == then && now > 0).then_some(())
        });
        if files.iter().all(Option::is_some) {
            offered.push(entry);
        }
    }
    Ok(offered)
}

fn apply(image: &Path, overlay: &Overlay) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(image)?;
    for (sector, bytes) in overlay {
        file.write_all_at(bytes, sector * SECTOR as u64)?;
    }
    Ok(())
}

/// What an image has where an overlay has something else.
fn before_of(image: &Path, overlay: &Overlay) -> Result<Overlay> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::open(image)?;
    let mut before = Overlay::new();
    for &sector in overlay.keys() {
        let mut bytes = vec![0; SECTOR];
        file.read_exact_at(&mut bytes, sector * SECTOR as u64)?;
        before.insert(sector, bytes);
    }
    Ok(before)
}
