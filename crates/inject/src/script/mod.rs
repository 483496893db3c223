//! A customization as a POSIX shell script for the machine itself: what cloud-init and a kickstart
//! run. Needs coreutils, shadow-utils and systemctl there, as Ignition does.
//!
//! Neither of the two has words of its own that say the same: cloud-init's `write_files` follows
//! links, overwrites whatever is there, knows no numeric owners and opens a file with the umask 022
//! before it sets the mode; Anaconda's `user` makes no system accounts and cannot leave out a group.

mod quote;

use std::fmt::Write as _;

use pleach_customization::lower::{PRESET_PATH, preset};
use pleach_customization::{
    Customization, Directory, File, Group, Link, Owner, Refused, Unit, User,
};

use crate::bytes::bytes;

pub(crate) use quote::plain;
use quote::{heredoc, quote};

const PRELUDE: &str = include_str!("prelude.sh");
const UNITS: &str = "/etc/systemd/system";

/// The script. Contents and password hashes are in here-documents, so that no program has one among
/// its arguments.
pub(crate) fn script(c: &Customization) -> Result<String, Refused> {
    let mut out = PRELUDE.to_owned();
    let mut section = |title: &str, lines: String| {
        if !lines.is_empty() {
            out.push_str(&format!("\n# {title}\n{lines}"));
        }
    };
    section("groups", c.groups.iter().map(group).collect());
    section("users", c.users.iter().map(user).collect());
    section("directories, files and links", storage(c)?);
    section("units", units(c));
    Ok(out)
}

fn yes(value: Option<bool>) -> &'static str {
    if value == Some(true) { "yes" } else { "no" }
}

/// Five digits: with fewer, chmod keeps a directory's setgid bit.
fn mode(mode: u32) -> String {
    format!("{mode:05o}")
}

fn name(owner: &Owner) -> String {
    match owner {
        Owner::Id(id) => id.to_string(),
        Owner::Name(name) => name.clone(),
    }
}

/// For chown, of something that is root's unless the document says otherwise.
fn owner(user: Option<&Owner>, group: Option<&Owner>) -> String {
    let name = |owner: Option<&Owner>| owner.map_or_else(|| "0".to_owned(), name);
    quote(&format!("{}:{}", name(user), name(group)))
}

/// For chown, of something that may be there already; `-` where nothing is said.
fn owner_if_said(user: Option<&Owner>, group: Option<&Owner>) -> String {
    match (user, group) {
        (None, None) => "-".to_owned(),
        (Some(user), None) => quote(&name(user)),
        (user, Some(group)) => quote(&format!(
            "{}:{}",
            user.map(name).unwrap_or_default(),
            name(group)
        )),
    }
}

fn dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| quote(&value.to_string()))
}

fn group(g: &Group) -> String {
    if g.should_exist == Some(false) {
        return format!("remove_group {}\n", quote(&g.name));
    }
    let system = if g.system == Some(true) {
        " --system"
    } else {
        ""
    };
    let gid = dash(g.gid.as_ref());
    let mut out = format!("group {} {gid}{system}\n", quote(&g.name));
    if let Some(hash) = g
        .password_hash
        .as_ref()
        .filter(|hash| !hash.expose().is_empty())
    {
        let line = format!("{}:{}\n", g.name, hash.expose());
        out += &heredoc("chgpasswd --encrypted", line.as_bytes());
    }
    out
}

fn user(u: &User) -> String {
    let name = quote(&u.name);
    if u.should_exist == Some(false) {
        return format!("remove_user {name}\n");
    }
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut settings = String::new();
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(settings, " {name} {}", quote(&value));
        }
    };
    option("--comment", said(&u.gecos));
    option("--shell", u.shell.clone());
    option("--gid", u.primary_group.clone());
    option(
        "--groups",
        Some(u.groups.join(",")).filter(|groups| !groups.is_empty()),
    );
    let mut new = String::new();
    if let Some(uid) = u.uid {
        let _ = write!(new, " --uid {uid}");
    }
    new += if u.no_create_home == Some(true) {
        " --no-create-home"
    } else {
        " --create-home"
    };
    let flags = [
        (u.no_user_group, " --no-user-group"),
        (u.system, " --system"),
        (u.no_log_init, " --no-log-init"),
    ];
    new.extend(
        flags
            .iter()
            .filter(|(is, _)| *is == Some(true))
            .map(|(_, flag)| *flag),
    );
    let (uid, home) = (dash(u.uid.as_ref()), dash(u.home_dir.as_ref()));
    let mut out = format!("if getent passwd {name} >/dev/null; then\n");
    let _ = writeln!(out, "    same_user {name} {uid} {home}");
    if !settings.is_empty() {
        let _ = writeln!(out, "    usermod{settings} {name}");
    }
    let _ = writeln!(out, "else\n    new_user {name} {home}{settings}{new}\nfi");
    if let Some(hash) = &u.password_hash {
        let hash = Some(hash.expose()).filter(|hash| !hash.is_empty());
        let line = format!("{}:{}\n", u.name, hash.unwrap_or("*"));
        out += &heredoc("chpasswd --encrypted", line.as_bytes());
    }
    if !u.ssh_authorized_keys.is_empty() {
        let mut lines = u.ssh_authorized_keys.join("\n");
        if !lines.ends_with('\n') {
            lines.push('\n');
        }
        out += &heredoc(&format!("keys {name}"), lines.as_bytes());
    }
    out
}

/// Parents before children, and hard links when all that they could name is there.
fn storage(c: &Customization) -> Result<String, Refused> {
    let depth = |path: &str| path.matches('/').count();
    let mut items: Vec<(bool, usize, String)> = Vec::new();
    for d in &c.directories {
        items.push((false, depth(&d.path), directory(d)));
    }
    for f in &c.files {
        items.push((false, depth(&f.path), file(f)?));
    }
    for l in &c.links {
        items.push((l.hard == Some(true), depth(&l.path), link(l)));
    }
    items.sort_by_key(|(hard, depth, _)| (*hard, *depth));
    Ok(items.into_iter().map(|(.., lines)| lines).collect())
}

fn directory(d: &Directory) -> String {
    let (path, overwrite) = (quote(&d.path), yes(d.overwrite));
    let mode = d.mode.map_or_else(|| "-".to_owned(), mode);
    let owner = owner_if_said(d.user.as_ref(), d.group.as_ref());
    format!("directory {path} {overwrite} {mode} {owner}\n")
}

fn file(f: &File) -> Result<String, Refused> {
    let path = quote(&f.path);
    let data = bytes(f)?;
    if f.contents.is_none() {
        let mode = f.mode.map_or_else(|| "-".to_owned(), mode);
        let owner = owner_if_said(f.user.as_ref(), f.group.as_ref());
        return Ok(heredoc(&format!("amend {path} {mode} {owner}"), &data));
    }
    let mode = mode(f.mode.unwrap_or(0o644));
    let owner = owner(f.user.as_ref(), f.group.as_ref());
    let command = format!("file {path} {} {mode} {owner}", yes(f.overwrite));
    Ok(heredoc(&command, &data))
}

fn link(l: &Link) -> String {
    let (path, overwrite, target) = (quote(&l.path), yes(l.overwrite), quote(&l.target));
    if l.hard == Some(true) {
        return format!("hard_link {path} {overwrite} {target}\n");
    }
    let owner = owner(l.user.as_ref(), l.group.as_ref());
    format!("link {path} {overwrite} {target} {owner}\n")
}

/// All files first: a unit's `[Install]` may name another of them.
fn units(c: &Customization) -> String {
    let mut out: String = c.units.iter().map(unit_files).collect();
    for unit in &c.units {
        let name = quote(&unit.name);
        match unit.enabled {
            Some(true) if unit.mask != Some(true) => {
                let _ = writeln!(out, "systemctl --quiet enable -- {name}");
            }
            Some(false) => {
                let _ = writeln!(out, "disable {name}");
            }
            _ => {}
        }
    }
    let preset = preset(&c.units);
    if !preset.is_empty() {
        out += &heredoc(&format!("amend {PRESET_PATH} - -"), preset.as_bytes());
    }
    out
}

fn unit_files(unit: &Unit) -> String {
    let mut out = String::new();
    let mut write = |path: String, text: &str| {
        let command = format!("file {} yes 00644 0:0", quote(&path));
        out += &heredoc(&command, text.as_bytes());
    };
    for dropin in &unit.dropins {
        if let Some(text) = &dropin.contents {
            write(format!("{UNITS}/{}.d/{}", unit.name, dropin.name), text);
        }
    }
    if let Some(text) = unit.unit_file() {
        write(format!("{UNITS}/{}", unit.name), text);
    }
    let verb = match unit.mask {
        Some(true) => "mask",
        Some(false) => "unmask",
        None => return out,
    };
    let _ = writeln!(out, "{verb} {}", quote(&unit.name));
    out
}
