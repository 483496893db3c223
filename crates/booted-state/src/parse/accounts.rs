//! getent: passwd(5), group(5), shadow(5), gshadow(5).

use std::collections::BTreeSet;

use pleach_fs_tree::{Digest, escape};

use crate::model::{Group, GroupShadow, LastChange, Password, Shadow, User};

/// A line that is none, for the reason why a section could not be had.
pub(crate) type Bad = String;

fn fields<const N: usize>(line: &[u8], what: &str) -> Result<[String; N], Bad> {
    let fields: Vec<String> = line.split(|&b| b == b':').map(escape).collect();
    let count = fields.len();
    fields
        .try_into()
        // Not the line: it may hold a hash.
        .map_err(|_| format!("{what}: a line of {count} fields, {N} expected"))
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Bad> {
    text.parse()
        .map_err(|_| format!("{what}: {text:?} is not a number"))
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect()
}

fn table<T>(
    text: &[u8],
    read: impl Fn(&[u8]) -> Result<(String, T), Bad>,
) -> Result<Vec<(String, T)>, Bad> {
    text.split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .map(read)
        .collect()
}

/// `getent passwd`.
pub(crate) fn passwd(text: &[u8]) -> Result<Vec<(String, User)>, Bad> {
    table(text, |line| {
        let [name, secret, uid, gid, gecos, home, shell] = fields(line, "passwd")?;
        let user = User {
            password: password(&secret),
            uid: number(&uid, "passwd")?,
            gid: number(&gid, "passwd")?,
            gecos,
            home,
            shell,
        };
        Ok((name, user))
    })
}

/// `getent group`.
pub(crate) fn group(text: &[u8]) -> Result<Vec<(String, Group)>, Bad> {
    table(text, |line| {
        let [name, secret, gid, members] = fields(line, "group")?;
        let group = Group {
            password: password(&secret),
            gid: number(&gid, "group")?,
            members: names(&members),
        };
        Ok((name, group))
    })
}

/// `getent shadow`.
pub(crate) fn shadow(text: &[u8]) -> Result<Vec<(String, Shadow)>, Bad> {
    table(text, |line| {
        let [
            name,
            secret,
            last,
            minimum,
            maximum,
            warning,
            inactive,
            expires,
            _reserved,
        ] = fields(line, "shadow")?;
        let optional = |text: &str| match text {
            "" => Ok(None),
            text => number(text, "shadow").map(Some),
        };
        let shadow = Shadow {
            password: password(&secret),
            last_change: match last.as_str() {
                "" => LastChange::Never,
                "0" => LastChange::Forced,
                day => LastChange::Day(number(day, "shadow")?),
            },
            minimum: optional(&minimum)?,
            maximum: optional(&maximum)?,
            warning: optional(&warning)?,
            inactive: optional(&inactive)?,
            expires: optional(&expires)?,
        };
        Ok((name, shadow))
    })
}

/// `getent gshadow`.
pub(crate) fn gshadow(text: &[u8]) -> Result<Vec<(String, GroupShadow)>, Bad> {
    table(text, |line| {
        let [name, secret, administrators, members] = fields(line, "gshadow")?;
        let group = GroupShadow {
            password: password(&secret),
            administrators: names(&administrators),
            members: names(&members),
        };
        Ok((name, group))
    })
}

/// What a password field means. Only a marker is kept as it is: anything else may be a password, be it
/// one that somebody wrote there by mistake.
pub(crate) fn password(field: &str) -> Password {
    /// The prefixes of crypt(5).
    const METHODS: &[&str] = &[
        "1", "2a", "2b", "2x", "2y", "3", "5", "6", "7", "gy", "md5", "sha1", "sm3", "sm3y", "y",
    ];
    let marker = field.trim_matches(['*', '!']);
    let hash = field.trim_start_matches('!');
    match field {
        "" => Password::None,
        "x" => Password::Shadowed,
        _ if matches!(marker, "" | "LK" | "NP") => Password::Unusable(field.to_owned()),
        _ => {
            let digest = Digest::of(hash.as_bytes()).to_string();
            let method = match hash.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
                Some((method, _)) if METHODS.contains(&method) => format!("${method}$"),
                _ => String::new(),
            };
            if hash.len() == field.len() {
                Password::Set { digest, method }
            } else {
                Password::Locked { digest, method }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_fields() {
        let hash = "$y$j9T$abcdefgh$ijklmnopqrstuvwxyz";
        let digest = Digest::of(hash.as_bytes()).to_string();
        let method = || "$y$".to_owned();
        let unusable = |field: &str| Password::Unusable(field.to_owned());
        let set = |field: &str| Password::Set {
            digest: Digest::of(field.as_bytes()).to_string(),
            method: String::new(),
        };
        for (field, expect) in [
            ("", Password::None),
            ("x", Password::Shadowed),
            ("*", unusable("*")),
            ("!", unusable("!")),
            ("!!", unusable("!!")),
            ("!*", unusable("!*")),
            ("*LK*", unusable("*LK*")),
            ("!!LK", unusable("!!LK")),
            ("NP", unusable("NP")),
            ("!!!!!!!!!!!!!!", unusable("!!!!!!!!!!!!!!")),
            ("hunter2", set("hunter2")),
            ("LKa", set("LKa")),
            ("*a-word-behind-a-star", set("*a-word-behind-a-star")),
            ("$plain$text", set("$plain$text")),
            (
                "!hunter2",
                Password::Locked {
                    digest: Digest::of(b"hunter2").to_string(),
                    method: String::new(),
                },
            ),
            (
                hash,
                Password::Set {
                    digest: digest.clone(),
                    method: method(),
                },
            ),
            (
                &format!("!{hash}"),
                Password::Locked {
                    digest: digest.clone(),
                    method: method(),
                },
            ),
            (
                &format!("!!{hash}"),
                Password::Locked {
                    digest,
                    method: method(),
                },
            ),
            ("abJnggxhB/yWI", set("abJnggxhB/yWI")),
        ] {
            assert_eq!(password(field), expect, "{field}");
        }
    }

    #[test]
    fn passwd_lines() {
        let users = passwd(b"alice:x:1001:1002:A, \xff:/home/alice:/bin/sh\n").expect("a line");
        let [(name, user)] = &users[..] else {
            panic!("{users:?}")
        };
        assert_eq!((name.as_str(), user.uid, user.gid), ("alice", 1001, 1002));
        assert_eq!(
            (user.gecos.as_str(), user.shell.as_str()),
            ("A, \\xff", "/bin/sh")
        );
        assert_eq!(
            passwd(b"a:b\n"),
            Err("passwd: a line of 2 fields, 7 expected".into())
        );
        assert_eq!(
            passwd(b"a:x:-1:0::/:\n"),
            Err("passwd: \"-1\" is not a number".into())
        );
        assert_eq!(passwd(b""), Ok(vec![]));
    }

    #[test]
    fn group_lines() {
        let groups = group(b"wheel:x:10:bob,alice\nempty:!:11:\n").expect("lines");
        let members: Vec<&String> = groups[0].1.members.iter().collect();
        assert_eq!(
            members,
            ["alice", "bob"],
            "who is in it matters, not in which order"
        );
        assert_eq!(groups[1].1.members.len(), 0);
        assert_eq!(groups[1].1.password, Password::Unusable("!".into()));
    }

    #[test]
    fn shadow_lines() {
        let check = |line: &str, change: LastChange, numbers: [Option<u64>; 5]| {
            let entries = shadow(line.as_bytes()).expect(line);
            let [(_, entry)] = &entries[..] else {
                panic!("{entries:?}")
            };
            let found = [
                entry.minimum,
                entry.maximum,
                entry.warning,
                entry.inactive,
                entry.expires,
            ];
            assert_eq!((entry.last_change, found), (change, numbers), "{line}");
        };
        let some = Some::<u64>;
        check(
            "a:*:19000:0:99999:7:::",
            LastChange::Day(19_000),
            [some(0), some(99_999), some(7), None, None],
        );
        check(
            "a:!:0::::3:20000:",
            LastChange::Forced,
            [None, None, None, some(3), some(20_000)],
        );
        check("a::::::::", LastChange::Never, [None; 5]);
        let error = shadow(b"a:$y$secret:1\n").expect_err("too short");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn gshadow_lines() {
        let unusable = |field: &str| Password::Unusable(field.to_owned());
        let set = Password::Set {
            digest: Digest::of(b"$y$j9T$abcdefgh$ijkl").to_string(),
            method: "$y$".to_owned(),
        };
        for (line, name, secret, administrators, members) in [
            ("adm:*::", "adm", unusable("*"), &[][..], &[][..]),
            ("a:!::z,b", "a", unusable("!"), &[], &["b", "z"]),
            ("a:!*:root,bob:", "a", unusable("!*"), &["bob", "root"], &[]),
            ("a:::", "a", Password::None, &[], &[]),
            (
                "a:$y$j9T$abcdefgh$ijkl:bob:eve",
                "a",
                set,
                &["bob"],
                &["eve"],
            ),
        ] {
            let of = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
            let expect = GroupShadow {
                password: secret,
                administrators: of(administrators),
                members: of(members),
            };
            let found = gshadow(line.as_bytes());
            assert_eq!(found, Ok(vec![(name.to_owned(), expect)]), "{line}");
        }
        assert_eq!(
            gshadow(b"a:$y$secret:bob\n"),
            Err("gshadow: a line of 3 fields, 4 expected".into())
        );
    }
}
