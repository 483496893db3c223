//! Files of shell assignments: os-release(5), locale.conf(5).

use pleach_fs_tree::escape;

/// The assignments in a file; what is none is left out, as systemd does.
pub(crate) fn parse(content: &[u8]) -> Vec<(String, String)> {
    let assignment = |line: &[u8]| {
        let line = line.trim_ascii();
        let split = line.iter().position(|&b| b == b'=')?;
        let name = line[..split].trim_ascii();
        let valid = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        if name.is_empty() || !name.iter().all(valid) {
            return None;
        }
        let value = unquote(line[split + 1..].trim_ascii());
        Some((escape(name), escape(&value)))
    };
    content
        .split(|&b| b == b'\n')
        .filter_map(assignment)
        .collect()
}

/// Takes away quotes and backslashes, as a shell would without expanding anything.
fn unquote(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut quote = None;
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if byte == open => quote = None,
            (None, b'\\') => out.extend(bytes.next()),
            (Some(b'"'), b'\\') => match bytes.next() {
                Some(next @ (b'"' | b'\\' | b'$' | b'`')) => out.push(next),
                Some(next) => out.extend([b'\\', next]),
                None => out.push(b'\\'),
            },
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |line: &str, expect: Option<(&str, &str)>| {
            let expect: Vec<(String, String)> = expect
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            assert_eq!(parse(line.as_bytes()), expect, "{line}");
        };
        check("ID=debian", Some(("ID", "debian")));
        check("  ID=debian  ", Some(("ID", "debian")));
        check(
            "NAME=\"Debian GNU/Linux\"",
            Some(("NAME", "Debian GNU/Linux")),
        );
        check("NAME='a \"b\" $c'", Some(("NAME", "a \"b\" $c")));
        check("NAME=\"a\\\"b\\$c\\d\"", Some(("NAME", "a\"b$c\\\\d")));
        check("NAME=a\\ b", Some(("NAME", "a b")));
        check("NAME=a\"b\"'c'", Some(("NAME", "abc")));
        check("NAME=", Some(("NAME", "")));
        check("# ID=no", None);
        check("; ID=no", None);
        check("no assignment", None);
        check("a-b=c", None);
        check("=x", None);
        assert_eq!(parse(b"A=1\nB=2\nA=3\n").len(), 3, "nothing is lost");
    }
}
