//! A registry on this machine.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use xshell::cmd;

use super::subject::Subject;
use crate::workspace::Workspace;

/// A docker-registry on a port of its own. Dropped, it is gone with all that is in it.
pub(super) struct Registry<'a> {
    workspace: &'a Workspace,
    child: Child,
    dir: PathBuf,
    address: String,
}

impl<'a> Registry<'a> {
    pub(super) fn start(workspace: &'a Workspace) -> Result<Self> {
        let sh = &workspace.sh;
        let dir = workspace.artifacts().join("bench-registry");
        sh.remove_path(&dir)?;
        let data = dir.join("data");
        let config = dir.join("config.yml");
        sh.write_file(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {data:?}}}\n\
                 http: {{addr: \"127.0.0.1:0\", secret: bench}}\n"
            ),
        )?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting docker-registry")?;
        // It says which port it got; whatever it says later must be read too, or it would block.
        let stderr = child.stderr.take().context("it has a standard error")?;
        let mut log = BufReader::new(stderr).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split('"').next()?.trim().to_owned())
        });
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        let mut registry = Self {
            workspace,
            child,
            dir,
            address: String::new(),
        };
        registry.address = address.context("docker-registry ended before it listened")?;
        Ok(registry)
    }

    /// Pushes a tag of a subject; the blobs stay what they are.
    pub(super) fn push(&self, subject: &Subject, tag: &str) -> Result<()> {
        let (from, to) = (subject.reference(tag), self.reference(tag));
        cmd!(
            self.workspace.sh,
            "skopeo --insecure-policy copy --quiet --preserve-digests --dest-tls-verify=false {from} {to}"
        )
        .quiet()
        .run()
        .with_context(|| format!("pushing {from}"))
    }

    pub(super) fn reference(&self, tag: &str) -> String {
        format!("docker://{}/bench:{tag}", self.address)
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.workspace.sh.remove_path(&self.dir);
    }
}
