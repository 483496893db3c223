//! YAML to nodes, from the parser's events.
//!
//! Own tree building instead of a ready-made one: keys twice, aliases that multiply and documents that
//! go on after the first must be found, and a plain scalar must keep its spelling (`0644`).

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{Budget, Fault, Limits, Node, Place, Value, child, shown};

/// Reads the one document of `text`. Faults that leave a tree are in the list; one that ends the
/// reading is its only entry, without a tree.
pub(crate) fn read(text: &str, limits: Limits) -> (Option<Node>, Vec<Fault>) {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        budget: Budget::new(limits),
        faults: Vec::new(),
    };
    match reader.document() {
        Ok(node) => (Some(node), reader.faults),
        Err(fault) => (None, vec![fault]),
    }
}

/// What an anchor stands for, and what each use of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    budget: Budget,
    faults: Vec<Fault>,
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Fault::new(
                place(error.marker()),
                format!("not YAML: {}", error.info()),
            )),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Fault> {
        loop {
            match self.next()? {
                (Event::DocumentStart(_), _) => break,
                (Event::StreamEnd, _) => {
                    return Err(Fault::new(
                        Place { line: 1, column: 1 },
                        "the document is empty",
                    ));
                }
                _ => {}
            }
        }
        let (event, span) = self.next()?;
        let node = self.node(event, span, "$", 1)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentStart(_), span) => {
                    let mut fault = Fault::new(
                        place(&span.start),
                        "a second YAML document begins here, and only one is taken",
                    );
                    fault.help = Some("remove the `---` or give each document a file of its own");
                    return Err(fault);
                }
                _ => {}
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        path: &str,
        depth: usize,
    ) -> Result<Node, Fault> {
        let place = place(&span.start);
        self.budget.depth(place, depth)?;
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, place, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.budget.spend(place, 1, text.len())?;
                (scalar(&text, style, tag.as_deref(), place)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.budget.spend(place, 1, 0)?;
                check_tag(tag.as_deref(), "seq", place)?;
                (self.list(path, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.budget.spend(place, 1, 0)?;
                check_tag(tag.as_deref(), "map", place)?;
                (self.map(path, depth)?, anchor)
            }
            _ => return Err(Fault::new(place, "a value is missing here")),
        };
        let node = Node { place, value };
        if anchor > 0 {
            let (nodes, bytes, height) = size(&node);
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    bytes,
                    depth: height,
                },
            );
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, place: Place, depth: usize) -> Result<Node, Fault> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(Fault::new(
                place,
                "this alias is inside of what it stands for",
            ));
        };
        // Counted before it is copied: a bomb is refused, not built.
        self.budget.spend(place, anchored.nodes, anchored.bytes)?;
        self.budget.depth(place, depth + anchored.depth - 1)?;
        Ok(anchored.node.clone())
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, &child(path, items.len()), depth + 1)?);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key_node = self.node(event, span, path, depth + 1)?;
            let place = key_node.place;
            let key = match key_node.value {
                Value::Plain(text) if text == "<<" => {
                    let mut fault = Fault::new(place, "merge keys (`<<`) are not supported");
                    fault.help = Some("write the fields out");
                    fault.path = path.into();
                    return Err(fault);
                }
                Value::Plain(text) | Value::Text(text) => text,
                _ => {
                    let mut fault = Fault::new(place, "a key must be a name");
                    fault.path = path.into();
                    return Err(fault);
                }
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, &child(path, shown(&key)), depth + 1)?;
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
        }
    }
}

/// Nodes, bytes of scalars, and height.
fn size(node: &Node) -> (usize, usize, usize) {
    let (mut nodes, mut bytes, mut height) = (1, 0, 0);
    let mut add = |child: &Node| {
        let below = size(child);
        nodes += below.0;
        bytes += below.1;
        height = height.max(below.2);
    };
    match &node.value {
        Value::List(items) => items.iter().for_each(&mut add),
        Value::Map(entries) => entries.iter().for_each(|(_, _, node)| add(node)),
        Value::Number(text) | Value::Plain(text) | Value::Text(text) => bytes += text.len(),
        Value::Null | Value::Bool(_) => {}
    }
    (nodes, bytes, height + 1)
}

fn check_tag(tag: Option<&Tag>, expected: &str, place: Place) -> Result<(), Fault> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == expected => Ok(()),
        Some(tag) => Err(Fault::new(
            place,
            format!("the tag '{tag}' is not supported here"),
        )),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<Value, Fault> {
    let plain = style == ScalarStyle::Plain;
    Ok(match tag {
        None if plain && super::scalar::is_null(text) => Value::Null,
        None if plain => Value::Plain(text.into()),
        None => Value::Text(text.into()),
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" => Value::Text(text.into()),
            "null" => Value::Null,
            "int" | "bool" => Value::Plain(text.into()),
            _ => {
                return Err(Fault::new(
                    place,
                    format!("the tag '{tag}' is not supported here"),
                ));
            }
        },
        // `!` alone says that the scalar is no plain one.
        Some(tag) if tag.suffix.is_empty() => Value::Text(text.into()),
        Some(tag) => {
            return Err(Fault::new(
                place,
                format!("the tag '{tag}' is not supported here"),
            ));
        }
    })
}
