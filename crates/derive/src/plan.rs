//! What deriving adds to a base image, before any byte of a layer is written.

use pleach_customization::accounts::{self, AccountPlan, BaseAccounts};
use pleach_customization::lower::{self, Action, Change, LowerOptions, TreeView, UnitsIn};
use pleach_customization::{Customization, Origin, Placement, Refusal, Refused, Route, carried};
use pleach_fs_tree::{Metadata, Timestamp, Tree, TreePath, escape};

use crate::declare::{self, FACTORY, KARGS_D, SYSUSERS_D, TMPFILES_D};
use crate::{PlanError, apply};

/// The content of a file in a derived tree.
#[derive(Clone, PartialEq, Eq)]
pub enum Content<C> {
    /// As the base image has it.
    Base(C),
    /// These bytes.
    New(Vec<u8>),
}

impl<C: std::fmt::Debug> std::fmt::Debug for Content<C> {
    // A file may hold a key; a debug print shows its size alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Base(content) => f.debug_tuple("Base").field(content).finish(),
            Self::New(bytes) => write!(f, "New({} bytes)", bytes.len()),
        }
    }
}

/// Choices of the caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The modification time of everything that is added; the same time gives the same layer.
    pub mtime: Timestamp,
    /// Where units of the document go.
    pub units_in: UnitsIn,
}

/// A derived image as a value: the base's tree with the customization in it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Derivation<C> {
    /// The whole tree; the layer is what differs between the base's and this.
    pub tree: Tree<Content<C>>,
    /// Each path that the customization put or changed, with what asked for it.
    pub provenance: Vec<(TreePath, Origin)>,
    /// Paths below `/var` and account files that are not in the image but made at boot by what is
    /// declared in it.
    pub declared: Vec<(Vec<u8>, Origin)>,
    /// Items that arrive in another way than the document says.
    pub notes: Vec<Placement>,
}

/// Plans the derivation. `read` gives the bytes of a file of the base. Pure and deterministic.
///
/// # Errors
/// When an item cannot be in a layer, or Ignition and the programs it runs would refuse it.
pub fn plan<C: Clone>(
    customization: &Customization,
    base: &Tree<C>,
    read: &dyn Fn(&C) -> Option<Vec<u8>>,
    options: &Options,
) -> Result<Derivation<C>, PlanError> {
    let notes = carried(customization, Route::Derive)?;
    let view = TreeView::new(base, read);
    let base_accounts = BaseAccounts::read(&view);
    let account_plan = accounts::plan(&customization.users, &customization.groups, &base_accounts)?;
    let lowering = LowerOptions {
        units_in: options.units_in,
        ..LowerOptions::default()
    };
    let changes = lower::lower(customization, &account_plan, &view, &lowering)?;

    let mut work = Work {
        derivation: Derivation {
            tree: base.clone().map(Content::Base),
            provenance: Vec::new(),
            declared: Vec::new(),
            notes,
        },
        options: *options,
        tmpfiles: String::new(),
        refused: Vec::new(),
    };
    for change in &changes {
        work.change(change)?;
    }
    work.accounts(&account_plan, &base_accounts)?;
    work.kernel_arguments(customization)?;
    work.finish()
}

struct Work<C> {
    derivation: Derivation<C>,
    options: Options,
    tmpfiles: String,
    refused: Vec<Refusal>,
}

impl<C: Clone> Work<C> {
    fn change(&mut self, change: &Change) -> Result<(), PlanError> {
        if change.path.starts_with(b"/var/") {
            return self.declare(change);
        }
        self.apply(&change.path, &change.action, &change.origin)
    }

    fn apply(&mut self, path: &[u8], action: &Action, origin: &Origin) -> Result<(), PlanError> {
        let path = TreePath::new(path).expect("the lowering gives clean paths");
        apply::change(&mut self.derivation.tree, &path, action, self.options.mtime).map_err(
            |source| PlanError::Tree {
                origin: origin.clone(),
                source,
            },
        )?;
        self.derivation.provenance.push((path, origin.clone()));
        Ok(())
    }

    /// `/var` in a layer reaches only new installs, so what belongs there is made at boot.
    fn declare(&mut self, change: &Change) -> Result<(), PlanError> {
        let Some(line) = declare::tmpfiles_line(&change.path, &change.action) else {
            self.refused.push(Refusal {
                origin: change.origin.clone(),
                item: escape(&change.path),
                why: "tmpfiles.d has no line for it, and /var of an image is unpacked only once",
                instead: "inject it",
            });
            return Ok(());
        };
        // The tree's /var is the base's: nothing declared is put there.
        let path = TreePath::new(&change.path).expect("the lowering gives clean paths");
        let existing = self.derivation.tree.get(&path);
        if existing.is_some_and(|inode| !declare::takes_effect_on(&change.action, inode)) {
            self.refused.push(Refusal {
                origin: change.origin.clone(),
                item: escape(&change.path),
                why: "the image has something there already, which tmpfiles.d leaves as it is",
                instead: "inject it",
            });
            return Ok(());
        }
        self.tmpfiles.push_str(&line);
        if let Action::Write { contents, mode, .. } = &change.action {
            let path = [FACTORY.as_bytes(), &change.path].concat();
            self.file(&path, contents.clone(), *mode & 0o777, &change.origin)?;
        }
        self.derivation
            .declared
            .push((change.path.clone(), change.origin.clone()));
        Ok(())
    }

    /// A file of root's, with its parents.
    fn file(
        &mut self,
        path: &[u8],
        contents: Vec<u8>,
        mode: u32,
        origin: &Origin,
    ) -> Result<(), PlanError> {
        let parent = TreePath::new(path)
            .expect("our own paths are clean")
            .parent();
        let metadata = Metadata {
            mtime: self.options.mtime,
            ..Metadata::with_mode(0o755)
        };
        self.derivation
            .tree
            .make_directories(&parent.unwrap_or_default(), &metadata)
            .map_err(|source| PlanError::Tree {
                origin: origin.clone(),
                source,
            })?;
        self.apply(
            path,
            &Action::Write {
                contents,
                mode,
                uid: 0,
                gid: 0,
            },
            origin,
        )
    }

    /// New accounts are declared, since a machine whose `/etc/passwd` was changed would never see
    /// one that the image adds there. Subordinate IDs have no such mechanism.
    fn accounts(&mut self, plan: &AccountPlan, base: &BaseAccounts) -> Result<(), PlanError> {
        let Some(origin) = plan.origin().cloned() else {
            return Ok(());
        };
        let remainder = accounts::sysusers_remainder(plan);
        self.refused
            .extend(remainder.into_iter().map(|rest| Refusal {
                item: format!("{} of {}", rest.what, rest.name),
                why: "sysusers.d(5) makes accounts and cannot say it",
                instead: "inject it",
                origin: rest.origin,
            }));
        let sysusers = accounts::sysusers_d(plan);
        if !sysusers.is_empty() {
            self.file(SYSUSERS_D.as_bytes(), sysusers.into_bytes(), 0o644, &origin)?;
        }
        for path in ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"] {
            self.derivation.declared.push((path.into(), origin.clone()));
        }
        // The day is for shadow alone, which is not taken from here.
        let edited = accounts::edit_account_files(plan, base, 0);
        let subordinate = [
            ("/etc/subuid", &base.subuid, edited.subuid),
            ("/etc/subgid", &base.subgid, edited.subgid),
        ];
        for (path, before, after) in subordinate {
            if let Some(after) = after.filter(|after| Some(after) != before.as_ref()) {
                self.file(path.as_bytes(), after, 0o644, &origin)?;
            }
        }
        Ok(())
    }

    fn kernel_arguments(&mut self, customization: &Customization) -> Result<(), PlanError> {
        let wanted = &customization.kernel_arguments.should_exist;
        let Some(first) = wanted.first() else {
            return Ok(());
        };
        let toml = declare::kargs_toml(wanted.iter().map(|argument| argument.value.as_str()));
        self.file(KARGS_D.as_bytes(), toml.into_bytes(), 0o644, &first.origin)
    }

    fn finish(mut self) -> Result<Derivation<C>, PlanError> {
        if !self.refused.is_empty() {
            return Err(Refused(self.refused).into());
        }
        if let Some((_, origin)) = self
            .derivation
            .declared
            .iter()
            .find(|(p, _)| p.starts_with(b"/var/"))
        {
            let (origin, text) = (origin.clone(), std::mem::take(&mut self.tmpfiles));
            self.file(TMPFILES_D.as_bytes(), text.into_bytes(), 0o644, &origin)?;
        }
        Ok(self.derivation)
    }
}
