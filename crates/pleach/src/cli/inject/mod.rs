//! `pleach inject`: a customization beside the image.

mod etc;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use pleach_customization::{Customization, Placement, Refusal, Refused, carried};
use pleach_fs_tree::materialize;
use pleach_inject::{CloudInitOptions, ConfextError, ConfextOptions, CredentialsError, Sealed};

use super::config::Document;
use super::exit::End;
use super::image::materialize_options;
use super::output;
use super::private::Folder;
use super::remainder::{Remainder, tell};

/// Write a customization into a deployment, or in the words of what sets a machine up.
#[derive(Args)]
pub(crate) struct Inject {
    #[command(subcommand)]
    route: Route,
}

#[derive(Subcommand)]
enum Route {
    Etc(etc::Etc),
    /// As Ignition JSON, for the machine's own first boot.
    Ignition(Document),
    CloudInit(CloudInit),
    Kickstart(Kickstart),
    Credentials(Credentials),
    Confext(Confext),
}

/// A document, and the folder that it is written into.
#[derive(Args)]
struct Output {
    #[command(flatten)]
    document: Document,
    /// The folder to write into; it is made for its owner alone if it is not there. Files of the same
    /// names are replaced.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    remainder: Remainder,
}

/// As user-data and meta-data of cloud-init's NoCloud, for the machine's own first boot.
///
/// They belong on a file system with the label CIDATA, or below /var/lib/cloud/seed/nocloud.
#[derive(Args)]
struct CloudInit {
    #[command(flatten)]
    output: Output,
    /// Do not restart the machine when all is in place: what has read its configuration earlier in
    /// the first boot sees the customization at the next one only.
    #[arg(long)]
    no_reboot: bool,
}

/// As a part of a kickstart, pleach.ks, for %include by the one that installs the image.
#[derive(Args)]
struct Kickstart {
    #[command(flatten)]
    output: Output,
}

/// As systemd credentials, which the machine must be given at each boot.
///
/// The folder `credentials` has a file for each (for a directory that is passed as such, or for
/// systemd-creds to encrypt), the folder `smbios` the same as values of SMBIOS type 11 strings, for
/// QEMU's -smbios type=11,path=FILE.
#[derive(Args)]
struct Credentials {
    #[command(flatten)]
    output: Output,
}

/// As a configuration extension, a folder for /var/lib/confexts or /run/confexts.
#[derive(Args)]
struct Confext {
    #[command(flatten)]
    output: Output,
    /// Its name.
    #[arg(long, default_value = "pleach")]
    name: String,
    /// The os-release of the systems that it fits; any, if this is not given.
    #[arg(long, value_name = "ID:VERSION_ID")]
    release: Option<String>,
    /// Write the same as an image too, NAME.raw: an EROFS file system, made by mkfs.erofs. The same
    /// document gives the same bytes.
    #[arg(long)]
    image: bool,
}

impl Inject {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.route {
            Route::Etc(etc) => etc.run()?,
            Route::Ignition(document) => {
                // Ignition merges other documents itself, and may fetch some.
                let customization = document.read_as_written()?;
                tell(&carried(
                    &customization,
                    pleach_customization::Route::Ignition,
                )?);
                output::print(pleach_inject::to_ignition(&customization).as_str())?;
            }
            Route::CloudInit(route) => route.run()?,
            Route::Kickstart(route) => route.run()?,
            Route::Credentials(route) => route.run()?,
            Route::Confext(route) => route.run()?,
        }
        Ok(End::Fine)
    }
}

impl Output {
    /// Emits the document, or what the route carries of it.
    fn emit<T>(
        &self,
        route: pleach_customization::Route,
        emit: impl Fn(&Customization) -> Result<T>,
        notes: impl Fn(&T) -> &[Placement],
    ) -> Result<T> {
        let made = self.remainder.emit(&self.document.read()?, route, emit)?;
        if !self.remainder.allow_remainder {
            tell(notes(&made));
        }
        Ok(made)
    }

    fn folder(&self) -> Result<Folder> {
        Folder::make(&self.output)
    }
}

impl CloudInit {
    fn run(&self) -> Result<()> {
        let options = CloudInitOptions {
            reboot: !self.no_reboot,
        };
        let route = pleach_customization::Route::CloudInit;
        let emit = |c: &Customization| Ok(pleach_inject::to_cloud_init(c, &options)?);
        let made = self.output.emit(route, emit, |made| &made.notes)?;
        let folder = self.output.folder()?;
        folder.write("user-data", made.user_data.expose())?;
        folder.write("meta-data", made.meta_data.as_bytes())
    }
}

impl Kickstart {
    fn run(&self) -> Result<()> {
        let route = pleach_customization::Route::Kickstart;
        let emit = |c: &Customization| Ok(pleach_inject::to_kickstart(c)?);
        let made = self.output.emit(route, emit, |made| &made.notes)?;
        self.output.folder()?.write("pleach.ks", made.text.expose())
    }
}

impl Credentials {
    fn run(&self) -> Result<()> {
        let route = pleach_customization::Route::Credentials;
        let emit = |c: &Customization| match pleach_inject::to_credentials(c) {
            Err(CredentialsError::Refused(refused)) => Err(refused.into()),
            other => Ok(other?),
        };
        let made = self.output.emit(route, emit, |made| &made.notes)?;
        // A machine may be given them by another way that takes more.
        let strings = made.smbios();
        if let Err(error) = &strings {
            output::step(&format!("no SMBIOS strings are written: {error}"));
        }
        let folder = self.output.folder()?;
        let files = folder.anew("credentials")?;
        for credential in &made.credentials {
            files.write(&credential.name, credential.value.expose())?;
        }
        let files = folder.anew("smbios")?;
        for (credential, string) in made.credentials.iter().zip(strings.iter().flatten()) {
            files.write(&credential.name, string.expose())?;
        }
        Ok(())
    }
}

impl Confext {
    fn run(&self) -> Result<()> {
        let release = match &self.release {
            None => None,
            Some(text) => {
                let (id, version) = text
                    .split_once(':')
                    .with_context(|| format!("{text}: say ID:VERSION_ID"))?;
                Some((id.to_owned(), version.to_owned()))
            }
        };
        let name = self.name.clone();
        let options = ConfextOptions { name, release };
        let route = pleach_customization::Route::Confext;
        let emit = |c: &Customization| match pleach_inject::to_confext(c, &options) {
            Err(ConfextError::Refused(refused)) => Err(refused.into()),
            Err(ConfextError::Lower(errors)) if self.output.remainder.allow_remainder => {
                let refusals = errors.0.into_iter().map(|error| Refusal {
                    origin: error.origin,
                    item: error.kind.to_string(),
                    why: "an extension is made without looking at the image",
                    instead: "use another route",
                });
                Err(Refused(refusals.collect()).into())
            }
            other => Ok(other?),
        };
        let made = self.output.emit(route, emit, |made| &made.notes)?;
        let output = self.output.folder()?;
        let folder = output.anew(&made.name)?;
        let mut contents = |content: &Sealed| Ok(std::io::Cursor::new(content.expose().to_vec()));
        let owners = rustix::process::geteuid().is_root();
        materialize(
            &made.tree,
            folder.dir(),
            &mut contents,
            &materialize_options(owners),
        )?;
        match self.image {
            true => image(&output, &folder, &made.name),
            false => Ok(()),
        }
    }
}

/// Puts a folder into a file system of its own. It may hold secrets, and the tool makes no private
/// files, so the file is there before.
fn image(output: &Folder, folder: &Folder, name: &str) -> Result<()> {
    const TOOL: &str = "mkfs.erofs";
    let part = format!(".{name}.raw.part");
    output.write(&part, b"")?;
    let made = std::process::Command::new(TOOL)
        // Times and the file system's own name would be others each time.
        .args(["-T0", "-U00000000-0000-0000-0000-000000000000"])
        .arg(output.path().join(&part))
        .arg(folder.path())
        .output()
        .with_context(|| format!("running {TOOL}, which --image needs (Debian: erofs-utils)"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        anyhow::bail!("{TOOL} failed: {}: {}", made.status, said.trim());
    }
    output.rename(&part, &format!("{name}.raw"))
}
