//! Globs over paths of a tree.

use std::fmt;

use pleach_fs_tree::{TreePath, escape};

use crate::Error;

/// A glob for paths below `/etc`: `*`, `?` and `[a-z]`, `[!a-z]` within one component, `**` as a
/// component for any number of them (at the end: at least one), `\` before a character that is meant
/// as such. It works on bytes. What matches a directory covers all that is below it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<[u8]>,
    components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Component {
    Any,
    One(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyByte,
    AnyBytes,
    Set {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Pattern {
    /// Reads a pattern; a leading slash means nothing.
    ///
    /// # Errors
    /// [`Error::Pattern`] for an empty pattern or component, `.` and `..`, a set without an end and
    /// a backslash at the end.
    pub fn new(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        let text = text.as_ref();
        let bad = |what| Error::Pattern {
            pattern: escape(text),
            what,
        };
        let relative = text.strip_prefix(b"/").unwrap_or(text);
        let components = relative
            .split(|&b| b == b'/')
            .map(|component| match component {
                b"" => Err(bad("an empty component")),
                b"." | b".." => Err(bad("a component . or ..")),
                b"**" => Ok(Component::Any),
                _ => tokens(component).map(Component::One).map_err(bad),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            components,
        })
    }

    /// The pattern of exactly this path, and of what is below it; `None` for the root, which no
    /// pattern matches.
    pub fn literal(path: &TreePath) -> Option<Self> {
        let mut text = Vec::new();
        for &byte in path.as_bytes() {
            if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        Self::new(text).ok()
    }

    /// Whether the pattern matches the path or a directory above it. It never matches the root.
    pub fn covers(&self, path: &TreePath) -> bool {
        // The positions in the pattern at which the components so far may have ended.
        let mut at = vec![false; self.components.len()];
        at[0] = true;
        for name in path.components() {
            let mut next = vec![false; at.len()];
            for (i, component) in self.components.iter().enumerate() {
                let last = i + 1 == self.components.len();
                match component {
                    _ if !at[i] => {}
                    Component::Any if last => return true,
                    Component::Any => {
                        next[i] = true;
                        at[i + 1] = true;
                    }
                    Component::One(tokens) if matches(tokens, name) => {
                        if last {
                            return true;
                        }
                        next[i + 1] = true;
                    }
                    Component::One(_) => {}
                }
            }
            at = next;
        }
        false
    }
}

fn tokens(component: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut out = Vec::new();
    let mut rest = component;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        out.push(match byte {
            b'*' => Token::AnyBytes,
            b'?' => Token::AnyByte,
            b'\\' => {
                let (&byte, tail) = rest.split_first().ok_or("a backslash at the end")?;
                rest = tail;
                Token::Byte(byte)
            }
            b'[' => {
                // A `]` that comes first is meant as such.
                let from = usize::from(rest.first() == Some(&b'!'));
                let end = rest.iter().skip(from + 1).position(|&b| b == b']');
                let end = end.ok_or("a set without an end")? + from + 1;
                let ranges = ranges(&rest[from..end]);
                rest = &rest[end + 1..];
                Token::Set {
                    negated: from == 1,
                    ranges,
                }
            }
            byte => Token::Byte(byte),
        });
    }
    Ok(out)
}

fn ranges(mut set: &[u8]) -> Vec<(u8, u8)> {
    let mut out = Vec::new();
    loop {
        set = match set {
            [] => return out,
            [from, b'-', to, tail @ ..] => {
                out.push((*from, *to));
                tail
            }
            [byte, tail @ ..] => {
                out.push((*byte, *byte));
                tail
            }
        };
    }
}

fn matches(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut byte) = (0, 0);
    // Where to go on if it does not match: the last `*` takes one byte more.
    let mut retry = None;
    while byte < name.len() {
        let fits = match tokens.get(token) {
            Some(Token::AnyBytes) => {
                retry = Some((token, byte));
                token += 1;
                continue;
            }
            Some(Token::AnyByte) => true,
            Some(Token::Byte(wanted)) => *wanted == name[byte],
            Some(Token::Set { negated, ranges }) => {
                let within = ranges.iter().any(|&(a, z)| (a..=z).contains(&name[byte]));
                within != *negated
            }
            None => false,
        };
        if fits {
            token += 1;
            byte += 1;
            continue;
        }
        let Some((star, from)) = retry else {
            return false;
        };
        retry = Some((star, from + 1));
        token = star + 1;
        byte = from + 1;
    }
    tokens[token..].iter().all(|t| *t == Token::AnyBytes)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.text))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.text))
    }
}
