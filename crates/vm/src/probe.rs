//! Finds out, by running guest code, what can run guest code here.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use cap_std_ext::cmdext::CapStdExtCommandExt;

use crate::Error;
use crate::error::io_error;
use crate::host::{Accelerator, Host, Kvm, QemuVersion};

const IMAGE: &str = "probe.img";
const OUTPUT: &str = "probe.out";
const POLL: Duration = Duration::from_millis(20);

/// Written by the boot sector to the exit device, which ends QEMU with `2 * value + 1`.
const TOKEN: u8 = 0x21;
const EXIT_STATUS: i32 = 2 * TOKEN as i32 + 1;

/// Which accelerator is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// KVM where it runs guest code, else TCG.
    Auto,
    /// KVM or an error.
    Kvm,
    /// TCG; KVM is not even tried.
    Tcg,
}

/// What to probe.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// A name that is looked for in `PATH`, or an absolute path: QEMU runs in another directory.
    pub qemu: String,
    /// Which accelerator is wanted.
    pub wanted: Wanted,
    /// How long the boot sector may take, which is a fraction of a second where it runs at all.
    pub patience: Duration,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            qemu: "qemu-system-x86_64".to_owned(),
            wanted: Wanted::Auto,
            patience: Duration::from_secs(5),
        }
    }
}

/// Runs QEMU with a boot sector under each accelerator that is asked for.
///
/// The device node of KVM says nothing: it can be there, and open, on machines where guest code never
/// runs. `dir` gets two small files, and is QEMU's working directory.
///
/// # Errors
/// [`Error::Spawn`] without QEMU, [`Error::KvmRequired`] and [`Error::NoAccelerator`] where no guest code
/// runs.
pub fn probe(dir: &Dir, options: &ProbeOptions) -> Result<Host, Error> {
    let version = version(dir, options)?;
    dir.write(IMAGE, boot_sector())
        .map_err(io_error("write", IMAGE))?;
    let kvm = match options.wanted {
        Wanted::Tcg => Kvm::NotTried,
        Wanted::Auto | Wanted::Kvm => try_accelerator(dir, options, "kvm")?,
    };
    let accelerator = match (&kvm, options.wanted) {
        (Kvm::Runs, _) => Accelerator::Kvm,
        (_, Wanted::Kvm) => return Err(Error::KvmRequired { kvm }),
        _ => match try_accelerator(dir, options, "tcg")? {
            Kvm::Runs => Accelerator::Tcg,
            failed => {
                let detail = failed.to_string();
                return Err(Error::NoAccelerator {
                    program: options.qemu.clone(),
                    detail,
                });
            }
        },
    };
    Ok(Host::new(&options.qemu, version, kvm, accelerator))
}

fn version(dir: &Dir, options: &ProbeOptions) -> Result<QemuVersion, Error> {
    let output = run(dir, options, &["-version"])?.1;
    QemuVersion::parse(&output).ok_or_else(|| Error::Version {
        program: options.qemu.clone(),
        output: output.lines().next().unwrap_or("").to_owned(),
    })
}

fn try_accelerator(dir: &Dir, options: &ProbeOptions, accelerator: &str) -> Result<Kvm, Error> {
    let drive = format!("file={IMAGE},format=raw,if=ide,snapshot=on");
    let exit = "isa-debug-exit,iobase=0xf4,iosize=4";
    let arguments = [
        "-accel",
        accelerator,
        "-m",
        "16",
        "-nodefaults",
        "-display",
        "none",
        "-drive",
        &drive,
        "-device",
        exit,
    ];
    Ok(match run(dir, options, &arguments)? {
        (None, _) => Kvm::Hangs {
            after: options.patience,
        },
        (Some(status), _) if status.code() == Some(EXIT_STATUS) => Kvm::Runs,
        (Some(status), output) => Kvm::Fails {
            detail: format!("{status}, {}", output.trim()),
        },
    })
}

/// Runs QEMU for no longer than the patience; no status means it was killed.
fn run(
    dir: &Dir,
    options: &ProbeOptions,
    arguments: &[&str],
) -> Result<(Option<ExitStatus>, String), Error> {
    let output = dir
        .create(OUTPUT)
        .map_err(io_error("create", OUTPUT))?
        .into_std();
    let errors = output.try_clone().map_err(io_error("clone", OUTPUT))?;
    let working = dir.try_clone().map_err(io_error("clone", "."))?;
    let mut command = Command::new(&options.qemu);
    command
        .args(arguments)
        .env("TMPDIR", ".")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .cwd_dir(working)
        .lifecycle_bind_to_parent_thread();
    let mut child = command.spawn().map_err(|source| Error::Spawn {
        program: options.qemu.clone(),
        source,
    })?;
    let status = wait(&mut child, options.patience).map_err(io_error("wait for", &options.qemu))?;
    let output = dir.read(OUTPUT).map_err(io_error("read", OUTPUT))?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}

fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Real-mode code at 0x7c00 that writes the token to port 0xf4 and halts.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    let code = [
        0xba, 0xf4, 0x00, // mov dx, 0xf4
        0xb0, TOKEN, // mov al, TOKEN
        0xee,  // out dx, al
        0xf4,  // hlt
        0xeb, 0xfd, // jmp to hlt
    ];
    sector[..code.len()].copy_from_slice(&code);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
