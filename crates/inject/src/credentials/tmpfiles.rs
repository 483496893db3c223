//! Directories, files and links: `tmpfiles.extra`, and for what is read before tmpfiles.d is carried
//! out the credential that its reader has.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pleach_customization::{Customization, Directory, File, Link, Owner};

use super::{CredentialsError, Made, refused};
use crate::bytes::bytes;

pub(super) const EXTRA: &str = "tmpfiles.extra";

pub(super) fn add(c: &Customization, made: &mut Made) -> Result<(), CredentialsError> {
    for d in &c.directories {
        made.add(EXTRA, directory(d)?.as_bytes());
    }
    for f in &c.files {
        made.add(EXTRA, file(f)?.as_bytes());
    }
    for l in &c.links {
        made.add(EXTRA, link(l)?.as_bytes());
    }
    // By name, as their readers take them.
    let mut files: Vec<&File> = c.files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for f in files {
        early(f, made)?;
    }
    Ok(())
}

fn directory(d: &Directory) -> Result<String, CredentialsError> {
    if d.overwrite == Some(true) {
        return Err(refused(
            format!("directory {}", d.path),
            &d.origin,
            "tmpfiles.d would empty it again at each boot",
            "leave overwrite out",
        ));
    }
    let owners = owners(d.user.as_ref(), d.group.as_ref());
    Ok(format!("d {} {} {owners} -\n", path(&d.path), mode(d.mode)))
}

fn file(f: &File) -> Result<String, CredentialsError> {
    if f.contents.is_none() {
        if !f.append.is_empty() {
            return Err(refused(
                format!("file {}", f.path),
                &f.origin,
                "tmpfiles.d would add the same again at each boot",
                "give the whole contents",
            ));
        }
        let owners = owners(f.user.as_ref(), f.group.as_ref());
        return Ok(format!("f {} {} {owners} -\n", path(&f.path), mode(f.mode)));
    }
    let data = STANDARD.encode(bytes(f)?);
    let owners = owners(f.user.as_ref(), f.group.as_ref());
    let over = if f.overwrite == Some(true) { "+" } else { "" };
    let mode = mode(Some(f.mode.unwrap_or(0o644)));
    Ok(format!(
        "f{over}~ {} {mode} {owners} - {data}\n",
        path(&f.path)
    ))
}

fn link(l: &Link) -> Result<String, CredentialsError> {
    if l.hard == Some(true) {
        return Err(refused(
            format!("hard link {}", l.path),
            &l.origin,
            "tmpfiles.d makes no hard links",
            "make it a symbolic link",
        ));
    }
    let over = if l.overwrite == Some(true) { "+" } else { "" };
    let owners = owners(l.user.as_ref(), l.group.as_ref());
    let target = l.target.replace('%', "%%");
    Ok(format!("L{over} {} - {owners} - {target}\n", path(&l.path)))
}

/// What is read before tmpfiles.d is carried out, in this very boot.
fn early(f: &File, made: &mut Made) -> Result<(), CredentialsError> {
    if f.contents.is_none() {
        return Ok(());
    }
    let data = bytes(f)?;
    let within = |folder: &str, suffix: &str| {
        let name = f.path.strip_prefix(folder)?.strip_suffix(suffix)?;
        (!name.contains('/')).then_some(name)
    };
    if f.path == "/etc/sysctl.conf" || within("/etc/sysctl.d/", ".conf").is_some() {
        made.add("sysctl.extra", &data);
    } else if within("/etc/tmpfiles.d/", ".conf").is_some() {
        made.add(EXTRA, &data);
    } else if within("/etc/sysusers.d/", ".conf").is_some() {
        made.add("sysusers.extra", &data);
    } else if let Some(name) = within("/etc/udev/rules.d/", ".rules") {
        made.add(&format!("udev.rules.{name}"), &data);
    } else if f.path == "/etc/hostname" {
        let text = String::from_utf8_lossy(&data);
        let lines = text.lines().map(str::trim);
        let name = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        if let Some(name) = name.into_iter().next() {
            made.add("system.hostname", name.as_bytes());
        }
    }
    Ok(())
}

pub(super) fn mode(mode: Option<u32>) -> String {
    mode.map_or_else(|| "-".to_owned(), |mode| format!("{mode:04o}"))
}

fn owners(user: Option<&Owner>, group: Option<&Owner>) -> String {
    let name = |owner: Option<&Owner>| match owner {
        None => "-".to_owned(),
        Some(Owner::Id(id)) => id.to_string(),
        Some(Owner::Name(name)) => name.clone(),
    };
    format!("{} {}", name(user), name(group))
}

/// The links that lead from `/` into `/var` on systems of this kind. tmpfiles.d goes by the text of
/// a path: what lies below `/home` would come before the line that makes `/var/home`.
const INTO_VAR: &[(&str, &str)] = &[
    ("/home", "/var/home"),
    ("/root", "/var/roothome"),
    ("/opt", "/var/opt"),
    ("/srv", "/var/srv"),
    ("/mnt", "/var/mnt"),
    ("/usr/local", "/var/usrlocal"),
];

/// A path field: without links, quoted as unit files are, `%` doubled.
pub(super) fn path(path: &str) -> String {
    let moved = INTO_VAR.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
    });
    let text = moved.unwrap_or_else(|| path.to_owned()).replace('%', "%%");
    if text
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\'))
    {
        return text;
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                for byte in c.to_string().bytes() {
                    write!(out, "\\x{byte:02x}").expect("writing to a string");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn paths_are_quoted_and_lead_through_no_link() {
        let check = |text: &str, expect: &str| assert_eq!(path(text), expect);
        check("/etc/motd", "/etc/motd");
        check("/home/alice", "/var/home/alice");
        check("/homes", "/homes");
        check("/root", "/var/roothome");
        check("/usr/local/bin/x", "/var/usrlocal/bin/x");
        check("/etc/50%", "/etc/50%%");
        check("/etc/a b\"", r#""/etc/a b\"""#);
        check("/etc/a\n", r#""/etc/a\x0a""#);
    }
}
