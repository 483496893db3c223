//! A disk image is changed in one place, without mounting it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Removes the disk images below a folder, and the kernels that machines were started with, which did what
/// they should. They are large and can be made again; console, journal and captures stay. One image may have
/// many names, of which none may be left.
///
/// # Errors
/// When there is one that cannot be removed.
pub fn discard(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            discard(&path)?;
            continue;
        }
        let boots = ["kernel", "initrd"].iter().any(|name| path.ends_with(name));
        if boots || path.extension().is_some_and(|extension| extension == "img") {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// A raw ext4 image with one deployment.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    scratch: PathBuf,
}

impl Disk {
    /// A sparse copy of an image.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy(from: &Path, to: &Path) -> Result<Self> {
        let scratch = to.parent().context("an image is in a folder")?.to_owned();
        fs::create_dir_all(&scratch)?;
        let status = Command::new("cp")
            .args(["--sparse=always", "--"])
            .arg(from)
            .arg(to)
            .status()?;
        ensure!(status.success(), "copying {} failed", from.display());
        Ok(Self {
            image: to.to_owned(),
            scratch,
        })
    }

    /// The image's path.
    pub fn path(&self) -> &Path {
        &self.image
    }

    /// Runs debugfs commands on it; a complaint of any of them is an error.
    ///
    /// # Errors
    /// With what debugfs said.
    pub fn debugfs(&self, commands: &[String]) -> Result<String> {
        let script = self.scratch.join("debugfs.commands");
        fs::write(&script, commands.join("\n") + "\n")?;
        let output = Command::new("debugfs")
            .args(["-w", "-f"])
            .arg(&script)
            .arg(&self.image)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // The first line is debugfs's version.
        let complaints: Vec<_> = said.lines().skip(1).collect();
        ensure!(
            output.status.success() && complaints.is_empty(),
            "debugfs: {said}\n{commands:?}"
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The path of the one deployment's root.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn deployment(&self) -> Result<String> {
        const TOP: &str = "/ostree/deploy/default/deploy";
        let listing = self.debugfs(&[format!("ls -p {TOP}")])?;
        // `/INODE/MODE/UID/GID/NAME/SIZE/`
        let names: Vec<_> = listing
            .lines()
            .filter_map(|line| line.split('/').nth(5))
            .filter(|name| name.ends_with(".0"))
            .collect();
        ensure!(names.len() == 1, "deployments in {TOP}: {names:?}");
        Ok(format!("{TOP}/{}", names[0]))
    }

    /// Replaces a file, keeping mode and owner as given.
    ///
    /// # Errors
    /// When debugfs complains.
    pub fn write(&self, path: &str, contents: &str, mode: u32) -> Result<()> {
        let local = self.scratch.join("contents");
        fs::write(&local, contents)?;
        if self.exists(path)? {
            self.debugfs(&[format!("rm {path}")])?;
        }
        self.debugfs(&[
            format!("write {} {path}", local.display()),
            format!("sif {path} mode 0100{mode:o}"),
            format!("sif {path} uid 0"),
            format!("sif {path} gid 0"),
        ])?;
        Ok(())
    }

    /// The text of a file.
    ///
    /// # Errors
    /// When debugfs complains.
    pub fn read(&self, path: &str) -> Result<String> {
        let out = self.debugfs(&[format!("cat {path}")])?;
        // debugfs -f says each command again, behind its prompt.
        Ok(out
            .split_once('\n')
            .map_or(String::new(), |(_, text)| text.to_owned()))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        let output = Command::new("debugfs")
            .args(["-R", &format!("stat {path}")])
            .arg(&self.image)
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("Inode:"))
    }
}
