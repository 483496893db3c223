//! `pleach report`: all that is known of a release, on one page. The other forms of a report are here
//! too; each is a function from a value to text.

mod html;
pub(crate) mod junit;
mod origins;
pub(crate) mod sarif;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pleach_image_lint::{PAIR_FORMAT_VERSION, Pair};
use pleach_parity::{
    Cell, FORMAT_VERSION, Judged, MATRIX_FORMAT_VERSION, Matrix, MatrixImage, MatrixReport,
    Outcome, Run,
};

use super::config::Document;
use super::exit::End;
use super::fetch::Source;
use super::judge::{Asking, Judging, judge};

/// Write one HTML page for a release: what the image is, what is wrong with it, whether its routes
/// come to the same, what an upgrade does to machines, and where each customized path is from.
///
/// The page needs no network, no script and no other file. It stays under 2 MB: what does not fit is
/// counted, and is in the reports that it was made of.
#[derive(Args)]
pub(crate) struct Report {
    /// The image, or rootfs:DIR, the root of a system in a directory.
    image: String,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// A report.json of `pleach parity`, of its matrix, or of its merge; may be given again.
    #[arg(long, value_name = "FILE")]
    parity: Vec<PathBuf>,
    /// What `pleach diff --format json` printed, with the merge of /etc if it was given a machine.
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// The document, Butane YAML or Ignition JSON, of whose paths the origin is told.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where local files and trees of the document are looked for.
    #[arg(long, value_name = "DIR", requires = "config")]
    files_dir: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    judging: Judging,
    #[command(flatten)]
    source: Source,
}

impl Report {
    pub(crate) fn run(&self) -> Result<End> {
        let policy = self.asking.policy()?;
        let parity = self.parity.iter().map(|path| read_matrix(path));
        let parity = parity.collect::<Result<Vec<_>>>()?;
        let diff = self.diff.as_deref().map(read_pair).transpose()?;
        let customization = self.config.as_ref().map(|config| {
            let document = Document {
                config: config.clone(),
                files_dir: self.files_dir.clone(),
                strict: false,
            };
            document.read()
        });
        let customization = customization.transpose()?;
        let judged = judge(&self.image, &self.source, &self.judging, &policy)?;
        let origins = match (&customization, &judged.image) {
            (None, _) => Vec::new(),
            (Some(customization), Some((image, index))) => {
                let layers = image.image().layers().iter();
                let layers: Vec<_> = layers.map(|layer| layer.digest.to_string()).collect();
                origins::of_image(customization, index, &layers)
            }
            (Some(customization), None) => origins::of_document(customization),
        };
        let page = html::page(&html::Release {
            name: &judged.name,
            lint: &judged.report,
            parity: &parity,
            diff: diff.as_ref(),
            origins: &origins,
        });
        std::fs::write(&self.output, page)
            .with_context(|| format!("writing {}", self.output.display()))?;
        Ok(End::Fine)
    }
}

fn read_json(path: &Path) -> Result<serde_json::Value> {
    let reading = || format!("reading {}", path.display());
    let bytes = std::fs::read(path).with_context(reading)?;
    serde_json::from_slice(&bytes).with_context(reading)
}

fn of_version(value: &serde_json::Value, version: u32, path: &Path) -> Result<()> {
    let found = &value["format_version"];
    if *found != version {
        bail!(
            "{}: its format_version is {found}, this program reads {version}",
            path.display()
        );
    }
    Ok(())
}

fn read_pair(path: &Path) -> Result<Pair> {
    let value = read_json(path)?;
    of_version(&value, PAIR_FORMAT_VERSION, path)?;
    serde_json::from_value(value).with_context(|| format!("reading {}", path.display()))
}

/// Reads the report of a matrix; that of one image and one document is a small one.
pub(crate) fn read_matrix(path: &Path) -> Result<MatrixReport> {
    let value = read_json(path)?;
    let reading = || format!("reading {}", path.display());
    if value.get("matrix").is_some() {
        of_version(&value, MATRIX_FORMAT_VERSION, path)?;
        return serde_json::from_value(value).with_context(reading);
    }
    of_version(&value, FORMAT_VERSION, path)?;
    let report: pleach_parity::Report = serde_json::from_value(value).with_context(reading)?;
    Ok(matrix_of(report))
}

fn matrix_of(report: pleach_parity::Report) -> MatrixReport {
    let pleach_parity::Report {
        subject,
        control,
        verdicts,
        not_compared,
        ..
    } = report;
    let name = |key: &str| subject.get(key).cloned().unwrap_or_default();
    let (image, customization) = (name("base"), name("customization"));
    let routes = verdicts
        .iter()
        .flat_map(|verdict| [verdict.left, verdict.right]);
    let matrix = Matrix {
        images: vec![MatrixImage {
            name: image.clone(),
            upgrade: subject.get("upgrade").cloned(),
        }],
        customizations: vec![customization.clone()],
        routes: routes.collect(),
        moments: verdicts.iter().map(|verdict| verdict.moment).collect(),
        booted: control.is_some(),
    }
    .normal();
    let cells = matrix.cells().into_iter().map(|cell| {
        let of = |verdict: &&pleach_parity::Verdict| {
            (verdict.left, verdict.right, verdict.moment) == (cell.left, cell.right, cell.moment)
        };
        let outcome = match verdicts.iter().find(of) {
            Some(verdict) => Outcome::Verdict(Box::new(verdict.clone())),
            None => Outcome::NotCompared(why(&cell, &not_compared)),
        };
        Judged { cell, outcome }
    });
    MatrixReport {
        format_version: MATRIX_FORMAT_VERSION,
        shard: None,
        digests: Default::default(),
        cells: cells.collect(),
        matrix,
        runs: vec![Run {
            image,
            customization,
            subject,
            control,
            failed_checks: Vec::new(),
        }],
    }
}

fn why(cell: &Cell, not_compared: &std::collections::BTreeMap<String, String>) -> String {
    let names = [cell.left, cell.right]
        .map(|route| [format!("{route} at {}", cell.moment), route.to_string()]);
    let why = names
        .iter()
        .flatten()
        .find_map(|name| not_compared.get(name));
    why.map_or_else(|| "the report has no verdict".to_owned(), String::clone)
}
