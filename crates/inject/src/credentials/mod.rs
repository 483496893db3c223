//! systemd's system credentials: systemd.system-credentials(7), version 256 or newer in the machine.

mod accounts;
mod smbios;
mod tmpfiles;
mod units;

use std::collections::BTreeMap;

use pleach_customization::lower::LowerErrors;
use pleach_customization::{Customization, Origin, Placement, Refusal, Refused, Route, carried};
use thiserror::Error;

use crate::Sealed;

/// The most bytes that systemd takes for one credential, and for all of a service (`creds-util.h`).
pub const CREDENTIAL_MAX: usize = 1024 * 1024;
/// The most bytes of a credential's name: it is a file's name.
pub const CREDENTIAL_NAME_MAX: usize = 255;
/// The most bytes that all strings together take in a table of SMBIOS 2.1, whose length field has 16
/// bits; a page is left for what the firmware itself says.
pub const SMBIOS_MAX: usize = 0xffff - 4096;

/// One credential.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credential {
    /// Its name: `tmpfiles.extra`.
    pub name: String,
    /// What it holds.
    pub value: Sealed,
}

/// Credentials that a machine is to be started with, each time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// By name.
    pub credentials: Vec<Credential>,
    /// Items that arrive in another way than the document says.
    pub notes: Vec<Placement>,
}

/// A customization that cannot become credentials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Items that this route cannot carry.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Units whose `[Install]` cannot be followed.
    #[error(transparent)]
    Lower(#[from] LowerErrors),
    /// A credential, or all of them, have more bytes than their way into the machine takes.
    #[error(
        "{what} would have {bytes} bytes, and {limit} is the most; derive the large files, or inject them by another route"
    )]
    TooLarge {
        /// The credential, or the way.
        what: String,
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl Credentials {
    /// The values of SMBIOS type 11 strings (`io.systemd.credential.binary:NAME=BASE64`), in the
    /// order of the credentials. QEMU takes each as `-smbios type=11,path=FILE`, so that none is
    /// among its arguments.
    ///
    /// # Errors
    /// When they have more bytes than [`SMBIOS_MAX`].
    pub fn smbios(&self) -> Result<Vec<Sealed>, CredentialsError> {
        smbios::strings(&self.credentials)
    }
}

/// Writes a customization as credentials. They are asked for again at each boot, so they must be
/// given at each; what they make in `/etc` and `/var` stays.
///
/// Homes get the mode 0700 and what `/etc/skel` has; links that every system of this kind has
/// (`/home` to `var/home` and its like) are taken as given, for neither can be looked up here.
///
/// The same customization gives the same bytes.
///
/// # Errors
/// The items that this route cannot carry, and a credential that systemd would not take.
pub fn to_credentials(customization: &Customization) -> Result<Credentials, CredentialsError> {
    let notes = carried(customization, Route::Credentials)?;
    let mut made = Made::default();
    accounts::add(customization, &mut made)?;
    tmpfiles::add(customization, &mut made)?;
    units::add(customization, &mut made)?;
    let mut credentials = Vec::new();
    for (name, value) in made.0 {
        check(
            &format!("the name of the credential {name}"),
            name.len(),
            CREDENTIAL_NAME_MAX,
        )?;
        check(
            &format!("the credential {name}"),
            value.len(),
            CREDENTIAL_MAX,
        )?;
        let value = Sealed::new(value);
        credentials.push(Credential { name, value });
    }
    let all = credentials.iter().map(|c| c.value.expose().len()).sum();
    check("all credentials together", all, CREDENTIAL_MAX)?;
    Ok(Credentials { credentials, notes })
}

fn check(what: &str, bytes: usize, limit: usize) -> Result<(), CredentialsError> {
    let what = what.to_owned();
    match bytes > limit {
        true => Err(CredentialsError::TooLarge { what, bytes, limit }),
        false => Ok(()),
    }
}

/// Credentials in the making, each a text that grows.
#[derive(Default)]
struct Made(BTreeMap<String, Vec<u8>>);

impl Made {
    /// Adds to a credential, beginning a new line.
    fn add(&mut self, name: &str, text: &[u8]) {
        let value = self.0.entry(name.to_owned()).or_default();
        if !value.is_empty() && !value.ends_with(b"\n") {
            value.push(b'\n');
        }
        value.extend_from_slice(text);
    }
}

fn refused(
    item: String,
    origin: &Origin,
    why: &'static str,
    instead: &'static str,
) -> CredentialsError {
    let origin = origin.clone();
    Refused(vec![Refusal {
        origin,
        item,
        why,
        instead,
    }])
    .into()
}
