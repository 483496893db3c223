//! Faults, each planted into one route only. A comparison that overlooks one is worth nothing.

use anyhow::{Context as _, Result};

use crate::disk::Disk;

/// One fault.
pub struct Fault {
    /// For whoever reads that it was missed.
    pub name: &'static str,
    /// Plants it into the disk of the route `etc`.
    pub plant: fn(&Disk) -> Result<()>,
    /// What a defect must say: each of these texts, in one line of the verdict.
    pub named: &'static [&'static [&'static str]],
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "content",
        plant: |disk| disk.write(&etc(disk, "site/site.conf")?, "greeting = goodbye\n", 0o640),
        named: &[&["paths /etc/site/site.conf digest"]],
    },
    Fault {
        name: "mode",
        plant: |disk| set(disk, "site/site.conf", "mode 0100644"),
        named: &[&["paths /etc/site/site.conf mode: 0640 | 0644"]],
    },
    Fault {
        name: "owner",
        plant: |disk| set(disk, "site", "uid 1001"),
        named: &[&["paths /etc/site uid: 0 | 1001"]],
    },
    Fault {
        name: "xattr",
        plant: |disk| {
            let path = etc(disk, "site/site.conf")?;
            disk.debugfs(&[format!("ea_set {path} user.note planted")])
                .map(drop)
        },
        named: &[&["paths /etc/site/site.conf xattrs.user.note: - | planted"]],
    },
    Fault {
        name: "symlink-target",
        plant: |disk| {
            let path = etc(disk, "site/current")?;
            disk.debugfs(&[format!("rm {path}"), format!("symlink {path} other.conf")])
                .map(drop)
        },
        named: &[&["paths /etc/site/current target: site.conf | other.conf"]],
    },
    Fault {
        name: "extra-file",
        plant: |disk| disk.write(&etc(disk, "extra.conf")?, "surprise\n", 0o644),
        named: &[
            &["paths /etc/extra.conf: - | "],
            &["config-diff has /etc/extra.conf"],
        ],
    },
    Fault {
        name: "unit-enabled",
        plant: |disk| {
            let path = etc(disk, "systemd/system/timers.target.wants/fstrim.timer")?;
            disk.debugfs(&[format!(
                "symlink {path} /usr/lib/systemd/system/fstrim.timer"
            )])
            .map(drop)
        },
        named: &[&["units fstrim.timer ", "enabled"]],
    },
    Fault {
        name: "unit-not-masked",
        plant: |disk| {
            let path = etc(disk, "systemd/system/e2scrub_all.timer")?;
            disk.debugfs(&[format!("rm {path}")]).map(drop)
        },
        named: &[&["units e2scrub_all.timer ", "masked"]],
    },
    Fault {
        name: "user-without-key",
        plant: |disk| {
            let path = "/ostree/deploy/default/var/home/alice/.ssh/authorized_keys";
            disk.debugfs(&[format!("rm {path}")]).map(drop)
        },
        named: &[
            &["authorized_keys alice"],
            &["paths ", "/alice/.ssh/authorized_keys"],
        ],
    },
    Fault {
        name: "kernel-argument",
        plant: |disk| {
            let listing = disk.debugfs(&["ls -p /boot/loader/entries".to_owned()])?;
            let name = listing
                .lines()
                .filter_map(|line| line.split('/').nth(5))
                .find(|name| name.ends_with(".conf"))
                .context("no boot entry")?;
            let path = format!("/boot/loader/entries/{name}");
            let entry = disk.read(&path)?;
            anyhow::ensure!(
                entry.contains(" site.name=one"),
                "no site.name=one in {entry}"
            );
            disk.write(&path, &entry.replace(" site.name=one", ""), 0o644)
        },
        named: &[&["kernel_arguments site.name"]],
    },
    Fault {
        name: "sysctl-overridden",
        plant: |disk| {
            disk.write(
                &etc(disk, "sysctl.d/99-override.conf")?,
                "vm.swappiness = 60\n",
                0o644,
            )
        },
        named: &[
            &["sysctls vm.swappiness", "17", "60"],
            &["paths /etc/sysctl.d/99-override.conf"],
        ],
    },
    Fault {
        name: "service-crashes",
        plant: |disk| {
            let path = "/ostree/deploy/default/var/usrlocal/bin/site-hello";
            disk.write(path, "#!/bin/sh\nkill -SEGV $$\n", 0o755)
        },
        named: &[&["site-hello.service failed; with the base image alone it does not"]],
    },
];

/// A path in the deployment's `/etc`.
fn etc(disk: &Disk, path: &str) -> Result<String> {
    Ok(format!("{}/etc/{path}", disk.deployment()?))
}

fn set(disk: &Disk, path: &str, field: &str) -> Result<()> {
    let path = etc(disk, path)?;
    disk.debugfs(&[format!("sif {path} {field}")]).map(drop)
}
