//! `ostree admin status` and `config-diff`.

use std::collections::BTreeMap;

use crate::model::ConfigChange;
use crate::parse::rows;

/// The booted deployment, which `status` marks with a star; `None` if there is none.
pub(crate) fn status(text: &str) -> Option<BTreeMap<String, String>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("* "));
    let mut words = lines.next()?.strip_prefix("* ")?.split_whitespace();
    let stateroot = words.next()?;
    let (checksum, serial) = words.next()?.rsplit_once('.')?;
    let mut out = BTreeMap::from([
        ("stateroot".to_owned(), stateroot.to_owned()),
        ("checksum".to_owned(), checksum.to_owned()),
        ("serial".to_owned(), serial.to_owned()),
    ]);
    // Its further lines are indented more than the next deployment's first one.
    for line in lines.take_while(|line| line.starts_with("    ")) {
        if let Some((name, value)) = line.trim().split_once(": ") {
            let name = name.trim_start_matches("origin ").to_lowercase();
            let name = if name == "refspec" { "origin" } else { &name };
            out.insert(name.to_owned(), value.to_owned());
        }
    }
    Some(out)
}

/// `M    path`, `A    path`, `D    path`, relative to `/etc`.
pub(crate) fn config_diff(text: &str) -> Result<Vec<(String, ConfigChange)>, String> {
    let row = |line: &str| {
        let (kind, path) = line.split_once(' ')?;
        let change = match kind {
            "M" => ConfigChange::Modified,
            "A" => ConfigChange::Added,
            "D" => ConfigChange::Deleted,
            _ => return None,
        };
        Some((format!("/etc/{}", path.trim_start()), change))
    };
    rows(text, "ostree admin config-diff", row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_the_booted_deployment() {
        let check = |text: &str, expect: Option<&str>| {
            let shown = status(text).map(|entries| {
                let words: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                words.join(" ")
            });
            assert_eq!(shown.as_deref(), expect, "{text}");
        };
        check("", None);
        check("  debian 12ab.0\n    origin refspec: debian:base\n", None);
        check(
            "  debian ff.0 (pending)\n    origin refspec: a\n* debian 12ab.1\n    Version: 42\n    \
             origin refspec: debian/base\n  debian 00.0 (rollback)\n    origin refspec: b\n",
            Some("checksum=12ab origin=debian/base serial=1 stateroot=debian version=42"),
        );
        check(
            "* d 1.0\n    origin: <unknown origin type>\n",
            Some("checksum=1 origin=<unknown origin type> serial=0 stateroot=d"),
        );
    }

    #[test]
    fn config_diff_lines() {
        assert_eq!(
            config_diff("M    issue\nA    systemd/system/a b.service\nD    debian_version\n"),
            Ok(vec![
                ("/etc/issue".to_owned(), ConfigChange::Modified),
                (
                    "/etc/systemd/system/a b.service".to_owned(),
                    ConfigChange::Added
                ),
                ("/etc/debian_version".to_owned(), ConfigChange::Deleted),
            ])
        );
        assert_eq!(config_diff(""), Ok(vec![]));
        for unknown in ["noise", "R    issue", "  M    issue"] {
            assert_eq!(
                config_diff(&format!("M    issue\n{unknown}\n")),
                Err("ostree admin config-diff: line 2 is not understood".to_owned()),
                "{unknown}"
            );
        }
    }
}
