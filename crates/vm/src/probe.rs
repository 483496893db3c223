//! Finds out, by running guest code, what can run guest code here.

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use cap_std_ext::cmdext::CapStdExtCommandExt;

use crate::Error;
use crate::error::io_error;
use crate::host::{Accelerator, Host, Kvm, Profile, QemuVersion};
use crate::private;

const IMAGE: &str = "probe.img";
const OUTPUT: &str = "probe.out";
const POLL: Duration = Duration::from_millis(20);

/// The boot sector writes 0x21 to the exit device, which ends QEMU with `2 * value + 1`.
const EXIT_STATUS: i32 = 0x43;
/// How QEMU says that KVM gave up; it then waits, for ever, to be asked about it.
const KVM_ERROR: &str = "KVM internal error";

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
/// runs, or where real-mode code runs and a kernel does not. So the boot sector goes into long mode and
/// there through an instruction that kernels use. `dir` gets two small files, and is QEMU's working
/// directory.
///
/// # Errors
/// [`Error::Spawn`] without QEMU, [`Error::KvmRequired`] and [`Error::NoAccelerator`] where no guest code
/// runs.
pub fn probe(dir: &Dir, options: &ProbeOptions) -> Result<Host, Error> {
    let version = version(dir, options)?;
    private::create_or_empty(dir, IMAGE.as_ref())
        .and_then(|mut file| file.write_all(&boot_sector()))
        .map_err(io_error("write", IMAGE))?;
    let attempt =
        |accelerator| try_accelerator(dir, options, &Profile::choose(version, accelerator));
    let kvm = match options.wanted {
        Wanted::Tcg => Kvm::NotTried,
        Wanted::Auto | Wanted::Kvm => attempt(Accelerator::Kvm)?,
    };
    let accelerator = match (&kvm, options.wanted) {
        (Kvm::Runs, _) => Accelerator::Kvm,
        (_, Wanted::Kvm) => return Err(Error::KvmRequired { kvm }),
        _ => match attempt(Accelerator::Tcg)? {
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

fn try_accelerator(dir: &Dir, options: &ProbeOptions, profile: &Profile) -> Result<Kvm, Error> {
    let drive = format!("file={IMAGE},format=raw,if=ide,snapshot=on");
    let exit = "isa-debug-exit,iobase=0xf4,iosize=4";
    let arguments = [
        "-accel",
        profile.accel,
        "-cpu",
        profile.cpu,
        "-m",
        "16",
        "-nodefaults",
        "-no-reboot",
        "-display",
        "none",
        "-drive",
        &drive,
        "-device",
        exit,
    ];
    Ok(match run(dir, options, &arguments)? {
        (None, output) if output.contains(KVM_ERROR) => Kvm::Fails {
            detail: output.lines().next().unwrap_or("").to_owned(),
        },
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
    let output = private::create_or_empty(dir, OUTPUT.as_ref())
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
    let child = command.spawn().map_err(|source| Error::Spawn {
        program: options.qemu.clone(),
        source,
    })?;
    let mut running = Running(child);
    let start = Instant::now();
    loop {
        let status = running
            .0
            .try_wait()
            .map_err(io_error("wait for", &options.qemu))?;
        let output = dir.read(OUTPUT).map_err(io_error("read", OUTPUT))?;
        let output = String::from_utf8_lossy(&output).into_owned();
        let give_up = start.elapsed() >= options.patience || output.contains(KVM_ERROR);
        if status.is_some() || give_up {
            return Ok((status, output));
        }
        std::thread::sleep(POLL);
    }
}

/// Ends QEMU when nobody waits for it any longer.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _killed = self.0.kill();
            let _status = self.0.wait();
        }
    }
}

/// What `boot_sector.s` assembles to, without the zeros and the signature at the end.
#[rustfmt::skip]
const CODE: [u8; 164] = [
    0xfa, 0x66, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00,
    0x7c, 0x66, 0xbf, 0x00, 0x90, 0x00, 0x00, 0xb9, 0x00, 0x0c, 0xfc, 0x66,
    0xf3, 0xab, 0xc7, 0x06, 0x00, 0x90, 0x03, 0xa0, 0xc7, 0x06, 0x00, 0xa0,
    0x03, 0xb0, 0xc7, 0x06, 0x00, 0xb0, 0x83, 0x00, 0x66, 0xb8, 0x00, 0x90,
    0x00, 0x00, 0x0f, 0x22, 0xd8, 0x66, 0xb8, 0x20, 0x02, 0x00, 0x00, 0x0f,
    0x22, 0xe0, 0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x66, 0xb8, 0x00, 0x01,
    0x00, 0x00, 0x66, 0x31, 0xd2, 0x0f, 0x30, 0x0f, 0x01, 0x16, 0xa0, 0x7c,
    0x66, 0xb8, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, 0xea, 0x62, 0x7c,
    0x08, 0x00, 0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x31, 0xc0, 0x0f, 0xa2, 0x83,
    0xf8, 0x07, 0x72, 0x14, 0xb8, 0x07, 0x00, 0x00, 0x00, 0x31, 0xc9, 0x0f,
    0xa2, 0x0f, 0xba, 0xe3, 0x08, 0x73, 0x05, 0xc4, 0x42, 0x69, 0xf7, 0xc0,
    0x66, 0xba, 0xf4, 0x00, 0xb0, 0x21, 0xee, 0xf4, 0xeb, 0xfd, 0x66, 0x90,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x9a, 0x20, 0x00, 0x0f, 0x00, 0x90, 0x7c,
];

fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)] // runs the assembler in a temporary folder
    use super::*;

    /// `as` and `ld` come with the linker that Rust itself needs here.
    #[test]
    fn bytes_are_what_the_source_says() {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/boot_sector.s");
        let run = |program: &str, arguments: &[&str]| {
            let status = Command::new(program)
                .args(arguments)
                .current_dir(folder.path())
                .status();
            assert!(status.unwrap().success(), "{program} {arguments:?}");
        };
        run("as", &["--64", "-o", "sector.o", source]);
        run(
            "ld",
            &[
                "-Ttext=0x7c00",
                "--oformat=binary",
                "-o",
                "sector",
                "sector.o",
            ],
        );
        let assembled = std::fs::read(folder.path().join("sector")).unwrap();
        assert_eq!(assembled, boot_sector());
    }
}
