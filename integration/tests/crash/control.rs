//! The harness itself: it finds nothing where there is nothing, and what there is.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pleach_integration::crash::campaign::{self, Again, Case, Options, Outcome};
use pleach_integration::crash::mount::{FileSystem, Mounted, run};

use crate::{Room, system, with};

fn ostree(at: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("ostree");
    command.arg(arguments[0]);
    let (option, rest) = match arguments[0] {
        "admin" => {
            command.arg(arguments[1]);
            (format!("--sysroot={}", at.display()), &arguments[2..])
        }
        _ => (
            format!("--repo={}", at.join("ostree/repo").display()),
            &arguments[1..],
        ),
    };
    command.arg(option).args(rest);
    command
}

/// A sysroot made by ostree alone, with two commits of which the first is deployed.
fn sysroot(room: &Room, at: &Path) -> Result<()> {
    run(&mut ostree(
        at,
        &["admin", "init-fs", "--modern", &at.display().to_string()],
    ))?;
    run(&mut ostree(at, &["admin", "os-init", "small"]))?;
    for version in 1..=2 {
        let tree = room.folder.join(format!("tree-{version}"));
        system::tree(&tree, version)?;
        // As a compose puts them: ostree wants the defaults in /usr/etc, and no content in /var.
        std::fs::rename(tree.join("etc"), tree.join("usr/etc"))?;
        let path = format!("--tree=dir={}", tree.display());
        run(&mut ostree(
            at,
            &["commit", "--branch", &format!("v{version}"), &path],
        ))?;
        std::fs::remove_dir_all(&tree)?;
    }
    run(&mut ostree(at, &["admin", "deploy", "--os=small", "v1"]))?;
    let deployments = at.join("ostree/deploy/small/deploy");
    let first = std::fs::read_dir(&deployments)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.is_dir());
    let etc = first.context("a deployment")?.join("etc");
    system::local_changes(&etc, &at.join("ostree/deploy/small/var"))
}

#[test]
fn ostrees_own_deploy_is_safe_and_without_its_syncs_it_is_not() {
    with("control", false, |room| {
        let base = room.folder.join("base.img");
        FileSystem::Ext4.format(&base, FileSystem::Ext4.least_mib())?;
        let mounted = Mounted::new(&base, &room.folder.join("make"), FileSystem::Ext4)?;
        sysroot(room, mounted.path())?;
        mounted.unmount()?;
        let deploy = |at: &Path| ostree(at, &["admin", "deploy", "--os=small", "v2"]);
        let case = Case {
            name: "control".to_owned(),
            kind: FileSystem::Ext4,
            base,
            command: &deploy,
            again: Again::End,
            tell: None,
            then: None,
            busy: false,
        };
        let recorded = case.record(&room.folder)?;
        let options = Options {
            failures: usize::MAX,
            ..room.options(300)
        };
        let report = campaign::run(&case, &recorded, &options)?;
        room.say(&format!("ostree: {}", report.line()));
        // What a boot loader sees of it depends on the version of libostree; it is told, and no more.
        let mounted: Vec<_> = report
            .failures
            .iter()
            .filter(|(_, problems)| {
                problems
                    .iter()
                    .any(|problem| !problem.starts_with("boot loader"))
            })
            .collect();
        ensure!(mounted.is_empty(), "{mounted:#?}");

        let without = |at: &Path| {
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "--seccomp-bpf"]);
            command.args(["-e", "trace=fsync,fdatasync,syncfs,sync_file_range,ioctl"]);
            command.args(["-e", "inject=fsync,fdatasync,syncfs:retval=0"]);
            let plain = deploy(at);
            command.arg(plain.get_program()).args(plain.get_args());
            command
        };
        let (recorded, outcome): (_, Outcome) =
            case.attempt(&room.folder.join("without"), &without)?;
        ensure!(outcome.done, "{}", outcome.said);
        let report = campaign::run(&case, &recorded, &room.options(100))?;
        room.say(&format!("without its syncs: {}", report.line()));
        ensure!(
            !report.failures.is_empty(),
            "nothing is found, and all syncs are gone"
        );
        Ok(())
    });
}
