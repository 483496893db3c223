//! Where each path that a document speaks of comes from.

use pleach_customization::Customization;
use pleach_fs_tree::TreePath;
use pleach_layer_merge::{Kept, Merged};

/// A path of a document.
pub(super) struct PathOrigin {
    pub(super) path: String,
    /// The line of the document that names it.
    pub(super) document: String,
    /// What it is to the image.
    pub(super) place: Place,
}

pub(super) enum Place {
    /// The layers that have it, the one that counts first: digest, and number of the entry.
    Layers(Vec<(String, Option<u64>)>),
    /// No layer has it: a machine gets it.
    Machine,
    /// The image has no layers that could be asked.
    Unknown,
}

/// The paths that a document names, each with its place in it.
fn named(customization: &Customization) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for file in &customization.files {
        out.push((file.path.clone(), file.origin.to_string()));
    }
    for directory in &customization.directories {
        out.push((directory.path.clone(), directory.origin.to_string()));
    }
    for link in &customization.links {
        out.push((link.path.clone(), link.origin.to_string()));
    }
    for unit in &customization.units {
        let top = format!("/etc/systemd/system/{}", unit.name);
        if unit.unit_file().is_some() || unit.mask == Some(true) {
            out.push((top.clone(), unit.origin.to_string()));
        }
        for dropin in unit
            .dropins
            .iter()
            .filter(|dropin| dropin.contents.is_some())
        {
            out.push((format!("{top}.d/{}", dropin.name), unit.origin.to_string()));
        }
    }
    out.sort();
    out.dedup_by(|a, b| a.0 == b.0);
    out
}

pub(super) fn of_document(customization: &Customization) -> Vec<PathOrigin> {
    let origin = |(path, document)| PathOrigin {
        path,
        document,
        place: Place::Unknown,
    };
    named(customization).into_iter().map(origin).collect()
}

/// Asks the index of an image. What a document puts into `/etc/systemd` may be in `/usr` of the image.
pub(super) fn of_image(
    customization: &Customization,
    index: &Merged<Kept>,
    layers: &[String],
) -> Vec<PathOrigin> {
    let find = |path: &str| {
        let path = index.tree.resolve(&TreePath::new(path).ok()?, false).ok()?;
        index.provenance.origin(&index.tree, &path)
    };
    let origin = |(path, document): (String, String)| {
        let below = path.strip_prefix("/etc/");
        let units = below.filter(|below| below.starts_with("systemd/"));
        let others = [
            below.map(|below| format!("/usr/etc/{below}")),
            units.map(|below| format!("/usr/lib/{below}")),
        ];
        let others = others.into_iter().flatten();
        let found = std::iter::once(path.clone())
            .chain(others)
            .find_map(|path| find(&path));
        let place = match found {
            Some(origin) => {
                let layer = |layer: usize| layers.get(layer).cloned().unwrap_or_default();
                let chain = origin
                    .chain()
                    .map(|origin| (layer(origin.layer), origin.entry));
                Place::Layers(chain.collect())
            }
            None => Place::Machine,
        };
        PathOrigin {
            path,
            document,
            place,
        }
    };
    named(customization).into_iter().map(origin).collect()
}
