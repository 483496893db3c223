//! The kernel command line as a value.
//!
//! Reading follows the kernel's own tokenizer (`lib/cmdline.c`, `next_arg`): arguments part at white
//! space, a double quote hides white space until the next one, there is no escape, `-` and `_` are the
//! same in a key. What that tokenizer would read otherwise than it looks is an error here.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a kernel argument or command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelArgumentError {
    /// A quote is open at the end: what is appended later would become part of the value.
    #[error("kernel argument {0:?}: a double quote is not closed")]
    OpenQuote(String),
    /// A value with a double quote in it cannot be written: there is no escape.
    #[error("kernel argument {0:?}: a double quote cannot be escaped")]
    Quote(String),
    /// A control character other than white space.
    #[error("kernel argument {0:?}: holds a control character")]
    Control(String),
    /// The kernel takes the byte 0xA0 for white space, so it must stand in quotes.
    #[error(
        "kernel argument {0:?}: holds the byte 0xA0, which the kernel takes for white space, outside quotes"
    )]
    NoBreakSpace(String),
    /// No key, or none where one argument was expected.
    #[error("kernel argument {0:?}: has no key")]
    NoKey(String),
    /// More than one where one was expected, or white space in a key.
    #[error("kernel argument {0:?}: is more than one")]
    Several(String),
    /// What follows `--` is for init, not for the kernel.
    #[error("kernel command line {0:?}: `--` ends the kernel's arguments and is not supported")]
    InitArguments(String),
}

use KernelArgumentError as E;

/// One argument, as it stands on the command line.
///
/// Two arguments are equal if the kernel reads the same key and value from them: quotes that it drops,
/// and `-` against `_` in the key, make no difference.
#[derive(Debug, Clone)]
pub struct KernelArgument {
    raw: String,
}

impl KernelArgument {
    /// `key`, or `key=value`, quoted if the value holds white space.
    pub fn new(key: &str, value: Option<&str>) -> Result<Self, E> {
        let text = match value {
            None => key.to_owned(),
            Some(v) => format!("{key}={v}"),
        };
        if key.is_empty() || key.contains('=') {
            return Err(E::NoKey(text));
        }
        if text.contains('"') {
            return Err(E::Quote(text));
        }
        if key.bytes().any(is_space) {
            return Err(E::Several(text));
        }
        match value {
            Some(v) if v.bytes().any(is_space) => Self::from_str(&format!("{key}=\"{v}\"")),
            _ => Self::from_str(&text),
        }
    }

    /// As it stands on the command line.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// What stands before the first `=`.
    pub fn key(&self) -> &str {
        self.split().0
    }

    /// What stands after the first `=`, without the quotes around it; `None` for a bare flag.
    pub fn value(&self) -> Option<&str> {
        self.split().1
    }

    /// Whether the kernel takes `key` for this argument's.
    pub fn has_key(&self, key: &str) -> bool {
        canonical(self.key()).eq(canonical(key))
    }

    fn split(&self) -> (&str, Option<&str>) {
        let (text, quoted) = match self.raw.strip_prefix('"') {
            Some(rest) => (rest.strip_suffix('"').unwrap_or(rest), true),
            None => (self.raw.as_str(), false),
        };
        // The kernel does not take an `=` in front for the separator.
        match text.char_indices().find(|&(i, c)| c == '=' && i > 0) {
            None => (text, None),
            Some((i, _)) => {
                let value = &text[i + 1..];
                let value = match value.strip_prefix('"') {
                    Some(v) if quoted => v,
                    Some(v) => v.strip_suffix('"').unwrap_or(v),
                    None => value,
                };
                (&text[..i], Some(value))
            }
        }
    }
}

impl FromStr for KernelArgument {
    type Err = E;

    fn from_str(text: &str) -> Result<Self, E> {
        let mut all = KernelArguments::from_str(text)?.0.into_iter();
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(E::NoKey(text.into())),
            _ => Err(E::Several(text.into())),
        }
    }
}

impl fmt::Display for KernelArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl PartialEq for KernelArgument {
    fn eq(&self, other: &Self) -> bool {
        self.has_key(other.key()) && self.value() == other.value()
    }
}

impl Eq for KernelArgument {}

/// A kernel command line: arguments in order.
///
/// Equality ignores how arguments of different keys are interleaved, which no reader of the command
/// line sees, and keeps the order within a key, which every reader sees (the last `root=` wins, the last
/// `console=` is `/dev/console`).
#[derive(Debug, Clone, Default)]
pub struct KernelArguments(Vec<KernelArgument>);

impl KernelArguments {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &KernelArgument> + ExactSizeIterator {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a key in order; a bare flag has `None`.
    pub fn values<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = Option<&'a str>> {
        self.iter()
            .filter(move |a| a.has_key(key))
            .map(KernelArgument::value)
    }

    /// Whether an equal argument is there.
    pub fn contains(&self, argument: &KernelArgument) -> bool {
        self.0.contains(argument)
    }

    /// Add at the end, even if an equal one is there.
    pub fn append(&mut self, argument: KernelArgument) {
        self.0.push(argument);
    }

    /// Add at the end unless an equal one is there; says whether it was added.
    pub fn append_if_missing(&mut self, argument: KernelArgument) -> bool {
        let missing = !self.contains(&argument);
        if missing {
            self.append(argument);
        }
        missing
    }

    /// Add all of another command line at the end.
    pub fn extend(&mut self, other: &KernelArguments) {
        self.0.extend_from_slice(&other.0);
    }

    /// Remove all equal to this one; says how many.
    pub fn delete(&mut self, argument: &KernelArgument) -> usize {
        self.remove_where(|a| a == argument)
    }

    /// Remove the first that equals this one; says whether there was one.
    pub fn remove_first(&mut self, argument: &KernelArgument) -> bool {
        let place = self.0.iter().position(|a| a == argument);
        place.map(|place| self.0.remove(place)).is_some()
    }

    /// Remove all of a key; says how many.
    pub fn delete_key(&mut self, key: &str) -> usize {
        self.remove_where(|a| a.has_key(key))
    }

    /// Put this one where the first of its key stands, and remove the others of the key; at the end if
    /// there is none.
    pub fn replace(&mut self, argument: KernelArgument) {
        let place = self.0.iter().position(|a| a.has_key(argument.key()));
        self.delete_key(argument.key());
        self.0.insert(place.unwrap_or(self.0.len()), argument);
    }

    fn remove_where(&mut self, remove: impl Fn(&KernelArgument) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|a| !remove(a));
        before - self.0.len()
    }

    fn by_key(&self) -> Vec<(String, Vec<Option<&str>>)> {
        let mut keys = std::collections::BTreeMap::<String, Vec<_>>::new();
        for a in &self.0 {
            keys.entry(canonical(a.key()).collect())
                .or_default()
                .push(a.value());
        }
        keys.into_iter().collect()
    }
}

impl FromStr for KernelArguments {
    type Err = E;

    fn from_str(text: &str) -> Result<Self, E> {
        let mut all = Vec::new();
        let mut start = None;
        let mut in_quote = false;
        for (i, c) in text.char_indices() {
            let has = |byte| c.encode_utf8(&mut [0; 4]).bytes().any(|b| b == byte);
            match c {
                '"' => in_quote = !in_quote,
                _ if is_white(c) && !in_quote => {
                    if let Some(s) = start.take() {
                        all.push(argument(&text[s..i])?);
                    }
                    continue;
                }
                _ if c.is_ascii_control() && !is_white(c) => return Err(E::Control(text.into())),
                _ if has(0xA0) && !in_quote => return Err(E::NoBreakSpace(text.into())),
                _ => {}
            }
            start.get_or_insert(i);
        }
        if in_quote {
            return Err(E::OpenQuote(text.into()));
        }
        if let Some(s) = start {
            all.push(argument(&text[s..])?);
        }
        Ok(Self(all))
    }
}

fn argument(raw: &str) -> Result<KernelArgument, E> {
    let argument = KernelArgument { raw: raw.into() };
    match argument.key() {
        "" => Err(E::NoKey(raw.into())),
        "--" => Err(E::InitArguments(raw.into())),
        _ => Ok(argument),
    }
}

impl fmt::Display for KernelArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, a) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{a}")?;
        }
        Ok(())
    }
}

/// As a list of arguments.
impl serde::Serialize for KernelArguments {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(KernelArgument::as_str))
    }
}

impl<'de> serde::Deserialize<'de> for KernelArguments {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let parse = |text: String| text.parse().map_err(serde::de::Error::custom);
        texts.into_iter().map(parse).collect()
    }
}

impl PartialEq for KernelArguments {
    fn eq(&self, other: &Self) -> bool {
        self.by_key() == other.by_key()
    }
}

impl Eq for KernelArguments {}

impl FromIterator<KernelArgument> for KernelArguments {
    fn from_iter<I: IntoIterator<Item = KernelArgument>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

fn canonical(key: &str) -> impl Iterator<Item = char> + '_ {
    key.chars().map(|c| if c == '-' { '_' } else { c })
}

/// The kernel's `isspace`, of ASCII.
fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The kernel's `isspace`, of bytes: Latin-1's no-break space is one.
fn is_space(b: u8) -> bool {
    is_white(b.into()) || b == 0xA0
}
