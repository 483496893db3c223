//! Names, places, accounts, and the booted deployment.

use super::section;
use super::tools::{Tools, text};
use super::view::{View, at};
use crate::parse::{accounts, env_file, ostree};
use crate::{Error, Section, Snapshot};

pub(crate) fn capture(
    view: &View<'_>,
    tools: &Tools<'_>,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    snapshot.hostname = hostname(view)?;
    snapshot.locale = locale(view)?;
    snapshot.time_zone = time_zone(view)?;
    snapshot.os_release = os_release(view)?;
    snapshot.machine_id = lines(
        view,
        &[
            ("etc", "/etc/machine-id"),
            ("dbus", "/var/lib/dbus/machine-id"),
        ],
    )?;
    let getent = |database| tools.output("getent", &[database]);
    snapshot.users = section(getent("passwd").and_then(|text| accounts::passwd(&text)));
    snapshot.groups = section(getent("group").and_then(|text| accounts::group(&text)));
    snapshot.shadow = section(getent("shadow").and_then(|text| accounts::shadow(&text)));
    snapshot.gshadow = section(getent("gshadow").and_then(|text| accounts::gshadow(&text)));
    deployment(view, tools, snapshot)
}

fn lines(view: &View<'_>, files: &[(&str, &str)]) -> Result<Section<String>, Error> {
    let mut found = Vec::new();
    for (key, path) in files {
        found.extend(view.line(path)?.map(|line| ((*key).to_owned(), line)));
    }
    Ok(found.into_iter().collect())
}

fn assignments(view: &View<'_>, path: &str) -> Result<Option<Vec<(String, String)>>, Error> {
    Ok(view
        .read(&at(path))?
        .map(|content| env_file::parse(&content)))
}

fn hostname(view: &View<'_>) -> Result<Section<String>, Error> {
    let mut section = lines(
        view,
        &[
            ("static", "/etc/hostname"),
            ("transient", "/proc/sys/kernel/hostname"),
        ],
    )?;
    let info = assignments(view, "/etc/machine-info")?.unwrap_or_default();
    let pretty = info
        .into_iter()
        .rev()
        .find(|(name, _)| name == "PRETTY_HOSTNAME");
    if let (Some(entries), Some((_, pretty))) = (section.entries_mut(), pretty) {
        entries.insert("pretty".to_owned(), pretty);
    }
    Ok(section)
}

fn locale(view: &View<'_>) -> Result<Section<String>, Error> {
    let mut found = Vec::new();
    for path in [
        "/etc/locale.conf",
        "/etc/default/locale",
        "/etc/vconsole.conf",
    ] {
        for entry in assignments(view, path)?.unwrap_or_default() {
            // Debian's file is a link to the other.
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn time_zone(view: &View<'_>) -> Result<Section<String>, Error> {
    let link = view
        .link(&at("/etc/localtime"))?
        .map(|target| pleach_fs_tree::escape(&target));
    // localtime(5): without the link it is UTC.
    let zone = match &link {
        None => "UTC".to_owned(),
        Some(link) => link
            .split_once("zoneinfo/")
            .map_or(link.as_str(), |(_, zone)| zone)
            .into(),
    };
    // hwclock(8): the third line of adjtime; without it, UTC.
    let adjtime = text(view.read(&at("/etc/adjtime"))?.unwrap_or_default());
    let rtc = adjtime.lines().nth(2).map_or("UTC", str::trim).to_owned();
    let mut entries = vec![("zone".to_owned(), zone), ("rtc".to_owned(), rtc)];
    entries.extend(link.map(|link| ("localtime".to_owned(), link)));
    Ok(entries.into_iter().collect())
}

fn os_release(view: &View<'_>) -> Result<Section<String>, Error> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(entries) = assignments(view, path)? {
            return Ok(entries.into_iter().collect());
        }
    }
    Ok(Section::unavailable(
        "/etc/os-release, /usr/lib/os-release: not found",
    ))
}

fn deployment(view: &View<'_>, tools: &Tools<'_>, snapshot: &mut Snapshot) -> Result<(), Error> {
    let status = tools.text("ostree", &["admin", "status"]).and_then(|text| {
        ostree::status(&text).ok_or_else(|| "ostree admin status: nothing booted".to_owned())
    });
    snapshot.ostree = section(status);
    let arguments = super::kernel::arguments(view)?;
    let karg = arguments
        .get("ostree")
        .and_then(|argument| argument.0.last().cloned().flatten());
    if let (Some(entries), Some(karg)) = (snapshot.ostree.entries_mut(), karg) {
        entries.insert("karg".to_owned(), karg);
    }
    let changes = tools.text("ostree", &["admin", "config-diff"]);
    snapshot.config_diff = section(changes.and_then(|text| ostree::config_diff(&text)));
    Ok(())
}
