//! Documents and trees for tests.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pleach_customization::accounts::{self, AccountPlan, BaseAccounts};
use pleach_customization::lower::{Action, BaseView, Change, Kind, LowerOptions, Node, lower};
use pleach_customization::{
    Customization, Format, Input, NoLocalFiles, ParseOptions, Parsed, parse,
};

/// A Butane document of the newest version, from what follows its head.
pub(crate) fn butane(body: &str) -> String {
    format!("variant: fcos\nversion: 1.6.0\n{body}")
}

thread_local! {
    static SAID: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// What [`said`] is told in this thread while `run` runs.
pub(crate) fn recorded(run: impl FnOnce()) -> Vec<String> {
    SAID.set(Some(Vec::new()));
    run();
    SAID.take().unwrap_or_default()
}

/// Tells of a text whose exact words a test is about to look at.
pub(crate) fn said(text: &str) {
    SAID.with_borrow_mut(|all| all.iter_mut().for_each(|all| all.push(text.to_owned())));
}

pub(crate) fn parse_text(text: &str, format: Format) -> Result<Parsed, String> {
    let name = if format == Format::Butane {
        "t.bu"
    } else {
        "t.ign"
    };
    let input = Input { name, text, format };
    parse(&input, &NoLocalFiles, &ParseOptions::default()).map_err(|errors| errors.to_string())
}

#[track_caller]
pub(crate) fn accepted(body: &str) -> Customization {
    match parse_text(&butane(body), Format::Butane) {
        Ok(parsed) => parsed.customization,
        Err(errors) => panic!("refused:\n{errors}\n--- document\n{body}"),
    }
}

/// A tree in memory.
#[derive(Default)]
pub(crate) struct Memory {
    nodes: BTreeMap<Vec<u8>, (Node, Vec<u8>)>,
}

impl Memory {
    /// Lines such as `f /etc/a 644 0:0 text`, `d /etc 755`, `l /home -> var/home`; parents are made.
    pub(crate) fn new(lines: &str) -> Self {
        let mut tree = Self::default();
        tree.put("/", Kind::Directory, 0o755, (0, 0), "");
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            let mode = || {
                words
                    .get(2)
                    .map_or(0o755, |mode| u32::from_str_radix(mode, 8).unwrap())
            };
            let owner = || {
                let (uid, gid) = words
                    .get(3)
                    .and_then(|owner| owner.split_once(':'))
                    .unwrap_or(("0", "0"));
                (uid.parse().unwrap(), gid.parse().unwrap())
            };
            match words[0] {
                "f" => {
                    let text = words.get(4).unwrap_or(&"").replace("\\n", "\n");
                    tree.put(words[1], Kind::File, mode(), owner(), &text);
                }
                "d" => tree.put(words[1], Kind::Directory, mode(), owner(), ""),
                "p" => tree.put(words[1], Kind::Other, mode(), owner(), ""),
                "l" => tree.put(words[1], Kind::Symlink(words[3].into()), 0o777, (0, 0), ""),
                other => panic!("unknown kind {other}"),
            }
        }
        tree
    }

    fn put(&mut self, path: &str, kind: Kind, mode: u32, (uid, gid): (u32, u32), text: &str) {
        for (slash, _) in path.match_indices('/').skip(1) {
            let dir = Node {
                kind: Kind::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
            };
            self.nodes
                .entry(path[..slash].into())
                .or_insert((dir, Vec::new()));
        }
        self.nodes.insert(
            path.into(),
            (
                Node {
                    kind,
                    mode,
                    uid,
                    gid,
                },
                text.into(),
            ),
        );
    }
}

impl Memory {
    /// Makes one change; parents are there.
    pub(crate) fn change(&mut self, change: &Change) {
        let new = |kind, mode: u32, uid: u32, gid: u32| Node {
            kind,
            mode,
            uid,
            gid,
        };
        let path = change.path.clone();
        match &change.action {
            Action::Write {
                contents,
                mode,
                uid,
                gid,
            } => {
                let node = new(Kind::File, *mode, *uid, *gid);
                self.nodes.insert(path, (node, contents.clone()));
            }
            Action::Mkdir { mode, uid, gid } => {
                let node = new(Kind::Directory, *mode, *uid, *gid);
                self.nodes.insert(path, (node, Vec::new()));
            }
            Action::Symlink { target, uid, gid } => {
                let node = new(Kind::Symlink(target.clone()), 0o777, *uid, *gid);
                self.nodes.insert(path, (node, Vec::new()));
            }
            Action::HardLink { target } => {
                let node = self.nodes[target].clone();
                self.nodes.insert(path, node);
            }
            Action::SetMeta { mode, uid, gid } => {
                let (node, _) = self.nodes.get_mut(&path).unwrap();
                (node.mode, node.uid, node.gid) = (*mode, *uid, *gid);
            }
            Action::Remove => {
                let below = [&path[..], b"/"].concat();
                self.nodes
                    .retain(|other, _| *other != path && !other.starts_with(&below));
            }
            other => panic!("a change that tests do not know: {other:?}"),
        }
    }

    /// Every node but those at some paths, one a line.
    pub(crate) fn dump(&self, but: &[&str]) -> Vec<String> {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|(path, _)| !but.iter().any(|but| but.as_bytes() == **path));
        nodes
            .map(|(path, (node, text))| {
                let (path, text) = (String::from_utf8_lossy(path), String::from_utf8_lossy(text));
                format!("{path} {node:?} {text}")
            })
            .collect()
    }

    /// What a file holds; nothing where there is none.
    pub(crate) fn text(&self, path: &str) -> String {
        let text = self.read_file(path.as_bytes()).unwrap_or_default();
        String::from_utf8(text).unwrap()
    }
}

impl BaseView for Memory {
    fn node(&self, path: &[u8]) -> Option<Node> {
        self.nodes.get(path).map(|(node, _)| node.clone())
    }

    fn read_file(&self, path: &[u8]) -> Option<Vec<u8>> {
        let (node, text) = self.nodes.get(path)?;
        (node.kind == Kind::File).then(|| text.clone())
    }

    fn names(&self, dir: &[u8]) -> Vec<Vec<u8>> {
        let mut below = dir.to_vec();
        if below != b"/" {
            below.push(b'/');
        }
        let rest = self
            .nodes
            .keys()
            .filter_map(|path| path.strip_prefix(&below[..]));
        rest.filter(|rest| !rest.is_empty() && !rest.contains(&b'/'))
            .map(<[u8]>::to_vec)
            .collect()
    }
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/tests/fixtures/accounts/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn base_accounts() -> BaseAccounts {
    BaseAccounts {
        passwd: fixture("base/passwd"),
        group: fixture("base/group"),
        shadow: Some(fixture("base/shadow")),
        gshadow: Some(fixture("base/gshadow")),
        subuid: Some(fixture("base/subuid")),
        subgid: Some(fixture("base/subgid")),
        login_defs: Some(fixture("base/login.defs")),
        default_useradd: Some(fixture("base/useradd")),
    }
}

#[track_caller]
pub(crate) fn account_plan(c: &Customization) -> AccountPlan {
    accounts::plan(&c.users, &c.groups, &base_accounts())
        .unwrap_or_else(|errors| panic!("{errors}"))
}

/// The changes that a document makes to a tree, one a line, or the errors.
#[track_caller]
pub(crate) fn lowered(body: &str, tree: &str, options: &LowerOptions) -> String {
    let c = accepted(body);
    match lower(&c, &account_plan(&c), &Memory::new(tree), options) {
        Err(errors) => errors.to_string() + "\n",
        Ok(changes) => changes
            .iter()
            .map(|change| line(&change.path, &change.action) + "\n")
            .collect(),
    }
}

fn line(path: &[u8], action: &Action) -> String {
    let path = String::from_utf8_lossy(path);
    match action {
        Action::Write {
            contents,
            mode,
            uid,
            gid,
        } => {
            let text = String::from_utf8_lossy(contents).replace('\n', "\\n");
            format!("write {path} {mode:04o} {uid}:{gid} {text}")
        }
        Action::Mkdir { mode, uid, gid } => format!("mkdir {path} {mode:04o} {uid}:{gid}"),
        Action::Symlink { target, uid, gid } => {
            format!(
                "link {path} -> {} {uid}:{gid}",
                String::from_utf8_lossy(target)
            )
        }
        Action::HardLink { target } => format!("hard {path} = {}", String::from_utf8_lossy(target)),
        Action::SetMeta { mode, uid, gid } => format!("meta {path} {mode:04o} {uid}:{gid}"),
        Action::Remove => format!("remove {path}"),
        other => panic!("a change that tests do not know: {other:?}"),
    }
}
