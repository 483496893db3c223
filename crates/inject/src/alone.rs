//! A customization by itself: what of it can be made without knowing the image.

use pleach_customization::Customization;
use pleach_customization::accounts::AccountPlan;
use pleach_customization::lower::{Change, LowerErrors, LowerOptions, TreeView, lower};
use pleach_fs_tree::{Metadata, Tree};

/// The changes that files, links and units make to a tree in which there is nothing yet and only
/// root has an account. Accounts of the document are left out.
pub(crate) fn alone(customization: &Customization) -> Result<Vec<Change>, LowerErrors> {
    let tree = Tree::<Vec<u8>>::new(Metadata::with_mode(0o755));
    let nothing = |_: &Vec<u8>| None;
    let mut accounts = AccountPlan::default();
    accounts.uids.insert("root".to_owned(), 0);
    accounts.gids.insert("root".to_owned(), 0);
    let view = TreeView::new(&tree, &nothing);
    lower(customization, &accounts, &view, &LowerOptions::default())
}

/// Whether the document itself has the unit's file, or its template's.
pub(crate) fn brings(customization: &Customization, name: &str) -> bool {
    let template = name
        .split_once('@')
        .and_then(|(prefix, rest)| Some(format!("{prefix}@.{}", rest.rsplit_once('.')?.1)));
    let is = |unit: &pleach_customization::Unit| {
        unit.unit_file().is_some() && (unit.name == name || Some(&unit.name) == template.as_ref())
    };
    customization.units.iter().any(is)
}
