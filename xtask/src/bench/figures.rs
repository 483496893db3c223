//! Medians, and how far the rest lies from them.

use std::fmt;

/// The median of some figures, with the least and the greatest. Prints as `2.00 (1.00 … 3.00)`, with
/// as many decimals as the format asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of no figures, all three are not a number.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        Self {
            min: at(0),
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            max: at(last),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, median, max } = self;
        let decimals = f.precision().unwrap_or(2);
        write!(
            f,
            "{median:.decimals$} ({min:.decimals$} … {max:.decimals$})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        let check = |figures: &[f64], expected: &str| {
            let spread = Spread::of(figures.iter().copied());
            assert_eq!(format!("{spread:.1}"), expected, "{figures:?}");
        };
        check(&[3.0], "3.0 (3.0 … 3.0)");
        check(&[3.0, 1.0], "2.0 (1.0 … 3.0)");
        check(&[9.0, -1.0, 2.0], "2.0 (-1.0 … 9.0)");
        check(&[4.0, 1.0, 2.0, 9.0], "3.0 (1.0 … 9.0)");
        check(&[], "NaN (NaN … NaN)");
    }
}
