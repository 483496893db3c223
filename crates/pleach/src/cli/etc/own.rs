//! The verbs of the ownership ledger, and the way back to the default.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pleach_etc_merge::{Document, Ledger, Machine as Sides, Owner, Selector, Step, restore};
use pleach_fs_tree::{Digest, TreePath};

use super::json::{self, FORMAT_VERSION, Report, Verb};
use super::ledger_file::{self, LedgerFile};
use super::sides::{Etc, Machine, Open};
use super::{entry, print, write};
use crate::cli::exit::End;
use crate::cli::output::Format;

/// The route of a record that only a pin made.
const PIN: &str = "pin";

#[derive(Args)]
struct Common {
    #[command(flatten)]
    machine: Machine,
    /// Print what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The machine with its ledger, which is locked if it is going to be written.
struct At {
    open: Open,
    pristine: Etc,
    current: Etc,
    mounts: Vec<TreePath>,
    ledger: Ledger<Digest>,
    file: Option<LedgerFile>,
}

impl Common {
    fn open(&self) -> Result<At> {
        let open = self.machine.open()?;
        let mut file = match self.dry_run {
            true => None,
            false => Some(LedgerFile::lock(&open.current, &open.current_path)?),
        };
        let ledger = match &mut file {
            Some(file) => std::mem::take(&mut file.ledger),
            None => ledger_file::read(&open.current, &open.current_path)?,
        };
        let (pristine, current, mounts) = open.trees()?;
        Ok(At {
            open,
            pristine,
            current,
            mounts,
            ledger,
            file,
        })
    }

    fn print(&self, verb: Verb, done: Done) -> Result<()> {
        let human = || done.to_string();
        print(self.format, human, || Report::Change {
            format_version: FORMAT_VERSION,
            verb,
            dry_run: self.dry_run,
            steps: json::steps(&done.steps),
            returned: json::returned(&done.returned),
            recorded: json::paths(&done.recorded),
            forgotten: json::paths(&done.forgotten),
        })
    }
}

impl At {
    fn sides(&self) -> Sides<'_, Digest> {
        Sides {
            pristine: &self.pristine,
            current: &self.current,
        }
    }

    /// A path that somebody names. What is mounted cannot be spoken of, and the ledger does not speak
    /// of itself.
    fn path(&self, text: &Path) -> Result<TreePath> {
        let path = self.open.path(text)?;
        if let Some(mount) = self.mounts.iter().find(|mount| path.starts_with(mount)) {
            bail!("{mount} is mounted: what is below is not part of /etc; unmount it first");
        }
        if TreePath::new(ledger_file::PATH)?.starts_with(&path) {
            bail!("{path}: the ownership ledger itself is there; name other paths");
        }
        Ok(path)
    }

    fn is_mounted(&self, path: &TreePath) -> bool {
        self.mounts.iter().any(|mount| path.starts_with(mount))
    }

    /// First the machine, then the ledger: interrupted, it is done again, and finds the default there.
    fn carry_out(self, done: &mut Done) -> Result<()> {
        let Self {
            open,
            pristine,
            current,
            mounts,
            mut ledger,
            file,
        } = self;
        done.forgotten.retain(|path| ledger.remove(path).is_some());
        let Some(mut file) = file else { return Ok(()) };
        let ground = write::Ground {
            pristine: &open.pristine,
            tree: &pristine,
            current: &open.current,
            seen: &current,
            mounts: &mounts,
        };
        write::carry_out(&done.steps, &ground)?;
        if !done.recorded.is_empty() || !done.forgotten.is_empty() {
            file.ledger = ledger;
            file.write()?;
        }
        Ok(())
    }
}

/// What a verb does, or would.
#[derive(Default)]
struct Done {
    steps: Vec<Step>,
    returned: Vec<pleach_etc_merge::Returned>,
    recorded: Vec<TreePath>,
    forgotten: Vec<TreePath>,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Step { path, action } in &self.steps {
            writeln!(f, "{} {path}", action.as_str())?;
        }
        for returned in &self.returned {
            let path = &returned.path;
            match json::outcome(&returned.outcome) {
                (outcome, Some(why)) => writeln!(f, "{outcome} {path}: {why}")?,
                (outcome, None) => writeln!(f, "{outcome} {path}")?,
            }
            if returned.local_before {
                writeln!(
                    f,
                    "{path}: what the machine had before is not kept anywhere"
                )?;
            }
        }
        for path in &self.recorded {
            writeln!(f, "ledger: recorded {path}")?;
        }
        for path in &self.forgotten {
            writeln!(f, "ledger: forgot {path}")?;
        }
        Ok(())
    }
}

/// Bring paths, with all that is below them, back to what the image shipped.
///
/// What the machine has there is lost, and with it the paths' records in the ownership ledger.
#[derive(Args)]
pub(super) struct Restore {
    /// Paths: /etc/motd, or motd.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Restore {
    pub(super) fn run(&self) -> Result<End> {
        let at = self.common.open()?;
        let mut done = Done::default();
        for path in &self.paths {
            let path = at.path(path)?;
            for step in restore(at.sides(), &path)? {
                // A path that is given twice, or below another, is done once.
                if !done.steps.contains(&step) {
                    done.steps.push(step);
                }
            }
            let below = at.ledger.records().map(|(path, _)| path);
            let below = below.filter(|other| other.starts_with(&path));
            done.forgotten.extend(below.cloned());
        }
        done.forgotten.sort();
        done.forgotten.dedup();
        at.carry_out(&mut done)?;
        self.common.print(Verb::Restore, done)?;
        Ok(End::Fine)
    }
}

/// Bring what a document put, or what is recorded below some paths, back to the default.
///
/// What the machine changed since it was put is kept and reported (exit code 1), unless --force says
/// otherwise. What has no record is never touched.
#[derive(Args)]
pub(super) struct Release {
    /// Paths: /etc/motd, or motd.
    #[arg(required_unless_present = "document")]
    paths: Vec<PathBuf>,
    /// A document that is withdrawn: the file as it was, or the digest of it (sha256:…).
    #[arg(long, value_name = "FILE|DIGEST", conflicts_with = "paths")]
    document: Option<PathBuf>,
    /// Also what the machine changed since.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

impl Release {
    pub(super) fn run(&self) -> Result<End> {
        let at = self.common.open()?;
        let mut done = Done::default();
        let mut take = |selector: Selector<'_>| -> Result<()> {
            let back = at.ledger.release(selector, at.sides(), self.force)?;
            done.forgotten.extend(back.forgotten().cloned());
            let steps = back.steps.into_iter();
            let new: Vec<_> = steps.filter(|step| !done.steps.contains(step)).collect();
            done.steps.extend(new);
            // A record that two of the paths cover is told once.
            for returned in back.returned {
                if !done.returned.contains(&returned) {
                    done.returned.push(returned);
                }
            }
            Ok(())
        };
        if let Some(document) = &self.document {
            take(Selector::Document(&document_digest(document)?))?;
        }
        for path in &self.paths {
            take(Selector::Path(&at.path(path)?))?;
        }
        done.forgotten.sort();
        done.forgotten.dedup();
        let kept = done
            .returned
            .iter()
            .any(|r| matches!(r.outcome, pleach_etc_merge::Outcome::Kept(_)));
        at.carry_out(&mut done)?;
        self.common.print(Verb::Release, done)?;
        Ok(if kept { End::Differs } else { End::Fine })
    }
}

fn document_digest(document: &Path) -> Result<String> {
    match document.to_str().map(entry::digest) {
        Some(Ok(digest)) => Ok(digest.to_string()),
        _ => Ok(read_document(document)?.digest),
    }
}

pub(super) fn read_document(path: &Path) -> Result<Document> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Document {
        name: path.display().to_string(),
        digest: Digest::of(&bytes).to_string(),
    })
}

/// Record that somebody wants paths, with all that is below them, as they are now.
#[derive(Args)]
pub(super) struct Adopt {
    /// Paths: /etc/motd, or motd.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// On which way they came, as one word: etc, ignition, cloud-init, kickstart, hand, …
    #[arg(long, value_name = "WORD", default_value = "hand", value_parser = route)]
    route: String,
    /// The document that asks for them.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Pin them too: the next image does not replace them.
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    common: Common,
}

/// `pin` is taken: a record of that route goes with its pin.
fn route(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(fits) {
        false => Err("not one word of a-z, 0-9 and -".to_owned()),
        true if text == PIN => Err("pin is what `pleach etc pin` records; name another".to_owned()),
        true => Ok(text.to_owned()),
    }
}

impl Adopt {
    pub(super) fn run(&self) -> Result<End> {
        let document = self.document.as_deref().map(read_document).transpose()?;
        let owner = Owner {
            route: self.route.clone(),
            document,
            place: None,
        };
        let mut at = self.common.open()?;
        let mut done = Done::default();
        for path in &self.paths {
            let path = at.path(path)?;
            for (path, record) in at.ledger.adopt(at.sides(), &path, &owner, self.pin)? {
                if at.is_mounted(&path) {
                    continue;
                }
                at.ledger.insert(path.clone(), record);
                done.recorded.push(path);
            }
        }
        at.carry_out(&mut done)?;
        self.common.print(Verb::Adopt, done)?;
        Ok(End::Fine)
    }
}

/// Keep paths as the machine has them, whatever the next image ships there: also where they equal the
/// default now, and where there is nothing.
#[derive(Args)]
pub(super) struct Pin {
    /// Paths: /etc/motd, or motd. A directory pins what is below it.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Take the pin away.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    common: Common,
}

impl Pin {
    pub(super) fn run(&self) -> Result<End> {
        let owner = Owner {
            route: PIN.to_owned(),
            document: None,
            place: None,
        };
        let mut at = self.common.open()?;
        let mut done = Done::default();
        for path in &self.paths {
            let path = at.path(path)?;
            let mut record = match (at.ledger.get(&path), self.remove) {
                (Some(record), _) => record.clone(),
                (None, true) => {
                    let what = path.to_string();
                    return Err(pleach_etc_merge::Error::NotInLedger { what }.into());
                }
                // Of what is below only the pin is needed.
                (None, false) => {
                    let adopted = at.ledger.adopt(at.sides(), &path, &owner, true)?;
                    let mut here = adopted.into_iter().filter(|(other, _)| *other == path);
                    let (_, record) = here.next().with_context(|| {
                        format!("{path} is a socket, pipe or device: no merge carries it")
                    })?;
                    record
                }
            };
            if self.remove && record.owner.route == PIN {
                done.forgotten.push(path);
                continue;
            }
            record.pinned = !self.remove;
            at.ledger.insert(path.clone(), record);
            done.recorded.push(path);
        }
        at.carry_out(&mut done)?;
        self.common.print(Verb::Pin, done)?;
        Ok(End::Fine)
    }
}
