//! Marks of a base: what only a build needs, and what sets machines up later.

use super::Found;
use crate::report::Certainty::{self, Hint, Likely};
use crate::report::SpeaksFor::{Base, Generic};
use crate::view::View;

/// Programs and data that an image carries to be built on.
const BUILD: [(&str, Certainty, &str); 16] = [
    ("/usr/bin/gcc", Likely, "a compiler"),
    ("/usr/bin/clang", Likely, "a compiler"),
    ("/usr/bin/rustc", Likely, "a compiler"),
    ("/usr/bin/go", Likely, "a compiler"),
    ("/usr/bin/make", Hint, "a build tool"),
    ("/usr/bin/cmake", Hint, "a build tool"),
    ("/usr/bin/dpkg-buildpackage", Likely, "a package builder"),
    ("/usr/bin/rpmbuild", Likely, "a package builder"),
    ("/usr/bin/abuild", Likely, "a package builder"),
    ("/var/lib/apt/lists", Likely, "package lists"),
    ("/var/cache/apt/archives", Likely, "a package cache"),
    ("/var/cache/dnf", Likely, "a package cache"),
    ("/var/cache/libdnf5", Likely, "a package cache"),
    ("/var/cache/yum", Likely, "a package cache"),
    ("/var/cache/zypp", Likely, "a package cache"),
    ("/var/cache/apk", Likely, "a package cache"),
];

/// What a clean-up leaves in a cache.
const LEFT: [&str; 3] = ["lock", "partial", "auxfiles"];

/// Programs that set a machine up at its first boot: who carries them wants to be generic.
const AGENTS: [(&str, &str); 8] = [
    ("/usr/bin/cloud-init", "cloud-init"),
    ("/usr/bin/ignition", "Ignition"),
    ("/usr/lib/dracut/modules.d/30ignition", "Ignition"),
    ("/usr/bin/afterburn", "Afterburn"),
    ("/usr/lib/dracut/modules.d/35combustion", "Combustion"),
    ("/usr/bin/google_guest_agent", "Google's guest agent"),
    ("/usr/sbin/waagent", "Azure's agent"),
    ("/usr/bin/amazon-ssm-agent", "Amazon's agent"),
];

pub(super) fn marks(view: &View<'_>, found: &mut Found<'_, '_>) {
    for (path, certainty, what) in BUILD {
        let Some(item) = view.get(path) else { continue };
        let filled = || view.children(path).any(|item| !LEFT.contains(&item.name()));
        if !item.is_directory() || filled() {
            found.add(Base, certainty, path, None, what);
        }
    }
    for (path, what) in AGENTS {
        if view.get(path).is_some() {
            let what = format!("{what} sets machines up at their first boot");
            found.add(Generic, Likely, path, None, what);
        }
    }
}
