//! Strings of SMBIOS type 11, smbios-type-11(7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Credential, CredentialsError, SMBIOS_MAX, check};
use crate::Sealed;

pub(super) fn strings(credentials: &[Credential]) -> Result<Vec<Sealed>, CredentialsError> {
    let string = |credential: &Credential| {
        let value = STANDARD.encode(credential.value.expose());
        format!("io.systemd.credential.binary:{}={value}", credential.name)
    };
    let strings: Vec<_> = credentials.iter().map(string).collect();
    // A NUL ends each.
    let bytes = strings.iter().map(|string| string.len() + 1).sum();
    check("SMBIOS type 11", bytes, SMBIOS_MAX)?;
    Ok(strings.into_iter().map(Sealed::new).collect())
}
