//! Files that both sides changed, merged by what they say, where a policy asks for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pleach_fs_tree::{Kind, NodeType};

use crate::align::Aligned;
use crate::bytes::Contents;
use crate::content::accounts::{Accounts, Database, merge_accounts};
use crate::content::ini::merge_ini;
use crate::content::lines::merge_lines;
use crate::content::text::merge_text;
use crate::content::{ContentOptions, MergedContent, NotMerged};
use crate::finding::{Conflict, Finding, Note};
use crate::policy::Format;
use crate::{Action, Error, Policies, Side, Sides};

/// What was made of a file.
pub(crate) struct Composition {
    /// The content; `None` where the file is not in the result.
    pub(crate) content: Option<Vec<u8>>,
    /// The side that has that very content.
    pub(crate) equals: Option<Side>,
    pub(crate) findings: Vec<Finding>,
}

/// What there is for some of the paths, by their index.
#[derive(Default)]
pub(crate) struct Compositions {
    pub(crate) made: BTreeMap<usize, Composition>,
    /// Why a policy was not followed.
    pub(crate) failed: BTreeMap<usize, Note>,
}

/// Merges what the policies say is to be merged by what it says.
pub(crate) fn compose<C>(
    aligned: &Aligned<'_, C>,
    policies: &Policies,
    contents: &impl Contents<C>,
) -> Result<Compositions, Error> {
    let mut out = Compositions::default();
    if !policies.rules.iter().any(|rule| rule.action.reads()) {
        return Ok(out);
    }
    let composer = Composer { aligned, contents };
    let mut accounts = BTreeMap::<usize, Vec<(usize, Database)>>::new();
    for (index, node) in aligned.nodes.iter().enumerate() {
        let Some(rule) = node.rule else {
            continue;
        };
        match &policies.rules[rule].action {
            Action::Accounts => {
                let path = aligned.path(index);
                let name = path.file_name();
                let name = name.as_ref().map_or(&[][..], |name| name.as_bytes());
                let mut all = Database::ALL.into_iter();
                match all.find(|database| database.file_name().as_bytes() == name) {
                    Some(database) => {
                        accounts
                            .entry(node.parent)
                            .or_default()
                            .push((index, database));
                    }
                    None => drop(out.failed.insert(index, Note::NoAccounts)),
                }
            }
            action if action.reads() && composer.both_changed(index) => {
                match composer.one(index, action, policies)? {
                    Ok(made) => drop(out.made.insert(index, made)),
                    Err(note) => drop(out.failed.insert(index, note)),
                }
            }
            _ => {}
        }
    }
    for files in accounts.into_values() {
        composer.accounts(&files, policies, &mut out)?;
    }
    Ok(out)
}

struct Composer<'a, 'b, C, B> {
    aligned: &'a Aligned<'b, C>,
    contents: &'a B,
}

impl<C, B: Contents<C>> Composer<'_, '_, C, B> {
    /// A regular file on both sides, with a content that is neither the pristine one nor the other.
    fn both_changed(&self, index: usize) -> bool {
        let types = self.aligned.types(index);
        let same = self.aligned.nodes[index].content;
        let file = Some(NodeType::File);
        [types.current, types.new] == [file; 2]
            && !(same.pristine_current || same.pristine_new || same.current_new)
    }

    /// The bytes of the sides that have a file; a note where they cannot be had.
    #[allow(
        clippy::type_complexity,
        reason = "three sides, each perhaps without a file"
    )]
    fn bytes(&self, index: usize) -> Result<Result<Sides<Option<Cow<'_, [u8]>>>, Note>, Error> {
        let path = self.aligned.path(index);
        let inodes = self.aligned.inodes(index);
        let mut out = Sides::default();
        for (inode, bytes) in [
            (inodes.pristine, &mut out.pristine),
            (inodes.current, &mut out.current),
            (inodes.new, &mut out.new),
        ] {
            let Some(Kind::File(content)) = inode.map(|inode| &inode.kind) else {
                continue;
            };
            match self.contents.bytes(&path, content)? {
                Some(read) => *bytes = Some(read),
                None => return Ok(Err(Note::NeedsContents)),
            }
        }
        Ok(Ok(out))
    }

    fn one(
        &self,
        index: usize,
        action: &Action,
        policies: &Policies,
    ) -> Result<Result<Composition, Note>, Error> {
        let bytes = match self.bytes(index)? {
            Ok(bytes) => bytes,
            Err(note) => return Ok(Err(note)),
        };
        let sides = bytes.as_ref().map(|bytes| bytes.as_deref());
        let merged = merge_one(action, sides, &policies.content);
        Ok(match merged {
            Ok(merged) => Ok(Composition {
                equals: equals(sides, merged.content.as_deref()),
                content: merged.content,
                findings: merged
                    .conflicts
                    .into_iter()
                    .map(|key| Finding::Conflict(Conflict::Key(key)))
                    .collect(),
            }),
            Err(why) => Err(Note::NotMerged(why)),
        })
    }

    /// The account files of one directory, if any of them was changed on any side: that the image
    /// renumbered an account matters also where the machine had left all alone.
    fn accounts(
        &self,
        files: &[(usize, Database)],
        policies: &Policies,
        out: &mut Compositions,
    ) -> Result<(), Error> {
        let plain = |index| {
            let types = self.aligned.types(index);
            let all = [types.pristine, types.current, types.new];
            all.into_iter().flatten().all(|t| t == NodeType::File)
        };
        let changed = |index: usize| !self.aligned.nodes[index].content.all();
        if !files.iter().any(|&(index, _)| changed(index)) {
            return Ok(());
        }
        let mut read = BTreeMap::new();
        for &(index, database) in files {
            if !plain(index) {
                let notes = files.iter().map(|&(index, _)| (index, Note::NoAccounts));
                out.failed.extend(notes);
                return Ok(());
            }
            match self.bytes(index)? {
                Ok(bytes) => drop(read.insert(database, bytes)),
                Err(note) => {
                    let notes = files.iter().map(|&(index, _)| (index, note.clone()));
                    out.failed.extend(notes);
                    return Ok(());
                }
            }
        }
        let of = |database| match read.get(&database) {
            Some(bytes) => bytes.as_ref().map(|bytes| bytes.as_deref()),
            None => Sides::default(),
        };
        let sides = Sides {
            pristine: Accounts::from_fn(|database| of(database).pristine),
            current: Accounts::from_fn(|database| of(database).current),
            new: Accounts::from_fn(|database| of(database).new),
        };
        let merged = merge_accounts(sides, &policies.content);
        for &(index, database) in files {
            let about = merged.reports.iter().filter(|r| r.database() == database);
            let findings = about.map(|report| match report.is_conflict() {
                true => Finding::Conflict(Conflict::Account(report.clone())),
                false => Finding::Note(Note::Account(report.clone())),
            });
            let content = merged.files.get(database).clone();
            let made = Composition {
                equals: equals(of(database), content.as_deref()),
                content,
                findings: findings.collect(),
            };
            out.made.insert(index, made);
        }
        Ok(())
    }
}

fn equals(sides: Sides<Option<&[u8]>>, content: Option<&[u8]>) -> Option<Side> {
    match content {
        None => None,
        made if made == sides.new => Some(Side::Image),
        made if made == sides.current => Some(Side::Local),
        _ => None,
    }
}

fn merge_one(
    action: &Action,
    sides: Sides<Option<&[u8]>>,
    options: &ContentOptions,
) -> Result<MergedContent, NotMerged> {
    match action {
        Action::Lines => merge_lines(sides, options),
        Action::Keyed(Format::Ini) => merge_ini(sides, options),
        #[cfg(feature = "toml")]
        Action::Keyed(Format::Toml) => crate::content::toml::merge_toml(sides, options),
        #[cfg(feature = "json")]
        Action::Keyed(Format::Json) => crate::content::json::merge_json(sides, options),
        #[cfg(not(all(feature = "toml", feature = "json")))]
        Action::Keyed(format) => Err(NotMerged::NotBuiltIn {
            format: format.as_str(),
        }),
        _ => merge_text(sides, options),
    }
}
