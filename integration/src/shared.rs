//! The run that all tests share: every route booted once, the base image twice.
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

/// The finished run.
#[derive(Debug)]
pub struct Shared {
    /// Its folder.
    pub folder: PathBuf,
    /// What `pleach parity` answered.
    pub answer: Answer,
}

impl Shared {
    /// The run for this setting, made now if nobody has.
    ///
    /// # Errors
    /// When it cannot be made; what `pleach` said is in the error.
    pub fn get(setting: &Setting) -> Result<Self> {
        fs::create_dir_all(&setting.output)?;
        let lock = File::create(setting.output.join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        let folder = setting.output.join("site");
        let stamp = setting.output.join("site.stamp");
        let wanted = wanted(setting)?;
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
            let _ = fs::remove_file(&stamp);
            let answer = run(setting, &folder)?;
            let code = answer.code.context("pleach parity was killed")?;
            anyhow::ensure!(
                code < 2,
                "pleach parity failed with {code}:\n{}",
                answer.stderr
            );
            fs::write(folder.join("stderr"), &answer.stderr)?;
            fs::write(folder.join("code"), code.to_string())?;
            fs::write(&stamp, &wanted)?;
        }
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

fn run(setting: &Setting, folder: &std::path::Path) -> Result<Answer> {
    let (site, folder) = (Setting::site(), folder.display().to_string());
    let (agent, site) = (
        setting.agent.display().to_string(),
        site.display().to_string(),
    );
    setting.pleach(&[
        "parity",
        "--base",
        &setting.base,
        "--config",
        &site,
        "--routes",
        "derive,etc,ignition",
        "--boot",
        "--agent",
        &agent,
        "--output",
        &folder,
    ])
}

/// Whatever would make another run: the base image by digest, the document, the emulator, and the
/// programs by size and time.
fn wanted(setting: &Setting) -> Result<String> {
    let base = setting.pleach(&["inspect", &setting.base, "--format", "json"])?;
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
        fs::read_to_string(Setting::site())?
    );
    for path in [&setting.pleach, &setting.agent] {
        let metadata = fs::metadata(path)?;
        let time = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
        out.push_str(&format!("{} {} {time}\n", path.display(), metadata.len()));
    }
    Ok(out)
}
