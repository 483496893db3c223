//! A root of an image's files, and programs of its own run in it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use pleach_integration::setting::Setting;

/// What a program finds around itself, in a mount namespace that goes with it. What a child of it mounts
/// in a namespace of its own reaches it, as on a machine: systemd merges extensions so.
const ENTER: &str = "set -e
mount --bind \"$1\" \"$1\"
mount --make-rshared \"$1\"
mount --bind /dev \"$1/dev\"
mount -t proc proc \"$1/proc\"
mount -t tmpfs tmpfs \"$1/run\"
root=$1
shift
exec chroot \"$root\" \"$@\"";

/// An image's files in a folder.
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn unpack(setting: &Setting, image: &str, folder: &Path) -> Result<Self> {
        let shown = folder.display().to_string();
        let answer = setting.pleach(&["unpack", image, &shown])?;
        ensure!(answer.code == Some(0), "unpack: {}", answer.stderr);
        Ok(Self(folder.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs a program of the image; what it says comes back, and its failure is one.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh"])
            .arg(&self.0)
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // A program that reads nothing may be gone already.
        let mut stdin = child.stdin.take().expect("piped");
        let written = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{program} {arguments:?}: {}: {said}",
            output.status
        );
        written?;
        Ok(said)
    }
}
