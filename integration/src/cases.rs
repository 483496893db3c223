//! The cases that the project is for: each a document in `fixtures/customizations`, and a script in
//! `checks` beside it that says in the guest whether the machine does what it is for.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::setting::{Answer, Setting};
use crate::shared::{EVERY, SITE, Shared};
use crate::{disk, record};

/// A case.
#[derive(Debug)]
pub struct Case {
    /// The document's name, and the check's.
    pub name: &'static str,
    /// The variant of the base image that it goes onto.
    pub variant: Option<&'static str>,
    /// The routes that carry the whole of it to the first boot and that this suite can boot.
    pub routes: &'static [&'static str],
    /// Whether its machine has a display.
    pub screen: bool,
}

/// All of them. Where the document could be on any image, it is on the one that every route can boot.
pub const CASES: &[Case] = &[
    Case {
        name: "site-units",
        variant: Some("cloud-init"),
        routes: &["derive", "etc", "ignition", "cloud-init"],
        screen: false,
    },
    Case {
        name: "quadlet",
        variant: Some("podman"),
        routes: &["derive", "etc", "ignition"],
        screen: false,
    },
    Case {
        name: "fips",
        variant: Some("cloud-init"),
        routes: &["derive", "etc", "ignition"],
        screen: false,
    },
    Case {
        name: "postgres",
        variant: Some("postgres"),
        routes: &["derive", "etc", "ignition", "credentials"],
        screen: false,
    },
    Case {
        name: "drone",
        variant: Some("cloud-init"),
        routes: &["derive", "etc", "ignition", "cloud-init", "credentials"],
        screen: false,
    },
    Case {
        name: "kiosk",
        variant: Some("kiosk"),
        routes: &["derive", "etc", "ignition", "credentials"],
        screen: true,
    },
    Case {
        name: "generic-final",
        variant: Some("cloud-init"),
        routes: &["derive", "etc", "ignition", "cloud-init", "credentials"],
        screen: false,
    },
];

/// A boot of a disk: what was said, and where the rest of it is.
#[derive(Debug)]
pub struct Machine {
    /// What `pleach capture` answered: on standard output the path of the capture, then what the check
    /// printed.
    pub answer: Answer,
    folder: PathBuf,
}

impl Machine {
    fn attempt(&self) -> PathBuf {
        self.folder.join("boot-1/attempt-1")
    }

    /// Removes its disks: nobody asks it any more.
    ///
    /// # Errors
    /// When that fails.
    pub fn discard(self) -> Result<()> {
        disk::discard(&self.folder)
    }

    /// The disk as the guest left it.
    pub fn disk(&self) -> PathBuf {
        self.attempt().join("disk.img")
    }

    /// The picture of its screen.
    ///
    /// # Errors
    /// When there is none.
    pub fn screen(&self) -> Result<Vec<u8>> {
        let path = self.attempt().join("screen.ppm");
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// What the check's commands printed, without the commands themselves (`set -x`).
    pub fn printed(&self) -> Vec<&str> {
        let lines = self.answer.stdout.lines().skip(1);
        lines.filter(|line| !line.starts_with('+')).collect()
    }

    /// Holds the machine to its check.
    ///
    /// # Errors
    /// When the check or the boot failed, with all that was said.
    pub fn passed(self) -> Result<Self> {
        let Answer {
            code,
            stdout,
            stderr,
        } = &self.answer;
        ensure!(*code == Some(0), "{code:?}\n{stdout}\n{stderr}");
        Ok(self)
    }
}

impl Case {
    /// The case of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        let mut cases = CASES.iter();
        cases
            .find(|case| case.name == name)
            .with_context(|| format!("no case {name}"))
    }

    /// Its document.
    pub fn document(&self) -> PathBuf {
        Setting::customizations().join(format!("{}.bu", self.name))
    }

    /// Its check.
    pub fn check(&self) -> PathBuf {
        Setting::customizations().join(format!("checks/{}.sh", self.name))
    }

    /// Reference of the image that it goes onto.
    ///
    /// # Errors
    /// When the environment does not name it.
    pub fn base(&self, setting: &Setting, tag: &str) -> Result<String> {
        match self.variant {
            Some(variant) => Setting::variant(variant, tag),
            None => {
                let (layout, _) = setting.base.rsplit_once(':').context("a base with a tag")?;
                Ok(format!("{layout}:{tag}"))
            }
        }
    }

    /// A folder of this case, empty.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, setting: &Setting, name: &str) -> Result<PathBuf> {
        let folder = setting.output.join("cases").join(self.name).join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Brings it through routes, boots them, checks them and compares them.
    ///
    /// # Errors
    /// When there is a defect, or a check does not say what it should, or nothing could be booted.
    pub fn compare(&self, setting: &Setting, routes: &[&str]) -> Result<()> {
        let output = setting.output.join("cases").join(self.name).join("parity");
        let texts = [
            self.base(setting, "v1")?,
            self.document().display().to_string(),
            routes.join(","),
            self.check().display().to_string(),
            setting.agent.display().to_string(),
            output.display().to_string(),
        ];
        let [base, document, routes, check, agent, output] = texts.each_ref().map(String::as_str);
        let mut arguments = vec!["parity", "--boot", "--base", base, "--config", document];
        arguments.extend(["--routes", routes, "--check", check]);
        arguments.extend(["--agent", agent, "--output", output]);
        if self.screen {
            arguments.push("--screen");
        }
        // The base image of a shared run need not be booted again.
        let shared = [SITE, EVERY]
            .into_iter()
            .find(|run| run.variant == self.variant)
            .map(|run| Shared::of(setting, &run))
            .transpose()?;
        let control = shared.map(|shared| shared.folder.display().to_string());
        arguments.extend(
            control
                .as_deref()
                .into_iter()
                .flat_map(|path| ["--control", path]),
        );
        let Answer {
            code,
            stdout,
            stderr,
        } = setting.pleach(&arguments)?;
        if let (Some(path), Some(0 | 1)) = (&setting.record, code) {
            record::keep(path, self, std::path::Path::new(output))?;
        }
        ensure!(code == Some(0), "{code:?}\n{stdout}\n{stderr}");
        ensure!(stdout.contains("parity: equal, 0 defects"), "{stdout}");
        disk::discard(std::path::Path::new(output))
    }

    /// Derives its image from a version of the base.
    ///
    /// # Errors
    /// With what `pleach derive` said.
    pub fn derive(&self, setting: &Setting, tag: &str) -> Result<String> {
        let layout = self.folder(setting, &format!("image-{tag}"))?;
        let image = format!("oci:{}:{tag}", layout.display());
        let (base, document) = (self.base(setting, tag)?, self.document());
        let document = document.display().to_string();
        setting.done(&[
            "derive", "--base", &base, "--config", &document, "--output", &image,
        ])?;
        Ok(image)
    }

    /// Writes the disk of an image. Another one may be in its repository.
    ///
    /// # Errors
    /// With what `pleach deploy` said.
    pub fn install(&self, setting: &Setting, image: &str, next: Option<&str>) -> Result<PathBuf> {
        let disk = self.folder(setting, "disk")?.join("disk.img");
        let path = disk.display().to_string();
        let mut arguments = vec!["deploy", "install", image, "--layout", "direct"];
        arguments.extend(["--target", &path]);
        arguments.extend(next.into_iter().flat_map(|next| ["--next", next]));
        setting.done(&arguments)?;
        Ok(disk)
    }

    /// Boots a disk and runs a check in it.
    ///
    /// # Errors
    /// When `pleach` cannot be started.
    pub fn boot(
        &self,
        setting: &Setting,
        disk: &std::path::Path,
        check: &std::path::Path,
        name: &str,
    ) -> Result<Machine> {
        let output = self.folder(setting, name)?.join("boot");
        let texts = [disk, check, &setting.agent, &output].map(|path| path.display().to_string());
        let [disk, check, agent, path] = texts.each_ref().map(String::as_str);
        let mut arguments = vec!["capture", disk, "--check", check];
        arguments.extend(["--agent", agent, "--output", path]);
        if self.screen {
            arguments.push("--screen");
        }
        Ok(Machine {
            answer: setting.pleach(&arguments)?,
            folder: output,
        })
    }
}
