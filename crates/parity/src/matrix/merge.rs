//! The parts of a matrix become the whole again.

use std::collections::{BTreeMap, HashMap, HashSet};

use thiserror::Error;

use super::{Cell, Judged, MATRIX_FORMAT_VERSION, MatrixReport, Run};

/// Why reports are not the parts of one matrix. Reports are called what the caller calls them.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// There is nothing to merge.
    #[error("no report was given")]
    Nothing,
    /// A report has another format.
    #[error("{report}: its format_version is {found}, this program reads {MATRIX_FORMAT_VERSION}")]
    Format {
        /// The report.
        report: String,
        /// Its version.
        found: u32,
    },
    /// Two reports are of different matrices.
    #[error("{report} is of another matrix than {first}")]
    OtherMatrix {
        /// The first report.
        first: String,
        /// The one that differs.
        report: String,
    },
    /// A name meant different things when the parts ran: a tag moved, a file was changed.
    #[error("{name} is {ours} in {first}, and {theirs} in {report}")]
    OtherDigest {
        /// The name of an image or a document.
        name: String,
        /// The report that had it first.
        first: String,
        /// What it was there.
        ours: String,
        /// The report that differs.
        report: String,
        /// What it is there.
        theirs: String,
    },
    /// A cell is in two reports, or twice in one.
    #[error("the cell {cell} is in {first} and in {report}")]
    Doubled {
        /// The cell.
        cell: Box<Cell>,
        /// The report that had it first.
        first: String,
        /// The report that has it again.
        report: String,
    },
    /// A report has a cell that its matrix has not.
    #[error("{report}: the matrix has no cell {cell}")]
    Foreign {
        /// The cell.
        cell: Box<Cell>,
        /// The report.
        report: String,
    },
    /// Cells are in no report.
    #[error("missing, {} of {of} cells:\n{}", .cells.len(), lines(.cells))]
    Missing {
        /// All that are missing, in the order of the matrix.
        cells: Vec<Cell>,
        /// How many there should be.
        of: usize,
    },
}

fn lines(cells: &[Cell]) -> String {
    let lines: Vec<_> = cells.iter().map(|cell| format!("  {cell}")).collect();
    lines.join("\n")
}

/// Unites reports, each with its name, in whatever order they come. The result is the same in each.
///
/// # Errors
/// When they are not the parts of one matrix that make it whole, each cell once.
pub fn merge(reports: Vec<(String, MatrixReport)>) -> Result<MatrixReport, MergeError> {
    let Some((first, matrix)) = reports
        .first()
        .map(|(name, report)| (name.clone(), report.matrix.clone()))
    else {
        return Err(MergeError::Nothing);
    };
    let mut digests = BTreeMap::<String, (String, String)>::new();
    let mut found = HashMap::<Cell, (String, Judged)>::new();
    let mut runs = Vec::new();
    let cells = matrix.cells();
    let known: HashSet<&Cell> = cells.iter().collect();
    for (name, report) in reports {
        if report.format_version != MATRIX_FORMAT_VERSION {
            let found = report.format_version;
            return Err(MergeError::Format {
                report: name,
                found,
            });
        }
        if report.matrix != matrix {
            let report = name;
            return Err(MergeError::OtherMatrix { first, report });
        }
        for (of, theirs) in report.digests {
            let (first, ours) = digests
                .entry(of.clone())
                .or_insert_with(|| (name.clone(), theirs.clone()));
            if *ours != theirs {
                return Err(MergeError::OtherDigest {
                    name: of,
                    first: first.clone(),
                    ours: ours.clone(),
                    report: name,
                    theirs,
                });
            }
        }
        for judged in report.cells {
            let cell = judged.cell.clone();
            if !known.contains(&cell) {
                let cell = Box::new(cell);
                return Err(MergeError::Foreign { cell, report: name });
            }
            if let Some((first, _)) = found.get(&cell) {
                return Err(MergeError::Doubled {
                    cell: Box::new(cell),
                    first: first.clone(),
                    report: name,
                });
            }
            found.insert(cell, (name.clone(), judged));
        }
        runs.extend(report.runs);
    }
    let (mut whole, mut missing) = (Vec::new(), Vec::new());
    let of = cells.len();
    for cell in &cells {
        match found.remove(cell) {
            Some((_, judged)) => whole.push(judged),
            None => missing.push(cell.clone()),
        }
    }
    if !missing.is_empty() {
        let cells = missing;
        return Err(MergeError::Missing { cells, of });
    }
    runs.sort_by_cached_key(|run: &Run| {
        let mut images = matrix.images.iter();
        let mut customizations = matrix.customizations.iter();
        // Of one image and document there may be several runs; their subjects tell them apart.
        (
            images.position(|image| image.name == run.image),
            customizations.position(|name| *name == run.customization),
            run.subject.clone(),
        )
    });
    Ok(MatrixReport {
        format_version: MATRIX_FORMAT_VERSION,
        matrix,
        shard: None,
        digests: digests
            .into_iter()
            .map(|(name, (_, d))| (name, d))
            .collect(),
        runs,
        cells: whole,
    })
}
