//! What the image is there for: units of its own, containers, and what configures a first boot.

use super::Found;
use crate::packages::Packages;
use crate::report::Certainty::{Certain, Likely};
use crate::report::SpeaksFor::{Final, Specific};
use crate::systemd::{Presets, enabled, is_agent, quadlets, template, unit_file};
use crate::view::View;

/// Configuration of a first boot that is in the image already.
const BAKED: [(&str, &str, &str); 3] = [
    ("/var/lib/cloud/seed", "user-data", "cloud-init's user data"),
    ("/usr/lib/ignition", "user.ign", "an Ignition document"),
    ("/usr/lib/ignition/base.d", ".ign", "an Ignition document"),
];

pub(super) fn applications(view: &View<'_>, packages: &Packages, found: &mut Found<'_, '_>) {
    let presets = Presets::read(view);
    let local = [view.etc("systemd/system"), "/usr/local".to_owned()];
    for enabled in enabled(view) {
        let unit = &*enabled.unit;
        let kinds = [".service", ".socket", ".timer", ".path"];
        if is_agent(unit) || !kinds.iter().any(|kind| unit.ends_with(kind)) {
            continue;
        }
        let Some(file) = unit_file(view, unit) else {
            continue;
        };
        let preset = presets.of(unit);
        let site = |path: &str| local.iter().any(|l| path.starts_with(l.as_str()));
        let in_etc = |path: &str| path.starts_with(view.etc);
        let what = if site(&file) {
            format!("the unit {unit} of the image's own")
        } else if preset.is_some_and(|p| p.enables() && in_etc(&p.path)) {
            format!("{unit}, enabled by a preset of the image's own")
        } else if presets.against(view, unit).is_some() {
            format!("{unit}, which is enabled although the presets of the packages leave it off")
        } else if packages.own(&file) == Some(false)
            && !preset.is_some_and(|p| p.enables() && p.is_explicit())
        {
            format!("{unit}, which belongs to no package")
        } else {
            continue;
        };
        // Of a template, the file is not the instance.
        let path = match template(unit) {
            Some(_) => &enabled.link,
            None => &file,
        };
        found.add(
            Specific,
            Likely,
            path,
            None,
            format!("an application: {what}"),
        );
        found.add(Final, Likely, path, None, format!("an application: {what}"));
    }
    for (path, name) in quadlets(view) {
        let kind = name.rsplit('.').next().unwrap_or_default();
        if packages.own(&path) != Some(true) && matches!(kind, "container" | "pod" | "kube") {
            let what = "an application: a container that systemd runs";
            found.add(Specific, Certain, &path, None, what);
            found.add(Final, Likely, &path, None, what);
        }
    }
    for item in view.children("/usr/lib/bootc/bound-images.d") {
        let path = item.path.to_string();
        let what = "an application: a bound image";
        found.add(Specific, Certain, &path, None, what);
        found.add(Final, Likely, &path, None, what);
    }
    for (folder, end, what) in BAKED {
        for item in view.below(folder) {
            let path = item.path.to_string();
            let ours = item.is_file() && item.name().ends_with(end);
            if ours && packages.own(&path) != Some(true) {
                found.add(
                    Specific,
                    Likely,
                    &path,
                    None,
                    format!("{what} in the image"),
                );
            }
        }
    }
}
