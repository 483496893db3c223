//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::collections::BTreeMap;

use pleach_fs_tree::escape;

use crate::model::{Mount, MountSource, MountStack};

/// Mean nothing outside one boot.
const IDENTIFIERS: &[&str] = &["fd", "pgrp", "pipe_ino"];
/// Often computed from the memory there is.
const AMOUNTS: &[&str] = &["size", "nr_inodes"];

/// What is mounted, by directory.
pub(crate) fn parse(text: &[u8]) -> Result<BTreeMap<String, MountStack>, String> {
    let mut out: BTreeMap<String, MountStack> = BTreeMap::new();
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let (target, mount) = row(line).ok_or_else(|| format!("mountinfo: {:?}", escape(line)))?;
        out.entry(target)
            .or_insert_with(|| MountStack(Vec::new()))
            .0
            .push(mount);
    }
    Ok(out)
}

fn row(line: &[u8]) -> Option<(String, Mount)> {
    let words: Vec<Vec<u8>> = line.split(|&b| b == b' ').map(unescape_octal).collect();
    let dash = words.iter().position(|word| word == b"-")?;
    let (before, after) = (words.get(..dash)?, words.get(dash + 1..)?);
    let [
        _id,
        _parent,
        _device,
        root,
        target,
        mount_options,
        optional @ ..,
    ] = before
    else {
        return None;
    };
    let [fs_type, source, rest @ ..] = after else {
        return None;
    };
    let super_options = rest.first().map(Vec::as_slice).unwrap_or_default();
    let mut amounts = BTreeMap::new();
    let mut fs_options = sorted(super_options);
    fs_options.retain(|option| match option.split_once('=') {
        Some((name, value)) if AMOUNTS.contains(&name) => {
            amounts.insert(name.to_owned(), value.to_owned());
            false
        }
        Some((name, _)) => !IDENTIFIERS.contains(&name),
        None => true,
    });
    let mut propagation: Vec<String> = optional
        .iter()
        .map(|field| escape(field.split(|&b| b == b':').next().unwrap_or_default()))
        .map(|name| {
            if name == "master" {
                "slave".to_owned()
            } else {
                name
            }
        })
        .collect();
    propagation.sort_unstable();
    let text = escape(source);
    let mount = Mount {
        fs_type: escape(fs_type),
        source: if text.starts_with("/dev/") {
            MountSource::Device(text)
        } else {
            MountSource::Named(text)
        },
        root: escape(root),
        options: sorted(mount_options),
        fs_options,
        amounts,
        propagation,
    };
    Some((escape(target), mount))
}

fn sorted(options: &[u8]) -> Vec<String> {
    let options = options
        .split(|&b| b == b',')
        .filter(|option| !option.is_empty());
    let mut options: Vec<String> = options.map(escape).collect();
    options.sort_unstable();
    options
}

/// The kernel prints space, tab, newline and backslash as `\NNN`.
fn unescape_octal(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut at = 0;
    while at < word.len() {
        let octal = (word[at] == b'\\')
            .then(|| word.get(at + 1..at + 4))
            .flatten();
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match value {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(word[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let check = |line: &str, expect: &str| {
            let mounts = parse(line.as_bytes()).expect(line);
            let shown: Vec<String> = mounts
                .iter()
                .flat_map(|(target, stack)| stack.0.iter().map(move |mount| (target, mount)))
                .map(|(target, m)| {
                    format!(
                        "{target} {} {:?} {} {} {} {:?} {}",
                        m.fs_type,
                        m.source,
                        m.root,
                        m.options.join(","),
                        m.fs_options.join(","),
                        m.amounts,
                        m.propagation.join(",")
                    )
                })
                .collect();
            assert_eq!(shown.join("\n"), expect, "{line}");
        };
        check(
            "30 1 254:0 /ostree/deploy/d / rw,relatime shared:1 - ext4 /dev/vda rw,errors=x",
            "/ ext4 Device(\"/dev/vda\") /ostree/deploy/d relatime,rw errors=x,rw {} shared",
        );
        check(
            "25 30 0:23 / /run rw,nosuid shared:5 master:2 - tmpfs tmpfs rw,size=10k,nr_inodes=9,mode=755",
            "/run tmpfs Named(\"tmpfs\") / nosuid,rw mode=755,rw \
             {\"nr_inodes\": \"9\", \"size\": \"10k\"} shared,slave",
        );
        check(
            "31 30 0:27 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 \
             rw,fd=30,pgrp=1,timeout=0,pipe_ino=99,direct",
            "/proc/sys/fs/binfmt_misc autofs Named(\"systemd-1\") / rw direct,rw,timeout=0 {} ",
        );
        check(
            "31 30 0:27 / /a\\040b\\134c ro - tmpfs none rw",
            "/a b\\\\c tmpfs Named(\"none\") / ro rw {} ",
        );
        check(
            "1 0 0:1 / /x rw - ext4 /dev/a rw\n2 1 0:2 / /x rw - tmpfs t rw\n",
            "/x ext4 Device(\"/dev/a\") / rw rw {} \n/x tmpfs Named(\"t\") / rw rw {} ",
        );
        assert_eq!(parse(b"1 2 3\n"), Err("mountinfo: \"1 2 3\"".to_owned()));
    }
}
