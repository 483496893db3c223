//! Credentials as strings of SMBIOS type 11 (smbios-type-11(7)).

use crate::Error;
use crate::boot::Credential;

/// The strings share a table whose length has sixteen bits in the 32-bit entry point.
const BYTES: u64 = 60_000;

const DROP_IN: &str = "systemd.unit-dropin.";

/// A string for each credential of the agent and of the boot. There is one drop-in for a unit, so
/// where both have one for the same unit they are joined.
pub(crate) fn strings(agent: Vec<Credential>, boot: &[Credential]) -> Result<Vec<Vec<u8>>, Error> {
    let own = agent.len();
    let mut all = agent;
    for credential in boot {
        let joins = |known: &&mut Credential| {
            known.name == credential.name && known.name.starts_with(DROP_IN)
        };
        match all[..own].iter_mut().find(joins) {
            Some(known) => known.value = [&credential.value, &b"\n"[..], &known.value].concat(),
            None => all.push(credential.clone()),
        }
    }
    let mut strings = Vec::new();
    let mut bytes = 0;
    for (index, Credential { name, value }) in all.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'=' | b',');
        if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
            return Err(Error::Invalid {
                what: "credential name",
                value: name.clone(),
                rule: "is a file name of graphic ASCII without / : = and comma",
            });
        }
        if all[..index].iter().any(|earlier| earlier.name == *name) {
            return Err(Error::Duplicate {
                what: "credential",
                name: name.clone(),
            });
        }
        let string = format!("io.systemd.credential.binary:{name}={}", base64(value));
        bytes += string.len() as u64 + 1;
        if bytes > BYTES {
            return Err(Error::Limit {
                what: "bytes of credentials in SMBIOS",
                limit: BYTES,
                actual: bytes,
            });
        }
        strings.push(string.into_bytes());
    }
    Ok(strings)
}

/// RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let pad = digit > group.len();
            text.push(if pad {
                '='
            } else {
                char::from(DIGITS[index as usize])
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_for_one_unit_are_joined() {
        let check = |boot: Credential, expect: &[&str]| {
            let agent = vec![Credential::drop_in("a.target", "[Unit]\nWants=agent\n")];
            let strings = strings(agent, &[boot]).unwrap();
            let strings: Vec<_> = strings.iter().map(|s| String::from_utf8_lossy(s)).collect();
            assert_eq!(strings, expect);
        };
        let prefix = "io.systemd.credential.binary";
        let agent = base64(b"[Unit]\nWants=agent\n");
        let both = base64(b"[Unit]\nWants=site\n\n[Unit]\nWants=agent\n");
        let site = base64(b"[Unit]\nWants=site\n");
        let name = "systemd.unit-dropin.a.target";
        check(
            Credential::drop_in("a.target", "[Unit]\nWants=site\n"),
            &[&format!("{prefix}:{name}={both}")],
        );
        check(
            Credential::drop_in("a.target~site", "[Unit]\nWants=site\n"),
            &[
                &format!("{prefix}:{name}={agent}"),
                &format!("{prefix}:{name}~site={site}"),
            ],
        );
    }

    #[test]
    fn base64_vectors_of_the_rfc() {
        let check = |text: &str, expect: &str| assert_eq!(base64(text.as_bytes()), expect);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foob", "Zm9vYg==");
        check("fooba", "Zm9vYmE=");
        check("foobar", "Zm9vYmFy");
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
