//! cloud-init's NoCloud: `user-data` and `meta-data`.

use std::fmt::Write as _;

use pleach_customization::{Customization, Placement, Refused, Route, carried};

use crate::Sealed;
use crate::script::{plain, script};

/// Written by the script when all is done, and asked for before the machine restarts.
const DONE: &str = "/run/pleach.done";

/// Two files for cloud-init's NoCloud: on a file system that is labelled `CIDATA`, or below
/// `/var/lib/cloud/seed/nocloud`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloudInit {
    /// `user-data`, a `#cloud-config`.
    pub user_data: Sealed,
    /// `meta-data`: the instance's name alone. Another one makes cloud-init start over.
    pub meta_data: String,
    /// Items that arrive in another way than the document says.
    pub notes: Vec<Placement>,
}

/// Choices of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudInitOptions {
    /// Whether the machine restarts once when all is in place. Without it, what read `/etc` earlier
    /// in that boot (sysctl, udev, units that run already) has not seen the customization yet.
    pub reboot: bool,
}

impl Default for CloudInitOptions {
    fn default() -> Self {
        Self { reboot: true }
    }
}

/// Writes a customization for cloud-init 22.4 or newer. Of cloud-init's modules only `bootcmd` (once
/// for the instance; it runs its script from a file that only root reads, before any user exists)
/// and `power_state_change` are left on: no default user, no host keys, no hostname, no apt sources,
/// no locale but what the document says.
///
/// The same customization gives the same bytes.
///
/// # Errors
/// The items that this route cannot carry.
pub fn to_cloud_init(
    customization: &Customization,
    options: &CloudInitOptions,
) -> Result<CloudInit, Refused> {
    let notes = carried(customization, Route::CloudInit)?;
    let mut text = String::from("#cloud-config\n");
    let _ = writeln!(
        text,
        "# The customization {}. Nothing but what it says is made: these are all modules that run.\n\
         cloud_init_modules:\n  - [bootcmd, once-per-instance]\n\
         cloud_config_modules: []\n\
         cloud_final_modules: [power_state_change]\n\
         preserve_hostname: true\n\
         users: []",
        customization.digest
    );
    if options.reboot {
        let _ = writeln!(
            text,
            "# What read /etc before this ran sees it now.\n\
             power_state:\n  mode: reboot\n  condition: test -e {DONE}"
        );
    }
    let script = format!("{}\n: >{DONE}\n", script(customization)?);
    text.push_str("bootcmd:\n  - ");
    block(&mut text, &script);
    // A digest is `sha256:` and hexadecimal digits; a name for an instance has no colon.
    let digest = customization.digest.replace(':', "-");
    Ok(CloudInit {
        user_data: Sealed::new(text),
        meta_data: format!("instance-id: pleach-{digest}\n"),
        notes,
    })
}

/// A literal block scalar, indented by four.
fn block(out: &mut String, text: &str) {
    debug_assert!(text.chars().all(plain), "the script quotes the rest");
    out.push_str("|\n");
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str("    ");
            out.push_str(line);
        }
        out.push('\n');
    }
}
