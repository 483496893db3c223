//! The verbs that only look: `diff`, `why`, `policies`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use pleach_etc_merge::{NoiseModel, drift};
use pleach_fs_tree::TreePath;

use super::json::{self, FORMAT_VERSION, Report};
use super::policy::{self, Effective};
use super::sides::{Machine, Open};
use super::{ledger_file, print};
use crate::cli::exit::End;
use crate::cli::image::open_dir;
use crate::cli::output::Format;

/// Print where the machine is not what its image shipped, and which of that is to be expected.
#[derive(Args)]
pub(super) struct Diff {
    #[command(flatten)]
    machine: Machine,
    /// Print what is explained, too, path by path.
    #[arg(long)]
    all: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Diff {
    pub(super) fn run(&self) -> Result<End> {
        let open = self.machine.open()?;
        let (pristine, current, mounts) = open.trees()?;
        let ledger = ledger_file::read(&open.current, &open.current_path)?;
        let machine = pleach_etc_merge::Machine {
            pristine: &pristine,
            current: &current,
        };
        let drift = drift(machine, &NoiseModel::shipped(), &ledger);
        let human = || {
            let text = match self.all {
                true => format!("{drift:#}"),
                false => drift.to_string(),
            };
            text + &mounted(&mounts)
        };
        print(self.format, human, || json::diff(&drift, &mounts))?;
        Ok(match drift.unexplained().next() {
            Some(_) => End::Differs,
            None => End::Fine,
        })
    }
}

/// One line for each mount point.
pub(super) fn mounted(mounts: &[TreePath]) -> String {
    let line = |path: &TreePath| format!("{path}: mounted; what is below counts as untouched\n");
    mounts.iter().map(line).collect()
}

/// The rules in force on a machine.
pub(super) fn effective(open: &Open, shipped: bool) -> Result<Effective> {
    let root = Some((&open.root, &*open.root_path));
    let etc = Some((&open.current, &*open.current_path));
    Effective::read(root, etc, shipped)
}

/// Say what is known of a path: what it is against the default, who put it, which policy covers it.
#[derive(Args)]
pub(super) struct Why {
    /// Paths: /etc/motd, or motd.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    machine: Machine,
    /// Without the policies that come with pleach.
    #[arg(long)]
    no_shipped_policies: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Why {
    pub(super) fn run(&self) -> Result<End> {
        let open = self.machine.open()?;
        let (pristine, current, _) = open.trees()?;
        let ledger = ledger_file::read(&open.current, &open.current_path)?;
        let machine = pleach_etc_merge::Machine {
            pristine: &pristine,
            current: &current,
        };
        let policies = effective(&open, !self.no_shipped_policies)?.policies(ledger.pins());
        let mut answers = Vec::new();
        for path in &self.paths {
            let path = open.path(path)?;
            let why = ledger.why(&path, machine, &policies);
            // A record may be of a path that is gone, or wanted absent.
            if why.pristine.is_none() && why.current.is_none() && why.record.is_none() {
                return Err(pleach_etc_merge::Error::NoSuchPath { path }.into());
            }
            answers.push(why);
        }
        let human = || answers.iter().map(ToString::to_string).collect();
        print(self.format, human, || Report::Why {
            format_version: FORMAT_VERSION,
            paths: answers.iter().map(json::why).collect(),
        })?;
        Ok(End::Fine)
    }
}

/// Print the policies in the order in which they count, and where each is from.
///
/// First the pins of the ownership ledger, then the drop-ins of /usr/lib/pleach/etc-merge.d and
/// /etc/pleach/etc-merge.d by name, then those that come with pleach. The first rule that covers a
/// path is the path's.
#[derive(Args)]
pub(super) struct Policies {
    /// Where the system is.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The machine's /etc [default: etc of the root]
    #[arg(long, value_name = "DIR")]
    current: Option<PathBuf>,
    /// Without those that come with pleach.
    #[arg(long)]
    no_shipped_policies: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Policies {
    pub(super) fn run(&self) -> Result<End> {
        let root = open_dir(&self.root)?;
        let default = || self.root.join("etc");
        let etc_path = self.current.clone().unwrap_or_else(default);
        let etc = open_dir(&etc_path).context("the machine's /etc; name it with --current")?;
        let effective = Effective::read(
            Some((&root, &self.root)),
            Some((&etc, &etc_path)),
            !self.no_shipped_policies,
        )?;
        let pins = ledger_file::read(&etc, &etc_path)?.pins();
        let human = || {
            let pins = pins.iter();
            let pins =
                pins.map(|rule| format!("{}: {} ({})\n", rule.pattern, rule.action, rule.origin));
            let mut out: String = pins.collect();
            for entry in &effective.entries {
                let paths: Vec<_> = entry.patterns.iter().map(ToString::to_string).collect();
                let (word, origin) = (policy::word_of(&entry.action), &entry.origin);
                let more = policy::format_of(&entry.action)
                    .or_else(|| policy::regenerate_of(&entry.action));
                let more = more.map(|more| format!(" {more:?}")).unwrap_or_default();
                let paths = paths.join(" ");
                out.push_str(&format!(
                    "{paths}: {word}{more} ({origin}: {})\n",
                    entry.reason
                ));
            }
            let show = |path: &Path| path.display().to_string();
            for (file, by) in &effective.masked {
                out.push_str(&format!(
                    "{} counts for nothing: masked by {}\n",
                    show(file),
                    show(by)
                ));
            }
            out
        };
        print(self.format, human, || {
            let pins = pins.iter().map(json::PolicyItem::pin);
            let rules = effective.entries.iter().map(json::rule);
            let masked = effective.masked.iter();
            Report::Policies {
                format_version: FORMAT_VERSION,
                rules: pins.chain(rules).collect(),
                masked: masked
                    .map(|(file, by)| json::MaskedItem::new(file, by))
                    .collect(),
            }
        })?;
        Ok(End::Fine)
    }
}
