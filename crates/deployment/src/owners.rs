//! Who asked for a kernel argument: the image, the customization or the machine.
//!
//! An image's arguments follow the image: what the next one no longer brings goes, what it brings anew
//! comes. All others stay until who asked for them takes them back. So an upgrade changes what the image
//! changed, and nothing else.

use serde::{Deserialize, Serialize};

use crate::kernel_arguments::{KernelArgument, KernelArguments};

/// The kernel arguments of a deployment by owner, without `ostree=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnedArguments {
    /// From `kargs.d` of the image.
    pub image: KernelArguments,
    /// From a customization that was injected.
    pub customization: KernelArguments,
    /// Given at installation, or later on the machine.
    pub machine: KernelArguments,
    /// Those of the image that the machine does not want.
    pub removed: KernelArguments,
}

impl OwnedArguments {
    /// Only the image's.
    pub fn of_image(image: KernelArguments) -> Self {
        Self {
            image,
            ..Self::default()
        }
    }

    /// What stands on a command line, when `image` is what the image of that deployment brings and `known`
    /// what was recorded of it, if anything was.
    ///
    /// The line counts, since other tools write it too: what is on it and nobody's is the machine's, and
    /// what the image brings and is not on it was removed.
    pub fn read(line: &KernelArguments, image: &KernelArguments, known: Option<&Self>) -> Self {
        let mut rest = line.clone();
        rest.delete_key("ostree");
        let mut owned = Self::default();
        for argument in image.iter() {
            if !rest.remove_first(argument) {
                owned.removed.append(argument.clone());
            }
        }
        owned.image = image.clone();
        for argument in known.iter().flat_map(|known| known.customization.iter()) {
            if rest.remove_first(argument) {
                owned.customization.append(argument.clone());
            }
        }
        owned.machine = rest;
        owned
    }

    /// The same with another image. That the machine removed an argument holds as long as the images
    /// bring it.
    pub fn with_image(&self, image: KernelArguments) -> Self {
        let removed = self.removed.iter().filter(|a| image.contains(a));
        Self {
            removed: removed.cloned().collect(),
            image,
            customization: self.customization.clone(),
            machine: self.machine.clone(),
        }
    }

    /// Add one of the machine's; one that it removed from the image's comes back instead.
    pub fn append(&mut self, argument: KernelArgument) {
        if self.removed.remove_first(&argument) {
            return;
        }
        self.machine.append(argument);
    }

    /// Remove all that equal this one, whoever asked for them; `false` if there is none.
    pub fn delete(&mut self, argument: &KernelArgument) -> bool {
        let own = self.machine.delete(argument) + self.customization.delete(argument);
        let left = self.kept().filter(|a| *a == argument).count();
        for _ in 0..left {
            self.removed.append(argument.clone());
        }
        own + left > 0
    }

    /// The command line: the image's, the customization's, the machine's.
    pub fn line(&self) -> KernelArguments {
        let mut line: KernelArguments = self.kept().cloned().collect();
        line.extend(&self.customization);
        line.extend(&self.machine);
        line
    }

    /// The image's that were not removed.
    fn kept(&self) -> impl Iterator<Item = &KernelArgument> {
        let mut removed = self.removed.clone();
        self.image
            .iter()
            .filter(move |argument| !removed.remove_first(argument))
    }
}
