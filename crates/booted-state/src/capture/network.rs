//! Interfaces, and the files that configure them.

use pleach_fs_tree::{Digest, TreePath, escape};

use super::section;
use super::tools::Tools;
use super::view::{View, at};
use crate::model::{Interface, NetworkFile};
use crate::parse::ip;
use crate::{Error, Section};

pub(crate) fn interfaces(tools: &Tools<'_>) -> Section<Interface> {
    let json = tools.output("ip", &["-json", "address", "show"]);
    section(json.and_then(|json| ip::interfaces(&json)))
}

/// Directories whose files configure the network.
const DIRECTORIES: &[&str] = &[
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/etc/systemd/networkd.conf.d",
    "/etc/systemd/resolved.conf.d",
    "/etc/NetworkManager/conf.d",
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/conf.d",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/conf.d",
    "/usr/lib/NetworkManager/system-connections",
    "/etc/netplan",
    "/run/netplan",
    "/usr/lib/netplan",
    "/etc/network/interfaces.d",
    "/etc/sysconfig/network-scripts",
];

/// Single files that do.
const FILES: &[&str] = &[
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/network/interfaces",
    "/etc/systemd/networkd.conf",
    "/etc/systemd/resolved.conf",
    "/etc/NetworkManager/NetworkManager.conf",
];

pub(crate) fn files(view: &View<'_>) -> Result<Section<NetworkFile>, Error> {
    let mut paths: Vec<TreePath> = FILES.iter().map(|path| at(path)).collect();
    for directory in DIRECTORIES {
        let directory = at(directory);
        paths.extend(
            view.list(&directory)?
                .iter()
                .map(|name| directory.join(name)),
        );
    }
    let mut found = Vec::new();
    for path in paths {
        let target = view.link(&path)?.map(|target| escape(&target));
        let digest = view
            .read(&path)?
            .map(|content| Digest::of(&content).to_string());
        if target.is_some() || digest.is_some() {
            found.push((path.to_string(), NetworkFile { target, digest }));
        }
    }
    Ok(found.into_iter().collect())
}
