//! Where the suite's inputs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The inputs, as `cargo xtask test` hands them over.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Reference of the base image.
    pub base: String,
    /// The `pleach` binary.
    pub pleach: PathBuf,
    /// The capture agent.
    pub agent: PathBuf,
    /// Where everything is kept.
    pub output: PathBuf,
    /// Where it is written down what came of the cases, if it is.
    pub record: Option<PathBuf>,
}

impl Setting {
    /// Reads the environment.
    ///
    /// # Errors
    /// With what is missing and the command that provides it.
    pub fn find() -> Result<Self> {
        let value = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set; run: cargo xtask test --tier vm"))
        };
        let setting = Self {
            base: value("PLEACH_BASE")?,
            pleach: value("PLEACH_BIN")?.into(),
            agent: value("PLEACH_AGENT")?.into(),
            output: value("PLEACH_VM_OUTPUT")?.into(),
            record: std::env::var_os("PLEACH_RECORD").map(Into::into),
        };
        for path in [&setting.pleach, &setting.agent] {
            if !path.exists() {
                bail!(
                    "{} is missing; run: cargo xtask test --tier vm",
                    path.display()
                );
            }
        }
        for tool in [
            "qemu-system-x86_64",
            "mkfs.ext4",
            "debugfs",
            "mkfs.vfat",
            "mcopy",
        ] {
            let found = Command::new(tool).arg("--version").output();
            let found = found.or_else(|_| Command::new(tool).arg("-V").output());
            found.with_context(|| format!("{tool} is missing; run: cargo xtask setup"))?;
        }
        if !rustix::process::geteuid().is_root() {
            bail!("deployments are written as root");
        }
        Ok(setting)
    }

    /// Reference of a variant of the base image (`fixtures/base/variants`), by its tag: `v1` or `v2`.
    ///
    /// # Errors
    /// When the environment does not name it.
    pub fn variant(name: &str, tag: &str) -> Result<String> {
        let variable = format!("PLEACH_VARIANT_{}", name.to_uppercase().replace('-', "_"));
        let layout = std::env::var(&variable)
            .with_context(|| format!("{variable} is not set; run: cargo xtask test --tier vm"))?;
        Ok(format!("{layout}:{tag}"))
    }

    /// The folder of documents.
    pub fn customizations() -> PathBuf {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("in the workspace");
        top.join("fixtures/customizations")
    }

    /// The demo's customization.
    pub fn site() -> PathBuf {
        Self::customizations().join("site.bu")
    }

    /// `pleach` with arguments, which has to succeed.
    ///
    /// # Errors
    /// With what it said.
    pub fn done(&self, arguments: &[&str]) -> Result<Answer> {
        let answer = self.pleach(arguments)?;
        let Answer {
            code,
            stdout,
            stderr,
        } = &answer;
        anyhow::ensure!(
            *code == Some(0),
            "{arguments:?}: {code:?}\n{stdout}\n{stderr}"
        );
        Ok(answer)
    }

    /// `pleach` with arguments; its output comes back, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn pleach(&self, arguments: &[&str]) -> Result<Answer> {
        let output = Command::new(&self.pleach).args(arguments).output()?;
        Ok(Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Exit code; none if it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}
