//! A disk that cloud-init takes for its own.

use std::io::{self, Cursor, Write as _};

use fatfs::{
    Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume,
};

use crate::{CloudInit, Sealed};

/// The label by which cloud-init's NoCloud finds it, as FAT pads it.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// A constant: the same seed gives the same bytes.
const VOLUME: u32 = 0x706c_6561;

/// What a file system needs besides its files, in bytes.
const OVERHEAD: usize = 256 << 10;

/// The seed on a FAT file system that is labelled `CIDATA`, as a raw disk image without partitions.
/// The machine's network stays as its image has it.
///
/// # Errors
/// When the seed is too large for such a file system.
pub fn nocloud_disk(seed: &CloudInit) -> io::Result<Sealed> {
    let files = [
        ("user-data", seed.user_data.expose()),
        ("meta-data", seed.meta_data.as_bytes()),
        // Without it cloud-init would configure the interfaces that it finds.
        ("network-config", b"config: disabled\n"),
    ];
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut disk = Cursor::new(vec![0; (bytes + OVERHEAD).next_multiple_of(64 << 10)]);
    let options = FormatVolumeOptions::new()
        .volume_label(LABEL)
        .volume_id(VOLUME);
    format_volume(&mut disk, options)?;
    {
        let options = FsOptions::new().time_provider(&TIME);
        let system = FileSystem::new(&mut disk, options)?;
        for (name, bytes) in files {
            let mut file = system.root_dir().create_file(name)?;
            file.write_all(bytes)?;
            file.flush()?;
        }
        system.unmount()?;
    }
    Ok(Sealed::new(disk.into_inner()))
}

static TIME: NoTime = NoTime;

/// The first moment that FAT knows, for the same reason.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn get_current_date(&self) -> Date {
        Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_disk_has_the_label_and_the_files() {
        let check = |user_data: &str| {
            let seed = CloudInit {
                user_data: Sealed::new(user_data),
                meta_data: "instance-id: one\n".to_owned(),
                notes: Vec::new(),
            };
            let disk = nocloud_disk(&seed).expect("a disk");
            assert!(
                disk == nocloud_disk(&seed).expect("a disk"),
                "the same bytes"
            );
            let disk = Cursor::new(disk.expose().to_vec());
            let system = FileSystem::new(disk, FsOptions::new()).expect("a file system");
            let label = system.read_volume_label_from_root_dir().expect("a root");
            assert_eq!(label.as_deref(), Some("CIDATA"));
            for (name, expect) in [
                ("user-data", user_data),
                ("meta-data", "instance-id: one\n"),
                ("network-config", "config: disabled\n"),
            ] {
                let mut text = String::new();
                let mut file = system.root_dir().open_file(name).expect(name);
                file.read_to_string(&mut text).expect(name);
                assert!(text == expect, "{name} of {} bytes", expect.len());
            }
        };
        check("#cloud-config\n");
        check(&"x".repeat(300_000));
        check(&"x".repeat(5_000_000));
    }
}
