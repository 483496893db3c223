//! A machine is killed in mid-upgrade, again and again, each time at another moment. It has to come up
//! without hands, as the old deployment or the new one, with all that is its own; and a plain second
//! upgrade, which is what it does next, is what is cut then.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use pleach_integration::esp::Esp;
use pleach_integration::setting::Setting;

use crate::lifecycle::{CHANGES, KEPT, TOP, equip, run};
use crate::{trial, uefi};

/// Kills of each of two machines, which are booted at the same time.
const KILLS: usize = 25;

/// The longest from power on to an upgrade, on an emulated processor that others use too.
const PATIENCE: Duration = Duration::from_secs(1200);

const UNIT: &str = "[Unit]
ConditionPathExists=/var/lib/site/churn-now
[Service]
ExecStart=/bin/sh /var/lib/site/churn
[Install]
WantedBy=multi-user.target
";

/// Looks at the machine, says so on the console, and goes from one version to the other until it is
/// killed. Not before the boot was found good: a boot that is cut is a boot that failed.
fn churn() -> String {
    format!(
        "exec >/dev/ttyS0 2>&1\n\
         trap 'echo churn: WRONG' EXIT\n\
         {TOP}{KEPT}\
         ostree fsck --quiet\n\
         . /usr/lib/os-release\n\
         systemctl is-system-running --wait || true\n\
         echo churn: up $IMAGE_VERSION\n\
         while true; do\n\
         \tnext=v2\n\
         \ttest $IMAGE_VERSION = v1 || next=v1\n\
         \techo churn: begin\n\
         \t$P switch $IMAGES:$next --allow-downgrade\n\
         \techo churn: done\n\
         \tIMAGE_VERSION=$next\n\
         done\n"
    )
}

pub(crate) fn trials(setting: &Arc<Result<Setting>>) -> Vec<Trial> {
    let machines = [("one", 1), ("another", 2)];
    let trials = machines.map(|(name, seed)| {
        let test = move |setting: &Setting| survives(setting, name, seed);
        let name = format!("kills::{name}_machine_comes_up_after_each");
        trial(&name, setting, test)
    });
    trials.into()
}

fn survives(setting: &Setting, name: &str, seed: u64) -> Result<()> {
    let folder = setting.output.join("kills").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let machine = Machine::new(setting, &folder)?;
    // The first upgrade comes to its end: how long one takes says when to kill.
    let mut boot = machine.start()?;
    boot.wait_for("churn: begin")?;
    let begun = Instant::now();
    boot.wait_for("churn: done")?;
    let whole = begun.elapsed();
    boot.kill()?;
    let (mut random, mut kills, mut up) = (seed, 0, Vec::new());
    for number in 1.. {
        ensure!(
            number <= 3 * KILLS,
            "{kills} of {number} kills cut an upgrade"
        );
        let started = Instant::now();
        let mut boot = machine.start()?;
        let came = boot.wait_for("churn: up ");
        let came = came.with_context(|| format!("after kill {number}, in {}", folder.display()))?;
        println!(
            "{name}: after kill {number}: {came} in {:.0} s",
            started.elapsed().as_secs_f64()
        );
        up.push(came);
        boot.wait_for("churn: begin")?;
        if kills == KILLS {
            // What was cut so often still comes to its end.
            boot.wait_for("churn: done")?;
            boot.kill()?;
            break;
        }
        // A linear congruential generator (Knuth): the same moments in each run, as far as time goes.
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let wait = whole.mul_f64((random >> 32) as f64 / f64::from(u32::MAX));
        std::thread::sleep(wait);
        boot.kill()?;
        let cut = !boot.said()?.contains("churn: done");
        kills += usize::from(cut);
        // Whoever ends the suite early still sees how far it came.
        println!(
            "{name}: kill {}, {:.1} s into an upgrade{}",
            number + 1,
            wait.as_secs_f64(),
            if cut { "" } else { ", which was through" }
        );
    }
    let versions = |version: &str| up.iter().filter(|line| line.ends_with(version)).count();
    println!(
        "killed {kills} times in mid-upgrade of {:.1} s, up {} times: v1 {}, v2 {}",
        whole.as_secs_f64(),
        up.len(),
        versions("v1"),
        versions("v2")
    );
    ensure!(versions("v1") > 0 && versions("v2") > 0, "{up:?}");
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A machine's parts: its disk, its firmware, and how QEMU is called for it.
struct Machine {
    folder: PathBuf,
    command: Vec<String>,
}

impl Machine {
    /// One that has changes of its own and churns from its next boot on.
    fn new(setting: &Setting, folder: &Path) -> Result<Self> {
        let disk = uefi::install(setting, folder, &setting.base, &["--size", "6442450944"])?;
        let root = format!("loop,offset={}", Esp::sectors().end * 512);
        equip(setting, &disk, &root, &folder.join("mounted"), |root| {
            fs::write(
                root.join("ostree/deploy/default/var/lib/site/churn"),
                churn(),
            )?;
            let deployments = root.join("ostree/deploy/default/deploy");
            for deployment in fs::read_dir(deployments)? {
                let units = deployment?.path().join("etc/systemd/system");
                if units.is_dir() {
                    fs::write(units.join("churn.service"), UNIT)?;
                    let wants = units.join("multi-user.target.wants");
                    run("mkdir", &["-p".as_ref(), wants.as_ref()])?;
                    symlink("../churn.service", wants.join("churn.service"))?;
                    // A login prompt hangs up whatever else writes to its terminal.
                    symlink("/dev/null", units.join("serial-getty@ttyS0.service"))?;
                }
            }
            Ok(())
        })?;
        let check = format!("{TOP}{CHANGES}touch /var/lib/site/churn-now\n");
        let booted = uefi::boot(folder, setting, &disk, &check, &["--orderly"])?;
        fs::remove_file(disk)?;
        let attempt = booted.disk.parent().context("in its attempt")?;
        fs::copy(
            attempt.join("variables-base.fd"),
            attempt.join("variables.fd"),
        )?;
        let command = fs::read_to_string(attempt.join("qemu.argv"))?;
        let mut words = Vec::new();
        let mut lines = command.lines();
        while let Some(word) = lines.next() {
            // What would start the agent, which powers off when it is through.
            match word {
                "-smbios" => drop(lines.next()),
                word => words.push(word.to_owned()),
            }
        }
        Ok(Self {
            folder: attempt.to_owned(),
            command: words,
        })
    }

    fn start(&self) -> Result<Boot> {
        let console = self.folder.join("console.log");
        fs::write(&console, "")?;
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("starting QEMU")?;
        Ok(Boot { child, console })
    }
}

/// A machine that runs.
struct Boot {
    child: Child,
    console: PathBuf,
}

impl Boot {
    fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.console)?).into_owned())
    }

    /// The first line of the console with a text that is followed by more.
    fn wait_for(&mut self, text: &str) -> Result<String> {
        let begun = Instant::now();
        loop {
            let said = self.said()?;
            // A whole line, and not the shell's echo of the command.
            let lines = said
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let mut lines = lines
                .map(str::trim_end)
                .filter(|line| !line.starts_with('+'));
            if let Some(line) = lines.find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            let end: String = said.lines().rev().take(40).collect::<Vec<_>>().join("\n");
            if said.lines().any(|line| line.starts_with("churn: WRONG")) {
                bail!("the machine is not whole; the last lines first:\n{end}");
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("no '{text}': QEMU ended with {status}; the last lines first:\n{end}");
            }
            if begun.elapsed() > PATIENCE {
                bail!("no '{text}' in {PATIENCE:?}; the last lines first:\n{end}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
