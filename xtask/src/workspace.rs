//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use crate::test::Tier;
use crate::{base, tools};

/// The variant of the base image that every route can boot.
const EVERY_ROUTE: &str = "cloud-init";

/// The checkout and its build directory.
pub(crate) struct Workspace {
    pub(crate) sh: Shell,
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("no workspace")?;
        let sh = Shell::new()?;
        sh.change_dir(root);
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::env::current_dir()?.join(dir),
            None => root.join("target"),
        };
        Ok(Self {
            sh,
            root: root.to_owned(),
            target,
        })
    }

    /// The top of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that xtask itself makes lies below `pleach` in cargo's target directory, so that
    /// `cargo clean` is the only clean there is.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.target.join("pleach")
    }

    /// Where cargo puts what it builds for release.
    pub(crate) fn release(&self) -> PathBuf {
        self.target.join("release")
    }

    /// The whole of `cargo metadata`.
    pub(crate) fn metadata(&self) -> Result<serde_json::Value> {
        let json = cmd!(self.sh, "cargo metadata --format-version 1 --no-deps")
            .quiet()
            .read()?;
        Ok(serde_json::from_str(&json)?)
    }

    /// The reference of the base image that demo, benches and the VM suite work on: the one that
    /// `PLEACH_BASE` names, or the fixture.
    pub(crate) fn base_image(&self) -> Result<String> {
        if let Ok(reference) = std::env::var("PLEACH_BASE") {
            return Ok(reference);
        }
        Ok(base::build(self, &base::Options::default())?.reference("v1"))
    }

    /// What the VM suite is told by its environment: images, programs, and where all is kept. The
    /// images that only some cases are booted on are made where `all` of them are asked for.
    pub(crate) fn vm_environment(&self, all: bool) -> Result<Vec<(String, String)>> {
        let base = self.base_image()?;
        // Cargo chooses other features for a program than for one that tests run, and would build all
        // that it is made of again.
        let packages = Tier::Integration.selection();
        cmd!(self.sh, "cargo test --no-run {packages...}").run()?;
        let agent = self.build_agent()?;
        let output = self.artifacts().join("vm");
        let mut environment: Vec<_> = [
            ("PLEACH_BASE", base),
            ("PLEACH_BIN", self.pleach().display().to_string()),
            ("PLEACH_AGENT", agent.display().to_string()),
            ("PLEACH_VM_OUTPUT", output.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for name in base::variants(self)? {
            if !all && name != EVERY_ROUTE {
                continue;
            }
            let variable = format!("PLEACH_VARIANT_{}", name.to_uppercase().replace('-', "_"));
            let options = base::Options {
                variant: Some(name),
                ..base::Options::default()
            };
            environment.push((variable, base::build(self, &options)?.layout()));
        }
        if let Some(path) = tools::ksvalidator(self) {
            environment.push(("PLEACH_KSVALIDATOR".to_owned(), path.display().to_string()));
        }
        Ok(environment)
    }

    /// Builds the `pleach` binary; its path.
    pub(crate) fn build_pleach(&self) -> Result<PathBuf> {
        cmd!(self.sh, "cargo build -p pleach").run()?;
        Ok(self.pleach())
    }

    fn pleach(&self) -> PathBuf {
        self.target.join("debug/pleach")
    }

    /// Builds the capture agent that runs in guests; its path.
    pub(crate) fn build_agent(&self) -> Result<PathBuf> {
        // The agent is static, so that it runs in any guest whatever C library that has; a target
        // triple of its own keeps the flag away from build scripts and procedural macros.
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let target = self.artifacts().join("agent-build");
        cmd!(self.sh, "cargo build --release -p pleach-booted-state --features capture-bin --bin pleach-capture --target {triple} --target-dir {target}")
            .env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols")
            .run()?;
        Ok(target.join(triple).join("release/pleach-capture"))
    }
}
