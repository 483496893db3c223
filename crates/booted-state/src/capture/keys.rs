//! Who may log in by which key, as sshd would decide (sshd_config(5), sshd(8)).

use std::collections::{BTreeMap, BTreeSet};

use pleach_fs_tree::{Name, TreePath};
use rustix::fs::{FileType, Stat};

use super::section;
use super::tools::Tools;
use super::view::{View, at};
use crate::model::{AuthorizedKey, Group, KeyFile, User, UserKeys};
use crate::parse::{glob, ssh};
use crate::{Error, Section, Snapshot};

type Effective = BTreeMap<String, Vec<String>>;

/// sshd wants to be called by its absolute path.
const SSHD: &str = "/usr/sbin/sshd";

pub(crate) fn capture(
    view: &View<'_>,
    tools: &Tools<'_>,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    let general = configuration(tools, None);
    snapshot.authorized_keys = match (&general, snapshot.users.entries()) {
        (Err(why), _) => Section::unavailable(why),
        (_, None) => Section::unavailable("the users are unknown"),
        (Ok(general), Some(users)) => {
            let empty = BTreeMap::new();
            let groups = snapshot.groups.entries().unwrap_or(&empty);
            section(all_users(view, tools, general, users, groups)?)
        }
    };
    snapshot.sshd = section(general);
    Ok(())
}

/// The configuration in effect, for all or for one user. `-G` needs neither host keys nor a running
/// service, and is new in OpenSSH 9.3; `-T` is older and needs them.
fn configuration(tools: &Tools<'_>, user: Option<&str>) -> Result<Effective, String> {
    let connection = user.map(|user| format!("user={user},host=localhost,addr=127.0.0.1"));
    let ask = |mode| {
        let mut arguments = vec![mode];
        if let Some(connection) = &connection {
            arguments.extend(["-C", connection]);
        }
        tools.output(SSHD, &arguments)
    };
    match ask("-G") {
        Ok(output) => Ok(ssh::effective(&output)),
        Err(why) if why.contains("not found") => Err(why),
        Err(first) => ask("-T")
            .map(|output| ssh::effective(&output))
            .map_err(|second| format!("{first}; {second}")),
    }
}

fn all_users(
    view: &View<'_>,
    tools: &Tools<'_>,
    general: &Effective,
    users: &BTreeMap<String, User>,
    groups: &BTreeMap<String, Group>,
) -> Result<Result<Vec<(String, UserKeys)>, String>, Error> {
    let config = at("/etc/ssh/sshd_config");
    // One process a user is dear; without Match blocks all users have the same.
    let per_user = has_match(view, &config, &mut BTreeSet::new())?;
    let mut out = Vec::new();
    for (name, user) in users {
        let own = if per_user {
            match configuration(tools, Some(name)) {
                Ok(own) => Some(own),
                Err(why) => return Ok(Err(why)),
            }
        } else {
            None
        };
        let account = Account {
            name,
            user,
            groups: groups
                .values()
                .filter(|group| group.members.contains(name))
                .map(|group| group.gid)
                .chain([user.gid])
                .collect(),
        };
        out.push((
            name.clone(),
            keys(view, own.as_ref().unwrap_or(general), &account)?,
        ));
    }
    Ok(Ok(out))
}

fn has_match(
    view: &View<'_>,
    path: &TreePath,
    seen: &mut BTreeSet<TreePath>,
) -> Result<bool, Error> {
    if !seen.insert(path.clone()) {
        return Ok(false);
    }
    let config = ssh::config(&view.read(path)?.unwrap_or_default());
    let mut found = config.has_match;
    for include in &config.includes {
        let include = if include.starts_with('/') {
            include.clone()
        } else {
            format!("/etc/ssh/{include}")
        };
        for path in expand(view, &include)? {
            found |= has_match(view, &path, seen)?;
        }
    }
    Ok(found)
}

/// The paths that match a pattern, as glob(7) without brackets; a path without a pattern is itself,
/// whether it exists or not.
fn expand(view: &View<'_>, pattern: &str) -> Result<Vec<TreePath>, Error> {
    let mut paths = vec![TreePath::root()];
    for part in pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        let mut next = Vec::new();
        for path in paths {
            if glob::is_pattern(part.as_bytes()) {
                let names = view.list(&path)?;
                let matching = names
                    .iter()
                    .filter(|name| glob::matches(part.as_bytes(), name.as_bytes()));
                next.extend(matching.map(|name| path.join(name)));
            } else if part == ".." {
                next.push(view.real_path(&path)?.parent().unwrap_or_default());
            } else {
                next.extend(Name::new(part.as_bytes()).map(|name| path.join(&name)));
            }
        }
        paths = next;
    }
    Ok(paths)
}

struct Account<'a> {
    name: &'a str,
    user: &'a User,
    groups: BTreeSet<u32>,
}

fn keys(view: &View<'_>, config: &Effective, account: &Account<'_>) -> Result<UserKeys, Error> {
    let first = |keyword: &str| config.get(keyword).and_then(|values| values.first());
    let is = |keyword: &str, value: &str| first(keyword).is_some_and(|found| found == value);
    let patterns: Vec<String> = first("authorizedkeysfile")
        .map(|value| value.split_whitespace().map(Into::into).collect())
        .unwrap_or_default();
    let command = first("authorizedkeyscommand").filter(|command| *command != "none");
    let command = command.map(|command| {
        let user = first("authorizedkeyscommanduser").map_or("none", String::as_str);
        format!("{command} as {user}")
    });
    let strict = !is("strictmodes", "no");
    // What keeps all keys of the user from being accepted.
    let refused = if is("pubkeyauthentication", "no") {
        Some("PubkeyAuthentication is no")
    } else if account.user.uid == 0 && is("permitrootlogin", "no") {
        Some("PermitRootLogin is no")
    } else {
        None
    };
    let mut out = UserKeys {
        patterns: patterns.clone(),
        command,
        ..UserKeys::default()
    };
    for pattern in patterns.iter().filter(|pattern| *pattern != "none") {
        for path in expand(view, &replace_tokens(pattern, account))? {
            let file = path.to_string();
            let real = view.real_path(&path)?;
            let Some(stat) = view.stat(&real)? else {
                continue;
            };
            if out.files.contains_key(&file) {
                continue;
            }
            let why = match refused {
                Some(why) => Some(why.to_owned()),
                None => objection(view, &real, &stat, account, strict)?,
            };
            let mut bad_lines = 0;
            let content = view.read(&real)?.unwrap_or_default();
            for key in content.split(|&b| b == b'\n').filter_map(ssh::key) {
                let Ok(key) = key else {
                    bad_lines += 1;
                    continue;
                };
                out.keys
                    .entry(key.fingerprint)
                    .or_default()
                    .push(AuthorizedKey {
                        file: file.clone(),
                        key_type: key.key_type,
                        comment: key.comment,
                        options: key.options,
                        effective: why.is_none(),
                        why: why.clone(),
                    });
            }
            let effective = why.is_none();
            out.files.insert(
                file,
                KeyFile {
                    effective,
                    why,
                    bad_lines,
                },
            );
        }
    }
    Ok(out)
}

/// `%%`, `%h`, `%u`, `%U`; what is not absolute is below the home.
fn replace_tokens(pattern: &str, account: &Account<'_>) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, false) => out.push(c),
            _ => match chars.next() {
                Some('h') => out.push_str(&account.user.home),
                Some('u') => out.push_str(account.name),
                Some('U') => out.push_str(&account.user.uid.to_string()),
                Some('%') => out.push('%'),
                other => {
                    out.push('%');
                    out.extend(other);
                }
            },
        }
    }
    if out.starts_with('/') {
        out
    } else {
        format!("{}/{out}", account.user.home)
    }
}

/// Why sshd would not read a file, whose real path this is: it reads as the user, and with
/// `StrictModes` nobody but the user and root may be able to change the file or any directory above
/// it, up to the home.
fn objection(
    view: &View<'_>,
    real: &TreePath,
    stat: &Stat,
    account: &Account<'_>,
    strict: bool,
) -> Result<Option<String>, Error> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Some(format!("{real} is not a regular file")));
    }
    if !may(stat, account, 0o4) {
        return Ok(Some(format!(
            "{real} cannot be read: {}",
            owner_and_mode(stat)
        )));
    }
    let foreign = |stat: &Stat| {
        (stat.st_uid != 0 && stat.st_uid != account.user.uid) || stat.st_mode & 0o022 != 0
    };
    if strict && foreign(stat) {
        return Ok(Some(format!(
            "{real} can be changed by others: {}",
            owner_and_mode(stat)
        )));
    }
    let home = view.real_path(&at_or_root(&account.user.home))?;
    let mut below_home = strict;
    let mut directory = real.parent();
    while let Some(path) = directory {
        if let Some(stat) = view.stat(&path)? {
            if !may(&stat, account, 0o1) {
                return Ok(Some(format!(
                    "{path} cannot be searched: {}",
                    owner_and_mode(&stat)
                )));
            }
            if below_home && foreign(&stat) {
                let mode = owner_and_mode(&stat);
                return Ok(Some(format!("{path} can be changed by others: {mode}")));
            }
        }
        below_home &= path != home;
        directory = path.parent();
    }
    Ok(None)
}

fn at_or_root(home: &str) -> TreePath {
    TreePath::new(home).unwrap_or_default()
}

/// Whether the mode lets an account read (4) or search (1). Access control lists are not looked at.
fn may(stat: &Stat, account: &Account<'_>, wanted: u32) -> bool {
    let shift = if stat.st_uid == account.user.uid {
        6
    } else if account.groups.contains(&stat.st_gid) {
        3
    } else {
        0
    };
    account.user.uid == 0 || (stat.st_mode >> shift) & wanted != 0
}

fn owner_and_mode(stat: &Stat) -> String {
    let mode = stat.st_mode & 0o7777;
    format!("owner {}:{}, mode {mode:04o}", stat.st_uid, stat.st_gid)
}
