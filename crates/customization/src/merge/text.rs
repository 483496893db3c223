//! What is merged in `systemd` and `passwd`.

use super::{Keyed, list, union};
use crate::diagnostic::Diagnostic;
use crate::model::{Dropin, Group, Unit, User};

impl Keyed for Unit {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn merged(self, child: Self, found: &mut Vec<Diagnostic>) -> Self {
        Self {
            enabled: child.enabled.or(self.enabled),
            mask: child.mask.or(self.mask),
            contents: child.contents.or(self.contents),
            dropins: list(self.dropins, child.dropins, found),
            ..child
        }
    }
}

impl Keyed for Dropin {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            contents: child.contents.or(self.contents),
            ..child
        }
    }
}

impl Keyed for User {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            should_exist: child.should_exist.or(self.should_exist),
            uid: child.uid.or(self.uid),
            gecos: child.gecos.or(self.gecos),
            home_dir: child.home_dir.or(self.home_dir),
            no_create_home: child.no_create_home.or(self.no_create_home),
            primary_group: child.primary_group.or(self.primary_group),
            groups: union(self.groups, child.groups),
            shell: child.shell.or(self.shell),
            system: child.system.or(self.system),
            no_user_group: child.no_user_group.or(self.no_user_group),
            no_log_init: child.no_log_init.or(self.no_log_init),
            password_hash: child.password_hash.or(self.password_hash),
            ssh_authorized_keys: union(self.ssh_authorized_keys, child.ssh_authorized_keys),
            ..child
        }
    }
}

impl Keyed for Group {
    type Key = String;

    fn key(&self) -> String {
        self.name.clone()
    }

    fn merged(self, child: Self, _found: &mut Vec<Diagnostic>) -> Self {
        Self {
            should_exist: child.should_exist.or(self.should_exist),
            gid: child.gid.or(self.gid),
            system: child.system.or(self.system),
            password_hash: child.password_hash.or(self.password_hash),
            ..child
        }
    }
}
