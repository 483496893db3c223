//! What of an image is not in the tree, or not as the image says it.

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Number of the entry in the layer, from 0.
    pub entry: u64,
    /// The path as the archive has it, escaped; empty where it is about none.
    pub path: String,
    /// What was left out.
    pub what: String,
}

/// More notes than this, and notes behind so many bytes of them, are only counted.
const MAX: usize = 10_000;
const MAX_BYTES: usize = 2 << 20;

/// The notes of one layer.
#[derive(Debug)]
pub(crate) struct Notes {
    layer: usize,
    list: Vec<Note>,
    bytes: usize,
    left_out: u64,
}

impl Notes {
    pub(crate) fn new(layer: usize) -> Self {
        Self {
            layer,
            list: Vec::new(),
            bytes: 0,
            left_out: 0,
        }
    }

    pub(crate) fn add(&mut self, entry: u64, path: impl FnOnce() -> String, what: String) {
        if self.list.len() >= MAX || self.bytes >= MAX_BYTES {
            self.left_out += 1;
            return;
        }
        let path = path();
        self.bytes += path.len() + what.len();
        self.list.push(Note {
            layer: self.layer,
            entry,
            path,
            what,
        });
    }

    /// All notes; the last one says how many are missing, if any are.
    pub(crate) fn finish(mut self) -> Vec<Note> {
        if self.left_out > 0 {
            self.list.push(Note {
                layer: self.layer,
                entry: 0,
                path: String::new(),
                what: format!("{} more notes", self.left_out),
            });
        }
        self.list
    }
}
