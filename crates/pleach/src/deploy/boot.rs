//! A disk is booted and its state captured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::image::{make, open_dir};
use crate::files::split;
use crate::first_boot::{FirstBoot, Reboot, WAIT};
use anyhow::{Context as _, Result, anyhow, bail};
use cap_std::fs::Dir;
use clap::{Args, ValueEnum};
use pleach_booted_state::Snapshot;
use pleach_deployment::disk;
use pleach_vm::{
    Boot, Display, GuestFailure, Host, Input, Loads, Media, Outcome, Payload, Permits,
    ProbeOptions, Recovery, RunOptions, Shutdown, Uuid, Wanted,
};

/// All machines that are compared are the same machine.
const MACHINE: &str = "11111111-2222-4333-8444-555555555555";

/// The longest that one machine waits for others.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The largest kernel or initramfs that is read from a disk, in bytes.
const MAX_BOOT_FILE: u64 = 512 << 20;

/// OVMF, as Debian names its files.
const CODE: &str = "OVMF_CODE_4M.fd";
const VARIABLES: &str = "OVMF_VARS_4M.fd";

/// The most boots of a machine that helps itself.
const RESTARTS: usize = 8;

const SNAPSHOT: &str = "snapshot.json";

/// Where the check's output and exit code come back.
const CHECK_OUTPUT: &str = "check.txt";
const CHECK_EXIT: &str = "check.exit";

/// The screen of `--screen`: small, as every pixel of it is drawn by an emulated processor.
const SCREEN: Display = Display {
    width: 640,
    height: 480,
};

/// How to boot.
#[derive(Args, Clone)]
pub(crate) struct BootOptions {
    /// The capture agent for the guest, a static binary [default: pleach-capture beside pleach]
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
    /// What runs the guest's code.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: Accel,
    /// A script that runs in the guest, as root, once the state is captured. It says by its exit
    /// code whether the machine does what it is for.
    #[arg(long, value_name = "FILE")]
    pub(crate) check: Option<PathBuf>,
    /// Give the machine a display and keep its picture, taken after the check, as screen.ppm.
    #[arg(long)]
    pub(crate) screen: bool,
    /// Shut the machine down as an administrator does, with all that runs then; some seconds more.
    #[arg(long)]
    pub(crate) orderly: bool,
}

/// What runs the guest's code.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Accel {
    /// KVM where a probe finds that it works, else TCG.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

/// What this host can boot, and with what.
pub(crate) struct Machines {
    pub(crate) host: Host,
    permits: Permits,
    proc: Dir,
    agent: Vec<u8>,
    check: Option<Vec<u8>>,
    screen: bool,
    orderly: bool,
}

/// What came of a boot.
pub(crate) struct Booted {
    pub(crate) snapshot: Snapshot,
    /// Times, reboots and retries, for people.
    pub(crate) account: String,
    /// Kernel arguments that the machine added to those of the boot entry.
    pub(crate) added: String,
    /// Whether infrastructure failed once.
    pub(crate) flaky: bool,
    /// What the check said, if there was one.
    pub(crate) check: Option<Checked>,
    /// The disk as the machine left it.
    pub(crate) disk: PathBuf,
}

/// What came of a check in the guest.
pub(crate) struct Checked {
    /// 0: all is as it should be.
    pub(crate) exit: u8,
    /// What it printed.
    pub(crate) output: String,
}

impl Checked {
    fn read(files: &Files) -> Result<Self> {
        let text = |name: &str| {
            let bytes = files.get(name.as_bytes());
            let bytes = bytes.with_context(|| format!("the check left no {name}"))?;
            anyhow::Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        let exit = text(CHECK_EXIT)?;
        Ok(Self {
            exit: exit.trim().parse().context("the check's exit code")?,
            output: text(CHECK_OUTPUT)?,
        })
    }
}

type Files = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

impl Machines {
    /// Finds out what runs here, before anything is written elsewhere.
    pub(crate) fn find(options: &BootOptions) -> Result<Self> {
        let agent = agent(options.agent.as_deref())?;
        let check = match &options.check {
            Some(path) => Some(
                std::fs::read(path)
                    .with_context(|| format!("reading the check {}", path.display()))?,
            ),
            None => None,
        };
        let probe = ProbeOptions {
            wanted: match options.accel {
                Accel::Auto => Wanted::Auto,
                Accel::Kvm => Wanted::Kvm,
                Accel::Tcg => Wanted::Tcg,
            },
            ..ProbeOptions::default()
        };
        let pool = pool()?;
        let scratch = format!("probe-{}", std::process::id());
        pool.create_dir(&scratch)?;
        let host = pleach_vm::probe(&pool.open_dir(&scratch)?, &probe);
        pool.remove_dir_all(&scratch)?;
        let host = host?;
        let proc = open_dir(Path::new("/proc"))?;
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = memory_mib(&proc)? / 4 * 3;
        let permits = Permits::new(
            pool,
            u32::try_from(cpus).unwrap_or(u32::MAX),
            memory,
            PATIENCE,
        );
        Ok(Self {
            host,
            permits,
            proc,
            agent,
            check,
            screen: options.screen,
            orderly: options.orderly,
        })
    }

    /// Boots a disk image by its first boot entry and captures the booted state. What is left of
    /// the boot stays in `run`, which must not exist; the image itself is not written to.
    pub(crate) fn capture(&self, image: &Path, first: &FirstBoot, run: &Path) -> Result<Booted> {
        let mut image = image.to_owned();
        let mut account = String::new();
        let boots = match first.reboot {
            _ if first.restarts => RESTARTS,
            Reboot::Never => 1,
            Reboot::Early | Reboot::Late => 2,
        };
        for number in 0..boots {
            let run = run.join(format!("boot-{}", number + 1));
            let report = self.boot(&image, first, number, &run)?;
            account.push_str(&format!("{}\n", report.attempt));
            let added = report.added_arguments.join(" ");
            let attempt = run.join(&report.attempt.directory);
            match report.attempt.outcome {
                Outcome::Finished(finished) => {
                    let json = finished.files.get(SNAPSHOT.as_bytes()).with_context(|| {
                        format!("the agent left no {SNAPSHOT}; see {}", attempt.display())
                    })?;
                    let snapshot = Snapshot::from_json(json)
                        .with_context(|| format!("reading the capture in {}", attempt.display()))?;
                    let check = match &self.check {
                        Some(_) => Some(Checked::read(&finished.files)?),
                        None => None,
                    };
                    if number > 0 {
                        forget(&image, &attempt)?;
                    }
                    return Ok(Booted {
                        snapshot,
                        account,
                        added,
                        flaky: report.flaky.is_some(),
                        check,
                        disk: attempt.join("disk.img"),
                    });
                }
                // The next boot is by what it left, such as another boot entry.
                Outcome::Rebooted => {
                    if number > 0 {
                        forget(&image, &attempt)?;
                    }
                    image = attempt.join("disk.img");
                }
                outcome => return Err(failure(&outcome, &attempt)),
            }
        }
        bail!(
            "it rebooted {boots} times, {} would be right; see {}",
            boots - 1,
            run.display()
        )
    }

    fn boot(
        &self,
        image: &Path,
        first: &FirstBoot,
        number: usize,
        run: &Path,
    ) -> Result<pleach_vm::Report> {
        let (folder, name) = split(image)?;
        let files = make(&run.join("entry"))?;
        let firmware = first.firmware.as_deref().map(firmware).transpose()?;
        let (loads, mut command_line) = match &firmware {
            Some(folder) => {
                let loads = Loads::Firmware {
                    code: Input::new(folder, CODE),
                    variables: Input::new(folder, VARIABLES),
                };
                (loads, String::new())
            }
            None => {
                let options = extract((&folder, &name), &files)
                    .with_context(|| format!("reading what boots {}", image.display()))?;
                let loads = Loads::Kernel {
                    kernel: Input::new(&files, "kernel"),
                    initrd: Input::new(&files, "initrd"),
                };
                (loads, options)
            }
        };
        for argument in &first.kernel_arguments {
            command_line.push(' ');
            command_line.push_str(argument);
        }
        let mut command = match first.waits(number) {
            true => WAIT.to_owned(),
            false => format!("./pleach-capture \"$PLEACH_RESULT_DIR/{SNAPSHOT}\""),
        };
        if self.check.is_some() && !first.waits(number) {
            command.push_str(&format!(
                " || exit; ./pleach-check >\"$PLEACH_RESULT_DIR/{CHECK_OUTPUT}\" 2>&1; \
                 echo $? >\"$PLEACH_RESULT_DIR/{CHECK_EXIT}\""
            ));
        }
        let mut payload = Payload::command(["/bin/sh", "-c", &command]).file(
            "pleach-capture",
            self.agent.clone(),
            0o755,
        );
        if let Some(check) = &self.check {
            payload = payload.file("pleach-check", check.clone(), 0o755);
        }
        let mut boot = Boot::new(command_line, payload);
        boot.uuid = Some(MACHINE.parse::<Uuid>()?);
        boot.fw_cfg = first.fw_cfg.clone();
        boot.credentials = first.credentials.clone();
        boot.disks = first.disks.clone();
        // A machine that restarts may do so while the agent waits, which then must not power it off.
        boot.shutdown = match first.waits(number) || first.restarts {
            true => Shutdown::Awaited,
            false if self.orderly => Shutdown::Orderly,
            false => Shutdown::Forced,
        };
        if first.restarts {
            boot.recovery = Recovery::Own;
        }
        boot.display = self.screen.then_some(SCREEN);
        let media = Media {
            disk: Input::new(&folder, &name),
            loads,
        };
        let options = RunOptions {
            permits: Some(&self.permits),
            proc: Some(&self.proc),
            ..RunOptions::default()
        };
        Ok(pleach_vm::boot(
            &boot,
            &media,
            &open_dir(run)?,
            &self.host,
            &options,
        )?)
    }
}

/// Removes a disk that a boot left and the next one has come from, in which it has a name too.
pub(crate) fn forget(disk: &Path, attempt: &Path) -> Result<()> {
    std::fs::remove_file(disk).with_context(|| format!("removing {}", disk.display()))?;
    match std::fs::remove_file(attempt.join("base.img")) {
        // There is no other name on another file system.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The first boot entry's kernel and initramfs, out of an image into files; its options are returned.
fn extract(image: (&Dir, &Path), files: &Dir) -> Result<String> {
    let entry = disk::boot_entries(image)?;
    let entry = entry.first().context("there is no boot entry")?;
    let part = |path: Option<&String>, to: &str| -> Result<()> {
        let path = path.with_context(|| format!("a boot entry without a {to}"))?;
        // Paths of a boot entry are relative to the file system that /boot is on, which may have a link
        // /boot to itself.
        let path = path.trim_start_matches('/');
        let path = Path::new("/boot").join(path.strip_prefix("boot/").unwrap_or(path));
        files.write(to, disk::read_file(image, &path, MAX_BOOT_FILE)?)?;
        Ok(())
    };
    part(entry.linux.as_ref(), "kernel")?;
    part(entry.initrd.first(), "initrd")?;
    Ok(entry.options.to_string())
}

/// The folder of the firmware, if it is all there.
fn firmware(folder: &Path) -> Result<Dir> {
    for name in [CODE, VARIABLES] {
        let path = folder.join(name);
        anyhow::ensure!(
            path.is_file(),
            "no firmware {} (Debian package ovmf)",
            path.display()
        );
    }
    open_dir(folder)
}

/// The folder whose locks share the machine among all who boot something: the user's own.
fn pool() -> Result<Dir> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let user = rustix::process::geteuid().as_raw();
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("pleach-vm"),
        None => std::env::temp_dir().join(format!("pleach-vm-{user}")),
    };
    let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("creating {}", path.display()));
        }
        _ => {}
    }
    // In a folder that everybody writes to, somebody else may have been first.
    let found = std::fs::symlink_metadata(&path)?;
    if !found.is_dir() || found.uid() != user {
        bail!(
            "{} is not a folder of this user's; remove it",
            path.display()
        );
    }
    open_dir(&path)
}

/// Says what failed, where it was kept, and how the console and the journal ended.
fn failure(outcome: &Outcome, attempt: &Path) -> anyhow::Error {
    let tail = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n    ")
    };
    let mut text = format!("{outcome}\n  kept in {}", attempt.display());
    if let Ok(console) = std::fs::read(attempt.join("console.log")) {
        text.push_str(&format!("\n  the console's end:\n    {}", tail(&console)));
    }
    if let Outcome::Guest(
        GuestFailure::Exit(left)
        | GuestFailure::Agent { left, .. }
        | GuestFailure::Emergency { left, .. },
    ) = outcome
    {
        text.push_str(&format!("\n  the agent said:\n    {}", tail(&left.stderr)));
        text.push_str(&format!(
            "\n  the journal's end:\n    {}",
            tail(&left.journal)
        ));
    }
    anyhow!(text)
}

fn agent(path: Option<&Path>) -> Result<Vec<u8>> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("pleach-capture"),
    };
    std::fs::read(&path).with_context(|| {
        format!(
            "reading the capture agent {}; name it with --agent (it is the binary of pleach-booted-state, built static)",
            path.display()
        )
    })
}

fn memory_mib(proc: &Dir) -> Result<u64> {
    let text = proc
        .read_to_string("meminfo")
        .context("reading /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("/proc/meminfo has no MemTotal")? / 1024)
}
