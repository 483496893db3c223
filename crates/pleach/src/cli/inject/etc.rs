//! `pleach inject etc`: straight into a deployment.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use clap::Args;
use pleach_customization::{Customization, Refusal, Route, split_without};
use pleach_fs_tree::{FileContent, Kind, ScanOptions, Tree, TreePath, escape, scan};
use pleach_inject::EtcPlan;

use crate::cli::config::Document;
use crate::cli::etc::Recorder;
use crate::cli::image::{Reader, open_dir, today};
use crate::cli::output;
use crate::cli::remainder::Remainder;

/// Into the /etc and /var of a deployment that is not booted.
#[derive(Args)]
pub(super) struct Etc {
    #[command(flatten)]
    document: Document,
    /// The root of the deployment; its `etc` is written to.
    #[arg(long, value_name = "DIR")]
    deployment: PathBuf,
    /// The stateroot's /var [default: the deployment's own `var`]
    #[arg(long, value_name = "DIR")]
    var: Option<PathBuf>,
    /// Print the plan and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Kernel arguments are left too: they belong to the boot entry, which is not in the deployment.
    #[command(flatten)]
    remainder: Remainder,
    /// Record in the deployment's ownership ledger what is put into its /etc, account files apart, so
    /// that `pleach etc` can say why it is there and take it back.
    #[arg(long)]
    record: bool,
}

impl Etc {
    pub(super) fn run(&self) -> Result<()> {
        let mut customization = self.document.read()?;
        let parts = match self.remainder.allow_remainder {
            true => {
                let parts = split_without(&customization, Route::Etc, &arguments(&customization));
                customization = parts.carried.clone();
                Some(parts)
            }
            false => None,
        };
        let root = open_dir(&self.deployment)?;
        let etc = root
            .open_dir("etc")
            .with_context(|| format!("opening {}/etc", self.deployment.display()))?;
        let var = match &self.var {
            Some(path) => open_dir(path)?,
            None => root
                .open_dir("var")
                .context("opening the deployment's var")?,
        };
        let tree = composed(&root, &etc, &var)?;
        // Contents are read again when one is asked for: only a few account files are.
        let reader = Reader::default();
        let read = |content: &Place| reader.keep(content.read(&root, &etc, &var));
        let plan = pleach_inject::plan(&customization, &tree, &read, today()?)?;
        reader.finish()?;
        output::print(&describe(&plan))?;
        let arguments = plan.kernel_arguments.len() + plan.removed_kernel_arguments.len();
        if arguments > 0 && !self.dry_run {
            anyhow::bail!(
                "{arguments} kernel arguments belong to the boot entry, which is not in the deployment; nothing was written. Set them there, or leave them to Ignition with --allow-remainder"
            );
        }
        if self.dry_run {
            return Ok(());
        }
        let recorder = match self.record {
            true => Some(Recorder::new(
                &root,
                &etc,
                &self.deployment,
                &self.document.config,
            )?),
            false => None,
        };
        pleach_inject::apply(&plan, &etc, &var)?;
        if let Some(recorder) = recorder {
            let changes = plan.changes.iter();
            let changes = changes.map(|change| (&*change.path, &change.origin));
            let count = recorder.record(&etc, &self.deployment, changes)?;
            output::step(&format!("{count} paths are in the ownership ledger"));
        }
        // Last, so that a document for what is left means that the rest is done.
        parts.map_or(Ok(()), |parts| self.remainder.finish(&parts))
    }
}

/// Kernel arguments, as refusals of this verb.
fn arguments(customization: &Customization) -> Vec<Refusal> {
    let arguments = &customization.kernel_arguments;
    let both = arguments
        .should_exist
        .iter()
        .chain(&arguments.should_not_exist);
    both.map(|argument| Refusal {
        origin: argument.origin.clone(),
        item: format!("kernel argument {}", argument.value),
        why: "it belongs to the boot entry, which is not in the deployment",
        instead: "set it there",
    })
    .collect()
}

/// Where a regular file is.
#[derive(Clone)]
struct Place(TreePath);

impl Place {
    fn read(&self, root: &Dir, etc: &Dir, var: &Dir) -> Result<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(self.0.as_bytes()));
        match (path.strip_prefix("etc"), path.strip_prefix("var")) {
            (Ok(rest), _) => etc.read(rest),
            (_, Ok(rest)) => var.read(rest),
            _ => root.read(path),
        }
        .with_context(|| format!("reading {}", self.0))
    }
}

/// The deployment as the booted system would see it: its own /usr and /etc, the stateroot's /var.
fn composed(root: &Dir, etc: &Dir, var: &Dir) -> Result<Tree<Place>> {
    let options = ScanOptions {
        digest: false,
        ..ScanOptions::default()
    };
    let mut whole = Tree::new(pleach_fs_tree::Metadata::with_mode(0o755));
    for (dir, top) in [(root, ""), (etc, "etc"), (var, "var")] {
        let top = TreePath::new(top)?;
        let part: Tree<FileContent> = scan(dir, &options)?;
        whole.remove(&top);
        for (path, id) in part.walk() {
            let path = top.concat(&path);
            let inode = part.inode(id);
            let kind = match &inode.kind {
                Kind::File(_) => Kind::File(Place(path.clone())),
                Kind::Directory(_) => Kind::Directory(Default::default()),
                Kind::Symlink(target) => Kind::Symlink(target.clone()),
                Kind::CharDevice(device) => Kind::CharDevice(*device),
                Kind::BlockDevice(device) => Kind::BlockDevice(*device),
                Kind::Fifo => Kind::Fifo,
                Kind::Socket => Kind::Socket,
            };
            let metadata = inode.metadata.clone();
            whole.put(&path, pleach_fs_tree::Inode { metadata, kind })?;
        }
    }
    Ok(whole)
}

fn describe(plan: &EtcPlan) -> String {
    let mut out = String::new();
    for change in &plan.changes {
        out.push_str(&format!(
            "{}: {:?}  # {}\n",
            escape(&change.path),
            change.action,
            change.origin
        ));
    }
    for file in &plan.accounts {
        out.push_str(&format!("{file:?}\n"));
    }
    for argument in &plan.kernel_arguments {
        out.push_str(&format!("kernel argument {argument}: for the boot entry\n"));
    }
    for argument in &plan.removed_kernel_arguments {
        out.push_str(&format!(
            "kernel argument {argument}: not for the boot entry\n"
        ));
    }
    out
}
