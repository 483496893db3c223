//! What needs QEMU, and nothing else: no image, no kernel, no root.
//!
//! Boots of a real system are in the workspace's `integration` suite.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // opens temporary folders
#![allow(clippy::print_stderr)] // says what was found

use std::process::ExitCode;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use libtest_mimic::{Arguments, Completion, Trial};
use pleach_vm::{
    Accelerator, Boot, DiskMode, Error, GuestFailure, Host, Infrastructure, Input, Kvm, Loads,
    Media, Outcome, Payload, Permits, Phase, ProbeOptions, Recovery, Report, RunOptions, Wanted,
    probe,
};

/// A folder with a disk and a "kernel", and an empty one for the run.
struct Bench {
    folder: tempfile::TempDir,
    media: Dir,
    run: Dir,
}

impl Bench {
    fn new(kernel: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        for name in ["media", "run"] {
            dir.create_dir(name).unwrap();
        }
        let (media, run) = (dir.open_dir("media").unwrap(), dir.open_dir("run").unwrap());
        media.write("kernel", kernel).unwrap();
        media.write("initrd", b"initrd").unwrap();
        media.create("disk.img").unwrap().set_len(1 << 20).unwrap();
        Self { folder, media, run }
    }

    fn boot(&self, host: &Host, options: &RunOptions<'_>, change: fn(&mut Boot)) -> Report {
        let media = Media {
            disk: Input::new(&self.media, "disk.img"),
            loads: Loads::Kernel {
                kernel: Input::new(&self.media, "kernel"),
                initrd: Input::new(&self.media, "initrd"),
            },
        };
        let mut boot = Boot::new("root=/dev/vda", Payload::command(["true"]));
        boot.memory_mib = 32;
        change(&mut boot);
        pleach_vm::boot(&boot, &media, &self.run, host, options).unwrap()
    }

    fn read(&self, name: &str) -> String {
        let path = self.folder.path().join("run/attempt-1").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn tcg() -> ProbeOptions {
    ProbeOptions {
        wanted: Wanted::Tcg,
        patience: Duration::from_secs(60),
        ..ProbeOptions::default()
    }
}

/// A test of something on a host that has QEMU. Without QEMU it is ignored, and says so; under `CI=true`
/// that is an error.
fn on_host(name: &str, test: fn(&Host)) -> Trial {
    Trial::ignorable_test(name, move || {
        let folder = tempfile::tempdir()?;
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority())?;
        match probe(&dir, &tcg()) {
            Ok(host) => test(&host),
            Err(error @ Error::Spawn { .. })
                if std::env::var_os("CI").is_none_or(|v| v != "true") =>
            {
                return Ok(Completion::ignored_with(error));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Completion::Completed)
    })
}

fn main() -> ExitCode {
    // The widest: what is private then is so by itself.
    rustix::process::umask(rustix::fs::Mode::empty());
    let tests = [
        (
            "probe_runs_guest_code_under_tcg",
            probe_runs_guest_code_under_tcg as fn(&Host),
        ),
        (
            "probe_ends_whatever_kvm_does",
            probe_ends_whatever_kvm_does as fn(&Host),
        ),
        (
            "silent_machine_is_infrastructure_and_is_tried_again",
            silent_machine_is_infrastructure_and_is_tried_again as fn(&Host),
        ),
        (
            "qemu_that_does_not_start_is_infrastructure",
            qemu_that_does_not_start_is_infrastructure as fn(&Host),
        ),
        ("console_decides", console_decides as fn(&Host)),
        (
            "machine_that_helps_itself_is_left_to_it",
            machine_that_helps_itself_is_left_to_it as fn(&Host),
        ),
        (
            "firmware_starts_the_machine",
            firmware_starts_the_machine as fn(&Host),
        ),
        ("artefacts_are_kept", artefacts_are_kept as fn(&Host)),
        ("artefacts_are_private", artefacts_are_private as fn(&Host)),
        (
            "snapshot_copies_nothing",
            snapshot_copies_nothing as fn(&Host),
        ),
        (
            "guest_that_falls_silent_is_at_fault",
            guest_that_falls_silent_is_at_fault as fn(&Host),
        ),
        (
            "machine_waits_for_its_permit",
            machine_waits_for_its_permit as fn(&Host),
        ),
    ];
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| on_host(name, test))
        .collect();
    trials.push(Trial::test("probe_without_qemu_says_which_program", || {
        probe_without_qemu_says_which_program();
        Ok(())
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A kernel by the Linux boot protocol, as far as QEMU reads it, whose real-mode code is `code`.
///
/// QEMU's option ROM loads the setup sectors to 0x10000 and jumps to 0x1020:0, which is 512 bytes into
/// the file.
fn kernel(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 512 * 6];
    image[0x1f1] = 4; // setup_sects
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&[0x0c, 0x02]); // protocol 2.12
    image[0x211] = 1; // LOADED_HIGH
    image[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes()); // initrd_addr_max
    image[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes()); // cmdline_size
    // Entry at 0x200: a short jump over the header to 0x280.
    image[0x200..0x202].copy_from_slice(&[0xeb, 0x7e]);
    image[0x280..0x280 + code.len()].copy_from_slice(code);
    image
}

/// Real-mode code that writes a text to the first serial port, byte after byte, and then runs `then`.
fn say(text: &str, then: &[u8]) -> Vec<u8> {
    let mut code = vec![0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    for byte in text.bytes() {
        code.extend([0xb0, byte, 0xee]); // mov al, byte; out dx, al
    }
    code.extend(then);
    code
}

/// cli; hlt; jump back to hlt.
const HALT: &[u8] = &[0xfa, 0xf4, 0xeb, 0xfd];
/// mov dx, 0xcf9; mov al, 6; out dx, al: the chipset's reset register.
const RESET: &[u8] = &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd];
/// mov ecx, 0x4000000; loop to itself. Firmware runs at once, and QEMU tells of a reset only who has
/// shaken hands with it.
const WAIT: &[u8] = &[0x66, 0xb9, 0, 0, 0, 4, 0x67, 0xe2, 0xfd];

fn probe_runs_guest_code_under_tcg(host: &Host) {
    assert_eq!(host.profile.accelerator, Accelerator::Tcg);
    assert_eq!(host.kvm, Kvm::NotTried);
    assert!(host.to_string().starts_with("QEMU "), "{host}");
}

fn probe_ends_whatever_kvm_does(_host: &Host) {
    let folder = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let options = ProbeOptions {
        wanted: Wanted::Auto,
        ..tcg()
    };
    let host = probe(
        &dir,
        &ProbeOptions {
            patience: Duration::from_secs(10),
            ..options
        },
    )
    .unwrap();
    let runs = host.kvm == Kvm::Runs;
    assert_eq!(host.profile.accelerator == Accelerator::Kvm, runs, "{host}");
    assert_ne!(host.kvm, Kvm::NotTried);
    eprintln!("this machine: {host}");
}

fn probe_without_qemu_says_which_program() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let check = |qemu: &str, expect: &str| {
        let error = probe(
            &dir,
            &ProbeOptions {
                qemu: qemu.to_owned(),
                ..tcg()
            },
        )
        .unwrap_err();
        assert!(error.to_string().starts_with(expect), "{error}");
    };
    check("/nonexistent/qemu", "run /nonexistent/qemu: ");
    check("/bin/false", "/bin/false -version printed no version");
}

fn silent_machine_is_infrastructure_and_is_tried_again(host: &Host) {
    let mut host = host.clone();
    host.profile.limits.stall = Duration::from_millis(1500);
    let bench = Bench::new(&kernel(HALT));
    let proc = Dir::open_ambient_dir("/proc", ambient_authority()).unwrap();
    let options = RunOptions {
        proc: Some(&proc),
        ..RunOptions::default()
    };
    let report = bench.boot(&host, &options, |_| ());
    let first = report.flaky.as_ref().expect("the first attempt is kept");
    for (attempt, directory) in [(first, "attempt-1"), (&report.attempt, "attempt-2")] {
        assert_eq!(attempt.directory, directory);
        let Outcome::Infrastructure(Infrastructure::NoKernel { diagnostics, .. }) =
            &attempt.outcome
        else {
            panic!("{report}")
        };
        assert!(diagnostics.disk_total > 0, "{report}");
        assert!(
            diagnostics.memory.is_some() && diagnostics.load.is_some(),
            "{report}"
        );
        assert!(attempt.timings.cpu.is_some(), "{report}");
    }
    assert!(
        report
            .to_string()
            .contains("FLAKY, first attempt: attempt-1"),
        "{report}"
    );
}

fn qemu_that_does_not_start_is_infrastructure(host: &Host) {
    let mut host = host.clone();
    let check = |host: &Host, expect: &str| {
        let options = RunOptions {
            attempts: 1,
            ..RunOptions::default()
        };
        let report = Bench::new(&kernel(HALT)).boot(host, &options, |_| ());
        let text = report.to_string();
        let infrastructure = matches!(report.attempt.outcome, Outcome::Infrastructure(_));
        assert!(infrastructure && text.contains(expect), "{text}");
        assert!(report.flaky.is_none(), "one attempt was asked for");
    };
    host.profile.cpu = "no-such-cpu";
    check(&host, "no-such-cpu");
    host.qemu = "/nonexistent/qemu".to_owned();
    check(&host, "cannot run /nonexistent/qemu");
}

fn console_decides(host: &Host) {
    let mut host = host.clone();
    host.profile.limits.crash_grace = Duration::ZERO;
    host.profile.limits.emergency_grace = Duration::ZERO;
    host.profile.limits.stall = Duration::from_secs(20);
    let options = RunOptions {
        attempts: 1,
        ..RunOptions::default()
    };
    let check = |text: &str, then: &[u8], expect: &str| {
        let bench = Bench::new(&kernel(&say(text, then)));
        let report = bench.boot(&host, &options, |_| ());
        let outcome = report.attempt.outcome.to_string();
        assert!(
            outcome.starts_with(expect),
            "{text:?}: {outcome}\n{}",
            bench.read("qmp.log")
        );
        assert_eq!(bench.read("console.log"), text);
        assert!(bench.read("outcome.txt").contains(expect));
    };
    let panic = "[    1.000000] Kernel panic - not syncing: Fatal exception\n";
    check(
        panic,
        HALT,
        "infrastructure failed: the guest's kernel crashed under TCG: [    1.0",
    );
    // The kernel resets the machine after a panic, and QEMU leaves with 0.
    check(
        panic,
        RESET,
        "infrastructure failed: the guest's kernel crashed under TCG: [    1.0",
    );
    let no_init = "[    1.000000] Kernel panic - not syncing: No working init found.\n";
    check(no_init, RESET, "guest failed: it cannot boot: [    1.0");
    check(
        "You are in emergency mode.\n",
        HALT,
        "guest failed: emergency mode: You are",
    );
    check(
        "dracut:/# ",
        HALT,
        "guest failed: emergency mode: dracut:/#",
    );
    check(
        "hello\n",
        RESET,
        "the guest rebooted before it had a result",
    );
}

/// Whoever helps itself is left to it: a panic or emergency mode is no end, a reset is.
fn machine_that_helps_itself_is_left_to_it(host: &Host) {
    let mut host = host.clone();
    host.profile.limits.crash_grace = Duration::ZERO;
    host.profile.limits.emergency_grace = Duration::ZERO;
    for text in [
        "[    1.000000] Kernel panic - not syncing: Fatal exception\n",
        "[    1.000000] Kernel panic - not syncing: No working init found.\n",
        "You are in emergency mode.\n",
    ] {
        let bench = Bench::new(&kernel(&say(text, RESET)));
        let report = bench.boot(&host, &RunOptions::default(), |boot| {
            boot.recovery = Recovery::Own;
        });
        let rebooted = matches!(report.attempt.outcome, Outcome::Rebooted);
        assert!(rebooted, "{text:?}: {report}");
        assert_eq!(bench.read("console.log"), text);
    }
}

/// 64 KiB of flash whose reset vector, 16 bytes before its end, jumps to code at `0xf000`.
fn firmware(code: &[u8]) -> Vec<u8> {
    let mut image = vec![0xff; 64 << 10];
    image[0xf000..0xf000 + code.len()].copy_from_slice(code);
    // From 0xfff3, behind the jump.
    image[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0xf0]);
    image
}

fn firmware_starts_the_machine(host: &Host) {
    let bench = Bench::new(b"no kernel");
    bench
        .media
        .write(
            "code.fd",
            firmware(&[WAIT, &say("hello\n", RESET)].concat()),
        )
        .unwrap();
    bench.media.write("vars.fd", vec![7; 64 << 10]).unwrap();
    let media = Media {
        disk: Input::new(&bench.media, "disk.img"),
        loads: Loads::Firmware {
            code: Input::new(&bench.media, "code.fd"),
            variables: Input::new(&bench.media, "vars.fd"),
        },
    };
    let mut boot = Boot::new("extra", Payload::command(["true"]));
    boot.memory_mib = 32;
    let options = RunOptions::default();
    let report = pleach_vm::boot(&boot, &media, &bench.run, host, &options).unwrap();
    assert!(
        matches!(report.attempt.outcome, Outcome::Rebooted),
        "{report}"
    );
    assert_eq!(bench.read("console.log"), "hello\n");
    assert!(
        report.command_line.starts_with("extra console=ttyS0 "),
        "{report}"
    );
    let attempt = bench.run.open_dir("attempt-1").unwrap();
    for (name, links) in [
        ("firmware.fd", 2),
        ("variables-base.fd", 2),
        ("variables.fd", 1),
    ] {
        assert_eq!(attempt.metadata(name).unwrap().nlink(), links, "{name}");
    }
    // QEMU's script starts it once more.
    let script = bench.folder.path().join("run/attempt-1/repro.sh");
    let status = std::process::Command::new("sh")
        .arg(script)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(bench.read("again/console.log"), "hello\n");
}

fn artefacts_are_kept(host: &Host) {
    let options = RunOptions {
        attempts: 1,
        ..RunOptions::default()
    };
    let bench = Bench::new(&kernel(&say("hello\n", RESET)));
    let report = bench.boot(host, &options, |_| ());
    assert!(
        matches!(report.attempt.outcome, Outcome::Rebooted),
        "{report}"
    );
    let attempt = bench.run.open_dir("attempt-1").unwrap();
    let mut names: Vec<_> = attempt
        .entries()
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names.join(" "),
        "base.img console.log disk.img initrd kernel outcome.txt payload.img progress.log qemu.argv \
         qemu.stderr qmp.log repro.sh result result.frame smbios-0 smbios-1 smbios-2 smbios-3 smbios-4 smbios-5 \
         timings.json"
    );
    assert!(bench.read("qmp.log").contains("guest-reset"));
    assert!(
        bench
            .read("qemu.argv")
            .starts_with(&format!("{}\n-accel\n", host.qemu))
    );

    // The script runs the same machine, from anywhere.
    let script = bench.folder.path().join("run/attempt-1/repro.sh");
    let output = std::process::Command::new("sh")
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bench.read("again/console.log"), "hello\n");

    // A second boot does not write over the first.
    let media = Media {
        disk: Input::new(&bench.media, "disk.img"),
        loads: Loads::Kernel {
            kernel: Input::new(&bench.media, "kernel"),
            initrd: Input::new(&bench.media, "initrd"),
        },
    };
    let boot = Boot::new("", Payload::command(["true"]));
    let error = pleach_vm::boot(&boot, &media, &bench.run, host, &options).unwrap_err();
    assert!(
        error.to_string().starts_with("create attempt-1: "),
        "{error}"
    );
}

fn artefacts_are_private(host: &Host) {
    let options = RunOptions {
        attempts: 1,
        ..RunOptions::default()
    };
    let bench = Bench::new(&kernel(&say("hello\n", RESET)));
    bench.boot(host, &options, |boot| {
        boot.fw_cfg
            .push(("opt/com.coreos/config".into(), "{}".into()));
    });
    let mode = |name: &str| {
        let meta = bench.run.symlink_metadata(name);
        meta.unwrap_or_else(|e| panic!("{name}: {e}")).mode() & 0o7777
    };
    let modes = |folder: &str| {
        let entries = bench.run.read_dir(folder).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let line = |name: String| format!("{name} {:o}\n", mode(&format!("{folder}/{name}")));
        let mut lines: Vec<_> = names.map(line).collect();
        lines.sort();
        lines.concat()
    };
    assert_eq!(mode("attempt-1"), 0o700);
    // Three are links to files that the bench made.
    insta::assert_snapshot!(modes("attempt-1"), @"
    base.img 666
    console.log 600
    disk.img 600
    fw_cfg-0 600
    initrd 666
    kernel 666
    outcome.txt 600
    payload.img 600
    progress.log 600
    qemu.argv 600
    qemu.stderr 600
    qmp.log 600
    repro.sh 700
    result 700
    result.frame 600
    smbios-0 600
    smbios-1 600
    smbios-2 600
    smbios-3 600
    smbios-4 600
    smbios-5 600
    timings.json 600
    ");

    let script = bench.folder.path().join("run/attempt-1/repro.sh");
    let output = std::process::Command::new(script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(mode("attempt-1/again"), 0o700);
    insta::assert_snapshot!(modes("attempt-1/again"), @"
    console.log 600
    disk.img 600
    fw_cfg-0 600
    initrd 600
    kernel 600
    payload.img 600
    progress.log 600
    result.frame 600
    smbios-0 600
    smbios-1 600
    smbios-2 600
    smbios-3 600
    smbios-4 600
    smbios-5 600
    ");
}

fn snapshot_copies_nothing(host: &Host) {
    let options = RunOptions {
        attempts: 1,
        ..RunOptions::default()
    };
    let bench = Bench::new(&kernel(&say("hello\n", RESET)));
    let report = bench.boot(host, &options, |boot| boot.disk = DiskMode::Snapshot);
    assert!(
        matches!(report.attempt.outcome, Outcome::Rebooted),
        "{report}"
    );
    assert!(!bench.run.exists("attempt-1/disk.img"));
}

fn guest_that_falls_silent_is_at_fault(host: &Host) {
    let mut host = host.clone();
    host.profile.limits.stall = Duration::from_secs(3);
    let report =
        Bench::new(&kernel(&say("hello\n", HALT))).boot(&host, &RunOptions::default(), |_| ());
    let Outcome::Guest(GuestFailure::Stalled { phase, .. }) = report.attempt.outcome else {
        panic!("{report}")
    };
    assert_eq!(phase, Phase::Booting);
    assert!(report.flaky.is_none(), "a guest's fault is not tried again");
}

fn machine_waits_for_its_permit(host: &Host) {
    let bench = Bench::new(&kernel(&say("hello\n", RESET)));
    let dir = bench.media.try_clone().unwrap();
    dir.create_dir("permits").unwrap();
    let pool = |patience| {
        Permits::new(
            dir.open_dir("permits").unwrap(),
            1,
            4096,
            Duration::from_secs(patience),
        )
    };
    let (mine, theirs) = (pool(0), pool(60));
    let permit = mine.acquire(1, 1024).unwrap();
    std::thread::scope(|scope| {
        let boot = scope.spawn(|| {
            let options = RunOptions {
                attempts: 1,
                permits: Some(&theirs),
                ..RunOptions::default()
            };
            bench.boot(host, &options, |_| ())
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(!boot.is_finished(), "it did not wait");
        assert!(!bench.run.exists("attempt-1/disk.img"), "it has a disk");
        drop(permit);
        let report = boot.join().unwrap();
        assert!(
            matches!(report.attempt.outcome, Outcome::Rebooted),
            "{report}"
        );
        assert!(bench.run.exists("attempt-1/disk.img"));
    });
}
