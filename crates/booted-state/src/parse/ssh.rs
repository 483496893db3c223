//! sshd's configuration and authorized keys (sshd_config(5), sshd(8)).

use std::collections::BTreeMap;

use pleach_fs_tree::{Digest, escape};

/// What `sshd -G` or `sshd -T` prints: keyword, and the rest of each of its lines.
pub(crate) fn effective(text: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in super::lines(text) {
        let (keyword, value) = line.split_once(' ').unwrap_or((&line, ""));
        out.entry(keyword.to_lowercase())
            .or_default()
            .push(value.trim().to_owned());
    }
    out
}

/// What a configuration file says that matters for how sshd is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// Whether settings depend on who connects.
    pub(crate) has_match: bool,
    /// Patterns of further files.
    pub(crate) includes: Vec<String>,
}

/// Looks for `Match` and `Include`; keywords are in any case, and may be followed by `=`.
pub(crate) fn config(content: &[u8]) -> Config {
    let mut config = Config::default();
    for line in super::lines(content) {
        let is_separator = |c: char| c.is_whitespace() || c == '=';
        let mut words = line.split(is_separator).filter(|word| !word.is_empty());
        match words.next().unwrap_or_default().to_lowercase().as_str() {
            "match" => config.has_match = true,
            "include" => config
                .includes
                .extend(words.map(|word| word.replace('"', ""))),
            _ => {}
        }
    }
    config
}

/// A line of an authorized keys file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) options: Vec<String>,
    pub(crate) key_type: String,
    /// `SHA256:` and base64, as ssh-keygen prints it.
    pub(crate) fingerprint: String,
    pub(crate) comment: String,
}

/// Reads a line; `None` if it is empty or a comment.
pub(crate) fn key(line: &[u8]) -> Option<Result<Key, Bad>> {
    let line = line.trim_ascii();
    if line.is_empty() || line[0] == b'#' {
        return None;
    }
    // As sshd does: if there is no key at the start of the line, what is there is options.
    let (options, rest) = match bare_key(line) {
        Some(_) => (Vec::new(), line),
        None => {
            let end = end_of_options(line);
            (split_options(&line[..end]), line[end..].trim_ascii_start())
        }
    };
    Some(
        bare_key(rest)
            .ok_or(Bad)
            .map(|(key_type, blob, comment)| Key {
                options,
                key_type: escape(key_type),
                fingerprint: format!("SHA256:{}", base64_encode(&Digest::of(&blob).0)),
                comment: escape(comment),
            }),
    )
}

/// A line that holds no key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bad;

/// Type, decoded key and comment; the key itself begins with its type (RFC 4253, 6.6).
fn bare_key(line: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let word = |text: &[u8]| {
        text.iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(text.len())
    };
    let (key_type, rest) = line.split_at(word(line));
    let rest = rest.trim_ascii_start();
    let (blob, comment) = rest.split_at(word(rest));
    let blob = base64_decode(blob)?;
    let (length, inner) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (inner.get(..length)? == key_type).then_some(())?;
    Some((key_type, blob, comment.trim_ascii()))
}

/// Options end at the first white space outside quotes.
fn end_of_options(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while at < line.len() && (quoted || !line[at].is_ascii_whitespace()) {
        match line[at] {
            b'\\' if line.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    at.min(line.len())
}

fn split_options(text: &[u8]) -> Vec<String> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|&byte| {
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = byte == b'\\';
        !quoted && byte == b','
    })
    .filter(|option| !option.is_empty())
    .map(escape)
    .collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 base64 with its padding; `None` if the text is anything else.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits {
        let value = ALPHABET.iter().position(|symbol| symbol == digit)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

/// RFC 4648 base64 without padding.
fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, &byte| (group << 8) | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = (group >> (18 - 6 * digit)) & 63;
            out.push(char::from(ALPHABET[index as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // ssh-keygen -l printed the fingerprint.
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const FINGERPRINT: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

    #[test]
    fn authorized_keys() {
        let check = |line: &str, options: &[&str], comment: &str| {
            let line = line.replace("KEY", KEY);
            let expect = Key {
                options: options.iter().map(|o| (*o).to_owned()).collect(),
                key_type: "ssh-ed25519".to_owned(),
                fingerprint: FINGERPRINT.to_owned(),
                comment: comment.to_owned(),
            };
            assert_eq!(key(line.as_bytes()), Some(Ok(expect)), "{line}");
        };
        check("ssh-ed25519 KEY", &[], "");
        check("  ssh-ed25519   KEY  alice at home ", &[], "alice at home");
        check("restrict,pty ssh-ed25519 KEY a", &["restrict", "pty"], "a");
        check(
            "command=\"echo \\\"a, b\\\" c\",no-pty ssh-ed25519 KEY a",
            &["command=\"echo \\\\\"a, b\\\\\" c\"", "no-pty"],
            "a",
        );
        check(
            "from=\"10.0.0.0/8,::1\"\tssh-ed25519 KEY",
            &["from=\"10.0.0.0/8,::1\""],
            "",
        );
        check(
            "environment=\"A=ssh-ed25519 x\" ssh-ed25519 KEY",
            &["environment=\"A=ssh-ed25519 x\""],
            "",
        );
    }

    #[test]
    fn lines_without_a_key() {
        for line in ["", "  ", "# ssh-ed25519 x"] {
            assert_eq!(key(line.as_bytes()), None, "{line}");
        }
        for line in [
            "ssh-ed25519",
            "ssh-ed25519 not-base64",
            "ssh-rsa KEY",
            "command=\"never closed ssh-ed25519 KEY",
            "ssh-ed25519 AAAA",
        ] {
            let line = line.replace("KEY", KEY);
            assert_eq!(key(line.as_bytes()), Some(Err(Bad)), "{line}");
        }
    }

    #[test]
    fn base64_both_ways() {
        for (bytes, text) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(
                base64_decode(text.as_bytes()).as_deref(),
                Some(bytes.as_bytes())
            );
            assert_eq!(base64_encode(bytes.as_bytes()), text.trim_end_matches('='));
        }
        for bad in ["", "Zg", "Z===", "Zg=a", "Zm 9"] {
            assert_eq!(base64_decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn effective_configuration() {
        let found = effective(
            b"port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\n\
              authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\nbanner\n",
        );
        assert_eq!(found["listenaddress"], ["[::]:22", "0.0.0.0:22"]);
        assert_eq!(
            found["authorizedkeysfile"],
            [".ssh/authorized_keys .ssh/authorized_keys2"]
        );
        assert_eq!(found["banner"], [""]);
    }

    #[test]
    fn configuration_files() {
        let check = |text: &str, has_match: bool, includes: &[&str]| {
            let includes = includes.iter().map(|i| (*i).to_owned()).collect();
            let expect = Config {
                has_match,
                includes,
            };
            assert_eq!(config(text.as_bytes()), expect, "{text}");
        };
        check("Port 22\n#Match all\n", false, &[]);
        check("  match User alice\n", true, &[]);
        check("MATCH=all", true, &[]);
        check(
            "Include /etc/ssh/a/*.conf \"b.conf\"\n",
            false,
            &["/etc/ssh/a/*.conf", "b.conf"],
        );
        check("Matchless yes", false, &[]);
    }
}
