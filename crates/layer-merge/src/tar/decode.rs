//! Archives as a stream of events, without any I/O: bytes are pushed in, in pieces of any size.

use std::collections::VecDeque;

use pleach_fs_tree::escape;

use super::header::{self, Header, until_nul};
use super::member::{self, Member, Type};
use super::pax::{self, Extended};
use super::sparse::{self, Extents, Form, Map, Segment};
use super::{BLOCK, padding};
use crate::{Fault, Limits};

/// What comes next in an archive.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The input is used up.
    More,
    /// An entry begins. A file's content follows, and then [`Event::FileEnd`].
    Member(Box<Member>),
    Data(&'a [u8]),
    Hole(u64),
    FileEnd,
    /// A global extended header, of which nothing is applied.
    Global,
    /// So many bytes after the end of the archive.
    Trailing(&'a [u8]),
}

const COMPRESSED: Fault = Fault::BadHeader("no archive, but compressed data");

enum State {
    Header,
    /// The body of an extended header: its type, what is missing of it, padding after it.
    Record(u8, u64, u64),
    /// A block that continues an old GNU sparse header.
    OldSparse(Box<Member>, Extents, u64),
    /// The map in front of a sparse file's data, and the bytes of map and data that are left.
    SparseMap(Box<Member>, Map, u64),
    Content(VecDeque<Segment>, u64),
    Padding(u64),
    /// One block of zeros was read.
    HalfEnd,
    End,
}

/// See the module.
pub(crate) struct Decoder<'l> {
    limits: &'l Limits,
    state: State,
    block: Header,
    filled: usize,
    record: Vec<u8>,
    extended: Option<Extended>,
    gnu_path: Option<Box<[u8]>>,
    gnu_link: Option<Box<[u8]>>,
    /// Entries begun, and the path of the last one until the next header.
    begun: u64,
    path: Option<Box<[u8]>>,
}

impl<'l> Decoder<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            block: Header::zeroed(),
            filled: 0,
            record: Vec::new(),
            extended: None,
            gnu_path: None,
            gnu_link: None,
            begun: 0,
            path: None,
        }
    }

    /// The entry that was begun last, or is about to begin.
    pub(crate) fn position(&self) -> crate::EntryPosition {
        crate::EntryPosition {
            number: self.begun - u64::from(self.path.is_some()),
            path: self.path.as_deref().map(escape),
        }
    }

    /// The next event; takes from `input` what it needs.
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Event<'i>, Fault> {
        loop {
            match std::mem::replace(&mut self.state, State::Header) {
                State::Header => {
                    if !self.fill(input) {
                        return Ok(Event::More);
                    }
                    if let Some(event) = self.header()? {
                        return Ok(event);
                    }
                }
                State::Record(typeflag, mut left, padding) => {
                    let part = take(input, left);
                    self.record.extend_from_slice(part);
                    left -= part.len() as u64;
                    if left > 0 {
                        self.state = State::Record(typeflag, left, padding);
                        return Ok(Event::More);
                    }
                    self.state = State::Padding(padding);
                    if let Some(event) = self.end_record(typeflag)? {
                        return Ok(event);
                    }
                }
                State::OldSparse(member, mut extents, stored) => {
                    if !self.fill(input) {
                        self.state = State::OldSparse(member, extents, stored);
                        return Ok(Event::More);
                    }
                    sparse::old_gnu(&self.block.0[..504], &mut extents, self.limits)?;
                    if self.block.0[504] == 0 {
                        let segments = extents.segments(member.size, stored, self.limits)?;
                        self.state = State::Content(segments, padding(stored));
                        return Ok(Event::Member(member));
                    }
                    self.state = State::OldSparse(member, extents, stored);
                }
                State::SparseMap(member, mut map, stored) => {
                    let left = stored.checked_sub(BLOCK as u64);
                    let left = left.ok_or(Fault::BadHeader("a sparse file without its map"))?;
                    if !self.fill(input) {
                        self.state = State::SparseMap(member, map, stored);
                        return Ok(Event::More);
                    }
                    if map.take(&self.block.0, self.limits)? {
                        let extents = map.extents(self.limits)?;
                        let segments = extents.segments(member.size, left, self.limits)?;
                        self.state = State::Content(segments, padding(left));
                        return Ok(Event::Member(member));
                    }
                    self.state = State::SparseMap(member, map, left);
                }
                State::Content(mut segments, padding) => match segments.pop_front() {
                    None => {
                        self.state = State::Padding(padding);
                        return Ok(Event::FileEnd);
                    }
                    Some(Segment::Hole(length)) => {
                        self.state = State::Content(segments, padding);
                        return Ok(Event::Hole(length));
                    }
                    Some(Segment::Data(length)) => {
                        let part = take(input, length);
                        let left = length - part.len() as u64;
                        if left > 0 {
                            segments.push_front(Segment::Data(left));
                        }
                        self.state = State::Content(segments, padding);
                        return Ok(match part {
                            [] => Event::More,
                            part => Event::Data(part),
                        });
                    }
                },
                State::Padding(left) => {
                    let left = left - take(input, left).len() as u64;
                    if left > 0 {
                        self.state = State::Padding(left);
                        return Ok(Event::More);
                    }
                }
                State::HalfEnd => {
                    if !self.fill(input) {
                        self.state = State::HalfEnd;
                        return Ok(Event::More);
                    }
                    if !self.block.is_zero() {
                        return Err(Fault::BadHeader("an entry after one block of zeros"));
                    }
                    self.state = State::End;
                }
                State::End => {
                    self.state = State::End;
                    return Ok(match std::mem::take(input) {
                        [] => Event::More,
                        rest => Event::Trailing(rest),
                    });
                }
            }
        }
    }

    /// Says whether the archive may end here.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        let inside = match &self.state {
            State::End => return Ok(()),
            // No marker at its end, or half of one: every reader takes it.
            State::Header | State::HalfEnd if self.filled == 0 => {
                return self.no_entry_is_due();
            }
            State::Header if self.is_compressed() => return Err(COMPRESSED),
            State::Header | State::HalfEnd => "a header",
            State::Record(..) => "an extended header",
            State::OldSparse(..) | State::SparseMap(..) => "the map of a sparse file",
            State::Content(..) => "the content of a file",
            State::Padding(0) => return self.no_entry_is_due(),
            State::Padding(_) => "the padding of an entry",
        };
        Err(Fault::Truncated(inside))
    }

    /// Whether the first block is no header, but what a compressed file begins with.
    fn is_compressed(&self) -> bool {
        let magics: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ"];
        self.begun == 0 && magics.iter().any(|magic| self.block.0.starts_with(magic))
    }

    fn no_entry_is_due(&self) -> Result<(), Fault> {
        match (&self.extended, &self.gnu_path, &self.gnu_link) {
            (None, None, None) => Ok(()),
            _ => Err(Fault::Truncated("an entry: its header is missing")),
        }
    }

    /// Collects a block; false when the input does not suffice.
    fn fill(&mut self, input: &mut &[u8]) -> bool {
        let part = take(input, (BLOCK - self.filled) as u64);
        self.block.0[self.filled..][..part.len()].copy_from_slice(part);
        self.filled += part.len();
        if self.filled < BLOCK {
            return false;
        }
        self.filled = 0;
        true
    }

    fn header(&mut self) -> Result<Option<Event<'static>>, Fault> {
        self.path = None;
        if self.block.is_zero() {
            self.state = State::HalfEnd;
            self.no_entry_is_due()?;
            return Ok(None);
        }
        if !self.block.checksum_is_right() {
            if self.is_compressed() {
                return Err(COMPRESSED);
            }
            return Err(Fault::BadHeader("wrong checksum"));
        }
        let typeflag = self.block.0[header::TYPE];
        if matches!(typeflag, b'x' | b'g' | b'L' | b'K') {
            let size = self.block.unsigned(header::SIZE, "size")?;
            let limit = self.limits.metadata_record;
            if size > limit {
                let what = "bytes of a record about an entry";
                return Err(Fault::Limit { what, limit });
            }
            self.record.clear();
            self.state = State::Record(typeflag, size, padding(size));
            return Ok(None);
        }
        self.member()
    }

    fn end_record(&mut self, typeflag: u8) -> Result<Option<Event<'static>>, Fault> {
        let twice = Fault::BadHeader("two extended headers of one type for one entry");
        match typeflag {
            b'x' => {
                if self.extended.is_some() {
                    return Err(twice);
                }
                self.extended = Some(Extended::read(&self.record)?);
            }
            b'g' => {
                self.no_entry_is_due()
                    .map_err(|_| Fault::BadHeader("a global header inside an entry"))?;
                for (keyword, _) in pax::records(&self.record)? {
                    if matches!(keyword, b"path" | b"size" | b"linkpath")
                        || keyword.starts_with(b"GNU.sparse.")
                    {
                        let what = "a global header with a path, a size or a link";
                        return Err(Fault::BadHeader(what));
                    }
                }
                return Ok(Some(Event::Global));
            }
            _ => {
                let text = until_nul(&self.record);
                if self.record[text.len()..].iter().any(|&b| b != 0) {
                    return Err(Fault::BadPath("a NUL inside a GNU long name"));
                }
                let field = match typeflag {
                    b'L' => &mut self.gnu_path,
                    _ => &mut self.gnu_link,
                };
                if field.replace(text.into()).is_some() {
                    return Err(twice);
                }
            }
        }
        Ok(None)
    }

    fn member(&mut self) -> Result<Option<Event<'static>>, Fault> {
        let mut extended = self.extended.take().unwrap_or_default();
        let (gnu_path, gnu_link) = (self.gnu_path.take(), self.gnu_link.take());
        let path = member::path(&self.block, &mut extended, gnu_path);
        self.path = Some(path.clone());
        self.begun += 1;
        let (mut member, stored) = member::read(&self.block, path, &mut extended, gnu_link)?;
        if member.kind != Type::File {
            if extended.is_sparse() {
                return Err(Fault::BadHeader("a sparse entry that is no file"));
            }
            return Ok(Some(Event::Member(Box::new(member))));
        }
        let segments = if self.block.0[header::TYPE] == b'S' {
            let (extents, more, size) = sparse::old_gnu_header(&self.block, self.limits)?;
            member.size = size;
            if more {
                self.state = State::OldSparse(Box::new(member), extents, stored);
                return Ok(None);
            }
            extents.segments(size, stored, self.limits)?
        } else if extended.is_sparse() {
            match sparse::form(&extended, self.limits)? {
                Form::Known(extents, size) => {
                    member.size = size;
                    extents.segments(size, stored, self.limits)?
                }
                Form::InData(size) => {
                    member.size = size;
                    self.state = State::SparseMap(Box::new(member), Map::default(), stored);
                    return Ok(None);
                }
            }
        } else {
            VecDeque::from_iter((stored > 0).then_some(Segment::Data(stored)))
        };
        self.state = State::Content(segments, padding(stored));
        Ok(Some(Event::Member(Box::new(member))))
    }
}

fn take<'i>(input: &mut &'i [u8], at_most: u64) -> &'i [u8] {
    let n = usize::try_from(at_most)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let (part, rest) = input.split_at(n);
    *input = rest;
    part
}
