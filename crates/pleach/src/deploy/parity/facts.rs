//! What is known of the customization before anything is compared.

use std::collections::BTreeSet;
use std::path::Path;

use pleach_customization::Unit;
use pleach_fs_tree::{TreePath, escape};
use pleach_inject::EtcPlan;
use pleach_parity::Facts;

use super::routes::Work;

/// The paths that a plan puts, changes or removes.
fn changed(plan: &EtcPlan) -> impl Iterator<Item = String> {
    let files = plan.accounts.iter().map(|file| file.path.to_owned());
    plan.changes
        .iter()
        .map(|change| escape(&change.path))
        .chain(files)
}

impl Work {
    /// What rules may lean on, and what every route is held to.
    pub(super) fn facts(&self, booted: bool) -> Facts {
        let below = |top: &str, path: &str| path.starts_with(top).then(|| path.to_owned());
        let derived = self.derivation.iter();
        let derived: Vec<_> = derived
            .chain(self.split.iter().map(|halves| &halves.derivation))
            .collect();
        let image: Vec<String> = derived
            .iter()
            .flat_map(|derivation| &derivation.provenance)
            .map(|(path, _)| path.to_string())
            .collect();
        let rest: Vec<String> = self
            .split
            .iter()
            .flat_map(|half| changed(&half.rest))
            .collect();
        // What one route alone puts, for all that put the whole.
        let put: Vec<String> = match (&self.derivation, &self.etc) {
            (Some(derivation), _) => {
                let paths = derivation.provenance.iter();
                paths
                    .flat_map(|(path, _)| self.put(&path.to_string()))
                    .collect()
            }
            (None, Some(plan)) => changed(plan).collect(),
            (None, None) => {
                let image = image.iter().flat_map(|path| self.put(path));
                image.chain(rest.iter().cloned()).collect()
            }
        };
        let mut declarations: BTreeSet<_> = image
            .iter()
            .filter(|path| self.in_etc(path) == **path)
            .filter_map(|path| below("/usr/", path))
            .collect();
        for path in declarations.clone() {
            let mut parent = Path::new(&path);
            while let Some(next) = parent.parent().filter(|p| *p != Path::new("/usr")) {
                declarations.insert(next.display().to_string());
                parent = next;
            }
        }
        let declared = derived.iter().flat_map(|derivation| &derivation.declared);
        let users = self
            .customization
            .users
            .iter()
            .map(|user| user.name.clone());
        let groups = self
            .customization
            .groups
            .iter()
            .map(|group| group.name.clone());
        let groups = groups.chain(users.clone()).collect();
        let units = self.customization.units.iter();
        let (masked, units): (Vec<_>, Vec<_>) = units.partition(|unit| unit.mask == Some(true));
        let names = |units: Vec<&Unit>| units.into_iter().map(|unit| unit.name.clone()).collect();
        Facts {
            users: users.collect(),
            groups,
            units: names(units),
            masked: names(masked),
            declarations,
            units_in_usr: self.placing.units_in_usr(),
            booted,
            named_paths: self.named_paths(),
            declared: match booted {
                true => BTreeSet::new(),
                false => declared.map(|(path, _)| escape(path)).collect(),
            },
            left_behind: BTreeSet::new(),
            withdrawn: false,
            etc_paths: put.iter().filter_map(|path| below("/etc/", path)).collect(),
            remaining_etc_paths: rest
                .iter()
                .filter_map(|path| below("/etc/", path))
                .collect(),
        }
    }

    /// What other routes put where an image has a path: that, and the folders above it that only `/usr`
    /// has.
    fn put(&self, path: &str) -> Vec<String> {
        let own = self.in_etc(path);
        let mut put = vec![own.clone()];
        if own != path {
            let folders = Path::new(&own).ancestors().skip(1);
            let missing = folders.take_while(|folder| {
                let folder = TreePath::new(&*folder.to_string_lossy());
                folder.is_ok_and(|folder| self.merged.tree().get(&folder).is_none())
            });
            put.extend(missing.map(|folder| folder.display().to_string()));
        }
        put
    }

    /// Where other routes have what an image has in `/usr` because it was asked to.
    fn in_etc(&self, path: &str) -> String {
        match path.strip_prefix("/usr/lib/systemd/") {
            Some(rest) if self.placing.units_in_usr() && rest.starts_with("system") => {
                format!("/etc/systemd/{rest}")
            }
            _ => path.to_owned(),
        }
    }

    /// From the document alone: what the routes' common code makes of it is what is to be judged.
    fn named_paths(&self) -> BTreeSet<String> {
        let c = &self.customization;
        let units = c.units.iter().flat_map(|unit| {
            let top = "/etc/systemd/system";
            let own = unit.unit_file().is_some() || unit.mask == Some(true);
            let own = own.then(|| format!("{top}/{}", unit.name));
            let dropins = unit
                .dropins
                .iter()
                .filter(|dropin| dropin.contents.is_some());
            own.into_iter()
                .chain(dropins.map(move |dropin| format!("{top}/{}.d/{}", unit.name, dropin.name)))
        });
        let files = c.files.iter().map(|file| file.path.clone());
        let directories = c.directories.iter().map(|directory| directory.path.clone());
        let links = c.links.iter().map(|link| link.path.clone());
        let tree = self.merged.tree();
        files
            .chain(directories)
            .chain(links)
            .chain(units)
            .filter_map(|path| {
                Some(
                    tree.resolve(&TreePath::new(path).ok()?, false)
                        .ok()?
                        .to_string(),
                )
            })
            .collect()
    }
}
