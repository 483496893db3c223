//! What a secret looks like: its place, and what stands in it.

use crate::glob::glob;

/// A secret, in words; `None` where there is none. The path has a slash in front.
pub(crate) fn secret(path: &str, bytes: &[u8]) -> Option<&'static str> {
    if is_private_key(bytes) {
        return Some("a private key");
    }
    let text = || String::from_utf8_lossy(bytes);
    for (pattern, marks, what) in PLACES {
        if glob(pattern.as_bytes(), path.as_bytes())
            && (marks.is_empty() && !bytes.is_empty()
                || marks.iter().any(|mark| has_value(&text(), mark)))
        {
            return Some(what);
        }
    }
    None
}

/// Where a secret is kept, words of which one comes before a value there, and what it is.
const PLACES: [(&str, &[&str], &str); 17] = [
    (
        "**/.docker/config.json",
        &["\"auth\":", "\"identitytoken\":"],
        "a registry's password",
    ),
    (
        "**/containers/auth.json",
        &["\"auth\":", "\"identitytoken\":"],
        "a registry's password",
    ),
    (
        "**/ostree/auth.json",
        &["\"auth\":", "\"identitytoken\":"],
        "a registry's password",
    ),
    (
        "**/kubelet/config.json",
        &["\"auth\":"],
        "a registry's password",
    ),
    ("**/.dockercfg", &["\"auth\":"], "a registry's password"),
    ("**/.netrc", &["password "], "a password"),
    ("**/.git-credentials", &[], "a password"),
    ("**/.pgpass", &[], "a password"),
    ("**/.my.cnf", &["password"], "a password"),
    (
        "**/.aws/credentials",
        &["aws_secret_access_key"],
        "a key of a cloud account",
    ),
    (
        "**/.config/gcloud/*credentials*",
        &[],
        "a key of a cloud account",
    ),
    ("**/.npmrc", &["_authToken"], "a token"),
    ("**/.pypirc", &["password"], "a password"),
    (
        "**/.kube/config",
        &["client-key-data:", "token:"],
        "a key of a cluster",
    ),
    (
        "**/kubernetes/*.conf",
        &["client-key-data:", "token:"],
        "a key of a cluster",
    ),
    (
        "**/system-connections/*",
        &["psk=", "password=", "private-key="],
        "a network's password",
    ),
    (
        "**/wpa_supplicant/*.conf",
        &["psk=", "password="],
        "a network's password",
    ),
];

/// Whether a line has the word, and a value behind it that is neither empty nor to be put in later.
fn has_value(text: &str, mark: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let value = match line.strip_prefix('#') {
            Some(_) => None,
            None => line.split_once(mark).map(|(_, value)| value),
        };
        let value = value.map(|value| value.trim_matches(|c: char| " \t=:\"',{}".contains(c)));
        value.is_some_and(|value| !value.is_empty() && !value.starts_with(['$', '<', '@']))
    })
}

/// Whether a file begins as armoured keys do.
pub(crate) fn begins_as_key(bytes: &[u8]) -> bool {
    bytes.starts_with(b"-----BEGIN ") && is_private_key(bytes)
}

/// An armoured private key with something in it.
pub(crate) fn is_private_key(bytes: &[u8]) -> bool {
    // Most files have none: this is cheaper than lines.
    if !bytes.windows(5).any(|window| window == b"-----") {
        return false;
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let begins = line.starts_with("-----BEGIN ")
            && (line.ends_with("PRIVATE KEY-----") || line.ends_with("PRIVATE KEY BLOCK-----"));
        if begins
            && lines
                .next()
                .is_some_and(|next| !next.is_empty() || lines.next().is_some())
        {
            return true;
        }
    }
    // Keys in JSON have their line ends written out.
    text.contains("PRIVATE KEY-----\\n")
}

/// The private key of a host.
pub(crate) fn is_host_key(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("ssh_host_") && name.ends_with("_key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_place_and_content() {
        let check = |path: &str, text: &str, expect: Option<&str>| {
            assert_eq!(secret(path, text.as_bytes()), expect, "{path}: {text}");
        };
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";
        check("/etc/x", key, Some("a private key"));
        check("/etc/x", "-----BEGIN RSA PRIVATE KEY-----", None);
        check("/etc/x", "see -----BEGIN PRIVATE KEY----- there\n", None);
        check("/etc/x", "-----BEGIN PUBLIC KEY-----\nAAAA\n", None);
        check(
            "/etc/x.json",
            r#"{"private_key": "-----BEGIN PRIVATE KEY-----\nAA"}"#,
            Some("a private key"),
        );
        let auth = r#"{"auths": {"r": {"auth": "dTpw"}}}"#;
        check(
            "/var/roothome/.docker/config.json",
            auth,
            Some("a registry's password"),
        );
        check("/etc/ostree/auth.json", auth, Some("a registry's password"));
        check("/etc/ostree/auth.json", "{}", None);
        check("/etc/other.json", auth, None);
        check(
            "/home/a/.netrc",
            "machine a login b password c",
            Some("a password"),
        );
        check("/home/a/.netrc", "# password c", None);
        check("/home/a/.pgpass", "", None);
        let wifi = "/etc/NetworkManager/system-connections/w.nmconnection";
        check(
            wifi,
            "[wifi-security]\npsk=secret\n",
            Some("a network's password"),
        );
        check(wifi, "[wifi-security]\npsk-flags=1\n", None);
        check(wifi, "[connection]\nid=w\n", None);
    }
}
