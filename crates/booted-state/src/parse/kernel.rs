//! `/proc/cmdline` and `/proc/modules`.

use std::collections::BTreeMap;

use pleach_fs_tree::escape;

use crate::model::{KernelArgument, Module};

/// Splits a command line as the kernel's `next_arg` does: white space separates unless quoted, the
/// first `=` ends the key, quotes around the whole argument or the value go away. What stands behind
/// `--` belongs to init: these are the values of the key `--`.
pub(crate) fn command_line(text: &[u8]) -> BTreeMap<String, KernelArgument> {
    let mut out: BTreeMap<String, KernelArgument> = BTreeMap::new();
    let mut add = |key: &[u8], value: Option<&[u8]>| {
        let argument = out
            .entry(escape(key))
            .or_insert_with(|| KernelArgument(Vec::new()));
        argument.0.push(value.map(escape));
    };
    let mut for_init = false;
    for argument in arguments(text) {
        if for_init {
            add(b"--", Some(argument));
        } else if argument == b"--" {
            for_init = true;
        } else {
            let (key, value) = key_and_value(argument);
            add(key, value);
        }
    }
    out
}

fn arguments(text: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    text.split(|&byte| {
        quoted ^= byte == b'"';
        !quoted && byte.is_ascii_whitespace()
    })
    .filter(|argument| !argument.is_empty())
    .collect()
}

fn key_and_value(argument: &[u8]) -> (&[u8], Option<&[u8]>) {
    let argument = match argument.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\"").unwrap_or(rest),
        None => argument,
    };
    match argument.iter().position(|&byte| byte == b'=') {
        None | Some(0) => (argument, None),
        Some(at) => {
            let value = &argument[at + 1..];
            let value = match value.strip_prefix(b"\"") {
                Some(rest) => rest.strip_suffix(b"\"").unwrap_or(rest),
                None => value,
            };
            (&argument[..at], Some(value))
        }
    }
}

/// `/proc/modules`: name, size, uses, users, state, address. Sizes and uses are not kept.
pub(crate) fn modules(text: &str) -> Vec<(String, Module)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, _, _, users, state, ..] = words[..] else {
            return None;
        };
        let mut used_by: Vec<String> = users
            .split(',')
            .filter(|user| !matches!(*user, "" | "-"))
            .map(Into::into)
            .collect();
        used_by.sort_unstable();
        let state = state.to_owned();
        Some((name.to_owned(), Module { state, used_by }))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let check = |line: &str, expect: &[(&str, &[Option<&str>])]| {
            let expect: BTreeMap<String, KernelArgument> = expect
                .iter()
                .map(|(key, values)| {
                    let values = values.iter().map(|v| v.map(Into::into)).collect();
                    ((*key).to_owned(), KernelArgument(values))
                })
                .collect();
            assert_eq!(command_line(line.as_bytes()), expect, "{line}");
        };
        check("", &[]);
        check("quiet\n", &[("quiet", &[None])]);
        check("a=1  a=2 a", &[("a", &[Some("1"), Some("2"), None])]);
        check(
            "console=ttyS0 console=tty0",
            &[("console", &[Some("ttyS0"), Some("tty0")])],
        );
        check("root=UUID=x=y", &[("root", &[Some("UUID=x=y")])]);
        check("a=\"b c\" d", &[("a", &[Some("b c")]), ("d", &[None])]);
        check("\"a=b c\" d", &[("a", &[Some("b c")]), ("d", &[None])]);
        check("a=b\" c\"", &[("a", &[Some("b\" c\"")])]);
        check("a=\"b", &[("a", &[Some("b")])]);
        check("a=", &[("a", &[Some("")])]);
        check("=a", &[("=a", &[None])]);
        check(
            "a -- b c=d",
            &[("a", &[None]), ("--", &[Some("b"), Some("c=d")])],
        );
        check(
            "a-b=1 a_b=2",
            &[("a-b", &[Some("1")]), ("a_b", &[Some("2")])],
        );
    }

    #[test]
    fn module_lines() {
        let modules = modules(
            "virtio_blk 32768 3 - Live 0xffffffffc0000000\n\
             crc16 12288 2 jbd2,ext4, Loading 0x0 (OE)\nshort 1\n",
        );
        let shown: Vec<String> = modules
            .iter()
            .map(|(name, module)| format!("{name} {} {:?}", module.state, module.used_by))
            .collect();
        assert_eq!(
            shown,
            ["virtio_blk Live []", "crc16 Loading [\"ext4\", \"jbd2\"]"]
        );
    }
}
