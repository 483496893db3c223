//! Home directories, what `/etc/skel` puts into them, and SSH keys.

use super::view::{components, join};
use super::work::Work;
use super::{Action, AuthorizedKeys, BaseView, Kind, LowerOptions};
use crate::accounts::{AccountPlan, Disposition, PlannedUser};

const SKEL: &[u8] = b"/etc/skel";

pub(super) fn lower(work: &mut Work<'_>, plan: &AccountPlan, options: &LowerOptions) {
    for user in &plan.users {
        let Some(home) = work.fully_resolved(&user.home, &user.origin) else {
            continue;
        };
        match user.disposition {
            Disposition::Removed => {
                let own = work.node(&home).is_some_and(|node| {
                    node.kind == Kind::Directory && node.uid == user.uid && home != b"/"
                });
                if own {
                    work.change(&home, Action::Remove, &user.origin);
                }
            }
            Disposition::New | Disposition::Modified => {
                // One that is there is left as it is, and nothing is copied into it.
                if user.create_home && work.node(&home).is_none() {
                    make_home(work, user, &home);
                }
                if !user.ssh_keys.is_empty() {
                    keys(work, user, &home, options.authorized_keys);
                }
            }
        }
    }
}

fn make_home(work: &mut Work<'_>, user: &PlannedUser, home: &[u8]) {
    let action = Action::Mkdir {
        mode: user.home_mode,
        uid: user.uid,
        gid: user.gid,
    };
    work.change(home, action, &user.origin);
    if let Ok(skel) = work.resolve(SKEL) {
        copy(work, user, &skel, home);
    }
}

fn copy(work: &mut Work<'_>, user: &PlannedUser, from: &[u8], to: &[u8]) {
    let (uid, gid) = (user.uid, user.gid);
    let mut names = work.names(from);
    names.sort();
    for name in names {
        let (source, target) = (join(from, &name), join(to, &name));
        let Some(node) = work.node(&source) else {
            continue;
        };
        let mode = node.mode;
        match node.kind {
            Kind::Directory => {
                work.change(&target, Action::Mkdir { mode, uid, gid }, &user.origin);
                copy(work, user, &source, &target);
            }
            Kind::File => {
                let Some(contents) = work.bytes(&source, &user.origin) else {
                    continue;
                };
                work.change(
                    &target,
                    Action::Write {
                        contents,
                        mode,
                        uid,
                        gid,
                    },
                    &user.origin,
                );
            }
            Kind::Symlink(link) => {
                // A link into the skeleton becomes one into the home.
                let rest = link
                    .strip_prefix(SKEL)
                    .filter(|rest| rest.is_empty() || rest[0] == b'/');
                let link = rest.map_or_else(
                    || link.clone(),
                    |rest| [user.home.as_bytes(), rest].concat(),
                );
                work.change(
                    &target,
                    Action::Symlink {
                        target: link,
                        uid,
                        gid,
                    },
                    &user.origin,
                );
            }
            Kind::Other => {}
        }
    }
}

fn keys(work: &mut Work<'_>, user: &PlannedUser, home: &[u8], place: AuthorizedKeys) {
    let (uid, gid) = (user.uid, user.gid);
    let path: &[u8] = match place {
        AuthorizedKeys::File => b".ssh/authorized_keys",
        AuthorizedKeys::IgnitionFragment => b".ssh/authorized_keys.d/ignition",
    };
    let mut names: Vec<&[u8]> = components(path).collect();
    let file = names.pop().unwrap_or_default();
    let mut dir = home.to_vec();
    if work.node(&dir).is_none() {
        work.change(
            &dir,
            Action::Mkdir {
                mode: 0o700,
                uid,
                gid,
            },
            &user.origin,
        );
    }
    for name in names {
        dir = match work.resolve(&join(&dir, name)) {
            Ok(dir) => dir,
            Err(_) => join(&dir, name),
        };
        if work.node(&dir).is_none() {
            work.change(
                &dir,
                Action::Mkdir {
                    mode: 0o700,
                    uid,
                    gid,
                },
                &user.origin,
            );
        }
    }
    let mut text = user.ssh_keys.join("\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let action = Action::Write {
        contents: text.into_bytes(),
        mode: 0o600,
        uid,
        gid,
    };
    work.change(&join(&dir, file), action, &user.origin);
}
