//! Verdicts in a table's cells, with each reason once below the table.

use pleach_customization::Verdict;

/// The reasons so far, in the order in which they came.
#[derive(Default)]
pub(crate) struct Reasons(Vec<String>);

impl Reasons {
    /// `yes`, `other 3` or `no 4`: carried, carried differently, refused; the number is a reason's.
    pub(crate) fn cell(&mut self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Carried => "yes".to_owned(),
            Verdict::CarriedDifferently { how, why } => {
                format!("other {}", self.number(format!("{how}: {why}")))
            }
            Verdict::Refused { why, instead } => {
                format!("no {}", self.number(format!("{why}; {instead}")))
            }
        }
    }

    fn number(&mut self, reason: String) -> usize {
        let known = self.0.iter().position(|known| *known == reason);
        1 + known.unwrap_or_else(|| {
            self.0.push(reason);
            self.0.len() - 1
        })
    }

    /// The reasons, the first of which is number 1.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
