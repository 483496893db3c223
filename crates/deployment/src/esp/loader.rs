//! systemd-boot, out of an image.

use std::path::Path;

use cap_std::fs::Dir;

use super::apply::write;
use crate::error::{Error, Result, io};
use crate::walk::open_dir;

/// Where systemd has its boot loaders, one for each architecture.
const SOURCE: &str = "usr/lib/systemd/boot/efi";

/// It shows no menu; a key that is held down does.
const CONFIGURATION: &str = "timeout 0\n";

/// Says to others that entries here are those of UAPI.1, as `bootctl install` does.
const ENTRIES_SREL: &str = "type1\n";

/// Writes the systemd-boot of an image (the root of a deployment, or a merged tree) to an ESP: as what
/// firmware starts by itself (`/EFI/BOOT`), and where `bootctl` looks for it (`/EFI/systemd`). A
/// configuration that is there stays.
///
/// # Errors
/// [`Error::NoBootLoader`] if the image has none.
pub fn install_systemd_boot(image: &Dir, esp: &Dir) -> Result<()> {
    let missing = || Error::NoBootLoader {
        path: SOURCE.into(),
    };
    let source = match open_dir(image, SOURCE) {
        Ok(dir) => dir,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(missing());
        }
        Err(e) => return Err(e),
    };
    let mut found = false;
    for entry in source.entries().map_err(io("read directory", SOURCE))? {
        let name = entry.map_err(io("read directory", SOURCE))?.file_name();
        let Some(architecture) = name.to_str().and_then(architecture) else {
            continue;
        };
        found = true;
        let removable = format!("EFI/BOOT/BOOT{}.EFI", architecture.to_uppercase());
        let own = format!("EFI/systemd/systemd-boot{architecture}.efi");
        for path in [own, removable] {
            let mut file = source.open(&name).map_err(io("open", &name))?;
            write(esp, Path::new(&path), &mut file)?;
        }
    }
    if !found {
        return Err(missing());
    }
    for (path, text) in [
        ("loader/loader.conf", CONFIGURATION),
        ("loader/entries.srel", ENTRIES_SREL),
    ] {
        if !esp.exists(path) {
            write(esp, Path::new(path), &mut text.as_bytes())?;
        }
    }
    Ok(())
}

/// `x64` out of `systemd-bootx64.efi`.
fn architecture(name: &str) -> Option<&str> {
    let architecture = name.strip_prefix("systemd-boot")?.strip_suffix(".efi")?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (!architecture.is_empty() && architecture.bytes().all(plain)).then_some(architecture)
}
