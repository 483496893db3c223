//! A mounted file system whose disk keeps a log of all that is written to it.
//!
//! QEMU's storage daemon puts the log between a file and a FUSE export of it, and a loop device makes
//! a disk of the export: so it is the kernel's own file system that is recorded, without a machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::log::{Log, SECTOR};
use super::mount::{FileSystem, Mounted, run};
use super::state::{Cut, Recording};

/// A disk that is being recorded.
#[derive(Debug)]
pub struct Recorder {
    // In the order in which they have to go.
    mounted: Option<Mounted>,
    device: Option<Loop>,
    daemon: Daemon,
    folder: PathBuf,
    base: PathBuf,
    kind: FileSystem,
}

#[derive(Debug)]
struct Daemon(Child);

#[derive(Debug)]
struct Loop(PathBuf);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    /// Mounts a copy of the disk `base`; the copy and the log are in `folder`.
    ///
    /// # Errors
    /// When a tool cannot do its part.
    pub fn start(folder: &Path, base: &Path, kind: FileSystem) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = |name: &str| folder.join(name);
        std::fs::copy(base, file("disk.img"))?;
        for name in ["log.img", "export.img"] {
            std::fs::File::create(file(name))?;
        }
        let text = |name: &str| file(name).display().to_string();
        let mut command = Command::new("qemu-storage-daemon");
        for node in [
            format!("driver=file,node-name=disk,filename={}", text("disk.img")),
            format!("driver=file,node-name=log,filename={}", text("log.img")),
            format!(
                "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR}"
            ),
        ] {
            command.args(["--blockdev", &node]);
        }
        let export = text("export.img");
        let mut daemon = Daemon(
            command
                .args([
                    "--export",
                    &format!(
                        "type=fuse,id=export,node-name=logged,mountpoint={export},writable=on"
                    ),
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(file("daemon.txt"))?)
                .spawn()
                .context("running qemu-storage-daemon")?,
        );
        let size = std::fs::metadata(base)?.len();
        let started = Instant::now();
        while std::fs::metadata(&export)?.len() != size {
            if let Some(status) = daemon.0.try_wait()? {
                let said = std::fs::read_to_string(file("daemon.txt"))?;
                bail!("qemu-storage-daemon: {status}: {said}");
            }
            ensure!(
                started.elapsed() < Duration::from_secs(30),
                "qemu-storage-daemon exports nothing"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let device = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&export))?;
        let device = Loop(device.trim().into());
        let mounted = Mounted::new(&device.0, &file("mount"), kind)?;
        Ok(Self {
            mounted: Some(mounted),
            device: Some(device),
            daemon,
            folder: folder.to_owned(),
            base: base.to_owned(),
            kind,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// How many bytes the log has by now.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(self.folder.join("log.img")).map_or(0, |log| log.len())
    }

    /// How many entries the log has by now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn position(&self) -> Result<usize> {
        Ok(Log::read(&self.folder.join("log.img"))?.entries().len())
    }

    /// Unmounts, and reads what was recorded.
    ///
    /// # Errors
    /// When the log, replayed to its end, is not the disk: then it is not to be believed.
    pub fn finish(mut self) -> Result<Recording> {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount()?;
        }
        if let Some(device) = self.device.take() {
            run(Command::new("losetup").arg("--detach").arg(&device.0))?;
            std::mem::forget(device);
        }
        let process = rustix::process::Pid::from_child(&self.daemon.0);
        rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        self.daemon.0.wait()?;
        let log = Log::read(&self.folder.join("log.img"))?;
        let recording = Recording::new(std::fs::read(&self.base)?, log, self.kind.whole())?;
        let end = Cut {
            at: recording.len(),
            seed: None,
        };
        ensure!(
            recording.disk(end).bytes() == std::fs::read(self.folder.join("disk.img"))?,
            "the log, replayed to its end, is not the disk"
        );
        Ok(recording)
    }
}
