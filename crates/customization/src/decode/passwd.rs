//! `passwd`: users and groups.

use super::{Decoder, Entry, Object};
use crate::fields;
use crate::model::{Customization, Group, User};
use crate::secret::Secret;
use crate::source::Place;

impl Decoder<'_> {
    pub(super) fn passwd(&mut self, entry: Entry<'_>, out: &mut Customization) {
        let Some(object) = self.object(entry, fields::PASSWD) else {
            return;
        };
        for entry in self.list(object.get("users")) {
            out.users.extend(self.user(entry));
        }
        for entry in self.list(object.get("groups")) {
            out.groups.extend(self.group(entry));
        }
    }

    fn user(&mut self, entry: Entry<'_>) -> Option<User> {
        let object = self.object(entry, fields::USER)?;
        let name = self.account_name(&object, fields::USER);
        let gecos = self.account_field(&object, "gecos");
        let home_dir = self
            .account_field(&object, "home_dir")
            .filter(|home| !home.is_empty());
        if let (Some(home), Some((node, path))) = (&home_dir, object.get("home_dir"))
            && !home.starts_with('/')
        {
            self.error(node.place, &path, "a home directory is an absolute path");
        }
        let shell = self
            .account_field(&object, "shell")
            .filter(|shell| !shell.is_empty());
        if let (Some(shell), Some((node, path))) = (&shell, object.get("shell"))
            && !shell.starts_with('/')
        {
            self.error(node.place, &path, "a login shell is an absolute path");
        }
        let primary_group = self
            .account_field(&object, "primary_group")
            .filter(|group| !group.is_empty());
        let mut groups: Vec<String> = Vec::new();
        for entry in self.list(object.get("groups")) {
            let Some((group, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            if let Err(problem) = account_name(group) {
                self.error(
                    place,
                    &path,
                    format!("group name '{}' {problem}", group.escape_debug()),
                );
            } else if groups.iter().any(|known| known == group) {
                self.error(place, &path, format!("group '{group}' is given twice"));
            } else {
                groups.push(group.into());
            }
        }
        let should_exist = self.boolean(&object, "should_exist");
        let uid = self.id(&object, "uid");
        let no_create_home = self.boolean(&object, "no_create_home");
        let system = self.boolean(&object, "system");
        let no_user_group = self.boolean(&object, "no_user_group");
        let no_log_init = self.boolean(&object, "no_log_init");
        let password_hash = self.hash(&object);
        let ssh_authorized_keys = self.keys(&object);
        let origin = self.origin(object.place, &object.path);
        Some(User {
            name: name?,
            should_exist,
            uid,
            gecos,
            home_dir,
            no_create_home,
            primary_group,
            groups,
            shell,
            system,
            no_user_group,
            no_log_init,
            password_hash,
            ssh_authorized_keys,
            origin,
        })
    }

    fn group(&mut self, entry: Entry<'_>) -> Option<Group> {
        let object = self.object(entry, fields::GROUP)?;
        let name = self.account_name(&object, fields::GROUP);
        let should_exist = self.boolean(&object, "should_exist");
        let gid = self.id(&object, "gid");
        let system = self.boolean(&object, "system");
        let password_hash = self.hash(&object);
        let origin = self.origin(object.place, &object.path);
        Some(Group {
            name: name?,
            should_exist,
            gid,
            system,
            password_hash,
            origin,
        })
    }

    fn account_name(
        &mut self,
        object: &Object<'_>,
        table: &'static [fields::Field],
    ) -> Option<String> {
        let (name, place, path) = self.required(object, "name", table)?;
        match account_name(name) {
            Ok(()) => Some(name.to_owned()),
            Err(problem) => {
                self.error(
                    place,
                    &path,
                    format!("account name '{}' {problem}", name.escape_debug()),
                );
                None
            }
        }
    }

    /// A text that becomes one field of passwd(5).
    fn account_field(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        let (text, place, path) = self.text(object.get(name))?;
        if text.contains([':', '\n', '\0']) {
            self.error(
                place,
                &path,
                "':' and line breaks cannot be in an account file",
            );
            return None;
        }
        Some(text.to_owned())
    }

    fn hash(&mut self, object: &Object<'_>) -> Option<Secret> {
        // The text is kept out of the message.
        let (text, place, path) = self.text(object.get("password_hash"))?;
        if text.contains([':', '\n', '\0']) {
            self.error(
                place,
                &path,
                "':' and line breaks cannot be in an account file",
            );
            return None;
        }
        Some(Secret::new(text))
    }

    fn keys(&mut self, object: &Object<'_>) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for entry in self.list(object.get("ssh_authorized_keys")) {
            let Some((key, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            self.key(key, place, &path, &mut keys);
        }
        for entry in self.list(object.get("ssh_authorized_keys_local")) {
            let Some((name, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            let Some(data) = self.local_file(name, place, &path) else {
                continue;
            };
            let Ok(text) = String::from_utf8(data) else {
                self.error(
                    place,
                    &path,
                    format!("local file '{name}' is not UTF-8 text"),
                );
                continue;
            };
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                self.key(line, place, &path, &mut keys);
            }
        }
        keys
    }

    fn key(&mut self, key: &str, place: Place, path: &str, keys: &mut Vec<String>) {
        // A block scalar ends with a line break that nobody means.
        let key = key.trim_end_matches('\n');
        if key.trim().is_empty() || key.contains('\0') {
            self.error(place, path, "an SSH key is a line of text, and not empty");
        } else if keys.iter().any(|known| known == key) {
            self.error(place, path, "this SSH key is given twice");
        } else {
            keys.push(key.into());
        }
    }
}

/// The names that `useradd` takes.
fn account_name(name: &str) -> Result<(), &'static str> {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let body = name.strip_suffix('$').unwrap_or(name);
    if name.len() > 32 {
        Err("is longer than 32 characters")
    } else if body.is_empty() || matches!(name, "." | "..") || !body.starts_with(first) {
        Err("does not begin with a letter, a digit, '_' or '.'")
    } else if !body.chars().all(|c| first(c) || c == '-') {
        Err("has characters other than letters, digits, '_', '.' and '-'")
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        Err("is a number")
    } else {
        Ok(())
    }
}
