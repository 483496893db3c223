//! What cannot be a file of the image is declared, and made at boot: accounts by sysusers.d(5),
//! `/var` by tmpfiles.d(5), kernel arguments by bootc's `kargs.d`.

use std::fmt::Write as _;

use pleach_customization::lower::Action;
use pleach_fs_tree::Inode;

/// Accounts.
pub const SYSUSERS_D: &str = "/usr/lib/sysusers.d/50-pleach.conf";
/// What is below `/var`.
pub const TMPFILES_D: &str = "/usr/lib/tmpfiles.d/50-pleach.conf";
/// Kernel arguments.
pub const KARGS_D: &str = "/usr/lib/bootc/kargs.d/50-pleach.toml";
/// Where tmpfiles.d looks for the source of a `C` line that names none.
pub(crate) const FACTORY: &str = "/usr/share/factory";

/// The tmpfiles.d line for a change below `/var`; `None` for what has no line.
pub(crate) fn tmpfiles_line(path: &[u8], action: &Action) -> Option<String> {
    let shown = quote(path)?;
    match action {
        Action::Mkdir { mode, uid, gid } => Some(format!("d {shown} {mode:04o} {uid} {gid} -\n")),
        // The source is FACTORY + path: the argument may be left out.
        Action::Write { mode, uid, gid, .. } => {
            Some(format!("C {shown} {mode:04o} {uid} {gid} -\n"))
        }
        Action::Symlink { target, uid, gid } => Some(format!(
            "L {shown} - {uid} {gid} - {}\n",
            specifiers(target)?
        )),
        _ => None,
    }
}

/// Whether [`tmpfiles_line`] changes what is there already: a `d` line sets the mode and owner of a
/// directory, while `C` and `L` make only what is missing (tmpfiles.d(5)).
pub(crate) fn takes_effect_on<C>(action: &Action, existing: &Inode<C>) -> bool {
    matches!(action, Action::Mkdir { .. }) && existing.entries().is_some()
}

/// A path field: quoted as systemd's unit files are, `%` doubled. Names that are not UTF-8 have no
/// spelling there.
fn quote(path: &[u8]) -> Option<String> {
    let text = specifiers(path)?;
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\');
    if text.chars().all(plain) {
        return Some(text);
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    Some(out)
}

fn specifiers(bytes: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(bytes).ok()?.replace('%', "%%"))
}

/// The `kargs.d` file: `kargs = ["a", "b"]`.
pub(crate) fn kargs_toml<'a>(arguments: impl Iterator<Item = &'a str>) -> String {
    let arguments: Vec<String> = arguments.map(quoted).collect();
    format!("kargs = [{}]\n", arguments.join(", "))
}

/// A string as TOML and JSON both write it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("writing to a string");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfiles_lines_are_quoted() {
        let check = |path: &[u8], action: Action, expect: Option<&str>| {
            assert_eq!(tmpfiles_line(path, &action).as_deref(), expect);
        };
        let mkdir = || Action::Mkdir {
            mode: 0o700,
            uid: 1001,
            gid: 1001,
        };
        check(
            b"/var/home/a",
            mkdir(),
            Some("d /var/home/a 0700 1001 1001 -\n"),
        );
        check(
            b"/var/a b\"",
            mkdir(),
            Some("d \"/var/a b\\\"\" 0700 1001 1001 -\n"),
        );
        check(b"/var/50%", mkdir(), Some("d /var/50%% 0700 1001 1001 -\n"));
        check(b"/var/\xff", mkdir(), None);
        let link = Action::Symlink {
            target: b"../x y".to_vec(),
            uid: 0,
            gid: 0,
        };
        check(b"/var/l", link, Some("L /var/l - 0 0 - ../x y\n"));
        check(b"/var/l", Action::Remove, None);
    }

    #[test]
    fn kargs_are_toml_strings() {
        let check = |arguments: &[&str], expect: &str| {
            assert_eq!(kargs_toml(arguments.iter().copied()), expect);
        };
        check(
            &["quiet", "a=\"b c\""],
            "kargs = [\"quiet\", \"a=\\\"b c\\\"\"]\n",
        );
        check(&[], "kargs = []\n");
    }
}
