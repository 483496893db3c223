//! What a file gets, as bytes.

use pleach_customization::{File, Refusal, Refused};

/// All bytes of a file: its contents, then what is added.
///
/// # Errors
/// Where some are fetched by the machine's own Ignition.
pub(crate) fn bytes(file: &File) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    for part in file.contents.iter().chain(&file.append) {
        let Some(bytes) = part.bytes() else {
            return Err(Refused(vec![Refusal {
                origin: part.origin.clone(),
                item: format!("file {}", file.path),
                why: "its contents are fetched by Ignition",
                instead: "put them into the document, or use Ignition",
            }]));
        };
        out.extend_from_slice(bytes);
    }
    Ok(out)
}
