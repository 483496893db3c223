//! A kickstart's part: kernel arguments for the boot loader, and a `%post`.

use pleach_customization::{Customization, Placement, Refused, Route, carried};

use crate::Sealed;
use crate::script::script;

/// Lines for a kickstart that installs the image (with `ostreecontainer` or `bootc`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kickstart {
    /// The text, to be given to Anaconda with `%include` or pasted.
    pub text: Sealed,
    /// Items that arrive in another way than the document says.
    pub notes: Vec<Placement>,
}

/// Writes a customization as a part of a kickstart. Disks, network, language and the image itself are
/// the including kickstart's; it must have no `bootloader` command of its own, for the last one
/// counts.
///
/// Accounts are made in `%post` too: Anaconda's `user` and `group` say less than the document (no
/// system accounts, no user without a group of its own), and run before it.
///
/// The same customization gives the same bytes.
///
/// # Errors
/// The items that this route cannot carry.
pub fn to_kickstart(customization: &Customization) -> Result<Kickstart, Refused> {
    let notes = carried(customization, Route::Kickstart)?;
    let mut text = format!("# The customization {}\n", customization.digest);
    let arguments: Vec<_> = customization
        .kernel_arguments
        .should_exist
        .iter()
        .map(|argument| argument.value.as_str())
        .collect();
    if !arguments.is_empty() {
        let joined = arguments
            .join(" ")
            .replace('\\', r"\\")
            .replace('"', "\\\"");
        text += &format!("bootloader --append=\"{joined}\"\n");
    }
    text += "\n%post --erroronfail --interpreter=/bin/sh\n";
    text += &script(customization)?;
    text += "%end\n";
    Ok(Kickstart {
        text: Sealed::new(text),
        notes,
    })
}
