//! Users and groups, and whose number drifts.

use std::collections::BTreeMap;

use super::{AccountChange, AccountKind, keys};
use crate::accounts::{entries, sysusers};
use crate::view::View;

struct Account {
    /// None where each machine chooses it.
    id: Option<u32>,
    /// For people.
    text: String,
}

type Accounts = BTreeMap<(AccountKind, String), Account>;

/// Accounts that are new, gone or changed; files in an image and `sysusers.d` count alike.
pub(super) fn changes(old: &View<'_>, new: &View<'_>) -> Vec<AccountChange> {
    let (before, after) = (accounts(old), accounts(new));
    let change = |key: &(AccountKind, String)| {
        let (was, is) = (before.get(key), after.get(key));
        let text = |account: Option<&Account>| account.map(|account| account.text.clone());
        (text(was) != text(is)).then(|| AccountChange {
            kind: key.0,
            name: key.1.clone(),
            old: text(was),
            new: text(is),
            drift: drift(key, was, is, &before),
        })
    };
    keys(&before, &after)
        .into_iter()
        .filter_map(change)
        .collect()
}

/// What is to be feared of a change: files on a machine have the old number.
fn drift(
    key: &(AccountKind, String),
    was: Option<&Account>,
    is: Option<&Account>,
    before: &Accounts,
) -> Option<String> {
    let word = match key.0 {
        AccountKind::User => "uid",
        AccountKind::Group => "gid",
    };
    let (was, is) = (was.map(|account| account.id), is.map(|account| account.id));
    match (was, is) {
        (Some(Some(old)), Some(Some(new))) if old != new => Some(format!(
            "{word} {old} -> {new}: what it owns in /var and /etc of a machine keeps {old}"
        )),
        (Some(Some(old)), Some(None)) => Some(format!(
            "{word} {old} is no longer fixed: a machine that is set up anew chooses another one"
        )),
        (Some(None), Some(Some(new))) => Some(format!(
            "{word} {new} is fixed now: a machine that chose another one keeps that"
        )),
        (None, Some(Some(new))) => {
            let mut others = before.iter();
            let other = others.find(|(other, account)| {
                other.0 == key.0 && other.1 != key.1 && account.id == Some(new)
            })?;
            Some(format!(
                "{word} {new} was {}'s: what that owned on a machine is this one's now",
                other.0.1
            ))
        }
        _ => None,
    }
}

fn accounts(view: &View<'_>) -> Accounts {
    let mut out = Accounts::new();
    let mut put = |kind, name: &str, id: Option<u32>, text: String| {
        let key = (kind, name.to_owned());
        out.entry(key).or_insert(Account { id, text });
    };
    // What nss-altfiles reads counts as /etc does.
    for file in [view.etc("passwd"), "/usr/lib/passwd".to_owned()] {
        for entry in entries(view, &file) {
            let (uid, gid) = (entry.field(2), entry.field(3));
            let (home, shell) = (entry.field(5), entry.field(6));
            let text = format!("{uid}:{gid} {home} {shell}");
            put(AccountKind::User, entry.name(), uid.parse().ok(), text);
        }
    }
    for file in [view.etc("group"), "/usr/lib/group".to_owned()] {
        for entry in entries(view, &file) {
            let gid = entry.field(2);
            let members = match entry.field(3) {
                "" => String::new(),
                members => format!(" ({members})"),
            };
            put(
                AccountKind::Group,
                entry.name(),
                gid.parse().ok(),
                format!("{gid}{members}"),
            );
        }
    }
    for line in sysusers(view) {
        let (name, id) = (line.field(1), line.field(2));
        let (uid, gid) = id.split_once(':').unwrap_or((id, id));
        let text = |id: &str| match id {
            "" => "sysusers.d, each machine chooses a number".to_owned(),
            id => format!("sysusers.d, {id}"),
        };
        match line.field(0).trim_end_matches('!') {
            "u" => {
                put(AccountKind::User, name, uid.parse().ok(), text(id));
                // With a group of its own name, unless it is given another one.
                if id == uid || gid.parse::<u32>().is_ok() {
                    put(AccountKind::Group, name, gid.parse().ok(), text(gid));
                }
            }
            "g" => put(AccountKind::Group, name, id.parse().ok(), text(id)),
            _ => {}
        }
    }
    out
}
