//! An upgrade in two parts: all that takes time now, `/etc` and the switch when the machine shuts down.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use clap::Args;
use pleach_deployment::{Deployment, Record, Staged, Writer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Machine, Next, Where, etc};
use crate::cli::exit::End;
use crate::cli::output;

/// Where it is remembered, below the sysroot; what libostree remembers in /run would not outlast a shutdown
/// that went wrong.
const FILE: &str = "ostree/pleach/staged.json";
const FOLDER: &str = "ostree/pleach";

/// Carry out what `upgrade --stage` prepared; a machine does so when it shuts down.
///
/// /etc is planned anew, since it may have changed. What fails is told by `status` until the next upgrade.
#[derive(Args)]
pub(crate) struct Finalize {
    #[command(flatten)]
    machine: Where,
}

/// What is prepared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prepared {
    staged: Staged,
    /// The deployment whose /etc is to be merged into it.
    from: std::path::PathBuf,
    record: Record,
    /// Why it was not carried out, if it was tried.
    failed: Option<String>,
}

/// The version of the file's form.
const FORMAT_VERSION: u32 = 1;

/// How it is remembered: nothing is taken for good of which a part is missing or another's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format_version: u32,
    /// Of what is prepared, without spaces.
    sha256: String,
    prepared: Prepared,
}

impl File {
    fn new(prepared: &Prepared) -> serde_json::Result<Self> {
        Ok(Self {
            format_version: FORMAT_VERSION,
            sha256: digest(prepared)?,
            prepared: prepared.clone(),
        })
    }

    /// What is prepared, or why that is not known.
    fn parse(text: &[u8]) -> Result<Prepared> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        if let Ok(Version { format_version }) = serde_json::from_slice(text)
            && format_version != FORMAT_VERSION
        {
            bail!("it is of format version {format_version}, which is not known");
        }
        let file: Self = serde_json::from_slice(text).context("it is not whole")?;
        if digest(&file.prepared)? != file.sha256 {
            bail!("it is not whole: it has another digest");
        }
        Ok(file.prepared)
    }
}

fn digest(prepared: &Prepared) -> serde_json::Result<String> {
    let text = serde_json::to_vec(prepared)?;
    Ok(hex::encode(Sha256::digest(&text)))
}

/// What a machine remembers.
enum Remembered {
    Nothing,
    Prepared(Box<Prepared>),
    /// Nobody knows what it was, and so it is not carried out.
    Damaged(anyhow::Error),
}

fn remembered(machine: &Machine) -> Remembered {
    let parsed = match machine.dir.read(FILE) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Remembered::Nothing,
        read => read.map_err(Into::into).and_then(|text| File::parse(&text)),
    };
    match parsed {
        Ok(prepared) => Remembered::Prepared(Box::new(prepared)),
        Err(error) => Remembered::Damaged(
            error
                .context(format!("reading {FILE}"))
                .context("what was staged is lost: run `pleach deploy upgrade` again"),
        ),
    }
}

/// Whether something is prepared that was not tried yet.
pub(super) fn is_waiting(machine: &Machine) -> bool {
    matches!(remembered(machine), Remembered::Prepared(prepared) if prepared.failed.is_none())
}

/// For `status`, which tells whatever there is: a power cut, another program or an older one may have left
/// it.
pub(super) fn told(machine: &Machine, all: &[Deployment]) -> Value {
    let (prepared, failed) = match remembered(machine) {
        Remembered::Nothing => return Value::Null,
        Remembered::Damaged(error) => (None, Some(format!("{error:#}"))),
        Remembered::Prepared(prepared) => {
            let obstacle = || obstacle(machine, all, &prepared).err();
            let failed = prepared.failed.clone();
            let failed = failed.or_else(|| obstacle().map(|error| error.to_string()));
            (Some(prepared), failed)
        }
    };
    let path = prepared.as_ref().map(|prepared| &prepared.staged.path);
    let deployed = path.is_some_and(|path| all.iter().any(|d| d.path == *path));
    json!({
        "image": prepared.as_ref().and_then(|prepared| prepared.record.image.clone()),
        "etc": prepared.as_ref().and_then(|prepared| prepared.record.etc.clone()),
        "path": path.map(|path| path.display().to_string()),
        "deployed": deployed,
        "failed": failed,
    })
}

/// What is in the way of carrying it out: it is an error. A machine that boots it already has none.
fn obstacle<'a>(
    machine: &Machine,
    all: &'a [Deployment],
    prepared: &Prepared,
) -> Result<Option<&'a Deployment>> {
    let find = |path: &Path| all.iter().find(|d| d.path == path);
    if find(&prepared.staged.path).is_some() {
        return Ok(None);
    }
    let current = find(&prepared.from).with_context(|| {
        format!(
            "{} is gone, whose /etc was to be merged: run `pleach deploy upgrade` again",
            prepared.from.display()
        )
    })?;
    if machine.sysroot.staged_root(&prepared.staged).is_err() {
        bail!(
            "{} is gone: another program has cleaned up. Run `pleach deploy upgrade` again",
            prepared.staged.path.display()
        );
    }
    Ok(Some(current))
}

/// Checks the next deployment out and plans its /etc.
pub(super) fn prepare(
    machine: &Machine,
    writer: &Writer<'_>,
    current: &Deployment,
    next: Next<'_>,
) -> Result<()> {
    // One that was prepared before this one is no longer wanted.
    forget(machine)?;
    writer.remove(&[])?;
    let mut staged = writer.stage(&next.options)?;
    let now = machine.arguments(current)?;
    staged.kernel_arguments = (next.arguments)(&now, &staged.kernel_arguments);
    let planned = etc::preview(&machine.sysroot, current, &staged)?;
    output::step(&planned.summary);
    let mut record = next.record;
    record.etc = Some(planned.plan);
    settle(machine)?;
    write(
        machine,
        &Prepared {
            staged,
            from: current.path.clone(),
            record,
            failed: None,
        },
    )?;
    if machine.booted.is_some() {
        unit::start()?;
    }
    Ok(())
}

/// Nothing is prepared any more.
pub(super) fn forget(machine: &Machine) -> Result<()> {
    let remove = || match machine.dir.remove_file(FILE) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| machine.dir.open(FOLDER)?.sync_all()),
    };
    remove().with_context(|| format!("removing {FILE}"))
}

/// What is staged is on the disk, whole, before anything says that it is staged.
fn settle(machine: &Machine) -> Result<()> {
    let settle = || rustix::fs::syncfs(machine.dir.open("ostree")?).map_err(std::io::Error::from);
    settle().context("syncing the file system of what is staged")
}

fn write(machine: &Machine, prepared: &Prepared) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let part = format!("{FILE}.part");
        machine.dir.create_dir_all(FOLDER)?;
        // Its own name, too: it may be new.
        machine.dir.open("ostree")?.sync_all()?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = machine.dir.open_with(&part, &options)?;
        file.write_all(&serde_json::to_vec_pretty(&File::new(prepared)?)?)?;
        file.sync_all()?;
        machine.dir.rename(&part, &machine.dir, FILE)?;
        machine.dir.open(FOLDER)?.sync_all()
    };
    write().with_context(|| format!("writing {FILE}"))
}

impl Finalize {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy finalize")?;
        let writer = machine.writer()?;
        let mut prepared = match remembered(&machine) {
            Remembered::Prepared(prepared) => prepared,
            Remembered::Damaged(error) => return Err(error),
            Remembered::Nothing => {
                output::print("nothing is staged\n")?;
                return Ok(End::Fine);
            }
        };
        match carry_out(&machine, &writer, &prepared) {
            Ok(done) => {
                // The machine boots it, whatever is remembered.
                let done = done.then(forget(&machine));
                let image = prepared.record.image.as_ref();
                let shown = image.map(|image| format!("{}@{}", image.reference, image.digest));
                let shown = shown.unwrap_or_else(|| prepared.staged.path.display().to_string());
                let told = format!("{shown}\n  deployed: the machine boots it next\n");
                Ok(done.then(output::print(&told)).end())
            }
            Err(error) => {
                prepared.failed = Some(format!("{error:#}"));
                if let Err(unwritten) = write(&machine, &prepared) {
                    output::step(&format!("status will not tell of it: {unwritten:#}"));
                }
                Err(error)
            }
        }
    }
}

fn carry_out(
    machine: &Machine,
    writer: &Writer<'_>,
    prepared: &Prepared,
) -> Result<super::Committed> {
    let all = machine.sysroot.deployments()?;
    let Some(current) = obstacle(machine, &all, prepared)? else {
        // The entry was written, and then the power failed.
        return machine.settle(writer);
    };
    let mut staged = prepared.staged.clone();
    // Kernel arguments that were changed since.
    let now = machine.arguments(current)?;
    staged.kernel_arguments = now.with_image(staged.kernel_arguments.image);
    writer.reopen(&staged)?;
    let before = prepared.record.etc.as_ref();
    let merged = etc::merge_later(&machine.sysroot, current, &staged, before)?;
    output::step(&merged.summary);
    let mut record = prepared.record.clone();
    record.etc = Some(merged.plan);
    machine.commit(writer, &staged, &record)
}

/// The unit that finalizes. It is made where it is needed, so an image need not bring it.
mod unit {
    use std::path::Path;
    use std::process::Command;

    use anyhow::{Context as _, Result, bail};

    const NAME: &str = "pleach-finalize-staged.service";
    const FOLDER: &str = "/run/systemd/system";

    /// What runs when it stops, which is when the machine shuts down: everything that writes to /etc has
    /// ended then, and the file systems are still there.
    pub(super) fn text(program: &Path) -> String {
        let program = program.display();
        format!(
            "[Unit]\n\
             Description=Deploy what pleach staged\n\
             DefaultDependencies=no\n\
             RequiresMountsFor=/sysroot /boot\n\
             After=local-fs.target\n\
             Before=basic.target final.target\n\
             Conflicts=final.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart=/bin/true\n\
             ExecStop={program} deploy finalize\n\
             TimeoutStopSec=5m\n\
             ProtectHome=no\n\
             MountFlags=slave\n"
        )
    }

    pub(super) fn start() -> Result<()> {
        let program = std::env::current_exe().context("finding this program")?;
        std::fs::create_dir_all(FOLDER).with_context(|| format!("creating {FOLDER}"))?;
        let path = Path::new(FOLDER).join(NAME);
        std::fs::write(&path, text(&program))
            .with_context(|| format!("writing {}", path.display()))?;
        for arguments in [&["daemon-reload"][..], &["start", NAME]] {
            let status = Command::new("systemctl").args(arguments).status();
            let status = status.context("running systemctl")?;
            if !status.success() {
                bail!(
                    "systemctl {} failed ({status}), so nothing will finalize at shutdown; `pleach deploy finalize` does it by hand",
                    arguments.join(" ")
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_torn_is_taken_for_good() {
        let prepared = |fill: &str| Prepared {
            staged: Staged {
                stateroot: "default".into(),
                path: "ostree/deploy/default/deploy/0.0".into(),
                boot_checksum: fill.repeat(64),
                kernel_arguments: Default::default(),
            },
            from: "ostree/deploy/default/deploy/1.0".into(),
            record: Record::default(),
            failed: None,
        };
        let text = |fill: &str| {
            serde_json::to_vec_pretty(&File::new(&prepared(fill)).expect("a file")).expect("text")
        };
        let (whole, other) = (text("a"), text("b"));
        File::parse(&whole).expect("the whole");
        let check = |text: &[u8], what: &str| {
            let parsed = File::parse(text);
            assert!(parsed.is_err(), "{what}: {parsed:?}");
        };
        for end in 0..whole.len() {
            check(&whole[..end], &format!("its first {end} bytes"));
            let mut holes = whole.clone();
            holes[end..].fill(0);
            check(&holes, &format!("zeros from byte {end}"));
            let mixed = [&whole[..end], &other[end..]].concat();
            if mixed != whole && mixed != other {
                check(&mixed, &format!("another one from byte {end}"));
            }
        }
        let later = String::from_utf8(whole).expect("text");
        let later = later.replace("\"format_version\": 1", "\"format_version\": 2");
        let error = File::parse(later.as_bytes()).expect_err("a later one");
        assert!(error.to_string().contains("format version 2"), "{error:#}");
    }
}
