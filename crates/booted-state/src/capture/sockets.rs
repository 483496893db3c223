//! Who listens, and which process that is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pleach_fs_tree::{Name, TreePath, escape};

use rustix::io::Errno;

use super::section;
use super::tools::text;
use super::view::{View, at, existing, io_error, names};
use crate::model::{ListeningSocket, SocketOwner};
use crate::parse::sockets;
use crate::{Error, Section};

pub(crate) fn capture(view: &View<'_>) -> Result<Section<ListeningSocket>, Error> {
    // PID 1's network: that of the capture itself may be another.
    let mut listening = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let path = format!("/proc/1/net/{protocol}");
        match view.read(&at(&path))? {
            Some(content) => match sockets::internet(protocol, &text(content)) {
                Ok(found) => listening.extend(found),
                Err(why) => return Ok(Section::unavailable(why)),
            },
            // A kernel without IPv6.
            None if protocol.ends_with('6') => {}
            None => return Ok(Section::unavailable(format!("{path}: not found"))),
        }
    }
    let unix = view.read(&at("/proc/1/net/unix"))?.unwrap_or_default();
    listening.extend(sockets::unix(&unix));
    let owners = owners(view)?;
    let mut found: BTreeMap<String, (u32, BTreeSet<SocketOwner>)> = BTreeMap::new();
    for (key, inode) in listening {
        let entry = found.entry(key).or_default();
        entry.0 += 1;
        entry
            .1
            .extend(owners.get(&inode).into_iter().flatten().cloned());
    }
    let socket = |(key, (count, owners)): (String, (u32, BTreeSet<SocketOwner>))| {
        let owners = owners.into_iter().collect();
        (key, ListeningSocket { count, owners })
    };
    Ok(section(Ok(found.into_iter().map(socket))))
}

/// The holders of each socket, by its inode.
fn owners(view: &View<'_>) -> Result<HashMap<u64, Vec<SocketOwner>>, Error> {
    let mut out: HashMap<u64, Vec<SocketOwner>> = HashMap::new();
    let proc = at("/proc");
    for name in view.list(&proc)? {
        if !name.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let process = proc.join(&name);
        let inodes = socket_inodes(view, &process)?;
        if inodes.is_empty() {
            continue;
        }
        let file = |name: &str| {
            let name = Name::new(name.as_bytes()).expect("a plain name");
            Ok::<_, Error>(view.read(&process.join(&name))?.unwrap_or_default())
        };
        let owner = SocketOwner {
            unit: sockets::unit(&text(file("cgroup")?)),
            process: escape(file("comm")?.trim_ascii()),
        };
        for inode in inodes {
            out.entry(inode).or_default().push(owner.clone());
        }
    }
    Ok(out)
}

/// None also for a process that may not be looked into: then its sockets have no owner.
fn socket_inodes(view: &View<'_>, process: &TreePath) -> Result<BTreeSet<u64>, Error> {
    let path = process.join(&Name::new(b"fd").expect("a plain name"));
    let inodes = || {
        let fd = view.open_dir(&path)?;
        let mut inodes = BTreeSet::new();
        for name in names(&fd)? {
            let target = existing(rustix::fs::readlinkat(&fd, name.as_bytes(), Vec::new()))?;
            inodes.extend(target.and_then(|target| sockets::inode(target.to_bytes())));
        }
        Ok(inodes)
    };
    match existing(inodes()) {
        Err(Errno::ACCESS | Errno::PERM) => Ok(BTreeSet::new()),
        inodes => Ok(inodes.map_err(io_error("list", &path))?.unwrap_or_default()),
    }
}
