//! TOML, merged by key.

use toml_edit::{DocumentMut, Item, TableLike, Value};

use pleach_fs_tree::escape;

use super::{
    ContentOptions, KeyConflict, MergedContent, NotMerged, Opened, each_side, line_of, open, text,
};
use crate::Sides;

/// Merges a TOML file by key; tables are merged within, arrays are one value. Where a key was
/// changed on both sides to different values, the machine's is kept and the conflict is reported.
///
/// If a text merge says the same, it is the result. Otherwise the machine's file is, with what the
/// image changed; all else stays byte for byte.
///
/// # Errors
/// [`NotMerged::Unreadable`] with the line that is no TOML, and the errors of all mergers.
pub fn merge_toml(
    sides: Sides<Option<&[u8]>>,
    options: &ContentOptions,
) -> Result<MergedContent, NotMerged> {
    let open = match open(sides, options)? {
        Opened::Settled(content) => return Ok(MergedContent::clean(content)),
        Opened::Open(open) => open,
    };
    let mut files = each_side(open, read)?;
    let mut merge = Merge::default();
    merge.tables(
        Some(files.pristine.as_table()),
        files.current.as_table_mut(),
        files.new.as_table(),
    );
    let wanted = files.current;
    let says_it = |content: &Vec<u8>| {
        read("", content).is_ok_and(|read| same_tables(read.as_table(), wanted.as_table()))
    };
    let content = text::merge_open(open, options)
        .ok()
        .filter(says_it)
        .or_else(|| Some(wanted.to_string().into_bytes()).filter(says_it))
        .ok_or(NotMerged::Unfaithful)?;
    merge.conflicts.sort();
    Ok(MergedContent {
        content: Some(content),
        conflicts: merge.conflicts,
    })
}

fn read(side: &'static str, content: &[u8]) -> Result<DocumentMut, NotMerged> {
    let unreadable = |at, what: &str| NotMerged::Unreadable {
        side,
        line: line_of(content, at),
        what: what.to_owned(),
    };
    let text =
        std::str::from_utf8(content).map_err(|e| unreadable(e.valid_up_to(), "not UTF-8"))?;
    text.parse().map_err(|error: toml_edit::TomlError| {
        let at = error.span().map_or(0, |span| span.start);
        unreadable(at, error.message())
    })
}

#[derive(Default)]
struct Merge {
    path: Vec<String>,
    conflicts: Vec<KeyConflict>,
}

impl Merge {
    /// Puts what the image changed into the machine's table.
    fn tables(
        &mut self,
        pristine: Option<&dyn TableLike>,
        current: &mut dyn TableLike,
        new: &dyn TableLike,
    ) {
        let mut keys: Vec<_> = current.iter().map(|(key, _)| key.to_owned()).collect();
        let only_new = new.iter().map(|(key, _)| key.to_owned());
        keys.extend(only_new.filter(|key| !current.contains_key(key)));
        for key in keys {
            let was = pristine.and_then(|table| item(table, &key));
            let is = item(current, &key);
            let image = item(new, &key);
            if same(is, image) || same(was, image) {
                continue;
            }
            if same(was, is) {
                take(current, new, &key);
                continue;
            }
            self.path.push(key.clone());
            let was_table = was.map(Item::as_table_like);
            let image_table = image.and_then(Item::as_table_like);
            let is_table = current.get_mut(&key).and_then(Item::as_table_like_mut);
            match (was_table, is_table, image_table) {
                (None, Some(is), Some(image)) => self.tables(None, is, image),
                (Some(Some(was)), Some(is), Some(image)) => self.tables(Some(was), is, image),
                _ => self.conflicts.push(KeyConflict {
                    key: escape(self.path.join(".").as_bytes()),
                }),
            }
            self.path.pop();
        }
    }
}

fn item<'a>(table: &'a dyn TableLike, key: &str) -> Option<&'a Item> {
    table.get(key).filter(|item| !item.is_none())
}

/// Makes a key of the machine's what it is in the image.
fn take(current: &mut dyn TableLike, new: &dyn TableLike, key: &str) {
    let Some((of_image, mut item)) = new.key(key).zip(item(new, key).cloned()) else {
        current.remove(key);
        return;
    };
    // The places of the image's tables mean nothing in the machine's file.
    forget_places(&mut item);
    match current.get_mut(key) {
        Some(old) => {
            let place = old.as_table().and_then(toml_edit::Table::position);
            if let Some(table) = item.as_table_mut() {
                table.set_position(place);
            }
            *old = item;
        }
        None => {
            current.entry_format(of_image).or_insert(item);
        }
    }
}

fn forget_places(item: &mut Item) {
    match item {
        Item::Table(table) => {
            table.set_position(None);
            table.iter_mut().for_each(|(_, item)| forget_places(item));
        }
        Item::ArrayOfTables(tables) => {
            for table in tables.iter_mut() {
                table.set_position(None);
                table.iter_mut().for_each(|(_, item)| forget_places(item));
            }
        }
        Item::None | Item::Value(_) => {}
    }
}

/// Whether two items say the same, however they are written.
fn same(a: Option<&Item>, b: Option<&Item>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_none() && b.is_none();
    };
    if let (Some(a), Some(b)) = (a.as_table_like(), b.as_table_like()) {
        return same_tables(a, b);
    }
    match (a, b) {
        (Item::Value(a), Item::Value(b)) => same_values(a, b),
        (Item::ArrayOfTables(a), Item::ArrayOfTables(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same_tables(a, b))
        }
        _ => false,
    }
}

fn same_tables(a: &dyn TableLike, b: &dyn TableLike) -> bool {
    a.iter().count() == b.iter().count()
        && a.iter().all(|(key, value)| same(Some(value), item(b, key)))
}

fn same_values(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.value() == b.value(),
        (Value::Integer(a), Value::Integer(b)) => a.value() == b.value(),
        (Value::Float(a), Value::Float(b)) => a.value().to_bits() == b.value().to_bits(),
        (Value::Boolean(a), Value::Boolean(b)) => a.value() == b.value(),
        (Value::Datetime(a), Value::Datetime(b)) => a.value() == b.value(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same_values(a, b))
        }
        (Value::InlineTable(a), Value::InlineTable(b)) => same_tables(a, b),
        _ => false,
    }
}
