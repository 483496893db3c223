//! What a machine is given when it boots, apart from its disk.

use std::path::PathBuf;

use pleach_vm::{Credential, ExtraDisk};

/// A first boot, apart from its disk.
#[derive(Default)]
pub(crate) struct FirstBoot {
    /// Kernel arguments behind those of the boot entry.
    pub(crate) kernel_arguments: Vec<String>,
    /// Files for the firmware configuration device.
    pub(crate) fw_cfg: Vec<(String, Vec<u8>)>,
    /// systemd's system credentials.
    pub(crate) credentials: Vec<Credential>,
    /// Disks to read from.
    pub(crate) disks: Vec<ExtraDisk>,
    /// Whether it reboots before it has come to what is to be captured.
    pub(crate) reboot: Reboot,
    /// A folder with firmware, which boots the disk's own boot loader. None: its first entry is booted.
    pub(crate) firmware: Option<PathBuf>,
    /// Whether it is left to itself where it does not come up, and started again after a reset.
    pub(crate) restarts: bool,
}

/// A reboot that belongs to a first boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reboot {
    /// None.
    #[default]
    Never,
    /// Perhaps, and before anything of the real root has started: Ignition, for kernel arguments.
    Early,
    /// For sure, and when everything has started: cloud-init, so that all is read again.
    Late,
}

/// Waits for cloud-init's reboot, and explains if there is none.
pub(crate) const WAIT: &str = "cloud-init status --wait --long >&2; sleep 120; \
    cat /var/log/cloud-init-output.log >&2; exit 1";

impl FirstBoot {
    /// Hands Ignition its document, in the way of QEMU's platform.
    pub(crate) fn ignite(&mut self, document: Vec<u8>) {
        self.fw_cfg
            .push(("opt/com.coreos/config".to_owned(), document));
        let arguments = ["ignition.firstboot=1", "ignition.platform.id=qemu"];
        self.kernel_arguments.extend(arguments.map(str::to_owned));
        self.reboot = Reboot::Early;
    }

    /// Hands cloud-init a disk with its seed, which makes the machine reboot when it is carried out.
    pub(crate) fn seed(&mut self, disk: Vec<u8>) {
        self.disks.push(ExtraDisk::new("cidata", disk));
        self.reboot = Reboot::Late;
    }

    /// Whether its boot of this number, counted from 0, is only there to be rebooted.
    pub(crate) fn waits(&self, number: usize) -> bool {
        self.reboot == Reboot::Late && number == 0
    }
}
