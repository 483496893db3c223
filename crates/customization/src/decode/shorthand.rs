//! Butane's shorthands, written out as the Ignition document that they stand for.

use super::boot::BootDevice;
use super::tree::Tree;
use super::{Decoder, Object, mount};
use crate::merge::merge;
use crate::model::{Customization, Origin};

/// What `storage` asks for in short.
#[derive(Default)]
pub(super) struct Shorthands {
    /// `trees`.
    pub(super) trees: Vec<Tree>,
    /// The filesystems with mount units, by their place in the list.
    pub(super) mounts: Vec<(usize, Origin)>,
}

impl Decoder<'_> {
    /// In Butane's order. What the document says itself overrides what a shorthand stands for.
    pub(super) fn shorthands(
        &mut self,
        root: &Object<'_>,
        given: Shorthands,
        out: &mut Customization,
    ) {
        let mut mounts = self.aside(out);
        for (index, origin) in given.mounts {
            if let Some(filesystem) = out.filesystems.get(index) {
                let remote = mount::is_remote(filesystem, &out.luks);
                let unit = mount::unit(filesystem, remote, self.minor, origin);
                mounts.units.push(unit);
            }
        }
        self.under(mounts, out);
        self.trees(&given.trees, out);
        self.still_missing(out);
        if let Some(entry) = root.get("boot_device") {
            let boot: Option<BootDevice> = self.boot_device(entry);
            let laid_out = boot.map(|boot| boot.laid_out(self.aside(out)));
            laid_out
                .into_iter()
                .for_each(|under| self.under(under, out));
        }
        if let Some(entry) = root.get("grub") {
            let mut grub = self.aside(out);
            self.grub(entry, &mut grub);
            self.under(grub, out);
        }
    }

    /// An empty customization of the same document.
    fn aside(&self, out: &Customization) -> Customization {
        Customization::new(out.format, out.version.clone())
    }

    /// Puts `shorthand` below what the document says.
    fn under(&mut self, shorthand: Customization, out: &mut Customization) {
        let said = std::mem::replace(out, self.aside(out));
        let mut found = Vec::new();
        *out = merge(shorthand, said, &mut found);
        self.found.append(&mut found);
    }

    /// What no tree has given.
    fn still_missing(&mut self, out: &mut Customization) {
        for pending in std::mem::take(&mut self.pending) {
            let file = out.files.iter().find(|file| file.path == pending.item);
            let link = out.links.iter().find(|link| link.path == pending.item);
            let lacks = file.is_some_and(|file| file.contents.is_none())
                || link.is_some_and(|link| link.target.is_empty());
            if lacks {
                self.error(pending.place, &pending.path, pending.message);
            }
        }
    }
}
