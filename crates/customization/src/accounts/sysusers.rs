//! sysusers.d(5): accounts that are made when the system boots.

use std::fmt::Write;

use super::{AccountPlan, Disposition, Password};
use crate::model::Origin;

/// What sysusers.d can say of a plan, and what it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sysusers {
    /// The file's text.
    pub text: String,
    /// What it leaves out, for the caller to do otherwise or to refuse.
    pub remainder: Vec<SysusersRemainder>,
}

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
/// keys and subordinate IDs are not part of it; what is asked for and cannot be said is in
/// [`Sysusers::remainder`].
pub fn sysusers_d(plan: &AccountPlan) -> Sysusers {
    let mut text = String::new();
    let mut remainder = Vec::new();
    for group in &plan.groups {
        let mut leave = |what| remainder.push(rest(&group.name, what, &group.origin));
        match group.disposition {
            Disposition::New => line(&mut text, &["g", &group.name, &group.gid.to_string()]),
            Disposition::Modified if group.renumbered => leave("its new number"),
            Disposition::Modified => {}
            Disposition::Removed => leave("its removal"),
        }
        if matches!(group.password, Password::Hash(_)) {
            leave("its password");
        }
    }
    for user in &plan.users {
        let mut leave = |what| remainder.push(rest(&user.name, what, &user.origin));
        let locks = user.disposition == Disposition::Modified && user.password == Password::Locked;
        if locks || matches!(user.password, Password::Hash(_)) {
            leave("its password");
        }
        match user.disposition {
            Disposition::New => {
                if user.user_group {
                    line(&mut text, &["g", &user.name, &user.gid.to_string()]);
                }
                let id = format!("{}:{}", user.uid, user.gid);
                let fields = [&user.gecos, &user.home, &user.shell].map(|field| quoted(field));
                let [gecos, home, shell] = &fields;
                line(&mut text, &["u", &user.name, &id, gecos, home, shell]);
            }
            Disposition::Modified => user.changed.iter().for_each(|what| leave(what)),
            Disposition::Removed => leave("its removal"),
        }
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
    Sysusers { text, remainder }
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

/// A field in quotes, with specifiers and escapes taken away; `-` is the word for an empty one.
fn quoted(field: &str) -> String {
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
