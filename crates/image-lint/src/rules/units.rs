//! Units that are enabled, and presets.

use super::{Hit, Subject, hit, hit_item, hit_line};
use crate::systemd::{
    Presets, enabled, is_dependencies, is_generated, unit_file, unit_folders, values,
};
use crate::view::{View, What};

pub(super) fn dangling(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for folder in unit_folders(view) {
        for item in view.below(&folder) {
            let What::Symlink(target) = item.what else {
                continue;
            };
            if target == b"/dev/null" || view.resolve(&item.path).is_some() {
                continue;
            }
            // Below a unit's own folder systemd looks at the name of the link alone.
            let parent = item.path.parent().and_then(|parent| parent.file_name());
            let parent = parent.map(|name| name.to_string()).unwrap_or_default();
            let by_name = is_dependencies(&parent);
            let there = unit_file(view, item.name()).is_some() || is_generated(view, item.name());
            if !(by_name && there) {
                let target = pleach_fs_tree::escape(target);
                out.push(hit_item(
                    view,
                    item,
                    format!("{target} is not in the image"),
                ));
            }
        }
    }
    out
}

/// A unit that is enabled while the presets leave it off.
pub(super) fn presets(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let presets = Presets::read(view);
    let mut out = Vec::new();
    for enabled in enabled(view) {
        // What has no [Install] section is no business of presets.
        if !is_installable(view, &enabled.unit) {
            continue;
        }
        if let Some(preset) = presets.against(view, &enabled.unit) {
            let (unit, path, line) = (&enabled.unit, &preset.path, preset.line);
            let what = format!("{unit} is enabled; {path}:{line} disables it");
            out.push(hit(&enabled.link, what));
        }
    }
    out
}

/// A unit that a preset names and enables, and that is not enabled.
pub(super) fn pending(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let presets = Presets::read(view);
    let mut out = Vec::new();
    for (preset, unit) in presets.explicit() {
        // Of a unit named twice the first line decides.
        let decides = presets
            .of(unit)
            .is_some_and(|first| (&first.path, first.line) == (&preset.path, preset.line));
        if !decides || unit.contains('@') || !is_installable(view, unit) || is_on(view, unit) {
            continue;
        }
        let what = format!("{unit} will be enabled at the first boot");
        out.push(hit_line(&preset.path, preset.line, what));
    }
    out
}

fn is_installable(view: &View<'_>, unit: &str) -> bool {
    let Some(file) = unit_file(view, unit) else {
        return false;
    };
    let lines = view.lines(&file);
    let keys = ["WantedBy", "RequiredBy", "UpheldBy", "Alias"];
    keys.iter()
        .any(|key| !values(&lines, "Install", key).is_empty())
}

/// Whether a link starts the unit, or makes it another name; or it is masked.
fn is_on(view: &View<'_>, unit: &str) -> bool {
    let folder = view.etc("systemd/system");
    let links = view.below(&folder).iter();
    let mut links = links.filter_map(|item| match item.what {
        What::Symlink(target) => Some((item, target)),
        _ => None,
    });
    links.any(|(item, target)| {
        let name = target.rsplit(|&b| b == b'/').next().unwrap_or_default();
        item.name() == unit || name == unit.as_bytes()
    })
}
