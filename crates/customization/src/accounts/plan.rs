//! Which accounts there will be, with all that `useradd` and its like would choose.

use std::collections::BTreeSet;

use super::database::{Database, Table};
use super::defaults::Defaults;
use super::ids::{self, Space};
use super::{
    AccountError, AccountErrorKind, AccountErrors, AccountPlan, BaseAccounts, Disposition,
    Password, PlannedGroup, PlannedUser, edit,
};
use crate::model::{Group, User};

/// Plans what becomes of the accounts: groups first, then users, each in document order, as Ignition
/// runs the programs. Pure and deterministic.
///
/// # Errors
/// Everything that the programs would refuse, for all items at once.
pub fn plan(
    users: &[User],
    groups: &[Group],
    base: &BaseAccounts,
) -> Result<AccountPlan, AccountErrors> {
    let mut planner = Planner {
        db: Database::parse(base),
        defaults: Defaults::parse(base),
    };
    let mut plan = AccountPlan::default();
    let mut errors = Vec::new();
    for group in groups {
        match planner.group(group) {
            Ok(Some(planned)) => {
                edit::group(&mut planner.db, &planned);
                plan.groups.push(planned);
            }
            Ok(None) => {}
            Err(kind) => errors.push(AccountError {
                origin: group.origin.clone(),
                kind,
            }),
        }
    }
    for user in users {
        match planner.user(user) {
            Ok(Some(planned)) => {
                edit::user(&mut planner.db, &planned, &planner.defaults, 0);
                plan.users.push(planned);
            }
            Ok(None) => {}
            Err(kind) => errors.push(AccountError {
                origin: user.origin.clone(),
                kind,
            }),
        }
    }
    let ids = |table: &Table| {
        table
            .rows()
            .filter_map(|row| Some((row.text(0), row.id(2)?)))
            .collect()
    };
    plan.uids = ids(&planner.db.passwd);
    plan.gids = ids(&planner.db.group);
    if errors.is_empty() {
        Ok(plan)
    } else {
        Err(AccountErrors(errors))
    }
}

struct Planner {
    db: Database,
    defaults: Defaults,
}

fn taken(table: &Table) -> BTreeSet<u32> {
    table.rows().filter_map(|row| row.id(2)).collect()
}

impl Planner {
    fn group(&self, group: &Group) -> Result<Option<PlannedGroup>, AccountErrorKind> {
        let name = &group.name;
        let existing = self.db.group.row(name).and_then(|row| row.id(2));
        let password = group
            .password_hash
            .as_ref()
            .filter(|hash| !hash.expose().is_empty());
        let planned = |disposition, gid| PlannedGroup {
            name: name.clone(),
            disposition,
            gid,
            system: group.system == Some(true),
            password: match (password, disposition) {
                (Some(hash), _) => Password::Hash(hash.clone()),
                (None, Disposition::New) => Password::Locked,
                (None, _) => Password::Unchanged,
            },
            renumbered: existing.is_some_and(|now| now != gid),
            origin: group.origin.clone(),
        };
        if group.should_exist == Some(false) {
            let Some(gid) = existing else { return Ok(None) };
            if let Some(row) = self.db.passwd.rows().find(|row| row.id(3) == Some(gid)) {
                return Err(AccountErrorKind::PrimaryGroup {
                    name: name.clone(),
                    user: row.text(0),
                });
            }
            return Ok(Some(planned(Disposition::Removed, gid)));
        }
        if let Some(gid) = group.gid
            && let Some(holder) = self.db.group_of(gid).filter(|holder| holder != name)
        {
            return Err(AccountErrorKind::IdTaken {
                what: "group",
                id: gid,
                name: name.clone(),
                holder,
            });
        }
        Ok(Some(match existing {
            Some(gid) => planned(Disposition::Modified, group.gid.unwrap_or(gid)),
            None => {
                let gid = match group.gid {
                    Some(gid) => gid,
                    None => self.free(Space::Group, name, group.system == Some(true), None)?,
                };
                planned(Disposition::New, gid)
            }
        }))
    }

    fn free(
        &self,
        space: Space,
        name: &str,
        system: bool,
        preferred: Option<u32>,
    ) -> Result<u32, AccountErrorKind> {
        let table = match space {
            Space::User => &self.db.passwd,
            Space::Group => &self.db.group,
        };
        ids::free(
            space,
            name,
            system,
            &taken(table),
            preferred,
            &self.defaults,
        )
    }

    fn user(&self, user: &User) -> Result<Option<PlannedUser>, AccountErrorKind> {
        let exists = self.db.passwd.row(&user.name).is_some();
        match (user.should_exist != Some(false), exists) {
            (false, false) => Ok(None),
            (false, true) => self.existing(user, Disposition::Removed).map(Some),
            (true, true) => self.modified(user).map(Some),
            (true, false) => self.new_user(user).map(Some),
        }
    }

    /// An existing user as it is.
    fn existing(
        &self,
        user: &User,
        disposition: Disposition,
    ) -> Result<PlannedUser, AccountErrorKind> {
        let row = self.db.passwd.row(&user.name);
        let id = |index| row.and_then(|row| row.id(index)).unwrap_or_default();
        let text = |index| row.map(|row| row.text(index)).unwrap_or_default();
        Ok(PlannedUser {
            name: user.name.clone(),
            disposition,
            uid: id(2),
            gid: id(3),
            gecos: text(4),
            home: text(5),
            shell: text(6),
            groups: None,
            user_group: false,
            system: user.system == Some(true),
            create_home: false,
            home_mode: self.defaults.home_mode(),
            password: Password::Unchanged,
            subuid: None,
            subgid: None,
            ssh_keys: Vec::new(),
            changed: Vec::new(),
            origin: user.origin.clone(),
        })
    }

    fn modified(&self, user: &User) -> Result<PlannedUser, AccountErrorKind> {
        let mut planned = self.existing(user, Disposition::Modified)?;
        if let Some(uid) = user.uid.filter(|uid| *uid != planned.uid) {
            return Err(AccountErrorKind::ExistingUser {
                name: user.name.clone(),
                setting: "uid",
                now: planned.uid.to_string(),
                wanted: uid.to_string(),
            });
        }
        if let Some(home) = user.home_dir.as_ref().filter(|home| **home != planned.home) {
            return Err(AccountErrorKind::ExistingUser {
                name: user.name.clone(),
                setting: "home_dir",
                now: planned.home,
                wanted: home.clone(),
            });
        }
        let before = planned.clone();
        let non_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        planned.gecos = non_empty(&user.gecos).unwrap_or(planned.gecos);
        planned.shell = non_empty(&user.shell).unwrap_or(planned.shell);
        if let Some(group) = &user.primary_group {
            planned.gid = self.known_group(user, group)?;
        }
        planned.groups = self.groups(user)?;
        let leaves = planned
            .groups
            .as_ref()
            .is_some_and(|groups| self.leaves(&user.name, groups));
        let changes = [
            (planned.gecos != before.gecos, "its comment"),
            (planned.shell != before.shell, "its shell"),
            (planned.gid != before.gid, "its primary group"),
            (leaves, "groups that it leaves"),
        ];
        planned.changed = changes
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, what)| what)
            .collect();
        planned.password = match &user.password_hash {
            None => Password::Unchanged,
            Some(hash) if hash.expose().is_empty() => Password::Locked,
            Some(hash) => Password::Hash(hash.clone()),
        };
        planned.ssh_keys.clone_from(&user.ssh_authorized_keys);
        Ok(planned)
    }

    fn new_user(&self, user: &User) -> Result<PlannedUser, AccountErrorKind> {
        let name = &user.name;
        let uid = match user.uid {
            Some(uid) => {
                if let Some(holder) = self.db.user_of(uid) {
                    return Err(AccountErrorKind::IdTaken {
                        what: "user",
                        id: uid,
                        name: name.clone(),
                        holder,
                    });
                }
                uid
            }
            None => self.free(Space::User, name, user.system == Some(true), None)?,
        };
        let user_group = user.primary_group.is_none()
            && user.no_user_group != Some(true)
            && self.defaults.user_groups();
        let gid = if let Some(group) = &user.primary_group {
            self.known_group(user, group)?
        } else if user_group {
            if self.db.group.row(name).is_some() {
                return Err(AccountErrorKind::UserGroupExists { name: name.clone() });
            }
            self.free(Space::Group, name, user.system == Some(true), Some(uid))?
        } else {
            self.known_group(user, &self.defaults.group())?
        };
        let (subuid, subgid) = self.subordinate(user)?;
        Ok(PlannedUser {
            name: name.clone(),
            disposition: Disposition::New,
            uid,
            gid,
            gecos: user.gecos.clone().unwrap_or_default(),
            home: user
                .home_dir
                .clone()
                .unwrap_or_else(|| format!("{}/{name}", self.defaults.home_base())),
            shell: user.shell.clone().unwrap_or_else(|| self.defaults.shell()),
            groups: Some(self.groups(user)?.unwrap_or_default()),
            user_group,
            system: user.system == Some(true),
            create_home: user.no_create_home != Some(true),
            home_mode: self.defaults.home_mode(),
            password: match user
                .password_hash
                .as_ref()
                .filter(|hash| !hash.expose().is_empty())
            {
                Some(hash) => Password::Hash(hash.clone()),
                None => Password::Locked,
            },
            subuid,
            subgid,
            ssh_keys: user.ssh_authorized_keys.clone(),
            changed: Vec::new(),
            origin: user.origin.clone(),
        })
    }

    /// Subordinate IDs are for ordinary users, where the files for them exist.
    fn subordinate(
        &self,
        user: &User,
    ) -> Result<
        (
            Option<super::SubordinateRange>,
            Option<super::SubordinateRange>,
        ),
        AccountErrorKind,
    > {
        let (min, max) = (
            self.defaults.number("UID_MIN", 1000),
            self.defaults.number("UID_MAX", 60000),
        );
        // An ID outside of the range of ordinary users gets none either, though 0 counts as not given.
        let outside = user
            .uid
            .is_some_and(|uid| uid != 0 && !(min..=max).contains(&u64::from(uid)));
        if user.system == Some(true) || outside {
            return Ok((None, None));
        }
        let find = |space, table: &Option<Table>| match table {
            Some(table) => ids::free_range(space, &user.name, table, &self.defaults),
            None => Ok(None),
        };
        Ok((
            find(Space::User, &self.db.subuid)?,
            find(Space::Group, &self.db.subgid)?,
        ))
    }

    /// Whether a user is in a group now that is not in its new list.
    fn leaves(&self, user: &str, groups: &[String]) -> bool {
        self.db.group.rows().any(|row| {
            let is_in = row
                .members(3)
                .iter()
                .any(|member| member == user.as_bytes());
            let kept = groups
                .iter()
                .any(|group| self.db.group_id(group) == row.id(2));
            is_in && !kept
        })
    }

    fn known_group(&self, user: &User, group: &str) -> Result<u32, AccountErrorKind> {
        self.db
            .group_id(group)
            .ok_or_else(|| AccountErrorKind::UnknownGroup {
                name: user.name.clone(),
                group: group.into(),
            })
    }

    fn groups(&self, user: &User) -> Result<Option<Vec<String>>, AccountErrorKind> {
        for group in &user.groups {
            self.known_group(user, group)?;
        }
        Ok((!user.groups.is_empty()).then(|| user.groups.clone()))
    }
}
