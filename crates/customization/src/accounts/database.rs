//! The account files as tables of lines, changed as shadow-utils changes them: a line that is not
//! touched stays byte for byte, and a file in which no line is touched stays as a whole.

use super::BaseAccounts;

/// One file: lines of fields separated by colons. The first field is the key.
#[derive(Debug, Clone)]
pub(super) struct Table {
    original: Vec<u8>,
    lines: Vec<Vec<u8>>,
    changed: bool,
}

impl Table {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        Self {
            original: bytes.to_vec(),
            lines,
            changed: false,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        if !self.changed {
            return self.original.clone();
        }
        let mut out = Vec::new();
        for line in &self.lines {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out
    }

    /// Entries, without comments, empty lines and NIS lines.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.lines
            .iter()
            .filter(|line| is_entry(line))
            .map(|line| Row(line))
    }

    pub(super) fn row(&self, key: &str) -> Option<Row<'_>> {
        self.rows().find(|row| row.field(0) == key.as_bytes())
    }

    /// Adds an entry at the end, but before the lines that hand over to NIS.
    pub(super) fn push(&mut self, fields: &[&str]) {
        let nis = self
            .lines
            .iter()
            .position(|line| matches!(line.first(), Some(b'+' | b'-')));
        let at = nis.unwrap_or(self.lines.len());
        self.lines.insert(at, fields.join(":").into_bytes());
        self.changed = true;
    }

    /// Sets one field of an entry.
    pub(super) fn set(&mut self, key: &str, index: usize, value: &[u8]) {
        for line in self.lines.iter_mut().filter(|line| is_entry(line)) {
            let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
            if fields[0] != key.as_bytes() {
                continue;
            }
            while fields.len() <= index {
                fields.push(b"");
            }
            if fields[index] != value {
                fields[index] = value;
                *line = fields.join(&b':');
                self.changed = true;
            }
            return;
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        let before = self.lines.len();
        self.lines
            .retain(|line| !is_entry(line) || Row(line).field(0) != key.as_bytes());
        self.changed |= self.lines.len() != before;
    }

    /// Sorts by the second field as a number and then by the first, as subordinate IDs are kept.
    pub(super) fn sort_ranges(&mut self) {
        self.lines.sort_by_key(|line| {
            let row = Row(line);
            (row.number(1), row.number(2), row.field(0).to_vec())
        });
    }
}

fn is_entry(line: &[u8]) -> bool {
    !matches!(line.first(), None | Some(b'#' | b'+' | b'-'))
}

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    pub(super) fn field(&self, index: usize) -> &'a [u8] {
        self.0
            .split(|byte| *byte == b':')
            .nth(index)
            .unwrap_or_default()
    }

    pub(super) fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.field(index)).into_owned()
    }

    pub(super) fn number(&self, index: usize) -> Option<u64> {
        std::str::from_utf8(self.field(index)).ok()?.parse().ok()
    }

    pub(super) fn id(&self, index: usize) -> Option<u32> {
        u32::try_from(self.number(index)?).ok()
    }

    /// A field that is a list with commas.
    pub(super) fn members(&self, index: usize) -> Vec<Vec<u8>> {
        let field = self.field(index);
        let names = field
            .split(|byte| *byte == b',')
            .filter(|name| !name.is_empty());
        names.map(<[u8]>::to_vec).collect()
    }
}

/// All account files.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) passwd: Table,
    pub(super) group: Table,
    pub(super) shadow: Option<Table>,
    pub(super) gshadow: Option<Table>,
    pub(super) subuid: Option<Table>,
    pub(super) subgid: Option<Table>,
}

impl Database {
    pub(super) fn parse(base: &BaseAccounts) -> Self {
        let table = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(Table::parse);
        Self {
            passwd: Table::parse(&base.passwd),
            group: Table::parse(&base.group),
            shadow: table(&base.shadow),
            gshadow: table(&base.gshadow),
            subuid: table(&base.subuid),
            subgid: table(&base.subgid),
        }
    }

    /// A group by name, or by number where no name fits.
    pub(super) fn group_id(&self, name: &str) -> Option<u32> {
        let by_name = self.group.row(name).and_then(|row| row.id(2));
        by_name.or_else(|| {
            let id: u32 = name.parse().ok()?;
            self.group
                .rows()
                .find(|row| row.id(2) == Some(id))
                .map(|_| id)
        })
    }

    pub(super) fn user_of(&self, uid: u32) -> Option<String> {
        self.passwd
            .rows()
            .find(|row| row.id(2) == Some(uid))
            .map(|row| row.text(0))
    }

    pub(super) fn group_of(&self, gid: u32) -> Option<String> {
        self.group
            .rows()
            .find(|row| row.id(2) == Some(gid))
            .map(|row| row.text(0))
    }
}
