//! File modes: octal as people mean them, decimal as JSON must write them.

use super::{Decoder, Object};
use crate::model::Format;

/// What a mode is for: what is usual differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModeOf {
    File,
    Directory,
}

impl Decoder<'_> {
    pub(super) fn mode(&mut self, object: &Object<'_>, of: ModeOf) -> Option<u32> {
        let entry = object.get("mode")?;
        let value = self.integer(&entry)?;
        let (place, path) = (entry.0.place, entry.1);
        let Some(mode) = u32::try_from(value).ok().filter(|mode| *mode <= 0o7777) else {
            let help = match (read_as_octal(value), self.format) {
                (Some(octal), Format::Ignition) => format!("octal {value} is {octal} in decimal"),
                (Some(_), Format::Butane) => format!("octal {value} is written as 0{value}"),
                (None, _) => "the largest mode is 07777, which is 4095".into(),
            };
            self.error_help(place, &path, format!("{value} is no file mode"), help);
            return None;
        };
        if let Some(octal) = read_as_octal(value)
            && !usual(mode, of)
            && usual(octal, of)
        {
            let help = match self.format {
                Format::Butane => format!("write 0{value}"),
                Format::Ignition => format!("JSON has decimal numbers only: write {octal}"),
            };
            self.report(
                crate::diagnostic::Severity::Warning,
                place,
                &path,
                format!(
                    "mode {value} is decimal, octal {mode:04o}: octal {value} would make more sense"
                ),
                Some(help),
            );
        }
        if mode & 0o7000 != 0 {
            self.warn(
                place,
                &path,
                "setuid, setgid and sticky bits are applied by the routes that write files \
                 themselves, and not by every version of Ignition",
            );
        }
        Some(mode)
    }
}

/// The value of a number's decimal digits read as octal ones.
fn read_as_octal(value: i64) -> Option<u32> {
    let value = u32::try_from(value).ok().filter(|value| *value <= 7777)?;
    u32::from_str_radix(&value.to_string(), 8).ok()
}

/// Whether a mode is one that people give: the owner has what the group has, the group what others
/// have, writing and executing come with reading, a directory can be entered.
fn usual(mode: u32, of: ModeOf) -> bool {
    if mode == 0 {
        return true;
    }
    let [user, group, other] = [mode >> 6 & 7, mode >> 3 & 7, mode & 7];
    let nested = group & !user == 0 && other & !group == 0;
    let readable = [user, group, other]
        .iter()
        .all(|bits| bits & 4 != 0 || *bits == 0);
    // Someone who may execute stands above someone who may only read: rwxr----- is odd.
    let narrowed = |more: u32, less: u32| more & 1 != 0 && less & 4 != 0 && less & 1 == 0;
    if !nested || !readable || narrowed(user, group) || narrowed(group, other) || user & 4 == 0 {
        return false;
    }
    match of {
        ModeOf::Directory => {
            let shared = mode & 0o3000 == 0 || user & 2 != 0;
            user & 1 != 0 && mode & 0o4000 == 0 && shared
        }
        ModeOf::File => {
            let runs = mode & 0o6000 == 0 || (user & 1 != 0 && other & 2 == 0);
            runs && mode & 0o1000 == 0
        }
    }
}
