//! The runs that tests share: every route booted once, the base image twice.
//!
//! Tests may be threads of one process or processes of their own (nextest): the first that comes
//! makes the run under a lock, the others find it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use pleach_booted_state::Snapshot;
use pleach_parity::{Facts, Report};
use rustix::fs::FlockOperation;

use crate::setting::{Answer, Setting};

/// What a run is of.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Of its folder, and of the document in `fixtures/customizations`.
    pub name: &'static str,
    /// The variant of the base image, if it is not the base image itself.
    pub variant: Option<&'static str>,
    /// The document, in `fixtures/customizations`.
    pub document: &'static str,
    /// The routes.
    pub routes: &'static [&'static str],
    /// Files that only their owner may read and that hold no secret.
    pub publish: &'static [&'static str],
}

/// The demo's: what the routes do that act before the system starts.
pub const SITE: Run = Run {
    name: "site",
    variant: None,
    document: "site.bu",
    routes: &["derive", "etc", "ignition"],
    publish: &[],
};

/// Every field that all of five routes carry, by all five. Some of its files are private, which a layer
/// has only where they are published.
pub const EVERY: Run = Run {
    name: "every",
    variant: Some("cloud-init"),
    document: "every.bu",
    routes: &["derive", "etc", "ignition", "cloud-init", "credentials"],
    publish: &["/etc/ssh/sshd_config.d/30-every.conf", "/home/dave/notes"],
};

/// The same document in two parts, a layer and what is left to `/etc`.
pub const SPLIT: Run = Run {
    name: "split",
    variant: None,
    document: "every.bu",
    routes: &["derive", "etc", "split"],
    publish: EVERY.publish,
};

impl Run {
    fn document(&self) -> PathBuf {
        Setting::site().with_file_name(self.document)
    }

    fn base(&self, setting: &Setting) -> Result<String> {
        match self.variant {
            Some(variant) => Setting::variant(variant, "v1"),
            None => Ok(setting.base.clone()),
        }
    }
}

/// The finished run.
#[derive(Debug)]
pub struct Shared {
    /// Its folder.
    pub folder: PathBuf,
    /// What `pleach parity` answered.
    pub answer: Answer,
}

impl Shared {
    /// The demo's run for this setting, made now if nobody has.
    ///
    /// # Errors
    /// When it cannot be made; what `pleach` said is in the error.
    pub fn get(setting: &Setting) -> Result<Self> {
        Self::of(setting, &SITE)
    }

    /// A run for this setting, made now if nobody has.
    ///
    /// # Errors
    /// When it cannot be made; what `pleach` said is in the error.
    pub fn of(setting: &Setting, run: &Run) -> Result<Self> {
        fs::create_dir_all(&setting.output)?;
        let lock = File::create(setting.output.join(format!("{}.lock", run.name)))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        let folder = setting.output.join(run.name);
        let (stamp, wanted) = (stamp(setting, run), wanted(setting, run)?);
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
            let _ = fs::remove_file(&stamp);
            let answer = make(setting, run, &folder)?;
            let code = answer.code.context("pleach parity was killed")?;
            anyhow::ensure!(
                code < 2,
                "pleach parity failed with {code}:\n{}",
                answer.stderr
            );
            fs::write(folder.join("stderr"), &answer.stderr)?;
            fs::write(folder.join("code"), code.to_string())?;
            if code == 0 {
                discard(&folder)?;
            }
            fs::write(&stamp, &wanted)?;
        }
        Self::read(folder)
    }

    /// The demo's run for this setting, if a test has made it.
    ///
    /// # Errors
    /// When the base image or what the run left cannot be read.
    pub fn if_made(setting: &Setting) -> Result<Option<Self>> {
        let there = fs::read_to_string(stamp(setting, &SITE)).ok();
        match there == Some(wanted(setting, &SITE)?) {
            true => Self::read(setting.output.join(SITE.name)).map(Some),
            false => Ok(None),
        }
    }

    fn read(folder: PathBuf) -> Result<Self> {
        let read = |name: &str| {
            fs::read_to_string(folder.join(name)).with_context(|| format!("reading {name}"))
        };
        let answer = Answer {
            code: Some(read("code")?.parse()?),
            stdout: read("report.txt")?,
            stderr: read("stderr")?,
        };
        Ok(Self { folder, answer })
    }

    /// The report.
    ///
    /// # Errors
    /// When it is missing or no report.
    pub fn report(&self) -> Result<Report> {
        Ok(serde_json::from_slice(&fs::read(
            self.folder.join("report.json"),
        )?)?)
    }

    /// What is known of the customization.
    ///
    /// # Errors
    /// When it is missing.
    pub fn facts(&self) -> Result<Facts> {
        Ok(serde_json::from_slice(&fs::read(
            self.folder.join("facts.json"),
        )?)?)
    }

    /// The capture of one boot: `base-1`, `base-2`, or a route.
    ///
    /// # Errors
    /// When it is missing.
    pub fn snapshot(&self, boot: &str) -> Result<Snapshot> {
        let path = self.folder.join("boots").join(boot).join("snapshot.json");
        let json = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Snapshot::from_json(&json)?)
    }
}

/// The disk of a route that a test copies.
pub const KEPT: &str = "etc.img";

/// Removes the disks of a run without defects, but for [`KEPT`].
fn discard(folder: &std::path::Path) -> Result<()> {
    let (disk, aside) = (folder.join(KEPT), folder.with_extension("kept"));
    fs::rename(&disk, &aside)?;
    crate::disk::discard(folder)?;
    Ok(fs::rename(&aside, &disk)?)
}

/// Where it is kept what a run was made of.
fn stamp(setting: &Setting, run: &Run) -> PathBuf {
    setting.output.join(format!("{}.stamp", run.name))
}

fn make(setting: &Setting, run: &Run, folder: &std::path::Path) -> Result<Answer> {
    let base = run.base(setting)?;
    let routes = run.routes.join(",");
    let paths = [&run.document(), folder, &setting.agent].map(|path| path.display().to_string());
    let [document, folder, agent] = paths.each_ref().map(String::as_str);
    let mut arguments = vec!["parity", "--boot", "--base", &base, "--config", document];
    arguments.extend(run.publish.iter().flat_map(|path| ["--publish", *path]));
    arguments.extend(["--routes", &routes, "--agent", agent, "--output", folder]);
    setting.pleach(&arguments)
}

/// Whatever would make another run: the base image by digest, the document, the emulator, and the
/// programs by size and time.
fn wanted(setting: &Setting, run: &Run) -> Result<String> {
    let base = setting.pleach(&["inspect", &run.base(setting)?, "--format", "json"])?;
    anyhow::ensure!(
        base.code == Some(0),
        "inspecting the base image: {}",
        base.stderr
    );
    let base: serde_json::Value = serde_json::from_str(&base.stdout)?;
    let qemu = std::process::Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()?
        .stdout;
    let mut out = format!(
        "{}\n{}\n{}\n",
        base["digest"],
        String::from_utf8_lossy(&qemu),
        fs::read_to_string(run.document())?
    );
    out.push_str(&format!("{}\n{:?}\n", run.routes.join(","), run.publish));
    for path in [&setting.pleach, &setting.agent] {
        let metadata = fs::metadata(path)?;
        let time = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
        out.push_str(&format!("{} {} {time}\n", path.display(), metadata.len()));
    }
    Ok(out)
}
