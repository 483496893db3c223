//! JSON to nodes.
//!
//! JSON is nearly YAML, but Ignition reads strict JSON: surrogate pairs, tabs for indentation, no
//! comments, no bare words. What Ignition would refuse is refused here.

use std::collections::HashSet;

use super::{Budget, Fault, Limits, Node, Place, Value, child, shown};

/// Reads `text`, which is one JSON value. Faults that leave a tree are in the list; one that ends the
/// reading is its only entry, without a tree.
pub(crate) fn read(text: &str, limits: Limits) -> (Option<Node>, Vec<Fault>) {
    let mut reader = Reader {
        rest: text,
        place: Place { line: 1, column: 1 },
        budget: Budget::new(limits),
        faults: Vec::new(),
    };
    match reader.document() {
        Ok(node) => (Some(node), reader.faults),
        Err(fault) => (None, vec![fault]),
    }
}

struct Reader<'a> {
    rest: &'a str,
    place: Place,
    budget: Budget,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Node, Fault> {
        self.space();
        if self.rest.is_empty() {
            return Err(Fault::new(
                Place { line: 1, column: 1 },
                "the document is empty",
            ));
        }
        let node = self.value("$", 1)?;
        self.space();
        if self.rest.is_empty() {
            Ok(node)
        } else {
            Err(self.wrong("text after the JSON value"))
        }
    }

    fn wrong(&self, what: &str) -> Fault {
        Fault::new(self.place, format!("not JSON: {what}"))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    fn expect(&mut self, c: char) -> Result<(), Fault> {
        self.space();
        if self.peek() == Some(c) {
            self.bump();
            Ok(())
        } else {
            Err(self.wrong(&format!("'{c}' is expected here")))
        }
    }

    fn value(&mut self, path: &str, depth: usize) -> Result<Node, Fault> {
        self.space();
        let place = self.place;
        self.budget.depth(place, depth)?;
        self.budget.spend(place, 1, 0)?;
        let value = match self.peek() {
            Some('{') => self.map(path, depth)?,
            Some('[') => self.list(path, depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('a'..='z') => self.word()?,
            _ => return Err(self.wrong("a value is expected here")),
        };
        Ok(Node { place, value })
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let value = match &self.rest[..end] {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(self.wrong("a value is expected here")),
        };
        self.skip(end);
        Ok(value)
    }

    fn skip(&mut self, bytes: usize) {
        self.place.column += self.rest[..bytes].chars().count();
        self.rest = &self.rest[bytes..];
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let end = self
            .rest
            .find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'))
            .unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
            let mut fault = self.wrong("a number does not begin with 0");
            fault.help = Some("JSON has no octal numbers: 0644 is written as 420");
            return Err(fault);
        }
        if !digits.starts_with(|c: char| c.is_ascii_digit()) || text.parse::<f64>().is_err() {
            return Err(self.wrong("this is no number"));
        }
        let value = Value::Number(text.into());
        self.skip(end);
        Ok(value)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        self.bump();
        self.space();
        if self.peek() == Some(']') {
            self.bump();
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(&child(path, items.len()), depth + 1)?);
            self.space();
            match self.bump() {
                Some(',') => {}
                Some(']') => return Ok(Value::List(items)),
                _ => return Err(self.wrong("',' or ']' is expected here")),
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        let mut seen = HashSet::new();
        self.bump();
        self.space();
        if self.peek() == Some('}') {
            self.bump();
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            let place = self.place;
            if self.peek() != Some('"') {
                return Err(self.wrong("a key in quotes is expected here"));
            }
            let key = self.string()?;
            self.expect(':')?;
            let node = self.value(&child(path, shown(&key)), depth + 1)?;
            if seen.insert(key.clone()) {
                entries.push((key, place, node));
            } else {
                let mut fault = Fault::new(
                    place,
                    format!("'{}' is given twice in this mapping", shown(&key)),
                );
                fault.path = child(path, shown(&key));
                self.faults.push(fault);
            }
            self.space();
            match self.bump() {
                Some(',') => {}
                Some('}') => return Ok(Value::Map(entries)),
                _ => return Err(self.wrong("',' or '}' is expected here")),
            }
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.place;
        self.bump();
        let mut text = String::new();
        loop {
            let here = self.place;
            match self.bump() {
                None => return Err(Fault::new(start, "not JSON: this string has no end")),
                Some('"') => break,
                Some('\\') => text.push(self.escape()?),
                Some(c) if c < ' ' => {
                    return Err(Fault::new(
                        here,
                        "not JSON: a control character must be escaped",
                    ));
                }
                Some(c) => text.push(c),
            }
        }
        self.budget.spend(start, 0, text.len())?;
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let bad = self.wrong("this escape is not known");
        Ok(match self.bump() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff if self.rest.starts_with("\\u") => {
                        self.skip(2);
                        let second = self.hex()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(bad);
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code).ok_or(bad)?
            }
            _ => return Err(bad),
        })
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self
            .rest
            .get(..4)
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|text| u32::from_str_radix(text, 16).ok());
        let code = code.ok_or_else(|| self.wrong("four hexadecimal digits are expected here"))?;
        self.skip(4);
        Ok(code)
    }
}
