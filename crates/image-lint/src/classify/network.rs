//! The network of one site.

use super::Found;
use crate::packages::Packages;
use crate::report::Certainty::{self, Certain, Hint, Likely};
use crate::report::SpeaksFor::Specific;
use crate::view::{View, lines};

/// Folders of the default configuration, and how their files end.
const FOLDERS: [(&str, &[&str]); 4] = [
    ("systemd/network", &[".network", ".netdev", ".link"]),
    ("NetworkManager/system-connections", &[".nmconnection", ""]),
    ("netplan", &[".yaml", ".yml"]),
    ("sysconfig/network-scripts", &[]),
];

/// What a line says, lower case, that holds at one site alone.
const STATIC: [&str; 10] = [
    "address",
    "gateway",
    "ipaddr",
    "dns=",
    "macaddress=",
    "method=manual",
    "ssid",
    "nameservers:",
    "routes:",
    "- to:",
];

pub(super) fn network(view: &View<'_>, packages: &Packages, found: &mut Found<'_, '_>) {
    for (folder, ends) in FOLDERS {
        for item in view.below(&view.etc(folder)) {
            let name = item.name();
            let fits = match ends {
                [] => name.starts_with("ifcfg-") && name != "ifcfg-lo",
                ends => ends.iter().any(|end| name.ends_with(end)),
            };
            if item.is_file() && fits {
                say(view, found, item);
            }
        }
    }
    // What comes with a package is for every machine, whatever addresses are in it.
    for item in view.children("/usr/lib/systemd/network") {
        let ends = FOLDERS[0].1.iter().any(|end| item.name().ends_with(end));
        let ours = packages.own(&item.path.to_string()) == Some(false);
        if item.is_file() && ends && ours && judge(&lines(&view.bytes(item))).0 == Certain {
            say(view, found, item);
        }
    }
    let interfaces = view.etc("network/interfaces");
    for (line, text) in view.lines(&interfaces) {
        let mut words = text.split_whitespace();
        if words.next() == Some("iface") && words.next().is_some_and(|name| name != "lo") {
            let certainty = match text.contains(" static") {
                true => Certain,
                false => Hint,
            };
            let what = "network configuration";
            found.add(Specific, certainty, &interfaces, Some(line), what);
        }
    }
    for (path, line, argument) in crate::rules::kernel_arguments(view) {
        let value = argument.strip_prefix("ip=");
        let of_a_site = |value: &str| {
            let last = value.rsplit(':').next().unwrap_or_default();
            let any = [
                "dhcp", "on", "any", "dhcp6", "auto6", "either6", "link6", "off", "none",
            ];
            !any.contains(&last) || value.starts_with(|c: char| c.is_ascii_digit())
        };
        if value.is_some_and(of_a_site) {
            let what = format!("network configuration: {argument}");
            found.add(Specific, Certain, &path, line, what);
        }
    }
}

fn say(view: &View<'_>, found: &mut Found<'_, '_>, item: &crate::view::Item<'_>) {
    let (certainty, line) = judge(&lines(&view.bytes(item)));
    let path = item.path.to_string();
    let what = match certainty {
        Certain => "network configuration of one site",
        _ => "network configuration",
    };
    found.add(Specific, certainty, &path, line, what);
}

/// How sure it is that a file is for one site, and by which line.
fn judge(text: &[(usize, String)]) -> (Certainty, Option<usize>) {
    let text = text
        .iter()
        .map(|(n, line)| (*n, line.trim().to_lowercase()));
    let text: Vec<_> = text
        .filter(|(_, line)| !line.starts_with(['#', ';']))
        .collect();
    let fixed = text.iter().find(|(_, line)| {
        let empty = line.ends_with(['=']);
        !empty && STATIC.iter().any(|word| line.starts_with(word))
    });
    match fixed {
        Some((line, _)) => (Certain, Some(*line)),
        None => {
            let asks = |line: &String| line.contains("dhcp") || line == "method=auto";
            let asks = text.iter().any(|(_, line)| asks(line));
            (if asks { Hint } else { Likely }, None)
        }
    }
}
