//! A boot as the command line of QEMU: pure, and the same for the same input.

use std::fmt;

use crate::Error;
use crate::agent::{self, PAYLOAD_SERIAL, PROGRESS_PORT, RESULT_PORT};
use crate::boot::{Boot, DiskMode, Display, Recovery, Start, sizes};
use crate::host::{Host, REQUIRED_ARGUMENTS};
use crate::smbios;

/// Names in the directory of an attempt; QEMU runs there and sees no other.
pub(crate) mod name {
    pub(crate) const BASE: &str = "base.img";
    pub(crate) const DISK: &str = "disk.img";
    pub(crate) const KERNEL: &str = "kernel";
    pub(crate) const INITRD: &str = "initrd";
    pub(crate) const FIRMWARE: &str = "firmware.fd";
    pub(crate) const VARIABLES: &str = "variables.fd";
    pub(crate) const VARIABLES_BASE: &str = "variables-base.fd";
    pub(crate) const PAYLOAD: &str = "payload.img";
    pub(crate) const CONSOLE: &str = "console.log";
    pub(crate) const PROGRESS: &str = "progress.log";
    pub(crate) const RESULT: &str = "result.frame";
    pub(crate) const QMP: &str = "qmp.log";
    pub(crate) const STDERR: &str = "qemu.stderr";
    pub(crate) const ARGV: &str = "qemu.argv";
    pub(crate) const REPRO: &str = "repro.sh";
    pub(crate) const TIMINGS: &str = "timings.json";
    pub(crate) const OUTCOME: &str = "outcome.txt";
    pub(crate) const RESULT_DIR: &str = "result";
    pub(crate) const SCREEN: &str = "screen.ppm";
}

/// QEMU's limit for names of the firmware configuration device, without the final zero.
const FW_CFG_NAME: usize = 55;

/// What systemd-boot puts behind the options of the entry that it boots: systemd-boot(7), since 256.
const EXTRA_ARGUMENTS: &str = "io.systemd.boot.kernel-cmdline-extra=";

/// virtio's limit for the serial of a disk.
const SERIAL: usize = 20;

/// What QEMU is told, and the files that it is told of.
///
/// `Debug` shows sizes in place of the files' contents.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The emulator.
    pub program: String,
    /// Its arguments. File names are relative to the directory it runs in.
    pub arguments: Vec<String>,
    /// The kernel command line among them.
    pub command_line: String,
    /// Words of the command line that the boot did not bring.
    pub added_arguments: Vec<String>,
    /// Files to be written there first, by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory of guest and emulator in MiB.
    pub memory_mib: u32,
    /// How the disk comes there.
    pub disk: DiskMode,
    /// Whether there is a display, whose picture is to be kept.
    pub display: bool,
    /// How the machine starts.
    pub start: Start,
    /// Who deals with a boot that does not come up.
    pub recovery: Recovery,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            program,
            arguments,
            command_line,
            added_arguments,
            files,
            cpus,
            memory_mib,
            disk,
            display,
            start,
            recovery,
        } = self;
        f.debug_struct("Plan")
            .field("program", program)
            .field("arguments", arguments)
            .field("command_line", command_line)
            .field("added_arguments", added_arguments)
            .field("files", &sizes(files))
            .field("cpus", cpus)
            .field("memory_mib", memory_mib)
            .field("disk", disk)
            .field("display", display)
            .field("start", start)
            .field("recovery", recovery)
            .finish()
    }
}

impl Plan {
    /// Plans a boot for a host.
    pub fn new(boot: &Boot, host: &Host, start: Start) -> Result<Self, Error> {
        let profile = &host.profile;
        let added_arguments = added_arguments(&boot.command_line, profile.kernel_arguments);
        let command_line = std::iter::once(boot.command_line.trim())
            .chain(added_arguments.iter().map(String::as_str))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        if command_line.contains(['\0', '\n']) {
            return Err(Error::Invalid {
                what: "kernel command line",
                value: boot.command_line.clone(),
                rule: "is one line",
            });
        }
        let cpus = boot.smp.unwrap_or(profile.smp);
        let mut files = vec![(
            name::PAYLOAD.to_owned(),
            agent::payload_image(&boot.payload, &profile.limits)?,
        )];
        let mut arguments = Arguments::default();

        arguments.add("-accel", profile.accel);
        arguments.add("-machine", profile.machine);
        arguments.add("-cpu", profile.cpu);
        arguments.add("-smp", cpus.to_string());
        arguments.add("-m", boot.memory_mib.to_string());
        arguments
            .0
            .extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
        arguments.add("-display", "none");
        arguments.add("-qmp", "stdio");
        if let Some(uuid) = &boot.uuid {
            arguments.add("-uuid", uuid.as_str());
        }
        arguments.add(
            "-chardev",
            format!("file,id=console,path={}", name::CONSOLE),
        );
        arguments.add("-serial", "chardev:console");
        let (file, snapshot) = match boot.disk {
            DiskMode::Copy => (name::DISK, "off"),
            DiskMode::Snapshot => (name::BASE, "on"),
        };
        // The host's page cache outlives QEMU, so flushes of the guest cost time and save nothing.
        arguments.add(
            "-drive",
            format!("file={file},if=none,id=root,format=raw,snapshot={snapshot},cache=unsafe,aio=threads,discard=unmap"),
        );
        let root = "virtio-blk-pci,drive=root,serial=root";
        match start {
            Start::Kernel => arguments.add("-device", root),
            Start::Firmware => add_firmware(root, &mut arguments),
        }
        arguments.add(
            "-drive",
            format!(
                "file={},if=none,id=payload,format=raw,readonly=on",
                name::PAYLOAD
            ),
        );
        arguments.add(
            "-device",
            format!("virtio-blk-pci,drive=payload,serial={PAYLOAD_SERIAL}"),
        );
        arguments.add("-device", "virtio-rng-pci");
        if let Some(Display { width, height }) = boot.display {
            arguments.add(
                "-device",
                format!("virtio-gpu-pci,xres={width},yres={height}"),
            );
        }
        arguments.add("-device", "virtio-serial-pci");
        for (id, port, file) in [
            ("progress", PROGRESS_PORT, name::PROGRESS),
            ("result", RESULT_PORT, name::RESULT),
        ] {
            arguments.add("-chardev", format!("file,id={id},path={file}"));
            arguments.add(
                "-device",
                format!("virtserialport,chardev={id},name={port}"),
            );
        }
        // The last devices, so that the others are where they are in a machine without these.
        add_disks(boot, &mut arguments, &mut files)?;
        add_fw_cfg(boot, &mut arguments, &mut files)?;
        let mut strings = credentials(boot, host)?;
        if start == Start::Firmware {
            strings.push(format!("{EXTRA_ARGUMENTS}{command_line}").into_bytes());
        }
        add_strings(strings, &mut arguments, &mut files);
        if start == Start::Kernel {
            arguments.add("-kernel", name::KERNEL);
            arguments.add("-initrd", name::INITRD);
            arguments.add("-append", command_line.clone());
        }
        Ok(Self {
            program: host.qemu.clone(),
            arguments: arguments.0,
            command_line,
            added_arguments,
            files,
            cpus,
            memory_mib: boot.memory_mib.saturating_add(profile.overhead_mib),
            disk: boot.disk,
            display: boot.display.is_some(),
            start,
            recovery: boot.recovery,
        })
    }

    /// A shell script that runs the same command again, in a folder `again` beside itself.
    pub fn repro(&self) -> Result<String, Error> {
        let mut words = vec![self.program.clone()];
        words.extend(self.arguments.iter().cloned());
        let command = agent::shell_words(&words)?;
        let disk = match self.disk {
            DiskMode::Copy => name::DISK,
            DiskMode::Snapshot => name::BASE,
        };
        let loads = match self.start {
            Start::Kernel => vec![name::KERNEL, name::INITRD],
            Start::Firmware => vec![name::FIRMWARE],
        };
        let variables = match self.start {
            Start::Kernel => String::new(),
            Start::Firmware => format!("cp {} again/{}\n", name::VARIABLES_BASE, name::VARIABLES),
        };
        let inputs: Vec<&str> = loads
            .into_iter()
            .chain(self.files.iter().map(|(name, _)| name.as_str()))
            .collect();
        Ok(format!(
            "#!/bin/sh\n\
             # Runs this boot again in ./again, on a fresh copy of the disk where the original is still here.\n\
             # QMP speaks on standard output; the console is in again/{console}.\n\
             set -e\n\
             umask 077\n\
             cd \"$(dirname \"$0\")\"\n\
             rm -rf again\n\
             mkdir again\n\
             original={base}\n\
             [ -e \"$original\" ] || original={disk}\n\
             cp --sparse=always --reflink=auto \"$original\" again/{disk}\n\
             {variables}cp {inputs} again/\n\
             cd again\n\
             TMPDIR=. exec {command}\n",
            console = name::CONSOLE,
            base = name::BASE,
            inputs = inputs.join(" "),
        ))
    }
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }
}

/// What the command line lacks of the required and of the profile's arguments.
fn added_arguments(command_line: &str, profile: &[&str]) -> Vec<String> {
    let given: Vec<&str> = command_line.split_ascii_whitespace().collect();
    let key = |word: &str| word.split_once('=').map_or(word, |(key, _)| key).to_owned();
    let required = REQUIRED_ARGUMENTS
        .iter()
        .filter(|word| !given.contains(word));
    // A value that the boot entry chose is kept: it is part of what is tested.
    let chosen = profile
        .iter()
        .filter(|word| !given.iter().any(|other| key(other) == key(word)));
    required
        .chain(chosen)
        .map(|word| (*word).to_owned())
        .collect()
}

fn add_fw_cfg(
    boot: &Boot,
    arguments: &mut Arguments,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Error> {
    for (index, (name, bytes)) in boot.fw_cfg.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_graphic() && b != b',';
        if !name.starts_with("opt/") || name.len() > FW_CFG_NAME || !name.bytes().all(plain) {
            return Err(Error::Invalid {
                what: "fw_cfg name",
                value: name.clone(),
                rule: "needs to begin with opt/, in at most 55 graphic ASCII characters but the comma",
            });
        }
        if boot.fw_cfg[..index]
            .iter()
            .any(|(earlier, _)| earlier == name)
        {
            return Err(Error::Duplicate {
                what: "fw_cfg name",
                name: name.clone(),
            });
        }
        let file = format!("fw_cfg-{index}");
        arguments.add("-fw_cfg", format!("name={name},file={file}"));
        files.push((file, bytes.clone()));
    }
    Ok(())
}

fn credentials(boot: &Boot, host: &Host) -> Result<Vec<Vec<u8>>, Error> {
    let agent = agent::credentials(boot, &host.profile.limits);
    smbios::strings(agent, &boot.credentials)
}

fn add_strings(
    strings: Vec<Vec<u8>>,
    arguments: &mut Arguments,
    files: &mut Vec<(String, Vec<u8>)>,
) {
    for (index, string) in strings.into_iter().enumerate() {
        // From a file: whoever is on the host can read what is in an argument.
        let file = format!("smbios-{index}");
        arguments.add("-smbios", format!("type=11,path={file}"));
        files.push((file, string));
    }
}

/// The firmware's two flash memories, and the root disk as what it boots from.
fn add_firmware(root: &str, arguments: &mut Arguments) {
    arguments.add(
        "-drive",
        format!(
            "if=pflash,format=raw,unit=0,readonly=on,file={}",
            name::FIRMWARE
        ),
    );
    arguments.add(
        "-drive",
        format!("if=pflash,format=raw,unit=1,file={}", name::VARIABLES),
    );
    arguments.add("-device", format!("{root},bootindex=0"));
}

fn add_disks(
    boot: &Boot,
    arguments: &mut Arguments,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Error> {
    for (index, disk) in boot.disks.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let serial = &disk.serial;
        if serial.is_empty() || serial.len() > SERIAL || !serial.bytes().all(plain) {
            return Err(Error::Invalid {
                what: "disk serial",
                value: serial.clone(),
                rule: "is 1 to 20 ASCII letters, digits, hyphens, dots and underscores",
            });
        }
        let earlier = boot.disks[..index].iter().map(|disk| disk.serial.as_str());
        if earlier
            .chain(["root", PAYLOAD_SERIAL])
            .any(|earlier| earlier == serial)
        {
            return Err(Error::Duplicate {
                what: "disk serial",
                name: serial.clone(),
            });
        }
        // QEMU refuses part of a sector.
        let mut bytes = disk.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        let file = format!("disk-{index}.img");
        arguments.add(
            "-drive",
            format!("file={file},if=none,id=disk-{index},format=raw,readonly=on"),
        );
        arguments.add(
            "-device",
            format!("virtio-blk-pci,drive=disk-{index},serial={serial}"),
        );
        files.push((file, bytes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{Credential, ExtraDisk, Payload, Shutdown};
    use crate::host::{Accelerator, Kvm, QemuVersion};

    fn host(major: u16, accelerator: Accelerator) -> Host {
        let version = QemuVersion {
            major,
            minor: 0,
            micro: 0,
        };
        Host::new("qemu-system-x86_64", version, Kvm::NotTried, accelerator)
    }

    fn sample() -> Boot {
        let mut boot = Boot::new("root=/dev/vda rw quiet", Payload::command(["true"]));
        boot.uuid = Some("11111111-2222-4333-8444-555555555555".parse().unwrap());
        boot.fw_cfg
            .push(("opt/com.coreos/config".to_owned(), b"{}".to_vec()));
        boot.credentials.push(Credential::new("site.key", "secret"));
        boot.disks.push(ExtraDisk::new("seed", "four"));
        boot
    }

    /// One option a line.
    fn show(plan: &Plan) -> String {
        let mut text = String::new();
        for argument in &plan.arguments {
            text.push(if argument.starts_with('-') { '\n' } else { ' ' });
            text.push_str(argument);
        }
        text.trim_start().to_owned()
    }

    /// What firmware is started with, beside what a kernel is: line by line.
    #[test]
    fn firmware_in_place_of_a_kernel() {
        let mut boot = sample();
        boot.recovery = Recovery::Own;
        let host = host(7, Accelerator::Tcg);
        let lines = |start| {
            let plan = Plan::new(&boot, &host, start).unwrap();
            let shown: Vec<_> = show(&plan).lines().map(str::to_owned).collect();
            (plan, shown)
        };
        let ((_, kernel), (plan, firmware)) = (lines(Start::Kernel), lines(Start::Firmware));
        let only = |one: &[String], other: &[String]| {
            let lines = one.iter().filter(|line| !other.contains(line));
            lines
                .map(|line| line.chars().take(100).collect::<String>() + "\n")
                .collect::<String>()
        };
        insta::assert_snapshot!(only(&firmware, &kernel), @"
        -drive if=pflash,format=raw,unit=0,readonly=on,file=firmware.fd
        -drive if=pflash,format=raw,unit=1,file=variables.fd
        -device virtio-blk-pci,drive=root,serial=root,bootindex=0
        -smbios type=11,path=smbios-4
        ");
        insta::assert_snapshot!(only(&kernel, &firmware), @"
        -device virtio-blk-pci,drive=root,serial=root
        -kernel kernel
        -initrd initrd
        -append root=/dev/vda rw quiet console=ttyS0 loglevel=7 systemd.show_status=yes panic=-1 lsm=landloc
        ");
        let (_, last) = plan
            .files
            .iter()
            .rfind(|(name, _)| name == "smbios-4")
            .unwrap();
        let expect = format!("io.systemd.boot.kernel-cmdline-extra={}", plan.command_line);
        assert_eq!(String::from_utf8_lossy(last), expect);
        let repro = plan.repro().unwrap();
        assert!(
            repro.contains("cp variables-base.fd again/variables.fd\ncp firmware.fd payload.img"),
            "{repro}"
        );
    }

    #[test]
    fn command_under_qemu_7_tcg() {
        let plan = Plan::new(&sample(), &host(7, Accelerator::Tcg), Start::Kernel).unwrap();
        insta::assert_snapshot!(show(&plan), @"
        -accel tcg,thread=single
        -machine q35,sata=off,usb=off,smbus=off,vmport=off,hpet=off
        -cpu qemu64,-cx16,-svm,+rdrand
        -smp 1
        -m 1024
        -nodefaults
        -no-user-config
        -no-reboot
        -display none
        -qmp stdio
        -uuid 11111111-2222-4333-8444-555555555555
        -chardev file,id=console,path=console.log
        -serial chardev:console
        -drive file=disk.img,if=none,id=root,format=raw,snapshot=off,cache=unsafe,aio=threads,discard=unmap
        -device virtio-blk-pci,drive=root,serial=root
        -drive file=payload.img,if=none,id=payload,format=raw,readonly=on
        -device virtio-blk-pci,drive=payload,serial=pleach-payload
        -device virtio-rng-pci
        -device virtio-serial-pci
        -chardev file,id=progress,path=progress.log
        -device virtserialport,chardev=progress,name=pleach.progress
        -chardev file,id=result,path=result.frame
        -device virtserialport,chardev=result,name=pleach.result
        -drive file=disk-0.img,if=none,id=disk-0,format=raw,readonly=on
        -device virtio-blk-pci,drive=disk-0,serial=seed
        -fw_cfg name=opt/com.coreos/config,file=fw_cfg-0
        -smbios type=11,path=smbios-0
        -smbios type=11,path=smbios-1
        -smbios type=11,path=smbios-2
        -smbios type=11,path=smbios-3
        -smbios type=11,path=smbios-4
        -smbios type=11,path=smbios-5
        -smbios type=11,path=smbios-6
        -kernel kernel
        -initrd initrd
        -append root=/dev/vda rw quiet console=ttyS0 loglevel=7 systemd.show_status=yes panic=-1 lsm=landlock,lockdown,yama,loadpin,safesetid,integrity,apparmor,selinux,smack,tomoyo,ipe clocksource=acpi_pm tsc=reliable no_timer_check random.trust_cpu=on mitigations=off nokaslr init_on_alloc=0 audit=0 rcupdate.rcu_expedited=1 8250.nr_uarts=1 systemd.ssh_auto=no module_blacklist=powernow_k8 systemd.tty.term.console=dumb systemd.tty.term.ttyS0=dumb
        ");
        let named = |prefix: &str| {
            let files = plan.files.iter();
            let files = files.filter(|(name, _)| name.starts_with(prefix));
            let text = files.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
            text.collect::<Vec<_>>()
        };
        let names: Vec<_> = plan.files[..3].iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["payload.img", "disk-0.img", "fw_cfg-0"]);
        let key = "io.systemd.credential.binary:site.key=c2VjcmV0";
        assert_eq!(named("smbios-").last().map(String::as_str), Some(key));
        assert_eq!(named("disk-0.img"), [format!("four{}", "\0".repeat(508))]);
        assert_eq!((plan.cpus, plan.memory_mib), (1, 1536));
        assert_eq!(
            plan,
            Plan::new(&sample(), &host(7, Accelerator::Tcg), Start::Kernel).unwrap(),
            "deterministic"
        );
    }

    #[test]
    fn debug_shows_no_content() {
        const MARKER: &str = "hunter2 hunter2 hunter2";
        let mut boot = sample();
        boot.payload = boot.payload.file("key", MARKER, 0o600);
        boot.fw_cfg[0].1 = MARKER.into();
        boot.credentials[0].value = MARKER.into();
        boot.disks[0].bytes = MARKER.into();
        let plan = Plan::new(&boot, &host(7, Accelerator::Tcg), Start::Kernel).unwrap();
        let check = |text: String, size: &str| {
            for (form, secret) in [
                ("text", MARKER.to_owned()),
                ("base64", smbios::base64(MARKER.as_bytes())),
                ("numbers", format!("{:?}", MARKER.as_bytes())),
            ] {
                // Without white space, so that `{:#?}` hides nothing from the test.
                let flat = |text: &str| text.split_whitespace().collect::<String>();
                let found = flat(&text).replace(",]", "]").contains(&flat(&secret));
                assert!(!found, "the secret as {form} is in:\n{text}");
            }
            assert!(text.contains(size), "{size} is not in:\n{text}");
        };
        for (text, size) in [
            (format!("{:?}", boot.credentials[0]), "value: (23 bytes)"),
            (format!("{:?}", boot.payload.files[0]), "bytes: (23 bytes)"),
            (
                format!("{boot:?}"),
                "(\"opt/com.coreos/config\", (23 bytes))",
            ),
            (format!("{boot:#?}"), "(23 bytes)"),
            (format!("{plan:?}"), "(\"fw_cfg-0\", (23 bytes))"),
            (format!("{plan:?}"), "(\"smbios-6\", (70 bytes))"),
            (format!("{:?}", boot.disks[0]), "bytes: (23 bytes)"),
            (format!("{plan:#?}"), "(23 bytes)"),
        ] {
            check(text, size);
        }
    }

    #[test]
    fn profile_and_options_change_only_their_words() {
        let check = |change: &dyn Fn(&mut Boot), host: &Host, expect: &[&str]| {
            let mut boot = sample();
            change(&mut boot);
            let text = show(&Plan::new(&boot, host, Start::Kernel).unwrap());
            for words in expect {
                assert!(text.contains(words), "{words} is not in:\n{text}");
            }
        };
        check(
            &|_| (),
            &host(7, Accelerator::Kvm),
            &[
                "-accel kvm\n",
                "-cpu host\n",
                "-smp 2\n",
                "-append root=/dev/vda rw quiet console=ttyS0 loglevel=7 systemd.show_status=yes panic=-1",
            ],
        );
        check(
            &|_| (),
            &host(10, Accelerator::Tcg),
            &["-accel tcg\n", "-cpu qemu64\n", "-smp 1\n"],
        );
        check(
            &|b| b.smp = Some(4),
            &host(10, Accelerator::Tcg),
            &["-smp 4\n"],
        );
        check(
            &|b| b.memory_mib = 512,
            &host(10, Accelerator::Tcg),
            &["-m 512\n"],
        );
        check(
            &|b| b.disk = DiskMode::Snapshot,
            &host(10, Accelerator::Tcg),
            &["file=base.img,if=none,id=root,format=raw,snapshot=on"],
        );
        check(
            &|b| {
                b.display = Some(Display {
                    width: 640,
                    height: 480,
                })
            },
            &host(10, Accelerator::Tcg),
            &["-device virtio-gpu-pci,xres=640,yres=480\n"],
        );
        let force = agent::credentials(
            &Boot {
                shutdown: Shutdown::Forced,
                ..sample()
            },
            &host(7, Accelerator::Tcg).profile.limits,
        );
        let unit = String::from_utf8(force[1].value.clone()).unwrap();
        assert!(unit.contains("SuccessAction=poweroff-force\n"), "{unit}");
        // A screen that nobody keeps is not waited for.
        let script = String::from_utf8(force[0].value.clone()).unwrap();
        assert!(script.contains(" screen_seconds=0\n"), "{script}");
    }

    #[test]
    fn kernel_arguments_of_the_entry_win() {
        let check = |line: &str, profile: &[&str], expect: &str| {
            assert_eq!(added_arguments(line, profile).join(" "), expect, "{line}");
        };
        let required = REQUIRED_ARGUMENTS.join(" ");
        check(
            "",
            &["audit=0", "nokaslr"],
            &format!("{required} audit=0 nokaslr"),
        );
        check(
            &format!("{required} audit=1 nokaslr"),
            &["audit=0", "nokaslr"],
            "",
        );
        // Another console does not replace the one that is listened to, and what comes last counts.
        check("console=tty0", &[], &required);
        check("quiet panic=10 loglevel=3", &[], &required);
    }

    #[test]
    fn what_qemu_or_the_guest_would_misread_is_refused() {
        let check = |change: &dyn Fn(&mut Boot), expect: &str| {
            let mut boot = sample();
            change(&mut boot);
            let error = Plan::new(&boot, &host(7, Accelerator::Tcg), Start::Kernel)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(expect), "{error}, not {expect}");
        };
        let rule = "is a file name of graphic ASCII without / : = and comma";
        check(
            &|b| b.credentials[0].name = "a/b".into(),
            &format!("credential name \"a/b\": {rule}"),
        );
        check(
            &|b| b.credentials[0].name = "a,b".into(),
            &format!("credential name \"a,b\": {rule}"),
        );
        check(
            &|b| b.credentials[0].name = String::new(),
            &format!("credential name \"\": {rule}"),
        );
        check(
            &|b| b.credentials[0] = Credential::unit("pleach-agent.service", ""),
            "credential \"systemd.extra-unit.pleach-agent.service\" is given twice or is one the agent uses",
        );
        check(
            &|b| b.disks[0].serial = "a b".into(),
            "disk serial \"a b\": is 1 to 20 ASCII letters, digits, hyphens, dots and underscores",
        );
        check(
            &|b| b.disks[0].serial = "root".into(),
            "disk serial \"root\" is given twice or is one the agent uses",
        );
        check(
            &|b| b.credentials[0].value = vec![0; 60_000],
            "bytes of credentials in SMBIOS: ",
        );
        check(
            &|b| b.fw_cfg.push(("opt/com.coreos/config".into(), vec![])),
            "fw_cfg name \"opt/com.coreos/config\" is given twice or is one the agent uses",
        );
        check(
            &|b| b.fw_cfg[0].0 = "etc/x".into(),
            "fw_cfg name \"etc/x\": needs to begin with opt/, in at most 55 graphic ASCII characters but the comma",
        );
        check(
            &|b| b.command_line = "a\nb".into(),
            "kernel command line \"a\\nb\": is one line",
        );
    }
}
