//! One run of one tool.

use std::path::Path;

use anyhow::{Context as _, Result};
use xshell::{Cmd, cmd};

use super::super::volume::Volume;
use super::registry::Registry;
use super::report::Cost;
use super::subject::{IMAGE, Subject, UPGRADE, for_ostree_ext};
use super::tools::{Row, Tool};
use super::usage;
use crate::workspace::Workspace;

/// Where runs happen.
pub(super) struct Machine<'a> {
    workspace: &'a Workspace,
    registry: Option<Registry<'a>>,
    podman: bool,
    ostree: bool,
}

impl<'a> Machine<'a> {
    /// Builds what is run; with a registry, if it is asked for.
    pub(super) fn new(workspace: &'a Workspace, registry: bool) -> Result<Self> {
        let sh = &workspace.sh;
        cmd!(sh, "cargo build --release -p pleach").run()?;
        cmd!(
            sh,
            "cargo build --release -p pleach-layer-merge --example floor"
        )
        .run()?;
        cmd!(sh, "cargo build --release -p pleach-bench-peers").run()?;
        let pleach = workspace.release().join("pleach");
        let help = cmd!(sh, "{pleach} unpack --help").quiet().read()?;
        let podman = cmd!(sh, "podman --version").quiet().ignore_stdout();
        Ok(Self {
            workspace,
            registry: registry.then(|| Registry::start(workspace)).transpose()?,
            podman: podman.ignore_stderr().run().is_ok(),
            ostree: help.contains("--ostree-repo"),
        })
    }

    /// Why a tool does not run.
    pub(super) fn missing(&self, tool: Tool, subject: &Subject) -> Option<&'static str> {
        match tool {
            Tool::Umoci if subject.zstd => Some("it knows no zstd"),
            Tool::PodmanOverlay | Tool::PodmanVfs if !self.podman => Some("it is not installed"),
            Tool::PleachOstree if !self.ostree => Some("pleach unpack has no --ostree-repo"),
            _ => None,
        }
    }

    /// Brings all tags of a subject that a row needs into the registry.
    pub(super) fn push(&self, subject: &Subject) -> Result<()> {
        let registry = self.registry.as_ref().context("no registry was started")?;
        registry.push(subject, IMAGE)?;
        registry.push(subject, &for_ostree_ext(IMAGE))
    }

    /// A file system on which nothing was ever deleted.
    fn volume(&self) -> Result<Volume<'a>> {
        Volume::new(self.workspace, "bench-layers", BYTES, BYTES_PER_INODE)
    }

    pub(super) fn what(&self) -> Result<&'static str> {
        Ok(self.volume()?.what())
    }

    /// A volume on which all is as it is before the run.
    fn prepared(&self, row: Row, tool: Tool, subject: &Subject) -> Result<Volume<'a>> {
        let volume = self.volume()?;
        if row == Row::Upgrade {
            let [old, _] = UPGRADE;
            let reference = layout_reference(tool, subject, old);
            let arguments = self.arguments(tool, subject, &reference, volume.path())?;
            usage::run(&arguments, &volume.path().with_extension("usage"), false)?;
        }
        volume.settle()?;
        Ok(volume)
    }

    fn reference(&self, row: Row, tool: Tool, subject: &Subject) -> Result<String> {
        let [_, new] = UPGRADE;
        Ok(match row {
            Row::Directory | Row::Ostree => layout_reference(tool, subject, IMAGE),
            Row::Upgrade => layout_reference(tool, subject, new),
            Row::Registry => {
                let registry = self.registry.as_ref().context("no registry was started")?;
                registry.reference(&tag_for(tool, IMAGE))
            }
        })
    }

    /// One run; with `sampled` it takes longer, and says what all processes together took.
    pub(super) fn run(
        &self,
        row: Row,
        tool: Tool,
        subject: &Subject,
        sampled: bool,
    ) -> Result<Cost> {
        let volume = self.prepared(row, tool, subject)?;
        let reference = self.reference(row, tool, subject)?;
        let arguments = self.arguments(tool, subject, &reference, volume.path())?;
        let usage = volume.path().with_extension("usage");
        let (mut cost, out) = usage::run(&arguments, &usage, sampled)
            .with_context(|| format!("{} failed", tool.name()))?;
        if tool == Tool::Floor {
            let own: serde_json::Value = serde_json::from_str(&out)?;
            let seconds = |key: &str| own[key].as_f64().with_context(|| format!("no {key}"));
            (cost.wall, cost.cpu) = (seconds("wall_s")?, seconds("cpu_s")?);
        }
        Ok(cost)
    }

    /// System calls of one run.
    pub(super) fn calls(&self, row: Row, tool: Tool, subject: &Subject) -> Result<u64> {
        let volume = self.prepared(row, tool, subject)?;
        let sh = &self.workspace.sh;
        let counts = volume.path().with_extension("calls");
        let reference = self.reference(row, tool, subject)?;
        let arguments = self.arguments(tool, subject, &reference, volume.path())?;
        cmd!(sh, "strace -f -c -o {counts} {arguments...}")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .with_context(|| format!("{} failed under strace", tool.name()))?;
        let text = sh.read_file(&counts)?;
        sh.remove_path(&counts)?;
        total(&text).with_context(|| format!("strace counted nothing:\n{text}"))
    }

    fn arguments(
        &self,
        tool: Tool,
        subject: &Subject,
        reference: &str,
        volume: &Path,
    ) -> Result<Vec<String>> {
        let sh = &self.workspace.sh;
        let release = self.workspace.release();
        let program = |name: &str| release.join(name);
        let (out, repo) = (volume.join("out"), volume.join("repo"));
        let cache = volume.join("cache");
        let command: Cmd<'_> = match tool {
            Tool::Pleach | Tool::LowMemory | Tool::PleachOstree => {
                let (pleach, store) = (program("pleach"), volume.join("store"));
                let remote = reference.starts_with("docker:");
                let from_registry = ["--insecure-policy", "--tls-verify=false", "--store"]
                    .map(|word| word.into())
                    .into_iter()
                    .chain([store.into_os_string()]);
                let command = cmd!(sh, "{pleach} unpack {reference}");
                let command = match tool {
                    Tool::LowMemory => command.arg("--low-memory").arg(out),
                    // The peers keep in the repository which layers it has.
                    Tool::PleachOstree => command
                        .arg("--ostree-repo")
                        .arg(repo)
                        .arg("--cache")
                        .arg(cache),
                    _ => command.arg(out),
                };
                command.args(from_registry.filter(|_| remote))
            }
            Tool::OstreeExt => {
                let peer = program("peer-ostree-ext");
                cmd!(sh, "{peer} import {reference} {repo}")
            }
            Tool::Composefs => {
                let peer = program("peer-composefs");
                cmd!(sh, "{peer} {reference} {repo}")
            }
            Tool::Umoci => {
                let image = reference.trim_start_matches("oci:");
                cmd!(sh, "umoci raw unpack --image {image} {out}")
            }
            Tool::PodmanOverlay | Tool::PodmanVfs => {
                let driver = match tool {
                    Tool::PodmanVfs => "vfs",
                    _ => "overlay",
                };
                let (root, state) = (volume.join("root"), volume.join("run"));
                // Nothing is configured by the machine that it runs on.
                let settings = "--cgroup-manager=cgroupfs --events-backend=none";
                let settings = settings.split(' ');
                cmd!(
                    sh,
                    "podman --root {root} --runroot {state} --storage-driver {driver} {settings...} pull --quiet --tls-verify=false {reference}"
                )
            }
            Tool::Floor => {
                let (floor, layout) = (program("examples/floor"), &subject.layout);
                sh.create_dir(&out)?;
                cmd!(sh, "{floor} {layout} {IMAGE} {out}")
            }
            Tool::SkopeoTar => {
                let copied = volume.join("copied");
                sh.create_dir(&out)?;
                let blobs = subject.layers.iter().map(|layer| copied.join(layer));
                let script = r#"set -e; from=$1; to=$2; out=$3; shift 3
                    skopeo --insecure-policy copy --quiet "$from" "dir:$to"
                    for layer; do tar --extract --numeric-owner --file="$layer" --directory="$out"; done"#;
                cmd!(sh, "sh -c {script} sh {reference} {copied} {out}").args(blobs)
            }
        };
        let command = std::process::Command::from(command);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let word = |word: &std::ffi::OsStr| word.to_str().map(str::to_owned);
        words
            .map(|w| word(w).with_context(|| format!("{} is no text", w.display())))
            .collect()
    }
}

fn layout_reference(tool: Tool, subject: &Subject, tag: &str) -> String {
    subject.reference(&tag_for(tool, tag))
}

fn tag_for(tool: Tool, tag: &str) -> String {
    match tool {
        Tool::OstreeExt => for_ostree_ext(tag),
        _ => tag.to_owned(),
    }
}

/// Room for a copy of the tree for each layer, as vfs has it, and for what is on its way.
const BYTES: usize = 12 << 30;
const BYTES_PER_INODE: usize = 16 << 10;

/// The number of calls in the last line of `strace -c`.
fn total(text: &str) -> Option<u64> {
    let last = text.lines().rev().find(|line| line.ends_with("total"))?;
    last.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_strace_is_read() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.000200           2       100         3 openat
------ ----------- ----------- --------- --------- ----------------
100.00    0.000400           2       200         3 total
";
        assert_eq!(total(text), Some(200));
        assert_eq!(
            total(&text.replace("        3 total", "          total")),
            Some(200)
        );
        assert_eq!(total(""), None);
    }
}
