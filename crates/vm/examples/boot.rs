//! Boots a disk and runs a command in it:
//!
//! `boot MEDIA RUN [--accel auto|kvm|tcg] [--snapshot] [--forced] [--memory MIB] [--karg WORD]…
//! [--unit NAME=FILE]… [--dropin UNIT=FILE]… [--fw-cfg NAME=FILE]… COMMAND…`
//!
//! MEDIA holds `disk.img`, `vmlinuz`, `initrd` and `cmdline`; RUN is an empty folder on the same file
//! system. Exits with the command's code, 64 when the machine gave none.

#![allow(clippy::disallowed_methods, clippy::print_stdout)] // a program: opens paths and prints

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_vm::{
    Boot, Credential, DiskMode, GuestFailure, Input, Loads, Media, Outcome, Payload, ProbeOptions,
    RunOptions, Shutdown, Wanted, probe,
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args().skip(1).peekable();
    let mut next = || {
        words
            .next()
            .ok_or("see the head of this file for the arguments")
    };
    let (media, run) = (next()?, next()?);
    let media = Dir::open_ambient_dir(media, ambient_authority())?;
    let run = Dir::open_ambient_dir(run, ambient_authority())?;
    let proc = Dir::open_ambient_dir("/proc", ambient_authority())?;

    let mut boot = Boot::new(media.read_to_string("cmdline")?.trim(), Payload::default());
    boot.uuid = Some("11111111-2222-4333-8444-555555555555".parse()?);
    let mut options = ProbeOptions::default();
    while let Some(option) = words.next_if(|word| word.starts_with("--")) {
        let mut value = || words.next().ok_or(format!("{option} needs a value"));
        let mut pair = || -> Result<(String, Vec<u8>), Box<dyn Error>> {
            let value = value()?;
            let (name, file) = value.split_once('=').ok_or("NAME=FILE is needed")?;
            Ok((name.to_owned(), std::fs::read(file)?))
        };
        match option.as_str() {
            "--snapshot" => boot.disk = DiskMode::Snapshot,
            "--forced" => boot.shutdown = Shutdown::Forced,
            "--memory" => boot.memory_mib = value()?.parse()?,
            "--karg" => boot.command_line = format!("{} {}", boot.command_line, value()?),
            "--qemu" => options.qemu = value()?,
            "--accel" => {
                options.wanted = match value()?.as_str() {
                    "kvm" => Wanted::Kvm,
                    "tcg" => Wanted::Tcg,
                    _ => Wanted::Auto,
                }
            }
            "--unit" => {
                let (name, text) = pair()?;
                boot.credentials.push(Credential::unit(&name, text));
            }
            "--dropin" => {
                let (name, text) = pair()?;
                boot.credentials.push(Credential::drop_in(&name, text));
            }
            "--fw-cfg" => boot.fw_cfg.push(pair()?),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    boot.payload = Payload::command(words);

    let host = probe(&run, &options)?;
    println!("{host}");
    let media = Media {
        disk: Input::new(&media, "disk.img"),
        loads: Loads::Kernel {
            kernel: Input::new(&media, "vmlinuz"),
            initrd: Input::new(&media, "initrd"),
        },
    };
    let options = RunOptions {
        proc: Some(&proc),
        ..RunOptions::default()
    };
    let report = pleach_vm::boot(&boot, &media, &run, &host, &options)?;
    println!("{report}");
    let left = match &report.attempt.outcome {
        Outcome::Finished(left) | Outcome::Guest(GuestFailure::Exit(left)) => left,
        _ => return Ok(ExitCode::from(64)),
    };
    std::io::stdout().write_all(&left.stdout)?;
    std::io::stderr().write_all(&left.stderr)?;
    for (name, bytes) in &left.files {
        println!("{}: {} bytes", String::from_utf8_lossy(name), bytes.len());
    }
    Ok(ExitCode::from(left.exit_code))
}
