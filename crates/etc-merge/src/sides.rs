//! The three sides of a merge.

use std::fmt;

/// One thing for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides<T> {
    /// What the image that runs now shipped (`/usr/etc` of the booted deployment).
    pub pristine: T,
    /// What the machine has (its live `/etc`).
    pub current: T,
    /// What the next image ships.
    pub new: T,
}

impl<T> Sides<T> {
    /// Applies `f` to each side.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Sides<U> {
        Sides {
            pristine: f(self.pristine),
            current: f(self.current),
            new: f(self.new),
        }
    }

    /// Pairs each side with the same side of `other`.
    pub fn zip<U>(self, other: Sides<U>) -> Sides<(T, U)> {
        Sides {
            pristine: (self.pristine, other.pristine),
            current: (self.current, other.current),
            new: (self.new, other.new),
        }
    }

    /// The three sides by reference.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides {
            pristine: &self.pristine,
            current: &self.current,
            new: &self.new,
        }
    }
}

/// One of the two sides that a merge chooses between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The machine's: [`Sides::current`].
    Local,
    /// The next image's: [`Sides::new`].
    Image,
}

impl Side {
    /// The side that was not chosen.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Image,
            Self::Image => Self::Local,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Image => "image",
        })
    }
}

/// Which of the three pairs are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Same {
    pub(crate) pristine_current: bool,
    pub(crate) pristine_new: bool,
    pub(crate) current_new: bool,
}

impl Same {
    pub(crate) fn of<T: Copy>(sides: Sides<T>, same: impl Fn(T, T) -> bool) -> Self {
        Self {
            pristine_current: same(sides.pristine, sides.current),
            pristine_new: same(sides.pristine, sides.new),
            current_new: same(sides.current, sides.new),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            pristine_current: self.pristine_current && other.pristine_current,
            pristine_new: self.pristine_new && other.pristine_new,
            current_new: self.current_new && other.current_new,
        }
    }

    pub(crate) fn all(self) -> bool {
        self.pristine_current && self.pristine_new && self.current_new
    }
}
