//! What injecting would change, before anything is changed.

use pleach_customization::accounts::{self, AccountPlan, BaseAccounts};
use pleach_customization::lower::{self, BaseView, Change, LowerOptions, TreeView};
use pleach_customization::{Customization, Placement, Route, carried};
use pleach_fs_tree::Tree;

use crate::PlanError;

/// All that injecting a customization into a deployment's `/etc` and `/var` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcPlan {
    /// Files, directories, links and removals, in the order in which they are made.
    pub changes: Vec<Change>,
    /// The account files that change, whole.
    pub accounts: Vec<AccountFile>,
    /// Kernel arguments that the deployment's boot entry gets, in order.
    pub kernel_arguments: Vec<String>,
    /// Kernel arguments that its boot entry loses.
    pub removed_kernel_arguments: Vec<String>,
    /// Items that arrive in another way than the document says, or not at all.
    pub notes: Vec<Placement>,
}

/// One account file with its new content; mode and owner are what the deployment has.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountFile {
    /// `/etc/passwd` and its kin.
    pub path: &'static str,
    /// The whole content. It may hold password hashes.
    pub contents: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl std::fmt::Debug for AccountFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "AccountFile({}, {} bytes, {:04o})",
            self.path,
            self.contents.len(),
            self.mode
        )
    }
}

/// Plans the injection of `customization` into a deployment that holds `tree` (its `/usr`, its live
/// `/etc`, the stateroot's `/var`). `read` gives a regular file's bytes; `today` is the day since
/// the epoch that new accounts' shadow entries say. Pure: nothing is written.
///
/// # Errors
/// When an item cannot be injected, or Ignition and the programs it runs would refuse it.
pub fn plan<C>(
    customization: &Customization,
    tree: &Tree<C>,
    read: &dyn Fn(&C) -> Option<Vec<u8>>,
    today: u32,
) -> Result<EtcPlan, PlanError> {
    let notes = carried(customization, Route::Etc)?;
    let view = TreeView::new(tree, read);
    let base = BaseAccounts::read(&view);
    let account_plan = accounts::plan(&customization.users, &customization.groups, &base)?;
    let changes = lower::lower(
        customization,
        &account_plan,
        &view,
        &LowerOptions::default(),
    )?;
    let arguments = &customization.kernel_arguments;
    let words = |list: &[pleach_customization::KernelArgument]| {
        list.iter().map(|argument| argument.value.clone()).collect()
    };
    Ok(EtcPlan {
        changes,
        accounts: account_files(&account_plan, &base, &view, today)?,
        kernel_arguments: words(&arguments.should_exist),
        removed_kernel_arguments: words(&arguments.should_not_exist),
        notes,
    })
}

fn account_files(
    plan: &AccountPlan,
    base: &BaseAccounts,
    view: &dyn BaseView,
    today: u32,
) -> Result<Vec<AccountFile>, PlanError> {
    if plan.users.is_empty() && plan.groups.is_empty() {
        return Ok(Vec::new());
    }
    for path in ["/etc/passwd", "/etc/group"] {
        if view.read_file(path.as_bytes()).is_none() {
            return Err(PlanError::NoAccounts { path });
        }
    }
    let edited = accounts::edit_account_files(plan, base, today);
    let files = [
        ("/etc/passwd", Some(&base.passwd), Some(edited.passwd)),
        ("/etc/group", Some(&base.group), Some(edited.group)),
        ("/etc/shadow", base.shadow.as_ref(), edited.shadow),
        ("/etc/gshadow", base.gshadow.as_ref(), edited.gshadow),
        ("/etc/subuid", base.subuid.as_ref(), edited.subuid),
        ("/etc/subgid", base.subgid.as_ref(), edited.subgid),
    ];
    let changed = files.into_iter().filter_map(|(path, before, after)| {
        let contents = after.filter(|after| Some(after) != before)?;
        let node = view.node(path.as_bytes())?;
        Some(AccountFile {
            path,
            contents,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
        })
    });
    Ok(changed.collect())
}
