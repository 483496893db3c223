//! Text to a tree of values that know their place. Two readers, one tree.

pub(crate) mod json;
mod scalar;
pub(crate) mod yaml;

pub(crate) use scalar::IntError;

/// Line and column, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value, not yet held to a type: what a plain YAML scalar means depends on who asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    /// JSON's `true` and `false`.
    Bool(bool),
    /// A JSON number, as written.
    Number(String),
    /// A YAML scalar without quotes, as written.
    Plain(String),
    /// A string: JSON's, or a quoted or block scalar of YAML.
    Text(String),
    List(Vec<Node>),
    /// Keys are unique; each has its own place.
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// For messages: what is there instead of what was expected.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Plain(_) => "a plain value",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Whether it asks for nothing: null, or a list or mapping of such.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.iter().all(|(_, _, node)| node.is_empty()),
            _ => false,
        }
    }
}

/// A finding about the text, before any of it has a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
    /// Document path of the value that it is about.
    pub(crate) path: String,
}

impl Fault {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            help: None,
            path: "$".into(),
        }
    }
}

/// What a reader may take: a document that is larger is an error, not a long wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) nodes: usize,
    pub(crate) depth: usize,
    pub(crate) bytes: usize,
}

/// What is being counted while a document is read.
pub(crate) struct Budget {
    limits: Limits,
    nodes: usize,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            nodes: 0,
            bytes: 0,
        }
    }

    pub(crate) fn spend(&mut self, place: Place, nodes: usize, bytes: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > self.limits.nodes {
            let limit = self.limits.nodes;
            return Err(Fault::new(place, format!("more than {limit} values")));
        }
        if self.bytes > self.limits.bytes {
            let limit = self.limits.bytes;
            return Err(Fault::new(
                place,
                format!("values of more than {limit} bytes in all"),
            ));
        }
        Ok(())
    }

    pub(crate) fn depth(&self, place: Place, depth: usize) -> Result<(), Fault> {
        if depth > self.limits.depth {
            let limit = self.limits.depth;
            return Err(Fault::new(place, format!("nested more than {limit} deep")));
        }
        Ok(())
    }
}

/// A key as messages show it. Where a value has slipped into the place of a key it may be a secret, so
/// only what looks like a field's name is shown.
pub(crate) fn shown(key: &str) -> &str {
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'<');
    match key.len() <= 40 && digits <= 1 && key.bytes().all(plain) {
        true => key,
        false => "…",
    }
}

/// A child's document path.
pub(crate) fn child(path: &str, name: impl std::fmt::Display) -> String {
    format!("{path}.{name}")
}
