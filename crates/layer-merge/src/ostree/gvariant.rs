//! Serialized GVariant values, as far as ostree's objects need them.
//!
//! The format is that of the "GVariant Specification" (GLib documentation): members are aligned, and
//! the ends of those of variable size stand behind them, in as few bytes as the whole needs.

/// A tuple or an array that is being put together.
#[derive(Debug, Default)]
pub(super) struct Container {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Whether the last member is of variable size.
    open: bool,
}

impl Container {
    /// A member of fixed size, aligned to it.
    pub(super) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.align(bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.open = false;
        self
    }

    /// A member of variable size.
    pub(super) fn variable(mut self, bytes: &[u8], alignment: usize) -> Self {
        self.align(alignment);
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.open = true;
        self
    }

    fn align(&mut self, alignment: usize) {
        let length = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(length, 0);
    }

    /// The members were those of an array: all ends, in their order.
    pub(super) fn array(self) -> Vec<u8> {
        finish(self.bytes, self.ends.iter().copied())
    }

    /// The members were those of a tuple with a member of variable size: the ends backwards, without
    /// that of the last member, which is the end of the tuple.
    pub(super) fn tuple(mut self) -> Vec<u8> {
        if self.open {
            self.ends.pop();
        }
        finish(self.bytes, self.ends.iter().rev().copied())
    }
}

fn finish(mut bytes: Vec<u8>, ends: impl ExactSizeIterator<Item = usize>) -> Vec<u8> {
    let (length, count) = (bytes.len() as u64, ends.len() as u64);
    let width = [1, 2, 4, 8].into_iter().find(|&width: &u64| {
        let whole = length + count * width;
        width == 8 || whole < 1 << (8 * width)
    });
    let width = usize::try_from(width.expect("eight bytes are enough")).expect("small");
    for end in ends {
        bytes.extend_from_slice(&(end as u64).to_le_bytes()[..width]);
    }
    bytes
}

/// `s`.
pub(super) fn string(text: &[u8]) -> Vec<u8> {
    [text, b"\0"].concat()
}

/// A value of the dictionary of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `s`; without a NUL character.
    Text(String),
    /// `as`; without NUL characters.
    List(Vec<String>),
}

impl Value {
    /// As a variant, `v`.
    fn variant(&self) -> Vec<u8> {
        let (value, kind) = match self {
            Self::Bool(value) => (vec![u8::from(*value)], "b"),
            Self::Text(text) => (string(text.as_bytes()), "s"),
            Self::List(texts) => {
                let list = texts.iter().fold(Container::default(), |list, text| {
                    list.variable(&string(text.as_bytes()), 1)
                });
                (list.array(), "as")
            }
        };
        [&*value, b"\0", kind.as_bytes()].concat()
    }

    /// Whether it has no NUL character, which would end a string early.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Bool(_) => true,
            Self::Text(text) => !text.contains('\0'),
            Self::List(texts) => texts.iter().all(|text| !text.contains('\0')),
        }
    }
}

/// `a{sv}`, aligned to 8.
pub(super) fn dictionary<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a Value)>,
) -> Vec<u8> {
    let entries = entries.into_iter().map(|(key, value)| {
        Container::default()
            .variable(&string(key.as_bytes()), 1)
            .variable(&value.variant(), 8)
            .tuple()
    });
    entries
        .fold(Container::default(), |all, entry| all.variable(&entry, 8))
        .array()
}
