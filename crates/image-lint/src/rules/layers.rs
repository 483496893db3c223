//! What is still in lower layers.

use super::{Hit, Subject, hit};
use crate::secrets::{is_host_key, secret};

pub(super) fn hidden_secrets(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let mut out = Vec::new();
    for hidden in subject.hidden {
        let path = hidden.path.to_string();
        let bytes = (hidden.bytes)();
        let etc = ["/etc/ssh/", "/usr/etc/ssh/"];
        let host_key = etc.iter().any(|etc| path.starts_with(etc)) && is_host_key(&path);
        let what = if host_key {
            Some("a host key")
        } else if is_shadow(&path) && has_password(&bytes) {
            Some("a password's hash")
        } else {
            secret(&path, &bytes)
        };
        // One that the image still shows has its own finding.
        if let Some(what) = what
            && subject.packages.own(&path) != Some(true)
        {
            let by = hidden.by;
            let what = format!("{what}, which layer {by} hides and does not take away");
            out.push(Hit {
                layer: Some(hidden.layer),
                ..hit(path, what)
            });
        }
    }
    out
}

fn is_shadow(path: &str) -> bool {
    ["/etc/shadow", "/etc/shadow-", "/usr/etc/shadow"].contains(&path)
}

fn has_password(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut hashes = text.lines().filter_map(|line| line.split(':').nth(1));
    hashes.any(|hash| hash.starts_with('$'))
}
