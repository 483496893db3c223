//! login.defs(5) and `/etc/default/useradd`.

use std::collections::HashMap;

use super::BaseAccounts;

/// Settings of an image, with the values that shadow-utils takes where a file says nothing.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    login: HashMap<String, String>,
    useradd: HashMap<String, String>,
}

impl Defaults {
    pub(super) fn parse(base: &BaseAccounts) -> Self {
        let text = |bytes: &Option<Vec<u8>>| {
            String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
        };
        let mut login = HashMap::new();
        for line in text(&base.login_defs).lines() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            if let Some((key, value)) = line.split_once([' ', '\t']) {
                login.insert(key.to_owned(), value.trim().trim_matches('"').to_owned());
            }
        }
        let mut useradd = HashMap::new();
        for line in text(&base.default_useradd).lines() {
            if let Some((key, value)) = line.trim_end().split_once('=') {
                useradd.insert(key.to_owned(), value.to_owned());
            }
        }
        Self { login, useradd }
    }

    /// A number: decimal, octal with a leading 0, or hexadecimal with 0x.
    pub(super) fn number(&self, key: &str, default: u64) -> u64 {
        self.optional(key).unwrap_or(default)
    }

    pub(super) fn optional(&self, key: &str) -> Option<u64> {
        let text = self.login.get(key)?;
        if let Some(hex) = text.strip_prefix("0x") {
            u64::from_str_radix(hex, 16).ok()
        } else if text.len() > 1 && text.starts_with('0') {
            u64::from_str_radix(text, 8).ok()
        } else {
            text.parse().ok()
        }
    }

    pub(super) fn user_groups(&self) -> bool {
        self.login
            .get("USERGROUPS_ENAB")
            .is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }

    /// Permission bits of a new home directory.
    pub(super) fn home_mode(&self) -> u32 {
        let mask = self.number("UMASK", 0o022);
        let mode = self.optional("HOME_MODE").unwrap_or(0o777 & !mask);
        u32::try_from(mode & 0o7777).unwrap_or(0o700)
    }

    pub(super) fn home_base(&self) -> String {
        self.useradd_setting("HOME").unwrap_or("/home").to_owned()
    }

    pub(super) fn shell(&self) -> String {
        self.useradd_setting("SHELL")
            .unwrap_or("/bin/sh")
            .to_owned()
    }

    /// The primary group of users that get none of their own.
    pub(super) fn group(&self) -> String {
        self.useradd_setting("GROUP").unwrap_or("100").to_owned()
    }

    /// Days after which an account with an expired password is closed.
    pub(super) fn inactive(&self) -> Option<u64> {
        self.useradd_setting("INACTIVE")?.parse().ok()
    }

    fn useradd_setting(&self, key: &str) -> Option<&str> {
        self.useradd
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}
