//! What to boot: descriptions, with no effect and no handle in them but [`Media`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use cap_std::fs::Dir;

use crate::Error;

/// One boot of one machine, apart from the files it boots from ([`Media`]).
///
/// `Debug` shows sizes in place of contents, here and in its parts.
#[derive(Clone)]
pub struct Boot {
    /// Kernel command line, as the boot entry has it; with [`Start::Firmware`], what is to come behind that
    /// of the boot entry that the boot loader finds. What the watchdog and the profile need is added behind
    /// it where it is missing.
    pub command_line: String,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs; the profile's number when `None`.
    pub smp: Option<u32>,
    /// Identity of the machine. systemd makes the machine ID of a first boot from it.
    pub uuid: Option<Uuid>,
    /// How the guest gets its root disk.
    pub disk: DiskMode,
    /// Files offered through the firmware configuration device, by name (`opt/com.coreos/config`).
    pub fw_cfg: Vec<(String, Vec<u8>)>,
    /// systemd credentials, passed in SMBIOS strings of type 11.
    pub credentials: Vec<Credential>,
    /// Further disks, which the guest can only read.
    pub disks: Vec<ExtraDisk>,
    /// What to run once the guest is up.
    pub payload: Payload,
    /// A virtual display, if the machine has one. Its picture is kept when the payload has left.
    pub display: Option<Display>,
    /// How the guest goes down when the payload is done.
    pub shutdown: Shutdown,
    /// Who deals with a boot that does not come up.
    pub recovery: Recovery,
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command_line,
            memory_mib,
            smp,
            uuid,
            disk,
            fw_cfg,
            credentials,
            disks,
            payload,
            display,
            shutdown,
            recovery,
        } = self;
        f.debug_struct("Boot")
            .field("command_line", command_line)
            .field("memory_mib", memory_mib)
            .field("smp", smp)
            .field("uuid", uuid)
            .field("disk", disk)
            .field("fw_cfg", &sizes(fw_cfg))
            .field("credentials", credentials)
            .field("disks", disks)
            .field("payload", payload)
            .field("display", display)
            .field("shutdown", shutdown)
            .field("recovery", recovery)
            .finish()
    }
}

/// Stands for bytes that may be secret where something is formatted.
pub(crate) fn size(bytes: &[u8]) -> impl fmt::Debug + use<> {
    struct Size(usize);
    impl fmt::Debug for Size {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "({} bytes)", self.0)
        }
    }
    Size(bytes.len())
}

/// The same for bytes with names.
pub(crate) fn sizes(files: &[(String, Vec<u8>)]) -> impl fmt::Debug {
    let sizes = files.iter().map(|(name, bytes)| (name, size(bytes)));
    sizes.collect::<Vec<_>>()
}

impl Boot {
    /// A boot with 1 GiB of memory, a disk copy of its own, no display and an orderly power-off.
    pub fn new(command_line: impl Into<String>, payload: Payload) -> Self {
        Self {
            command_line: command_line.into(),
            memory_mib: 1024,
            smp: None,
            uuid: None,
            disk: DiskMode::Copy,
            fw_cfg: Vec::new(),
            credentials: Vec::new(),
            disks: Vec::new(),
            payload,
            display: None,
            shutdown: Shutdown::Orderly,
            recovery: Recovery::None,
        }
    }
}

/// A regular file in a directory; neither its name nor any folder on the way may be a symbolic link.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The directory.
    pub dir: &'a Dir,
    /// Path below it.
    pub path: PathBuf,
}

impl<'a> Input<'a> {
    /// `path` below `dir`.
    pub fn new(dir: &'a Dir, path: impl Into<PathBuf>) -> Self {
        Self {
            dir,
            path: path.into(),
        }
    }
}

/// The files of a boot. None is written to.
#[derive(Clone, Debug)]
pub struct Media<'a> {
    /// The root disk, a raw image.
    pub disk: Input<'a>,
    /// What the machine starts with.
    pub loads: Loads<'a>,
}

/// What a machine starts with.
#[derive(Clone, Debug)]
pub enum Loads<'a> {
    /// A kernel that QEMU loads itself.
    Kernel {
        /// The kernel.
        kernel: Input<'a>,
        /// The initial RAM disk.
        initrd: Input<'a>,
    },
    /// UEFI firmware, which finds a boot loader on the root disk.
    Firmware {
        /// Its code (`OVMF_CODE_4M.fd`).
        code: Input<'a>,
        /// Its variables as they are at first (`OVMF_VARS_4M.fd`).
        variables: Input<'a>,
    },
}

impl Loads<'_> {
    /// Which of them it is.
    pub fn start(&self) -> Start {
        match self {
            Self::Kernel { .. } => Start::Kernel,
            Self::Firmware { .. } => Start::Firmware,
        }
    }
}

/// How a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With a kernel that QEMU loads.
    Kernel,
    /// With firmware.
    Firmware,
}

/// Who deals with a boot that does not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nobody: a panic or emergency mode ends the run, with what there is to say about it.
    None,
    /// The machine itself, by a reset in the end. That is [`Outcome::Rebooted`](crate::Outcome::Rebooted),
    /// and the disk as it was left is to be booted again.
    Own,
}

/// How the guest gets its root disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskMode {
    /// On a copy in the run directory (a reflink where the file system can, else sparse): what the guest
    /// wrote can be read, and booted again, afterwards.
    Copy,
    /// On the image itself, with the guest's writes in a temporary file that ends with the boot.
    Snapshot,
}

/// A display for a kernel with a driver for virtio's graphics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// Pixels in a line, as the display says of itself; a guest may choose another mode.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// How the guest goes down when the payload is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// All services are stopped, as an administrator's `poweroff` does; what runs at shutdown, such as
    /// the finishing of a staged deployment, runs.
    Orderly,
    /// Processes are killed and file systems unmounted: some seconds less under emulation.
    Forced,
    /// It reboots by itself while the payload runs, which the payload only waits for. If it comes to its
    /// end nevertheless, the machine is powered off as with [`Forced`](Self::Forced).
    Awaited,
}

/// A program for the guest, with its files.
///
/// It is unpacked below `/run`, started in the folder of its files once the system has settled
/// (`systemctl is-system-running --wait`), and whatever regular file it leaves in the directory that
/// `PLEACH_RESULT_DIR` names comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Relative name, content and mode of each file.
    pub files: Vec<PayloadFile>,
    /// Program and arguments. A program with a `/` in it is found from the folder of the files.
    pub command: Vec<String>,
}

/// One file of a [`Payload`].
#[derive(Clone, PartialEq, Eq)]
pub struct PayloadFile {
    /// Relative name, without `..`.
    pub name: String,
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for PayloadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, bytes, mode } = self;
        f.debug_struct("PayloadFile")
            .field("name", name)
            .field("bytes", &size(bytes))
            .field("mode", mode)
            .finish()
    }
}

impl Payload {
    /// A payload that has a command and no files.
    pub fn command<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            files: Vec::new(),
            command: command.into_iter().map(Into::into).collect(),
        }
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push(PayloadFile {
            name: name.into(),
            bytes: bytes.into(),
            mode,
        });
        self
    }
}

/// A systemd credential: a name and bytes, see systemd.system-credentials(7).
///
/// QEMU reads it from a file in the run directory, so that it is in no argument; in the guest, root alone
/// can read SMBIOS.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name: a file name of printable ASCII.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value } = self;
        f.debug_struct("Credential")
            .field("name", name)
            .field("value", &size(value))
            .finish()
    }
}

impl Credential {
    /// A credential.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    /// An additional unit (systemd 256 or newer).
    pub fn unit(unit: &str, text: impl Into<Vec<u8>>) -> Self {
        Self::new(format!("systemd.extra-unit.{unit}"), text)
    }

    /// A drop-in for a unit (systemd 256 or newer).
    pub fn drop_in(unit: &str, text: impl Into<Vec<u8>>) -> Self {
        Self::new(format!("systemd.unit-dropin.{unit}"), text)
    }
}

/// A disk that the guest can only read, such as one that cloud-init looks for. It is a file in the run
/// directory.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtraDisk {
    /// What `/dev/disk/by-id/virtio-SERIAL` calls it.
    pub serial: String,
    /// What is on it, filled up with zeros to whole sectors.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for ExtraDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, bytes } = self;
        f.debug_struct("ExtraDisk")
            .field("serial", serial)
            .field("bytes", &size(bytes))
            .finish()
    }
}

impl ExtraDisk {
    /// A disk.
    pub fn new(serial: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            serial: serial.into(),
            bytes: bytes.into(),
        }
    }
}

/// The identity of a machine, in the form of RFC 9562 with lower-case digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uuid(String);

impl Uuid {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let shape = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        // QEMU takes the zero UUID for "none was given".
        if shape && text.bytes().any(|byte| !matches!(byte, b'0' | b'-')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::Invalid {
                what: "uuid",
                value: text.to_owned(),
                rule: "needs five groups of lower-case hexadecimal digits, not all zero",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_one_spelling() {
        let check = |text: &str, good| assert_eq!(text.parse::<Uuid>().is_ok(), good, "{text}");
        check("11111111-2222-4333-8444-555555555555", true);
        check("11111111-2222-4333-8444-55555555555", false);
        check("11111111-2222-4333-8444-55555555555A", false);
        check("11111111222243338444555555555555", false);
        check("00000000-0000-0000-0000-000000000000", false);
        check("", false);
    }
}
