//! Which QEMU, which accelerator, and the machine that is known to work with the pair.

use std::fmt;
use std::time::Duration;

use crate::watchdog::Limits;

/// What executes guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// The kernel's virtual machine monitor.
    Kvm,
    /// QEMU's translator: anywhere, and several times slower.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// The version that QEMU prints of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QemuVersion {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub micro: u16,
}

impl QemuVersion {
    /// Reads the version out of the first line of `qemu-system-… -version`.
    ///
    /// `None` when the line has no `version N.N.N` in it.
    pub fn parse(output: &str) -> Option<Self> {
        let rest = output.lines().next()?.split_once("version ")?.1;
        let number = rest.split([' ', '(']).next()?;
        let mut parts = number.split('.').map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u16>().ok()
        });
        Some(Self {
            major: parts.next()??,
            minor: parts.next()??,
            micro: parts.next().flatten().unwrap_or(0),
        })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// What became of guest code under KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kvm {
    /// The boot sector ran and left through the exit device.
    Runs,
    /// QEMU ended without the boot sector having run.
    Fails {
        /// Exit status and what QEMU said.
        detail: String,
    },
    /// QEMU was still there after this time and was killed.
    Hangs {
        /// How long it was given.
        after: Duration,
    },
    /// Nobody asked for it.
    NotTried,
}

impl fmt::Display for Kvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs => f.write_str("runs guest code"),
            Self::Fails { detail } => write!(f, "fails: {detail}"),
            Self::Hangs { after } => write!(f, "hangs, killed after {} s", after.as_secs()),
            Self::NotTried => f.write_str("not tried"),
        }
    }
}

/// A machine that is known to boot a current distribution under one QEMU and accelerator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// A short name for reports.
    pub name: &'static str,
    /// The accelerator of `accel`.
    pub accelerator: Accelerator,
    /// Value of `-accel`.
    pub accel: &'static str,
    /// Value of `-machine`.
    pub machine: &'static str,
    /// Value of `-cpu`.
    pub cpu: &'static str,
    /// Virtual CPUs when the boot names no number of its own.
    pub smp: u32,
    /// Arguments added to the kernel command line. They make an emulated boot cheap and change neither
    /// the image nor which units it starts, except for the two that [`Profile`] documents in the
    /// README; both sides of a comparison must have them.
    pub kernel_arguments: &'static [&'static str],
    /// Memory that QEMU needs beside the guest's own, in MiB (mostly translated code).
    pub overhead_mib: u32,
    /// Time and size limits that fit the accelerator's speed.
    pub limits: Limits,
}

/// Neither disk controller, USB, SMBus, VMware port nor HPET: each would only load drivers.
const TRIMMED_Q35: &str = "q35,sata=off,usb=off,smbus=off,vmport=off,hpet=off";

/// What every boot needs: the console where the watchdog listens, messages on it even where the boot entry
/// says `quiet` (a busy host makes a quiet boot look like a hung one), and a panic that ends the machine.
pub(crate) const REQUIRED_ARGUMENTS: &[&str] = &[
    "console=ttyS0",
    "loglevel=7",
    "systemd.show_status=yes",
    "panic=-1",
];

const TCG_ARGUMENTS: &[&str] = &[
    // All of Debian's default but bpf: loading systemd's one LSM program costs an emulated CPU 18 s.
    "lsm=landlock,lockdown,yama,loadpin,safesetid,integrity,apparmor,selinux,smack,tomoyo,ipe",
    // On a busy host the TSC is calibrated wrongly now and then, and the guest's clock then runs many
    // times too fast; the PM timer has a fixed frequency. The TSC is left to what needs no true time.
    "clocksource=acpi_pm",
    "tsc=reliable",
    "no_timer_check",
    "random.trust_cpu=on",
    "mitigations=off",
    "nokaslr",
    "init_on_alloc=0",
    "audit=0",
    "rcupdate.rcu_expedited=1",
    "8250.nr_uarts=1",
    // The generator loads the vsock drivers, 8 s, to offer ssh over a device that is not there.
    "systemd.ssh_auto=no",
    // It tries every CPU for seconds and finds no frequency to scale.
    "module_blacklist=powernow_k8",
    // Otherwise each tty is asked for its size and waited for.
    "systemd.tty.term.console=dumb",
    "systemd.tty.term.ttyS0=dumb",
];

impl Profile {
    /// The row of the table for this pair.
    ///
    /// TCG before QEMU 10 leaves garbage in the flags after an unlocked `cmpxchg16b` and can run
    /// half-patched kernel text on a second CPU: without `cx16` and with one CPU neither happens.
    pub fn choose(version: QemuVersion, accelerator: Accelerator) -> Self {
        match (accelerator, version.major) {
            (Accelerator::Kvm, _) => Self {
                name: "kvm",
                accelerator,
                accel: "kvm",
                machine: TRIMMED_Q35,
                cpu: "host",
                smp: 2,
                kernel_arguments: &[],
                overhead_mib: 128,
                limits: Limits::for_accelerator(accelerator),
            },
            (Accelerator::Tcg, 10..) => Self {
                name: "tcg-10",
                accelerator,
                accel: "tcg",
                machine: TRIMMED_Q35,
                cpu: "qemu64",
                smp: 1,
                kernel_arguments: TCG_ARGUMENTS,
                overhead_mib: 256,
                limits: Limits::for_accelerator(accelerator),
            },
            (Accelerator::Tcg, _) => Self {
                name: "tcg-7",
                accelerator,
                accel: "tcg,thread=single",
                machine: TRIMMED_Q35,
                cpu: "qemu64,-cx16,-svm,+rdrand",
                smp: 1,
                kernel_arguments: TCG_ARGUMENTS,
                overhead_mib: 512,
                limits: Limits::for_accelerator(accelerator),
            },
        }
    }
}

/// What the probe found; prints as one line for logs, reports and JUnit properties.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// The emulator, as named in the options.
    pub qemu: String,
    /// Its version.
    pub version: QemuVersion,
    /// Whether KVM runs guest code.
    pub kvm: Kvm,
    /// The machine that boots will get.
    pub profile: Profile,
}

impl Host {
    /// A host whose facts are known, with the profile that the table has for them.
    pub fn new(
        qemu: impl Into<String>,
        version: QemuVersion,
        kvm: Kvm,
        accelerator: Accelerator,
    ) -> Self {
        let profile = Profile::choose(version, accelerator);
        Self {
            qemu: qemu.into(),
            version,
            kvm,
            profile,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Profile {
            name,
            accel,
            cpu,
            smp,
            ..
        } = &self.profile;
        write!(
            f,
            "QEMU {}, accelerator {} (KVM {}), profile {name}: -accel {accel} -cpu {cpu} -smp {smp}",
            self.version, self.profile.accelerator, self.kvm
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_qemu_prints() {
        let check = |line: &str, expect: Option<(u16, u16, u16)>| {
            let found = QemuVersion::parse(line).map(|v| (v.major, v.minor, v.micro));
            assert_eq!(found, expect, "{line}");
        };
        check(
            "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright",
            Some((7, 2, 22)),
        );
        check("QEMU emulator version 10.0.2", Some((10, 0, 2)));
        check("QEMU emulator version 9.1", Some((9, 1, 0)));
        check("QEMU emulator version 8.2.0-rc1(x)", Some((8, 2, 0)));
        check("qemu: no version", None);
        check("QEMU emulator version eight", None);
        check("", None);
    }

    #[test]
    fn table_of_profiles() {
        let check = |major, accelerator, name, cpu, smp| {
            let p = Profile::choose(
                QemuVersion {
                    major,
                    minor: 0,
                    micro: 0,
                },
                accelerator,
            );
            assert_eq!(
                (p.name, p.cpu, p.smp),
                (name, cpu, smp),
                "{major} {accelerator}"
            );
        };
        check(7, Accelerator::Kvm, "kvm", "host", 2);
        check(10, Accelerator::Kvm, "kvm", "host", 2);
        check(7, Accelerator::Tcg, "tcg-7", "qemu64,-cx16,-svm,+rdrand", 1);
        // Nobody has seen 8 and 9 be free of the two faults: they get the careful row.
        check(9, Accelerator::Tcg, "tcg-7", "qemu64,-cx16,-svm,+rdrand", 1);
        check(10, Accelerator::Tcg, "tcg-10", "qemu64", 1);
        check(11, Accelerator::Tcg, "tcg-10", "qemu64", 1);
    }

    #[test]
    fn host_prints_as_one_line() {
        let version = QemuVersion {
            major: 7,
            minor: 2,
            micro: 22,
        };
        let kvm = Kvm::Hangs {
            after: Duration::from_secs(5),
        };
        let host = Host::new("qemu-system-x86_64", version, kvm, Accelerator::Tcg);
        insta::assert_snapshot!(host, @"QEMU 7.2.22, accelerator tcg (KVM hangs, killed after 5 s), profile tcg-7: -accel tcg,thread=single -cpu qemu64,-cx16,-svm,+rdrand -smp 1");
    }
}
