//! Patterns with wildcards.

/// Whether a pattern fits all of a text: `?` is one character but `/`, `*` any number of those, `**`
/// any number of any, `[a-z]` and `[!a-z]` one of some; a backslash takes the next one as it is.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        [b'*', rest @ ..] => {
            let end = text.iter().position(|&b| b == b'/').unwrap_or(text.len());
            (0..=end).any(|skip| glob(rest, &text[skip..]))
        }
        [b'?', rest @ ..] => matches!(text, [b, text @ ..] if *b != b'/' && glob(rest, text)),
        [b'[', rest @ ..] => match (class(rest), text) {
            (Some((set, negated, rest)), [b, text @ ..]) => {
                in_class(set, *b) != negated && glob(rest, text)
            }
            // No end: it stands for itself.
            (None, [b'[', text @ ..]) => glob(rest, text),
            _ => false,
        },
        [b'\\', c, rest @ ..] | [c, rest @ ..] => {
            matches!(text, [b, text @ ..] if b == c && glob(rest, text))
        }
    }
}

/// What stands between brackets, whether it is negated, and what follows.
fn class(rest: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (negated, rest) = match rest {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // A bracket that comes first is one of them.
    let end = rest.iter().skip(1).position(|&b| b == b']')? + 1;
    Some((&rest[..end], negated, &rest[end + 1..]))
}

fn in_class(set: &[u8], b: u8) -> bool {
    match set {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&b) || in_class(rest, b),
        [c, rest @ ..] => *c == b || in_class(rest, b),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_or_not() {
        let check = |pattern: &str, text: &str, expect: bool| {
            let fits = glob(pattern.as_bytes(), text.as_bytes());
            assert_eq!(fits, expect, "{pattern} {text}");
        };
        check("", "", true);
        check("a", "ab", false);
        check("*", "ssh.service", true);
        check("ssh*.service", "ssh.service", true);
        check("ssh*.service", "ssh.socket", false);
        check("/etc/*", "/etc/a", true);
        check("/etc/*", "/etc/a/b", false);
        check("/etc/**", "/etc/a/b", true);
        check("/etc/**/b", "/etc/a/c/b", true);
        check(
            "**/authorized_keys",
            "/var/home/a/.ssh/authorized_keys",
            true,
        );
        check("/a?c", "/abc", true);
        check("/a?c", "/a/c", false);
        check("tty[0-9]", "tty1", true);
        check("tty[!0-9]", "tty1", false);
        check("tty[]0]", "tty]", true);
        check("[a", "[a", true);
        check("\\*", "*", true);
        check("\\*", "a", false);
    }
}
