//! What the routes write, given to the programs that will read it: those of a real image, run in a
//! change of root. `cargo xtask test --tier vm` hands the inputs over; nothing is booted.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test suite opens what its environment names, and says what it skips"
)]

mod chroot;
mod lint;
mod tree;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use chroot::Root;
use pleach_integration::setting::Setting;

/// The demo's document without what only a boot entry or the image's own units could take.
fn site(folder: &Path, without: &[&str]) -> Result<String> {
    let text = std::fs::read_to_string(Setting::site())?;
    let mut kept = String::new();
    let mut leave = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if leave.is_some_and(|limit| indent > limit) {
            continue;
        }
        leave = without
            .iter()
            .any(|start| line.trim_start().starts_with(start))
            .then_some(indent);
        if leave.is_none() {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let path = folder.join("site.bu");
    std::fs::write(&path, kept)?;
    Ok(path.display().to_string())
}

/// Runs a test where its inputs are, and says why where they are not.
fn with(name: &str, test: impl FnOnce(&Setting, &Path) -> Result<()>) {
    let setting = match Setting::find() {
        Ok(setting) => setting,
        Err(why) => {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "{name} cannot run: {why:#}");
            eprintln!("SKIP {name}: {why:#}");
            return;
        }
    };
    let folder = setting.output.join("routes").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    let run = || {
        std::fs::create_dir_all(&folder)?;
        test(&setting, &folder)
    };
    if let Err(error) = run() {
        panic!("{error:?}\nwhat there is: {}", folder.display());
    }
    let _ = std::fs::remove_dir_all(&folder);
}

fn inject(setting: &Setting, route: &str, config: &str, rest: &[&str]) -> Result<()> {
    let mut arguments = vec!["inject", route, "--config", config];
    arguments.extend(rest);
    let answer = setting.pleach(&arguments)?;
    ensure!(
        answer.code == Some(0),
        "inject {route}: {}{}",
        answer.stdout,
        answer.stderr
    );
    Ok(())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Why the tools leave something else than the route `etc`. Each must be needed.
const TOOLS: &[(&str, &str)] = &[
    (
        "etc/passwd-",
        "shadow-utils keep the file that they changed",
    ),
    ("etc/group-", "shadow-utils keep the file that they changed"),
    (
        "etc/shadow-",
        "shadow-utils keep the file that they changed",
    ),
    (
        "etc/gshadow-",
        "shadow-utils keep the file that they changed",
    ),
    (
        "etc/subuid-",
        "shadow-utils keep the file that they changed",
    ),
    (
        "etc/subgid-",
        "shadow-utils keep the file that they changed",
    ),
];

#[test]
fn the_post_of_a_kickstart_does_what_the_route_etc_does() {
    with("kickstart", |setting, folder| {
        let config = site(folder, &["kernel_arguments"])?;
        let etc = Root::unpack(setting, &setting.base, &folder.join("etc"))?;
        inject(setting, "etc", &config, &["--deployment", text(etc.path())])?;

        let post = Root::unpack(setting, &setting.base, &folder.join("post"))?;
        inject(setting, "kickstart", &config, &["--output", text(folder)])?;
        let kickstart = std::fs::read_to_string(folder.join("pleach.ks"))?;
        let (_, rest) = kickstart
            .split_once("%post --erroronfail --interpreter=/bin/sh\n")
            .context("a %post")?;
        let script = rest.strip_suffix("%end\n").context("an %end")?;
        post.run("/bin/sh", &[], script)?;
        tree::same(&etc, &post, TOOLS)
    });
}

#[test]
fn anaconda_reads_the_kickstart() {
    with("ksvalidator", |setting, folder| {
        let config = site(folder, &["nothing"])?;
        inject(setting, "kickstart", &config, &["--output", text(folder)])?;
        let tool = std::env::var("PLEACH_KSVALIDATOR")
            .context("PLEACH_KSVALIDATOR is not set; run: cargo xtask test --tier vm")?;
        let kickstart = folder.join("pleach.ks");
        let check = |version: &str| -> Result<(bool, String)> {
            let output = Command::new(&tool)
                .args(["--version", version])
                .arg(&kickstart)
                .output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            Ok((output.status.success(), said))
        };
        for version in ["RHEL9", "RHEL10", "F42"] {
            let (accepted, said) = check(version)?;
            ensure!(accepted, "{version}: {said}");
        }
        // It is one that can say no.
        let wrong = std::fs::read_to_string(&kickstart)?
            .replace("bootloader --append", "bootloader --apend");
        std::fs::write(&kickstart, wrong)?;
        ensure!(!check("RHEL10")?.0, "a wrong option is accepted");
        Ok(())
    });
}

#[test]
fn cloud_init_reads_the_user_data() {
    with("cloud-init", |setting, folder| {
        let config = site(folder, &["kernel_arguments"])?;
        let image = Setting::variant("cloud-init", "v1")?;
        let root = Root::unpack(setting, &image, &folder.join("root"))?;
        inject(setting, "cloud-init", &config, &["--output", text(folder)])?;
        let user_data = std::fs::read_to_string(folder.join("user-data"))?;
        let schema = ["schema", "--config-file", "/root-user-data"];
        let put = |text: &str| std::fs::write(root.path().join("root-user-data"), text);
        put(&user_data)?;
        let said = root.run("/usr/bin/cloud-init", &schema, "")?;
        ensure!(said.contains("Valid schema"), "{said}");
        ensure!(!said.contains("eprecat"), "{said}");
        // It is one that can say no.
        put(&user_data.replace("preserve_hostname: true", "preserve_hostname: [1]"))?;
        ensure!(
            root.run("/usr/bin/cloud-init", &schema, "").is_err(),
            "a wrong type is accepted"
        );
        Ok(())
    });
}

/// Why credentials leave something else than the route `etc`. Each must be needed.
const CREDENTIALS: &[(&str, &str)] = &[
    (
        "etc/passwd-",
        "systemd-sysusers keeps the file that it changed",
    ),
    (
        "etc/group-",
        "systemd-sysusers keeps the file that it changed",
    ),
    (
        "etc/shadow-",
        "systemd-sysusers keeps the file that it changed",
    ),
    (
        "etc/gshadow-",
        "systemd-sysusers keeps the file that it changed",
    ),
    (
        "etc/shadow",
        "systemd-sysusers writes !* where no password fits, and no aging",
    ),
    (
        "etc/gshadow",
        "systemd-sysusers writes !* where no password fits",
    ),
    ("etc/subuid", "sysusers.d gives out no subordinate IDs"),
    ("etc/subgid", "sysusers.d gives out no subordinate IDs"),
    (
        "etc/systemd/system-preset",
        "a drop-in enables the unit at each boot",
    ),
    (
        "etc/systemd/system-preset/20-pleach.preset",
        "a drop-in enables the unit at each boot",
    ),
    (
        "etc/systemd/system/multi-user.target.wants/site-hello.service",
        "a drop-in enables the unit at each boot",
    ),
    (
        "etc/systemd/system/site-hello.service",
        "systemd-debug-generator puts it into /run",
    ),
    (
        "etc/systemd/system/ssh.service.d",
        "systemd-debug-generator puts it into /run",
    ),
    (
        "etc/systemd/system/ssh.service.d/10-site.conf",
        "systemd-debug-generator puts it into /run",
    ),
];

#[test]
fn systemd_does_with_credentials_what_the_route_etc_does() {
    with("credentials", |setting, folder| {
        let config = site(folder, &["kernel_arguments", "- name: fstrim.timer"])?;
        let etc = Root::unpack(setting, &setting.base, &folder.join("etc"))?;
        inject(setting, "etc", &config, &["--deployment", text(etc.path())])?;
        let root = Root::unpack(setting, &setting.base, &folder.join("root"))?;
        inject(setting, "credentials", &config, &["--output", text(folder)])?;
        let credential =
            |name: &str| std::fs::read_to_string(folder.join("credentials").join(name));
        let tmpfiles = "/usr/bin/systemd-tmpfiles";
        for root in [&etc, &root] {
            root.run(tmpfiles, &["--create", "--prefix=/var"], "")?;
        }
        let sysusers = credential("sysusers.extra")?;
        root.run("/usr/bin/systemd-sysusers", &["-"], &sysusers)?;
        root.run(tmpfiles, &["--create", "-"], &credential("tmpfiles.extra")?)?;
        tree::same(&etc, &root, CREDENTIALS)
    });
}

/// Why an extension that is merged leaves something else than the route `etc`. Each must be needed.
const CONFEXT: &[(&str, &str)] = &[
    ("etc/extension-release.d", "says that it is an extension"),
    (
        "etc/extension-release.d/extension-release.pleach",
        "says that it is an extension",
    ),
    ("etc/.systemd-confext", "what systemd notes of a merge"),
    (
        "etc/.systemd-confext/confexts",
        "what systemd notes of a merge",
    ),
    ("etc/.systemd-confext/dev", "what systemd notes of a merge"),
];

#[test]
fn systemd_merges_an_extension_to_what_the_route_etc_writes() {
    with("confext", |setting, folder| {
        let outside = "- path: /usr/local/bin/site-hello";
        let config = site(
            folder,
            &[
                "kernel_arguments",
                "passwd",
                outside,
                "- name: fstrim.timer",
            ],
        )?;
        let etc = Root::unpack(setting, &setting.base, &folder.join("etc"))?;
        inject(setting, "etc", &config, &["--deployment", text(etc.path())])?;
        let root = Root::unpack(setting, &setting.base, &folder.join("root"))?;
        let place = root.path().join("run-confexts");
        inject(setting, "confext", &config, &["--output", text(&place)])?;
        // Where an extension lies is a tmpfs here, which goes with the mounts.
        let merge = "set -e
mkdir -p /run/confexts /run/systemd
cp -a /run-confexts/pleach /run/confexts/
systemd-confext merge --no-reload
cp -a /etc /etc.merged";
        root.run("/bin/sh", &["-c", merge], "")?;
        let path = |name: &str| root.path().join(name);
        std::fs::remove_dir_all(path("run-confexts"))?;
        std::fs::remove_dir_all(path("etc"))?;
        std::fs::rename(path("etc.merged"), path("etc"))?;
        tree::same(&etc, &root, CONFEXT)
    });
}
