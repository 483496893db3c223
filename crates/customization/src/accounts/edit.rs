//! The account files as shadow-utils would leave them.

use super::database::{Database, Table};
use super::defaults::Defaults;
use super::{AccountPlan, BaseAccounts, Disposition, Password, PlannedGroup, PlannedUser};

/// The account files afterwards. One that the base has not is not made.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EditedAccounts {
    /// `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// `/etc/group`.
    pub group: Vec<u8>,
    /// `/etc/shadow`.
    pub shadow: Option<Vec<u8>>,
    /// `/etc/gshadow`.
    pub gshadow: Option<Vec<u8>>,
    /// `/etc/subuid`.
    pub subuid: Option<Vec<u8>>,
    /// `/etc/subgid`.
    pub subgid: Option<Vec<u8>>,
}

impl std::fmt::Debug for EditedAccounts {
    // The shadow files hold hashes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EditedAccounts").finish_non_exhaustive()
    }
}

/// Edits the account files as the programs would, byte for byte: what is not changed stays as it is, new
/// entries come last, a file in which nothing changes is the same file.
///
/// `today_days` is the date in days since 1970, which `shadow` records as the last change of a password.
pub fn edit_account_files(
    plan: &AccountPlan,
    base: &BaseAccounts,
    today_days: u32,
) -> EditedAccounts {
    let mut db = Database::parse(base);
    let defaults = Defaults::parse(base);
    for planned in &plan.groups {
        group(&mut db, planned);
    }
    for planned in &plan.users {
        user(&mut db, planned, &defaults, today_days);
    }
    let bytes = |table: &Option<Table>| table.as_ref().map(Table::bytes);
    EditedAccounts {
        passwd: db.passwd.bytes(),
        group: db.group.bytes(),
        shadow: bytes(&db.shadow),
        gshadow: bytes(&db.gshadow),
        subuid: bytes(&db.subuid),
        subgid: bytes(&db.subgid),
    }
}

/// `groupadd`, `groupmod` or `groupdel`.
pub(super) fn group(db: &mut Database, planned: &PlannedGroup) {
    let name = planned.name.as_str();
    match planned.disposition {
        Disposition::New => add_group(db, name, planned.gid, &planned.password, "x"),
        Disposition::Removed => remove_group(db, name),
        Disposition::Modified => {
            let before = db.group.row(name).and_then(|row| row.id(2));
            let gid = planned.gid.to_string();
            db.group.set(name, 2, gid.as_bytes());
            // Users follow their primary group to its new number.
            let followers: Vec<String> = db
                .passwd
                .rows()
                .filter(|row| row.id(3) == before)
                .map(|row| row.text(0))
                .collect();
            for user in followers {
                db.passwd.set(&user, 3, gid.as_bytes());
            }
            if let Password::Hash(hash) = &planned.password {
                match &mut db.gshadow {
                    Some(table) if table.row(name).is_some() => {
                        table.set(name, 1, hash.expose().as_bytes());
                    }
                    Some(table) => {
                        let members = db
                            .group
                            .row(name)
                            .map(|row| row.text(3))
                            .unwrap_or_default();
                        table.push(&[name, hash.expose(), "", &members]);
                    }
                    None => db.group.set(name, 1, hash.expose().as_bytes()),
                }
            }
        }
    }
}

/// A new line of `group`. Without a `gshadow` the password is in it, and the programs differ in what
/// they write for none.
fn add_group(db: &mut Database, name: &str, gid: u32, password: &Password, bare: &str) {
    let hash = match password {
        Password::Hash(hash) => Some(hash.expose()),
        Password::Locked | Password::Unchanged => None,
    };
    let gid = gid.to_string();
    match &mut db.gshadow {
        Some(table) => {
            db.group.push(&[name, "x", &gid, ""]);
            table.push(&[name, hash.unwrap_or("!"), "", ""]);
        }
        None => db.group.push(&[name, hash.unwrap_or(bare), &gid, ""]),
    }
}

fn remove_group(db: &mut Database, name: &str) {
    db.group.remove(name);
    if let Some(table) = &mut db.gshadow {
        table.remove(name);
    }
}

/// `useradd`, `usermod` or `userdel`.
pub(super) fn user(db: &mut Database, planned: &PlannedUser, defaults: &Defaults, today: u32) {
    match planned.disposition {
        Disposition::New => add_user(db, planned, defaults, today),
        Disposition::Modified => modify_user(db, planned, defaults, today),
        Disposition::Removed => remove_user(db, planned, defaults),
    }
    if let (Some(groups), true) = (&planned.groups, planned.disposition != Disposition::Removed) {
        set_memberships(db, &planned.name, groups);
    }
}

fn add_user(db: &mut Database, user: &PlannedUser, defaults: &Defaults, today: u32) {
    if user.user_group {
        add_group(db, &user.name, user.gid, &Password::Locked, "!");
    }
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    let hash = match &user.password {
        Password::Hash(hash) => hash.expose(),
        Password::Locked | Password::Unchanged => "*",
    };
    let field = if db.shadow.is_some() { "x" } else { hash };
    db.passwd.push(&[
        &user.name,
        field,
        &uid,
        &gid,
        &user.gecos,
        &user.home,
        &user.shell,
    ]);
    if let Some(table) = &mut db.shadow {
        add_shadow(table, &user.name, hash, user.system, defaults, today);
    }
    let ranges = [(&mut db.subuid, user.subuid), (&mut db.subgid, user.subgid)];
    for (table, range) in ranges {
        if let (Some(table), Some(range)) = (table, range) {
            // The search for a hole sorts what is there; the new line comes after it.
            table.sort_ranges();
            table.push(&[
                &user.name,
                &range.start.to_string(),
                &range.count.to_string(),
            ]);
        }
    }
}

/// A new line of `shadow`; system accounts do not age.
fn add_shadow(
    table: &mut Table,
    name: &str,
    hash: &str,
    system: bool,
    defaults: &Defaults,
    today: u32,
) {
    let aging = |key: &str| match defaults.optional(key) {
        Some(days) if !system => days.to_string(),
        _ => String::new(),
    };
    let inactive = defaults
        .inactive()
        .filter(|_| !system)
        .map(|days| days.to_string());
    table.push(&[
        name,
        hash,
        &last_change(today),
        &aging("PASS_MIN_DAYS"),
        &aging("PASS_MAX_DAYS"),
        &aging("PASS_WARN_AGE"),
        &inactive.unwrap_or_default(),
        "",
        "",
    ]);
}

/// Day 0 would ask for a new password at the next login, so it is left empty.
fn last_change(today: u32) -> String {
    if today == 0 {
        String::new()
    } else {
        today.to_string()
    }
}

fn modify_user(db: &mut Database, user: &PlannedUser, defaults: &Defaults, today: u32) {
    let name = user.name.as_str();
    db.passwd.set(name, 3, user.gid.to_string().as_bytes());
    db.passwd.set(name, 4, user.gecos.as_bytes());
    db.passwd.set(name, 6, user.shell.as_bytes());
    let hash = match &user.password {
        Password::Unchanged => return,
        Password::Locked => "*",
        Password::Hash(hash) => hash.expose(),
    };
    match &mut db.shadow {
        Some(table) if table.row(name).is_some() => {
            table.set(name, 1, hash.as_bytes());
            table.set(name, 2, last_change(today).as_bytes());
        }
        Some(table) => {
            add_shadow(table, name, hash, user.system, defaults, today);
            db.passwd.set(name, 1, b"x");
        }
        None => db.passwd.set(name, 1, hash.as_bytes()),
    }
}

fn remove_user(db: &mut Database, user: &PlannedUser, defaults: &Defaults) {
    let name = user.name.as_str();
    db.passwd.remove(name);
    let others = [&mut db.shadow, &mut db.subuid, &mut db.subgid];
    for table in others.into_iter().flatten() {
        table.remove(name);
    }
    set_memberships(db, name, &[]);
    // The user's own group goes with it, unless someone else is in it.
    let own = defaults.user_groups().then(|| db.group.row(name)).flatten();
    if let Some(row) = own {
        let others = row
            .members(3)
            .iter()
            .any(|member| member != name.as_bytes());
        let primary = db.passwd.rows().any(|user| user.id(3) == row.id(2));
        if !others && !primary && row.id(2) == Some(user.gid) {
            remove_group(db, name);
        }
    }
}

/// Puts a user into these groups and takes it out of all others.
fn set_memberships(db: &mut Database, user: &str, groups: &[String]) {
    let ids: Vec<Option<u32>> = groups.iter().map(|group| db.group_id(group)).collect();
    let wanted: Vec<String> = db
        .group
        .rows()
        .filter(|row| ids.contains(&row.id(2)))
        .map(|row| row.text(0))
        .collect();
    for table in [Some(&mut db.group), db.gshadow.as_mut()]
        .into_iter()
        .flatten()
    {
        let rows: Vec<(String, Vec<Vec<u8>>)> = table
            .rows()
            .map(|row| (row.text(0), row.members(3)))
            .collect();
        for (group, mut members) in rows {
            let is_in = members.iter().any(|member| member == user.as_bytes());
            let is_wanted = wanted.contains(&group);
            if is_in == is_wanted {
                continue;
            }
            if is_wanted {
                members.push(user.as_bytes().to_vec());
            } else {
                members.retain(|member| member != user.as_bytes());
            }
            table.set(&group, 3, &members.join(&b','));
        }
    }
}
