//! Words and here documents of a POSIX shell. What comes out is safe inside a YAML block scalar and
//! inside a kickstart section too: plain characters only, and no line that begins with `%`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The end of a here document.
const END: &str = "PLEACH";
/// Bytes of base64 in a line.
const WIDTH: usize = 76;

/// One word.
pub(super) fn quote(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "/._-:,@+=".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    if text.chars().all(|c| plain(c) && c != '\n') {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    // A substitution loses the line breaks at its end; those stand behind it.
    let body = text.trim_end_matches('\n');
    let breaks = text.len() - body.len();
    let mut out = String::from("\"$(printf '");
    for byte in body.bytes() {
        let _ = write!(out, "\\{byte:03o}");
    }
    out.push_str("')");
    out.extend(std::iter::repeat_n('\n', breaks));
    out.push('"');
    out
}

/// `command` with `bytes` as its standard input: as they are where they are plain text, else in
/// base64.
pub(super) fn heredoc(command: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return format!("{command} </dev/null\n");
    }
    match std::str::from_utf8(bytes)
        .ok()
        .filter(|text| readable(text))
    {
        Some(text) => format!("{command} <<'{END}'\n{text}{END}\n"),
        None => format!("base64 -d <<'{END}' | {command}\n{}{END}\n", base64(bytes)),
    }
}

fn base64(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut out = String::with_capacity(text.len() + text.len() / WIDTH + 1);
    for start in (0..text.len()).step_by(WIDTH) {
        out.push_str(&text[start..text.len().min(start + WIDTH)]);
        out.push('\n');
    }
    out
}

fn readable(text: &str) -> bool {
    let kickstart = |line: &str| line.trim_start().starts_with('%');
    text.ends_with('\n')
        && text.chars().all(plain)
        && !text.lines().any(|line| line == END || kickstart(line))
}

/// Whether YAML takes a character for itself and not for a line break (YAML 1.1 has three more than
/// we do) or for nothing at all.
pub(crate) fn plain(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        c => !c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        let check = |text: &str, expect: &str| assert_eq!(quote(text), expect);
        check("/etc/motd", "/etc/motd");
        check("", "''");
        check("a b", "'a b'");
        check("it's $HOME", r"'it'\''s $HOME'");
        check("a\u{7}", r#""$(printf '\141\007')""#);
        check("a\n\n", "\"$(printf '\\141')\n\n\"");
    }

    #[test]
    fn only_plain_text_is_shown() {
        let check = |bytes: &[u8], expect: &str| {
            assert_eq!(heredoc("cat", bytes), expect);
        };
        check(b"", "cat </dev/null\n");
        check(b"a $b\n", "cat <<'PLEACH'\na $b\nPLEACH\n");
        for (bytes, base64) in [
            (&b"a"[..], "YQ=="),
            (b"\xff\n", "/wo="),
            (b"%end\n", "JWVuZAo="),
            (b"PLEACH\n", "UExFQUNICg=="),
            (b"a\r\n", "YQ0K"),
            ("\u{2028}\n".as_bytes(), "4oCoCg=="),
        ] {
            check(
                bytes,
                &format!("base64 -d <<'PLEACH' | cat\n{base64}\nPLEACH\n"),
            );
        }
    }
}
