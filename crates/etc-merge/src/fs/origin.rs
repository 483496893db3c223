//! Which of the three directories something is in.

use super::stat::Stat;
use crate::Sides;

/// How messages name the three directories.
pub(super) const SIDES: [&str; 3] = ["pristine", "current", "new"];

/// Which of the three directories something is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Pristine,
    Current,
    New,
}

impl Origin {
    pub(super) const ALL: [Self; 3] = [Self::Pristine, Self::Current, Self::New];

    pub(super) fn of<T>(self, sides: &Sides<T>) -> &T {
        match self {
            Self::Pristine => &sides.pristine,
            Self::Current => &sides.current,
            Self::New => &sides.new,
        }
    }

    pub(super) fn of_mut<T>(self, sides: &mut Sides<T>) -> &mut T {
        match self {
            Self::Pristine => &mut sides.pristine,
            Self::Current => &mut sides.current,
            Self::New => &mut sides.new,
        }
    }
}

/// The content of a regular file: where it is, and which of the contents at its path it equals.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// Its own side, except below a mount point of the current tree: there it is the pristine one.
    pub(super) origin: Origin,
    /// Boxed: directories and links have none.
    pub(super) stat: Box<Stat>,
    /// Contents of one path with the same number are the same.
    pub(super) class: u8,
}
