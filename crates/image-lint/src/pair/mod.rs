//! Two images: what becomes of a machine that goes from the one to the other.

mod accounts;
mod display;
mod files;
mod kargs;
pub(crate) mod packages;
mod report;
mod units;

use crate::Image;
use crate::view::View;

pub use report::{
    AccountChange, AccountKind, Change, EtcMerge, EtcMergeEntry, FileChange, KargChange,
    PAIR_FORMAT_VERSION, PackageChange, Pair, UnitChange, UnitState, VarContent,
};

/// A package database may be as large as this, in bytes; that of a desktop with rpm has more than a
/// hundred megabytes.
pub const MAX_DATABASE: u64 = 256 << 20;

/// Compares two images; `same` compares the contents of two regular files. Times are no difference:
/// an image that is built again has others. The reports' names stay empty, and so does the merge of
/// `/etc`, which needs a machine.
pub fn pair<C>(old: &Image<'_, C>, new: &Image<'_, C>, same: &dyn Fn(&C, &C) -> bool) -> Pair {
    let (before, after) = (View::new(old), View::new(new));
    let mut notes = Vec::new();
    let databases = [
        packages::Databases::read(&before),
        packages::Databases::read(&after),
    ];
    for (which, database) in ["old", "new"].into_iter().zip(&databases) {
        notes.extend(database.notes.iter().map(|note| format!("{which}: {note}")));
    }
    let [of_old, of_new] = &databases;
    let packages = packages::changes(of_old, of_new);
    let files = files::changes(old.tree, new.tree, same, [of_old, of_new], &packages);
    let (kargs, unread) = kargs::changes(&before, &after);
    notes.extend(unread);
    let (etc, files): (Vec<_>, Vec<_>) = files.into_iter().partition(files::is_etc);
    let (var, files): (Vec<_>, Vec<_>) = files.into_iter().partition(files::is_var);
    if before.etc != after.etc {
        notes.push(format!(
            "the defaults are in {} of the old image and in {} of the new one; they are compared by their place in /etc",
            before.etc, after.etc
        ));
    }
    for (which, view) in [("old", &before), ("new", &after)] {
        let unread = view.unread();
        notes.extend(
            unread
                .iter()
                .map(|path| format!("{which}: not read: {path}")),
        );
    }
    Pair {
        format_version: PAIR_FORMAT_VERSION,
        old: String::new(),
        new: String::new(),
        packages,
        units: units::changes(&before, &after),
        accounts: accounts::changes(&before, &after),
        kargs,
        files,
        etc,
        var: files::var_content(var, &after),
        etc_merge: None,
        notes,
    }
}

/// Whether [`pair`] reads the content of a file, besides what [`wants`](crate::wants) names. `path` is
/// without a slash in front.
pub fn pair_wants(path: &[u8]) -> bool {
    packages::wants(path) || path.starts_with(b"usr/lib/bootc/kargs.d/")
}

/// The keys of two sorted maps.
fn keys<'a, K: Ord, V>(
    old: &'a std::collections::BTreeMap<K, V>,
    new: &'a std::collections::BTreeMap<K, V>,
) -> std::collections::BTreeSet<&'a K> {
    old.keys().chain(new.keys()).collect()
}
