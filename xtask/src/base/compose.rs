//! mmdebstrap: Debian packages, the overlay, presets and an initramfs become one root in a tar file.
//! A variant is the base's root with more packages, installed by apt and dpkg as on a machine.

use std::path::Path;

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use super::recipe::{EPOCH, Recipe, SUITE};
use super::variant::Variant;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Kept out of the root by dpkg: nobody reads it there. Licences stay.
const EXCLUDED: [&str; 7] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// What runs in the new root, in this order. Presets are applied here so that the first boot finds
/// nothing left to do: what it did, an upgrade would take for a change by the administrator.
const FINISH: [&str; 3] = [
    r#"chroot "$1" systemctl preset-all"#,
    r#"chroot "$1" systemctl --global preset-all"#,
    // A kernel that a variant replaces leaves its initramfs behind, a new one has none yet.
    r#"cd "$1/usr/lib/modules" && for kernel in *; do if [ ! -e "$1/boot/vmlinuz-$kernel" ]; then rm -r "$kernel"; elif [ ! -e "$kernel/initramfs.img" ]; then chroot "$1" depmod "$kernel" && chroot "$1" dracut --force --no-hostonly --kver "$kernel" "/usr/lib/modules/$kernel/initramfs.img" || exit 1; fi; done"#,
];

/// apt from outside, as mmdebstrap itself calls it: the root needs none.
const INSTALL: &str = r#"APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --autoremove -o Dir::Bin::dpkg=env -o DPkg::Options::=--unset=TMPDIR -o DPkg::Options::=dpkg -o DPkg::Chroot-Directory="$1" install"#;

/// Writes the base image's root to the file `tar`, and what mmdebstrap said beside it.
pub(super) fn base(sh: &Shell, recipe: &Recipe, tar: &Path) -> Result<()> {
    let scratch = sh.create_temp_dir()?;
    let packages: Vec<_> = recipe.packages.iter().map(String::as_str).collect();
    let mut options = dpkg_options();
    options.extend(finish(sh, Some(&recipe.overlay()), scratch.path())?);
    root(sh, "essential", &packages, options, tar)
}

/// Writes a variant's root to the file `tar`, made of the base's in the file `base`.
pub(super) fn variant(sh: &Shell, variant: &Variant, base: &Path, tar: &Path) -> Result<()> {
    let scratch = sh.create_temp_dir()?;
    let mut options = dpkg_options();
    options.push("--skip=check/empty".to_owned());
    // mmdebstrap makes the devices, as far as it may.
    options.push(format!(
        r#"--setup-hook=tar -C "$1" --xattrs --xattrs-include='*' --exclude='./dev/*' -xpf '{}'"#,
        base.display()
    ));
    let packages = variant.packages.join(" ");
    options.push(format!("--customize-hook={INSTALL} {packages}"));
    let overlay = variant.overlay();
    options.extend(finish(sh, overlay.as_deref(), scratch.path())?);
    root(sh, "custom", &[], options, tar)
}

fn dpkg_options() -> Vec<String> {
    let force = std::iter::once("force-confold");
    let rules = force.chain(EXCLUDED);
    rules.map(|rule| format!("--dpkgopt={rule}")).collect()
}

/// The hooks that follow the packages.
fn finish(sh: &Shell, overlay: Option<&Path>, scratch: &Path) -> Result<Vec<String>> {
    let mut options = Vec::new();
    if let Some(overlay) = overlay {
        let packed = scratch.join("overlay.tar");
        pack(sh, overlay, &packed)?;
        options.push(format!("--customize-hook=tar-in '{}' /", packed.display()));
    }
    options.extend(FINISH.map(|hook| format!("--customize-hook={hook}")));
    Ok(options)
}

/// Writes a root to the file `tar`, and what mmdebstrap said beside it.
pub(super) fn root(
    sh: &Shell,
    variant: &str,
    packages: &[&str],
    more: Vec<String>,
    tar: &Path,
) -> Result<()> {
    let log = tar.with_extension("log");
    let mode = match cmd!(sh, "id -u").quiet().read()?.as_str() {
        "0" => "root",
        _ => "unshare",
    };
    let mut options = vec![
        "--format=tar".to_owned(),
        format!("--variant={variant}"),
        format!("--mode={mode}"),
        format!("--logfile={}", log.display()),
        r#"--aptopt=APT::Install-Recommends "false""#.to_owned(),
    ];
    if !packages.is_empty() {
        options.push(format!("--include={}", packages.join(",")));
    }
    options.extend(more);
    options.extend(proxies(sh)?);
    if Path::new(KEYRING).exists() {
        options.push(format!("--keyring={KEYRING}"));
    }
    let mirror = mirror(sh)?;
    let result = cmd!(sh, "mmdebstrap {options...} {SUITE} {tar} {mirror...}")
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .quiet()
        .run();
    result.with_context(|| {
        let log = sh.read_file(&log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("composing the root; the last that mmdebstrap said:\n{last}")
    })
}

/// A directory of the repository as a tar of root's files: git keeps neither owners nor modes.
pub(super) fn pack(sh: &Shell, dir: &Path, tar: &Path) -> Result<()> {
    let mtime = format!("--mtime=@{EPOCH}");
    cmd!(sh, "tar -C {dir} --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX {mtime} --format=posix --pax-option=delete=atime,delete=ctime -cf {tar} .")
        .quiet()
        .run()
        .with_context(|| format!("packing {}", dir.display()))
}

/// The archive that this machine itself uses, if it is a Debian. Empty: mmdebstrap's default.
fn mirror(sh: &Shell) -> Result<Option<String>> {
    let release = sh.read_file("/etc/os-release").unwrap_or_default();
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CREATED_BY)";
    let targets = cmd!(sh, "apt-get indextargets --format {format}")
        .quiet()
        .ignore_stderr()
        .read()?;
    Ok(debian_mirror(&release, &targets))
}

fn debian_mirror(os_release: &str, targets: &str) -> Option<String> {
    let field = |name: &str| {
        let mut lines = os_release.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    if field("ID")? != "debian" {
        return None;
    }
    let codename = field("VERSION_CODENAME")?;
    targets.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [uri, release, "main", "Packages"] if release == codename => Some(uri.to_owned()),
            _ => None,
        }
    })
}

/// The proxies that apt on this machine goes through.
fn proxies(sh: &Shell) -> Result<Vec<String>> {
    let mut options = Vec::new();
    for key in ["Acquire::http::Proxy", "Acquire::https::Proxy"] {
        let shell = cmd!(sh, "apt-config shell PROXY {key}").quiet().read()?;
        let proxy = shell.trim().strip_prefix("PROXY=").unwrap_or_default();
        let proxy = proxy.trim_matches('\'');
        if !proxy.is_empty() {
            options.push(format!("--aptopt={key} \"{proxy}\""));
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_running_debian() {
        const DEBIAN: &str = "NAME=\"x\"\nID=debian\nVERSION_CODENAME=bookworm\n";
        const TARGETS: &str = "\
            http://other.invalid/tools/ stable main Packages\n\
            http://mirror.invalid/security/ bookworm-security main Packages\n\
            http://mirror.invalid/debian/ bookworm contrib Packages\n\
            http://mirror.invalid/debian/ bookworm main Translations\n\
            http://mirror.invalid/debian/ bookworm main Packages\n";
        for (os_release, targets, expect) in [
            (DEBIAN, TARGETS, Some("http://mirror.invalid/debian/")),
            (DEBIAN, "", None),
            ("ID=ubuntu\nVERSION_CODENAME=bookworm\n", TARGETS, None),
            ("", TARGETS, None),
        ] {
            assert_eq!(debian_mirror(os_release, targets).as_deref(), expect);
        }
    }
}
