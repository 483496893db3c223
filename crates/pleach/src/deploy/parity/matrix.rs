//! `pleach parity matrix`: many images and documents, or one part of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pleach_customization::{Customization, carried};
use pleach_parity::{
    Cell, Judged, MATRIX_FORMAT_VERSION, Matrix, MatrixImage, MatrixReport, Moment, Outcome, Route,
    Run, Shard,
};

use super::format::{ParityFormat, print_matrix};
use super::moments::Timeline;
use super::routes::{Findings, Work, replace};
use crate::boot::BootOptions;
use crate::cli::config::Document;
use crate::cli::derive::Placing;
use crate::cli::exit::{End, Usage};
use crate::cli::fetch::Source;
use crate::cli::image;
use crate::cli::output;
use crate::files;

/// Compare every image with every document, by every pair of routes, at every moment; or a part of
/// that.
///
/// With --shard K/N only the K-th of N parts is run. The parts are disjoint and together the whole,
/// whoever runs them: `pleach parity merge` puts their reports together. Exit code 1 if there is a
/// defect or something could not be compared that should be.
#[derive(Args)]
pub(crate) struct MatrixVerb {
    /// A base image; may be given again.
    #[arg(long, value_name = "IMAGE", required = true)]
    base: Vec<String>,
    /// The image that an upgrade brings: one for all base images, or one for each in their order.
    #[arg(long, value_name = "IMAGE")]
    upgrade: Vec<String>,
    /// A document, Butane YAML or Ignition JSON; may be given again.
    #[arg(long, value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
    /// Where local files and trees of the documents are looked for.
    #[arg(long, value_name = "DIR")]
    files_dir: Option<PathBuf>,
    /// Take the documents' warnings for errors.
    #[arg(long)]
    strict: bool,
    /// The routes, every pair of which is compared. `split` is compared at t0 alone.
    #[arg(long, value_delimiter = ',', default_value = "derive,etc")]
    routes: Vec<Route>,
    /// The moments; later ones than t0 need --upgrade.
    #[arg(long, value_delimiter = ',', default_value = "t0")]
    at: Vec<Moment>,
    /// Run only this part.
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// Print the cells, and run nothing.
    #[arg(long)]
    list: bool,
    /// Boot them. Each image with each document boots its base image twice besides, as a control.
    #[arg(long)]
    boot: bool,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    booting: BootOptions,
    #[command(flatten)]
    source: Source,
    /// Where report.json and report.txt are written, and what boots leave; replaced if it is there.
    #[arg(long, value_name = "DIR", default_value = "pleach-parity")]
    output: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: ParityFormat,
}

impl MatrixVerb {
    pub(crate) fn run(&self) -> Result<End> {
        let matrix = self.matrix()?;
        let all = matrix.cells();
        let cells = match self.shard {
            Some(shard) => shard.of(&all),
            None => &all,
        };
        if self.list {
            let lines: String = cells.iter().map(|cell| format!("{cell}\n")).collect();
            output::print(&lines)?;
            return Ok(End::Fine);
        }
        image::require_root("parity")?;
        replace(&self.output)?;
        let mut report = MatrixReport {
            format_version: MATRIX_FORMAT_VERSION,
            shard: self.shard,
            digests: BTreeMap::new(),
            runs: Vec::new(),
            cells: Vec::new(),
            matrix,
        };
        let same = |a: &Cell, b: &Cell| a.image == b.image && a.customization == b.customization;
        for (number, group) in cells.chunk_by(same).enumerate() {
            self.group(group, number, &mut report)?;
        }
        let write =
            |name: &str, text: String| files::write(&self.output.join(name), text.as_bytes());
        write("report.json", report.to_json())?;
        write("report.txt", report.to_string())?;
        print_matrix(&report, self.format)?;
        Ok(match report.is_equal() {
            true => End::Fine,
            false => End::Differs,
        })
    }

    fn matrix(&self) -> Result<Matrix> {
        let upgrades = match self.upgrade.len() {
            0 => vec![None; self.base.len()],
            1 => vec![self.upgrade.first().cloned(); self.base.len()],
            n if n == self.base.len() => self.upgrade.iter().cloned().map(Some).collect(),
            n => bail!(Usage::new(format!(
                "--upgrade is given {n} times for {} base images: give it once, or once for each",
                self.base.len()
            ))),
        };
        let images = self.base.iter().zip(upgrades);
        let customizations = self.config.iter().map(|path| path.display().to_string());
        let matrix = Matrix {
            images: images
                .map(|(name, upgrade)| MatrixImage {
                    name: name.clone(),
                    upgrade,
                })
                .collect(),
            customizations: customizations.collect(),
            routes: self.routes.clone(),
            moments: self.at.clone(),
            booted: self.boot,
        }
        .normal();
        if matrix.routes.len() < 2 {
            bail!(Usage::new("--routes needs at least two routes"));
        }
        if !self.boot
            && let Some(route) = matrix.routes.iter().find(|r| !r.is_composed())
        {
            bail!(Usage::new(format!(
                "{route} customizes at first boot: compare it with --boot"
            )));
        }
        let later = matrix.moments.iter().any(|moment| *moment > Moment::First);
        if later && matrix.images.iter().any(|image| image.upgrade.is_none()) {
            bail!(Usage::new("a later moment than t0 needs --upgrade"));
        }
        Ok(matrix)
    }

    /// The cells of one image and one document. What cannot be is what came of them: the others go on.
    fn group(&self, cells: &[Cell], number: usize, report: &mut MatrixReport) -> Result<()> {
        let Some(first) = cells.first() else {
            return Ok(());
        };
        let (image, customization) = (first.image.clone(), first.customization.clone());
        output::step(&format!("{image}, {customization}: {} cells", cells.len()));
        let folder = self.output.join(format!("run-{number}"));
        let mut refused = BTreeMap::new();
        let found = self.judge(cells, &folder, &mut refused, report);
        let outcome: Box<dyn Fn(&Cell) -> Outcome> = match found {
            Err(error) => {
                let why = format!("{error:#}");
                Box::new(move |_| Outcome::Failed(why.clone()))
            }
            Ok(None) => Box::new(|_| Outcome::Failed("no verdict".to_owned())),
            Ok(Some(found)) => {
                let Findings {
                    control,
                    verdicts,
                    not_compared,
                    subject,
                    failed_checks,
                } = found;
                report.runs.push(Run {
                    image,
                    customization,
                    subject,
                    control,
                    failed_checks,
                });
                Box::new(move |cell| outcome(cell, &verdicts, &not_compared))
            }
        };
        for cell in cells {
            let because = [cell.left, cell.right].iter().find_map(|r| refused.get(r));
            let outcome = match because {
                Some(why) => Outcome::NotCompared(String::clone(why)),
                None => early(cell).unwrap_or_else(|| outcome(cell)),
            };
            report.cells.push(Judged {
                cell: cell.clone(),
                outcome,
            });
        }
        // Of what was only composed the report says all; what machines left is evidence.
        if !self.boot {
            files::remove(&folder)?;
        }
        Ok(())
    }

    /// Runs what the cells need; none if all their routes refuse the document.
    fn judge(
        &self,
        cells: &[Cell],
        folder: &Path,
        refused: &mut BTreeMap<Route, String>,
        report: &mut MatrixReport,
    ) -> Result<Option<Findings>> {
        let first = cells.first().context("a group has cells")?;
        let document = Document {
            config: PathBuf::from(&first.customization),
            files_dir: self.files_dir.clone(),
            strict: self.strict,
        };
        let customization = document.read()?;
        report
            .digests
            .insert(first.customization.clone(), customization.digest.clone());
        let open = |name: &str| image::open(name, &self.source);
        let base = open(&first.image)?;
        report.digests.insert(first.image.clone(), base.digest());
        let upgrade = report.matrix.images.iter().find(|i| i.name == first.image);
        let upgrade = upgrade.and_then(|image| image.upgrade.as_deref());
        let upgrade = upgrade.map(open).transpose()?;
        if let Some(upgrade) = &upgrade {
            let name = upgrade.reference().to_owned();
            report.digests.insert(name, upgrade.digest());
        }
        let runnable = cells.iter().filter(|cell| early(cell).is_none());
        let mut routes: Vec<Route> = runnable.clone().flat_map(|c| [c.left, c.right]).collect();
        routes.sort();
        routes.dedup();
        let mut published = customization.clone();
        self.placing.publish(&mut published)?;
        routes.retain(|&route| match refusal(route, &customization, &published) {
            Some(why) => {
                refused.insert(route, why);
                false
            }
            None => true,
        });
        let kept = |cell: &&Cell| routes.contains(&cell.left) && routes.contains(&cell.right);
        let mut moments: Vec<_> = runnable.filter(kept).map(|cell| cell.moment).collect();
        moments.sort();
        moments.dedup();
        if moments.is_empty() {
            return Ok(None);
        }
        let time = Timeline {
            moments,
            upgrade,
            document: document.config.clone(),
        };
        let work = Work::prepare(
            &first.image,
            &document,
            &self.placing,
            &self.source,
            folder,
            &routes,
            time,
        )?;
        let found = match self.boot {
            true => work.booted(&self.booting, None, false),
            false => work.composed(),
        };
        found.map(Some)
    }
}

/// Why a route cannot carry a document; `published` is the document as a layer may have it.
fn refusal(
    route: Route,
    customization: &Customization,
    published: &Customization,
) -> Option<String> {
    use pleach_customization::Route as Way;
    let (customization, way) = match route {
        Route::Derive => (published, Way::Derive),
        Route::Etc => (customization, Way::Etc),
        Route::Ignition => (customization, Way::Ignition),
        Route::CloudInit => (customization, Way::CloudInit),
        Route::Credentials => (customization, Way::Credentials),
        // What a layer cannot hold is left to the other half.
        _ => return None,
    };
    let refused = carried(customization, way).err()?;
    Some(format!("{route} does not carry the document: {refused}"))
}

/// Cells of which it is known beforehand that nothing can be compared.
fn early(cell: &Cell) -> Option<Outcome> {
    let split = [cell.left, cell.right].contains(&Route::Split);
    (split && cell.moment > Moment::First).then(|| {
        let why =
            "split is compared after the first boot only: nothing upgrades its two halves together";
        Outcome::NotCompared(why.to_owned())
    })
}

fn outcome(
    cell: &Cell,
    verdicts: &[pleach_parity::Verdict],
    not_compared: &BTreeMap<String, String>,
) -> Outcome {
    let (left, right, moment) = (cell.left, cell.right, cell.moment);
    let of = |verdict: &&pleach_parity::Verdict| {
        verdict.left == left && verdict.right == right && verdict.moment == moment
    };
    if let Some(verdict) = verdicts.iter().find(of) {
        return Outcome::Verdict(Box::new(verdict.clone()));
    }
    let names = [left, right].map(|route| [format!("{route} at {moment}"), route.to_string()]);
    let why = names
        .iter()
        .flatten()
        .find_map(|name| not_compared.get(name));
    match why {
        Some(why) => Outcome::NotCompared(why.clone()),
        None => Outcome::Failed("no verdict".to_owned()),
    }
}
