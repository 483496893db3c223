//! Writes a snapshot of the running system: `pleach-capture [--no-wait] [--wait SECONDS] [--etc-defaults]
//! [FILE]`.
//!
//! Exit code 0: written; 2: wrong usage; 3: trouble.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "a binary opens ambient paths and speaks to people"
)]

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_booted_state::{CaptureOptions, SystemRunner, capture};

const USAGE: &str = "usage: pleach-capture [--wait SECONDS | --no-wait] [--etc-defaults] [FILE]";

struct Arguments {
    file: Option<OsString>,
    options: CaptureOptions,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("pleach-capture: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                message = format!("{message}: {error}");
                source = error.source();
            }
            eprintln!("pleach-capture: {message}");
            ExitCode::from(3)
        }
    }
}

fn arguments(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let mut options = CaptureOptions::default();
    let mut file = None;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--no-wait") => options.wait_for_boot = None,
            Some("--etc-defaults") => options.etc_defaults = true,
            Some("--wait") => {
                let seconds = words.next().and_then(|word| word.to_str()?.parse().ok());
                let seconds = seconds.ok_or("--wait takes a number of seconds")?;
                options.wait_for_boot = Some(Duration::from_secs(seconds));
            }
            Some(option) if option.starts_with('-') => {
                return Err(format!("unknown option {option}"));
            }
            _ if file.is_some() => return Err("more than one file".to_owned()),
            _ => file = Some(word),
        }
    }
    Ok(Arguments { file, options })
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // Opened first: what cannot be written is not worth waiting for a boot.
    let mut out: Box<dyn Write> = match &arguments.file {
        Some(file) => {
            let opened = std::fs::File::create(file);
            Box::new(opened.map_err(|error| format!("create {}: {error}", file.display()))?)
        }
        None => Box::new(std::io::stdout()),
    };
    let root = Dir::open_ambient_dir("/", ambient_authority())?;
    let snapshot = capture(&root, &SystemRunner::default(), &arguments.options)?;
    out.write_all(&snapshot.to_json())
        .map_err(|error| format!("write the snapshot: {error}"))?;
    out.flush()?;
    Ok(())
}
