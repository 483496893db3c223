//! A machine goes through its life by its own hand: an upgrade that is staged and carried out at shutdown,
//! a rollback, the upgrade again, other kernel arguments, a factory reset; booted after each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use pleach_integration::disk::discard;
use pleach_integration::setting::Setting;

use crate::trial;

/// What is at the top of every script: the program and the images are where an administrator put them.
pub(crate) const TOP: &str =
    "set -eux\nP='/var/lib/site/pleach-deploy deploy'\nIMAGES=oci:/var/lib/site/images\n";

/// Ten kinds of change to /etc, and data.
pub(crate) const CHANGES: &str = "cd /etc
echo added > local-added
echo changed >> issue
rm debian_version
chmod 0600 nsswitch.conf
chown 1:1 shells
rm motd && ln -s issue motd
mkdir -p local.d/deep && echo deep > local.d/deep/file
ln local-added local-hard
printf x > \"$(printf 'name \\303\\244 \\377')\"
echo 'local:x:5000:5000:Local:/:/bin/sh' >> passwd
echo data > /var/lib/site/data
";

/// That they are there, whatever the image is.
pub(crate) const KEPT: &str = "cd /etc
grep -q added local-added
grep -q changed issue
test ! -e debian_version
test $(stat -c %a nsswitch.conf) = 600
test $(stat -c %u:%g shells) = 1:1
test $(readlink motd) = issue
grep -q deep local.d/deep/file
grep -q added local-hard
test -e \"$(printf 'name \\303\\244 \\377')\"
grep -q '^local:x:5000:' passwd
grep -q data /var/lib/site/data
ostree admin status
$P status
";

/// Which image runs: the second lacks a default that the first has.
const FIRST: &str = "test -e /usr/etc/sysctl.d/README.sysctl\n";
const SECOND: &str = "test ! -e /usr/etc/sysctl.d/README.sysctl\n";

/// What a machine does in each boot.
fn boots() -> [(&'static str, String); 6] {
    let script = |parts: &[&str]| format!("{TOP}{}", parts.concat());
    [
        (
            "staged",
            script(&[FIRST, CHANGES, "$P switch $IMAGES:v2 --stage\n$P status\n"]),
        ),
        ("upgraded", script(&[SECOND, KEPT, "$P rollback\n"])),
        (
            "rolled-back",
            script(&[FIRST, KEPT, "echo late > /etc/late\n$P switch $IMAGES:v2\n"]),
        ),
        (
            "upgraded-again",
            script(&[
                SECOND,
                KEPT,
                "grep -q late /etc/late\n$P kargs --append=site.word=one\n",
            ]),
        ),
        (
            "other-arguments",
            script(&[
                SECOND,
                KEPT,
                "grep -q site.word=one /proc/cmdline\n$P factory-reset\n",
            ]),
        ),
        (
            "reset",
            script(&[
                SECOND,
                "test ! -e /etc/local-added\ntest ! -e /var/lib/site\n! grep -q site.word /proc/cmdline\n",
                "test -e /sysroot/ostree/deploy/default/var/lib/site/data\nostree admin status\n",
            ]),
        ),
    ]
}

pub(crate) fn trials(setting: &Arc<Result<Setting>>) -> Vec<Trial> {
    let name = "lifecycle::a_machine_upgrades_rolls_back_and_is_reset";
    vec![trial(name, setting, goes_through)]
}

fn goes_through(setting: &Setting) -> Result<()> {
    let folder = setting.output.join("lifecycle");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let mut disk = folder.join("disk.img");
    let shown = disk.display().to_string();
    let base = &setting.base;
    setting.done(&[
        "deploy", "install", base, "--layout", "direct", "--target", &shown,
    ])?;
    equip(setting, &disk, "loop", &folder.join("mounted"), |_| Ok(()))?;
    for (name, script) in boots() {
        let check = folder.join(format!("{name}.sh"));
        std::fs::write(&check, format!("#!/bin/sh\n{script}"))?;
        let (image, check, boot, agent) = (
            disk.display().to_string(),
            check.display().to_string(),
            folder.join(name).display().to_string(),
            setting.agent.display().to_string(),
        );
        let answer = setting.pleach(&[
            "capture",
            &image,
            "--agent",
            &agent,
            "--check",
            &check,
            "--orderly",
            "--output",
            &boot,
        ])?;
        ensure!(
            answer.code == Some(0),
            "{name}: {}\n{}",
            answer.stdout,
            answer.stderr
        );
        let attempt = folder.join(name).join("boot-1/attempt-1");
        let before = std::mem::replace(&mut disk, attempt.join("disk.img"));
        for other in [before, attempt.join("base.img")] {
            std::fs::remove_file(other)?;
        }
    }
    discard(&folder)
}

/// Runs a program, which has to succeed.
pub(crate) fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("running {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {said}");
    Ok(())
}

/// Puts the program and the images onto the machine's disk, and `more`; `options` are those of mount
/// that find its root.
pub(crate) fn equip(
    setting: &Setting,
    disk: &Path,
    options: &str,
    place: &Path,
    more: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    std::fs::create_dir_all(place)?;
    run(
        "mount",
        &[
            "-o".as_ref(),
            options.as_ref(),
            disk.as_ref(),
            place.as_ref(),
        ],
    )?;
    let written = (|| {
        let site = place.join("ostree/deploy/default/var/lib/site");
        std::fs::create_dir_all(&site)?;
        let program = setting.pleach.with_file_name("pleach-deploy");
        run(
            "strip",
            &[
                "-o".as_ref(),
                site.join("pleach-deploy").as_ref(),
                program.as_ref(),
            ],
        )?;
        let layout = setting.base.strip_prefix("oci:").context("a layout")?;
        let layout = PathBuf::from(layout.rsplit_once(':').context("a tag")?.0);
        run(
            "cp",
            &["-r".as_ref(), layout.as_ref(), site.join("images").as_ref()],
        )?;
        more(place)
    })();
    run("umount", &[place.as_ref()])?;
    written
}
