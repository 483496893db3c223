//! One run of one tool.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use xshell::{Cmd, cmd};

use super::super::volume::Volume;
use super::Subject;
use super::report::Cost;
use crate::workspace::Workspace;

/// Who unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Pleach,
    LowMemory,
    Umoci,
    /// No merge: whiteouts are extracted as files.
    SkopeoTar,
    Floor,
}

impl Tool {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pleach => "pleach",
            Self::LowMemory => "pleach --low-memory",
            Self::Umoci => "umoci",
            Self::SkopeoTar => "skopeo copy, tar",
            Self::Floor => "floor",
        }
    }
}

/// Where runs happen.
pub(super) struct Machine<'a> {
    workspace: &'a Workspace,
}

impl<'a> Machine<'a> {
    pub(super) fn new(workspace: &'a Workspace) -> Self {
        Self { workspace }
    }

    /// A file system on which nothing was ever deleted.
    fn volume(&self) -> Result<Volume<'a>> {
        Volume::new(self.workspace, "bench-layers", BYTES, BYTES_PER_INODE)
    }

    pub(super) fn what(&self) -> Result<&'static str> {
        Ok(self.volume()?.what())
    }

    pub(super) fn run(&self, tool: Tool, subject: &Subject) -> Result<Cost> {
        let volume = self.volume()?;
        let sh = &self.workspace.sh;
        let usage = volume.path().with_extension("usage");
        let arguments = self.arguments(tool, subject, volume.path())?;
        volume.settle()?;
        let begin = Instant::now();
        let out = cmd!(sh, "time --format %U+%S+%M --output {usage} {arguments...}")
            .quiet()
            .ignore_stderr()
            .read()
            .with_context(|| format!("{} failed", tool.name()))?;
        let mut wall = begin.elapsed().as_secs_f64();
        let text = sh.read_file(&usage)?;
        sh.remove_path(&usage)?;
        let numbers: Option<Vec<f64>> = text.trim().split('+').map(|n| n.parse().ok()).collect();
        let Some([user, system, peak]) = numbers.as_deref() else {
            anyhow::bail!("time said {text:?}");
        };
        let mut cpu = user + system;
        if tool == Tool::Floor {
            let own: serde_json::Value = serde_json::from_str(&out)?;
            let seconds = |key: &str| own[key].as_f64().with_context(|| format!("no {key}"));
            (wall, cpu) = (seconds("wall_s")?, seconds("cpu_s")?);
        }
        let peak = peak * 1024.0 / 1e6;
        Ok(Cost { wall, cpu, peak })
    }

    /// System calls of one run.
    pub(super) fn calls(&self, tool: Tool, subject: &Subject) -> Result<u64> {
        let volume = self.volume()?;
        let sh = &self.workspace.sh;
        let counts = volume.path().with_extension("calls");
        let arguments = self.arguments(tool, subject, volume.path())?;
        cmd!(sh, "strace -f -c -o {counts} {arguments...}")
            .quiet()
            .run()?;
        let text = sh.read_file(&counts)?;
        sh.remove_path(&counts)?;
        total(&text).with_context(|| format!("strace counted nothing:\n{text}"))
    }

    fn arguments(&self, tool: Tool, subject: &Subject, volume: &Path) -> Result<Vec<String>> {
        let sh = &self.workspace.sh;
        let release = self.workspace.release();
        let (pleach, floor) = (release.join("pleach"), release.join("examples/floor"));
        let (reference, layout, tag) = (subject.reference(), &subject.layout, &subject.tag);
        let out = volume.join("out");
        let image = reference.trim_start_matches("oci:");
        let command: Cmd<'_> = match tool {
            Tool::Pleach => cmd!(sh, "{pleach} unpack {reference} {out}"),
            Tool::LowMemory => cmd!(sh, "{pleach} unpack --low-memory {reference} {out}"),
            Tool::Umoci => cmd!(sh, "umoci raw unpack --image {image} {out}"),
            Tool::Floor => {
                sh.create_dir(&out)?;
                cmd!(sh, "{floor} {layout} {tag} {out}")
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

/// Room for the tree, for what skopeo copies and for large contents on their way.
const BYTES: usize = 6 << 30;
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
