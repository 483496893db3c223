//! Values that must never be printed.

use std::fmt;

/// A password hash, or another text that must not reach a log, a report or a layer by accident.
///
/// `Debug` says only that it is there; there is no `Display`. Whoever needs the text says so with
/// [`Secret::expose`], so every use can be found by searching for that name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that writes it where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
