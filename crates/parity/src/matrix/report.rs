//! What came of a matrix, or of a part of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cell, Matrix, Shard};
use crate::{Control, Verdict};

/// The version of the JSON form.
pub const MATRIX_FORMAT_VERSION: u32 = 1;

/// What one process found, or all of them together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MatrixReport {
    /// [`MATRIX_FORMAT_VERSION`].
    pub format_version: u32,
    /// The whole matrix.
    pub matrix: Matrix,
    /// The part that this is of it; none where it is the whole.
    pub shard: Option<Shard>,
    /// What each name of an image or a document meant: a digest.
    pub digests: BTreeMap<String, String>,
    /// What was run for the cells.
    pub runs: Vec<Run>,
    /// The cells, in the order of the matrix.
    pub cells: Vec<Judged>,
}

/// One base image with one document, on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// The base image, as it was named.
    pub image: String,
    /// The document, as it was named.
    pub customization: String,
    /// What was compared, and on what: image and digest, document and digest, accelerator.
    pub subject: BTreeMap<String, String>,
    /// The A/A control; none where nothing was booted.
    pub control: Option<Control>,
    /// What a check in the guests found not to be as it should.
    pub failed_checks: Vec<String>,
}

/// A cell with what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Judged {
    /// Which.
    #[serde(flatten)]
    pub cell: Cell,
    /// What.
    pub outcome: Outcome,
}

/// What came of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The two systems were compared.
    Verdict(Box<Verdict>),
    /// There is nothing to compare, for this reason: a route does not carry the document, or does
    /// not come to the moment.
    NotCompared(String),
    /// It was to be compared, and could not be.
    Failed(String),
}

impl Outcome {
    /// Whether the cell is as it should be.
    pub fn is_fine(&self) -> bool {
        match self {
            Self::Verdict(verdict) => verdict.is_equal(),
            Self::NotCompared(_) => true,
            Self::Failed(_) => false,
        }
    }

    /// In one or two words.
    pub fn summary(&self) -> String {
        match self {
            Self::Verdict(verdict) => match verdict.defects.len() {
                0 => "equal".to_owned(),
                1 => "1 defect".to_owned(),
                n => format!("{n} defects"),
            },
            Self::NotCompared(_) => "not compared".to_owned(),
            Self::Failed(_) => "failed".to_owned(),
        }
    }
}

impl MatrixReport {
    /// Whether every cell is as it should be, something was compared, and every control is sound. A
    /// part without cells is: another one has them.
    pub fn is_equal(&self) -> bool {
        let compared = |judged: &Judged| matches!(judged.outcome, Outcome::Verdict(_));
        let sound = |run: &Run| {
            run.failed_checks.is_empty() && run.control.as_ref().is_none_or(Control::is_sound)
        };
        self.cells.iter().all(|judged| judged.outcome.is_fine())
            && self.runs.iter().all(sound)
            && (self.shard.is_some() || self.cells.iter().any(compared))
    }

    /// How many defects there are in all.
    pub fn defects(&self) -> usize {
        let counts = self.cells.iter().map(|judged| match &judged.outcome {
            Outcome::Verdict(verdict) => verdict.defects.len(),
            _ => 0,
        });
        counts.sum()
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("maps have string keys") + "\n"
    }
}

/// For people: a line for each cell, what is wrong below it, and a summary.
impl fmt::Display for MatrixReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Judged { cell, outcome } in &self.cells {
            writeln!(f, "{cell}: {}", outcome.summary())?;
            match outcome {
                Outcome::Verdict(verdict) => {
                    for defect in &verdict.defects {
                        writeln!(f, "    {defect}")?;
                    }
                }
                Outcome::NotCompared(why) | Outcome::Failed(why) => {
                    for line in why.lines() {
                        writeln!(f, "    {line}")?;
                    }
                }
            }
        }
        for run in &self.runs {
            let Run {
                image,
                customization,
                ..
            } = run;
            if run
                .control
                .as_ref()
                .is_some_and(|control| !control.is_sound())
            {
                writeln!(f, "{image}, {customization}: the A/A control is not sound")?;
            }
            for check in &run.failed_checks {
                writeln!(f, "{image}, {customization}: {check}")?;
            }
        }
        let count = |wanted: fn(&Outcome) -> bool| {
            let cells = self.cells.iter();
            cells.filter(|judged| wanted(&judged.outcome)).count()
        };
        if let Some(shard) = self.shard {
            write!(f, "shard {shard}: ")?;
        }
        writeln!(
            f,
            "{} cells: {} equal, {} with defects, {} not compared, {} failed",
            self.cells.len(),
            count(|outcome| matches!(outcome, Outcome::Verdict(v) if v.is_equal())),
            count(|outcome| matches!(outcome, Outcome::Verdict(v) if !v.is_equal())),
            count(|outcome| matches!(outcome, Outcome::NotCompared(_))),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
        )
    }
}
