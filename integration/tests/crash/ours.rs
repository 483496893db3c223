//! Deployments as `pleach deploy` changes them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use pleach_integration::crash::campaign::{self, Again, Case, Options, Outcome, Recorded, Then};
use pleach_integration::crash::log::Log;
use pleach_integration::crash::mount::{FileSystem, Mounted};
use pleach_integration::crash::oracle::Expected;
use pleach_integration::crash::state::{Cut, Recording};
use pleach_integration::crash::view::View;

use crate::{Room, all, kinds, system, with};

/// The program, and images for it.
pub(crate) struct Pleach {
    program: PathBuf,
    layout: PathBuf,
    esp: PathBuf,
}

impl Pleach {
    pub(crate) fn new(room: &Room) -> Result<Self> {
        let program = std::env::var_os("PLEACH_BIN");
        let program = program.context("PLEACH_BIN is not set; run: cargo xtask test --tier vm")?;
        Ok(Self {
            program: program.into(),
            layout: system::images(&room.folder, 3)?,
            esp: room.folder.join("esp"),
        })
    }

    /// The folder that stands for an EFI system partition.
    pub(crate) fn esp(&self) -> &Path {
        &self.esp
    }

    /// The arguments of a verb; `v1` and so on stand for images, `AT` for where the disk is mounted, `ESP`
    /// for the EFI system partition.
    pub(crate) fn command(&self, at: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of this machine's may be in what is written.
        command
            .env("TZ", "UTC")
            .env_remove("CONTAINERS_REGISTRIES_CONF");
        command.arg("deploy");
        for argument in arguments {
            match *argument {
                "AT" => command.arg(at),
                "ESP" => command.arg(&self.esp),
                "v1" | "v2" | "v3" => {
                    command.arg(format!("oci:{}:{argument}", self.layout.display()))
                }
                other => command.arg(other),
            };
        }
        command
    }

    /// A disk on which a machine has come to where `steps` lead, with local changes of its own.
    pub(crate) fn disk(&self, room: &Room, kind: FileSystem, steps: &[&[&str]]) -> Result<PathBuf> {
        let disk = room.folder.join("base.img");
        kind.format(&disk, kind.least_mib())?;
        let mounted = Mounted::new(&disk, &room.folder.join("make"), kind)?;
        let installed = Outcome::of(&mut self.command(mounted.path(), INSTALL))?;
        ensure!(installed.done, "{}", installed.said);
        let view = View::read(mounted.path())?;
        let first = view.chosen().context("an installed deployment")?;
        let (stateroot, name) = first.deployment.split_once('/').context("its name")?;
        let folder = mounted.path().join("ostree/deploy").join(stateroot);
        let etc = folder.join("deploy").join(name).join("etc");
        system::local_changes(&etc, &folder.join("var"))?;
        for step in steps {
            let outcome = Outcome::of(&mut self.command(mounted.path(), step))?;
            ensure!(outcome.done, "{}", outcome.said);
        }
        mounted.unmount()?;
        Ok(disk)
    }
}

pub(crate) const INSTALL: &[&str] = &[
    "install",
    "v1",
    "--layout",
    "direct",
    "--target",
    "AT",
    "--root",
    "LABEL=root",
];
pub(crate) const UPGRADE: &[&str] = &["switch", "--sysroot", "AT", "v2"];

pub(crate) const STAGE: &[&str] = &["switch", "--sysroot", "AT", "--stage", "v2"];

/// What is done to a machine's deployments.
pub(crate) struct Doing {
    pub(crate) name: &'static str,
    /// What is done before that, after an installation.
    pub(crate) before: &'static [&'static [&'static str]],
    pub(crate) what: &'static [&'static str],
    pub(crate) again: Again,
    /// Different states of it.
    pub(crate) states: usize,
}

pub(crate) const DOINGS: &[Doing] = &[
    // With the merge of /etc.
    Doing {
        name: "upgrade",
        before: &[],
        what: UPGRADE,
        again: Again::End,
        states: 350,
    },
    Doing {
        name: "rollback",
        before: &[UPGRADE],
        what: &["rollback", "--sysroot", "AT"],
        again: Again::Back,
        states: 150,
    },
    // A third one, for which the first one goes.
    Doing {
        name: "collect",
        before: &[UPGRADE],
        what: &["switch", "--sysroot", "AT", "v3"],
        again: Again::End,
        states: 250,
    },
    Doing {
        name: "kargs",
        before: &[],
        what: &["kargs", "--sysroot", "AT", "--append", "local=1"],
        again: Again::End,
        states: 150,
    },
    // To an image that the machine had and has no more.
    Doing {
        name: "switch",
        before: &[UPGRADE, &["switch", "--sysroot", "AT", "v3"]],
        what: &["switch", "--sysroot", "AT", "v1", "--allow-downgrade"],
        again: Again::End,
        states: 150,
    },
    Doing {
        name: "staging",
        before: &[],
        what: STAGE,
        again: Again::End,
        states: 150,
    },
    Doing {
        name: "finalize",
        before: &[STAGE],
        what: FINALIZE,
        again: Again::End,
        states: 150,
    },
    Doing {
        name: "reset",
        before: &[],
        what: &["factory-reset", "--sysroot", "AT"],
        again: Again::End,
        states: 150,
    },
];

impl Doing {
    /// The disk on which it begins.
    pub(crate) fn disk(&self, room: &Room, pleach: &Pleach, kind: FileSystem) -> Result<PathBuf> {
        pleach.disk(room, kind, self.before)
    }
}

pub(crate) fn doing(name: &str) -> &'static Doing {
    DOINGS
        .iter()
        .find(|doing| doing.name == name)
        .expect("one of them")
}

fn survives(name: &str) {
    with(name, true, |room| {
        if let Some(kept) = std::env::var_os("PLEACH_CRASH") {
            return replay(room, doing(name), Path::new(&kept));
        }
        kinds()
            .into_iter()
            .try_for_each(|kind| survives_on(room, doing(name), kind))
    });
}

/// Half of the states are of a run while others make their own writes last, half of one while nobody does.
fn survives_on(room: &Room, doing: &Doing, kind: FileSystem) -> Result<()> {
    let pleach = Pleach::new(room)?;
    let base = doing.disk(room, &pleach, kind)?;
    let commands = Commands::new(room, &pleach, doing, &base, kind)?;
    let wanted = doing.states * if all() { 10 } else { 1 };
    let (mut states, mut seen) = (0, HashSet::new());
    for busy in [false, true] {
        let case = commands.case(&base, kind, busy);
        let recorded = case.record(&room.folder)?;
        let Expected { start, end } = &recorded.expected;
        ensure!(
            start.chosen() != end.chosen() || start.staged != end.staged,
            "it changes nothing"
        );
        // The state before all is that of both runs.
        let options = room.options(wanted / 2 + usize::from(busy));
        let mut cuts = campaign::cuts(&recorded, &options);
        cuts.retain(|cut| seen.insert(recorded.recording.disk(*cut).digest()));
        let lossy = cuts.iter().filter(|cut| cut.seed.is_some()).count();
        let report = campaign::look(&case, &recorded, &options, &cuts)?;
        room.say(&format!(
            "{}{}: {}; {lossy} lose writes; {} entries, {} flushes",
            kind.name(),
            if busy { ", busy" } else { "" },
            report.line(),
            recorded.recording.len(),
            recorded.recording.flushes()
        ));
        if !report.failures.is_empty() {
            let kept = room.keep(&case, &recorded)?;
            anyhow::bail!("{}", report.failures(&case, &kept));
        }
        states += report.states;
    }
    ensure!(states * 10 >= wanted * 9, "only {states} different states");
    Ok(())
}

const STATUS: &[&str] = &["status", "--sysroot", "AT"];
const FINALIZE: &[&str] = &["finalize", "--sysroot", "AT"];

type Make<'a> = Box<dyn Fn(&Path) -> Command + Sync + 'a>;

/// What is run on the states of a case.
pub(crate) struct Commands<'a> {
    doing: &'a Doing,
    what: Make<'a>,
    tell: Make<'a>,
    finalize: Make<'a>,
    /// Where what is staged comes to.
    end: Option<View>,
}

impl<'a> Commands<'a> {
    pub(crate) fn new(
        room: &Room,
        pleach: &'a Pleach,
        doing: &'a Doing,
        base: &Path,
        kind: FileSystem,
    ) -> Result<Self> {
        let make = |arguments: &'static [&'static str]| -> Make<'a> {
            Box::new(move |at: &Path| pleach.command(at, arguments))
        };
        let mut end = None;
        if doing.what == STAGE {
            let disk = room.folder.join("then.img");
            std::fs::copy(base, &disk)?;
            let mounted = Mounted::new(&disk, &room.folder.join("then"), kind)?;
            for step in [STAGE, FINALIZE] {
                let outcome = Outcome::of(&mut pleach.command(mounted.path(), step))?;
                ensure!(outcome.done, "{}", outcome.said);
            }
            end = Some(View::read(mounted.path())?);
            mounted.unmount()?;
            std::fs::remove_file(&disk)?;
        }
        Ok(Self {
            doing,
            what: make(doing.what),
            tell: make(STATUS),
            finalize: make(FINALIZE),
            end,
        })
    }

    pub(crate) fn case(&self, base: &Path, kind: FileSystem, busy: bool) -> Case<'_> {
        Case {
            name: self.doing.name.to_owned(),
            kind,
            base: base.to_owned(),
            command: &self.what,
            again: self.doing.again,
            tell: Some(&self.tell),
            then: self.end.as_ref().map(|end| Then {
                command: &self.finalize,
                end,
            }),
            busy,
        }
    }
}

/// One state again, by the line that a failure printed.
fn replay(room: &Room, doing: &Doing, kept: &Path) -> Result<()> {
    let kinds = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs];
    let name = kept
        .file_name()
        .context("a folder")?
        .to_string_lossy()
        .into_owned();
    let name = name.trim_end_matches("-busy");
    let kind = kinds
        .into_iter()
        .find(|kind| name == format!("{}-{}", doing.name, kind.name()));
    let kind = kind.with_context(|| format!("{name} is of another test"))?;
    let cut: Cut = std::env::var("PLEACH_CUT")
        .context("PLEACH_CUT is not set")?
        .parse()?;
    let pleach = Pleach::new(room)?;
    let base = kept.join("base.img");
    let commands = Commands::new(room, &pleach, doing, &base, kind)?;
    let case = commands.case(&base, kind, false);
    let exit = std::fs::read_to_string(kept.join("exit"))?
        .trim()
        .parse()
        .ok();
    let log = Log::read(&kept.join("log.img"))?;
    let recording = Recording::new(std::fs::read(&case.base)?, log, kind.whole())?;
    recording
        .disk(cut)
        .write(&std::fs::File::create(kept.join("state.img"))?)?;
    let recorded = Recorded::new(recording, exit, kind, &room.folder)?;
    let options = Options {
        again_every: 1,
        ..room.options(1)
    };
    let report = campaign::look(&case, &recorded, &options, &[cut])?;
    ensure!(
        report.failures.is_empty(),
        "{}the state: {}/state.img",
        report.failures(&case, kept),
        kept.display()
    );
    Ok(())
}

#[test]
fn upgrade() {
    survives("upgrade");
}

#[test]
fn rollback() {
    survives("rollback");
}

#[test]
fn collect() {
    survives("collect");
}

#[test]
fn kargs() {
    survives("kargs");
}

#[test]
fn switch() {
    survives("switch");
}

#[test]
fn staging() {
    survives("staging");
}

#[test]
fn finalize() {
    survives("finalize");
}

#[test]
fn reset() {
    survives("reset");
}
