//! sysusers.d(5): accounts that are made when the system boots.

use std::fmt::Write;

use super::{AccountPlan, Disposition, Password};
use crate::model::Origin;

/// Something that sysusers.d(5) has no words for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SysusersRemainder {
    /// The account.
    pub name: String,
    /// What is left out: `its password`.
    pub what: &'static str,
    /// Where it was asked for.
    pub origin: Origin,
}

/// Lines of sysusers.d(5) for the accounts that are new, and for memberships.
///
/// Numbers are fixed, so that the accounts come out as `useradd` would have made them. Home directories,
/// keys and subordinate IDs are not part of it; what else it leaves out, [`sysusers_remainder`] tells.
pub fn sysusers_d(plan: &AccountPlan) -> String {
    let mut text = String::new();
    for group in plan
        .groups
        .iter()
        .filter(|group| group.disposition == Disposition::New)
    {
        line(&mut text, &["g", &group.name, &group.gid.to_string()]);
    }
    for user in plan
        .users
        .iter()
        .filter(|user| user.disposition == Disposition::New)
    {
        if user.user_group {
            line(&mut text, &["g", &user.name, &user.gid.to_string()]);
        }
        let id = format!("{}:{}", user.uid, user.gid);
        let [gecos, home, shell] =
            [&user.gecos, &user.home, &user.shell].map(|field| sysusers_field(field));
        line(&mut text, &["u", &user.name, &id, &gecos, &home, &shell]);
    }
    for user in plan
        .users
        .iter()
        .filter(|user| user.disposition != Disposition::Removed)
    {
        for group in user.groups.iter().flatten() {
            line(&mut text, &["m", &user.name, group]);
        }
    }
    text
}

/// What [`sysusers_d`] leaves out, for the caller to do otherwise or to refuse.
pub fn sysusers_remainder(plan: &AccountPlan) -> Vec<SysusersRemainder> {
    let mut out = Vec::new();
    for group in &plan.groups {
        let mut leave = |what| out.push(rest(&group.name, what, &group.origin));
        match group.disposition {
            Disposition::Modified if group.renumbered => leave("its new number"),
            Disposition::Removed => leave("its removal"),
            _ => {}
        }
        if matches!(group.password, Password::Hash(_)) {
            leave("its password");
        }
    }
    for user in &plan.users {
        let mut leave = |what| out.push(rest(&user.name, what, &user.origin));
        match user.disposition {
            Disposition::New => {}
            Disposition::Modified => user.changed.iter().for_each(|what| leave(what)),
            Disposition::Removed => leave("its removal"),
        }
        let locks = user.disposition == Disposition::Modified && user.password == Password::Locked;
        if locks || matches!(user.password, Password::Hash(_)) {
            leave("its password");
        }
    }
    out
}

fn rest(name: &str, what: &'static str, origin: &Origin) -> SysusersRemainder {
    SysusersRemainder {
        name: name.into(),
        what,
        origin: origin.clone(),
    }
}

fn line(text: &mut String, fields: &[&str]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", fields.join(" "));
}

/// A field of sysusers.d(5) in quotes, with specifiers and escapes taken away; `-` is the word for an empty one.
pub fn sysusers_field(field: &str) -> String {
    if field.is_empty() {
        return "-".into();
    }
    let escaped = field
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    if escaped
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
        && escaped != "-"
    {
        escaped
    } else {
        format!("\"{escaped}\"")
    }
}
