//! PostgreSQL: a cluster that a machine makes at its first boot is that machine's own.
//!
//! Sources: PostgreSQL's manual, "Database File Layout" (what is where), "initdb" (modes, sizes of a WAL
//! segment) and "pg_controldata"; `pg_control.h` and `xlog_internal.h` for the system identifier, which
//! `BootStrapXLOG` makes of the time and the process id.

use pleach_booted_state::model::{Mode, PathEntry, PathType};
use pleach_booted_state::{Difference, SectionName, Snapshot};

use crate::{Class, Context, Rule};

pub(super) const RULES: &[Rule] = &[Rule {
    name: "database-cluster",
    reason: "initdb gives each PostgreSQL cluster a system identifier of its own, which pg_control and the WAL repeat with their times, and postmaster.pid says which process runs; that both have them, whose they are, their modes and fixed sizes, and every other file of the cluster is compared",
    // Noise, but of a machine that the customization makes: the control, which boots the base image alone,
    // cannot be asked.
    class: Class::Tool,
    section: SectionName::Paths,
    covers,
}];

/// `PG_CONTROL_FILE_SIZE`: always written whole.
const CONTROL_SIZE: u64 = 8192;

/// What `initdb --wal-segsize` takes, in bytes: powers of two.
const SEGMENT_SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// Where the WAL of a new cluster begins. No later segment is one that initdb wrote.
const SEGMENT: &str = "000000010000000000000001";

/// By how much the first line of two `postmaster.pid` can differ: a process has one digit or seven
/// (Linux: `PID_MAX_LIMIT` is 4194304).
const PID_DIGITS: u64 = 6;

/// The files of a cluster that are each machine's own.
#[derive(Clone, Copy, PartialEq)]
enum Own {
    Control,
    Segment,
    Lock,
}

impl Own {
    /// Which of them a path is, and the cluster that it would be in.
    fn of(path: &str) -> Option<(&str, Self)> {
        let files = [
            ("/global/pg_control".to_owned(), Self::Control),
            (format!("/pg_wal/{SEGMENT}"), Self::Segment),
            ("/postmaster.pid".to_owned(), Self::Lock),
        ];
        let mut files = files.into_iter();
        files.find_map(|(name, own)| Some((path.strip_suffix(&name)?, own)))
    }

    /// Whether files of these sizes can be two of them.
    fn sizes(self, left: u64, right: u64) -> bool {
        match self {
            Self::Control => left == CONTROL_SIZE && right == CONTROL_SIZE,
            Self::Segment => {
                left == right && left.is_power_of_two() && SEGMENT_SIZES.contains(&left)
            }
            Self::Lock => left.abs_diff(right) <= PID_DIGITS,
        }
    }
}

fn covers(context: &Context<'_>, difference: &Difference) -> bool {
    let Some(key) = difference.key.as_deref() else {
        return false;
    };
    let Some((cluster, own)) = Own::of(key).filter(|(cluster, _)| cluster.starts_with("/var/"))
    else {
        return false;
    };
    // A file that the customization brings is the same on each machine.
    if context.facts.named_paths.contains(key) {
        return false;
    }
    let attribute = match difference.attribute.as_deref() {
        Some("digest") => true,
        Some("size") => own == Own::Lock,
        _ => false,
    };
    let (Some(left), Some(right)) = (
        Cluster::at(context.left.1, cluster),
        Cluster::at(context.right.1, cluster),
    ) else {
        return false;
    };
    let file = |cluster: &Cluster<'_>| cluster.file(key).and_then(|file| file.size);
    attribute
        && left.control.digest != right.control.digest
        && matches!((file(&left), file(&right)), (Some(a), Some(b)) if own.sizes(a, b))
}

/// A directory that PostgreSQL would take for a cluster.
struct Cluster<'a> {
    snapshot: &'a Snapshot,
    top: &'a PathEntry,
    control: &'a PathEntry,
}

impl<'a> Cluster<'a> {
    /// The cluster at a path: the directories and files that each has, of one owner and closed to others.
    fn at(snapshot: &'a Snapshot, path: &str) -> Option<Self> {
        let top = snapshot.paths.get(path)?;
        if top.path_type != PathType::Directory || !matches!(top.mode, Mode(0o700 | 0o750)) {
            return None;
        }
        let control = snapshot.paths.get(&format!("{path}/global/pg_control"))?;
        let cluster = Self {
            snapshot,
            top,
            control,
        };
        let directory = |name: &str| {
            let entry = snapshot.paths.get(&format!("{path}/{name}"));
            entry.is_some_and(|entry| entry.path_type == PathType::Directory && cluster.owns(entry))
        };
        let file = |name: &str| cluster.file(&format!("{path}/{name}")).is_some();
        let whole = ["base", "global", "pg_wal", "pg_xact"]
            .into_iter()
            .all(directory)
            && ["PG_VERSION", "global/pg_control"].into_iter().all(file);
        whole.then_some(cluster)
    }

    /// A file that belongs to who owns the cluster.
    fn file(&self, path: &str) -> Option<&'a PathEntry> {
        let entry = self.snapshot.paths.get(path)?;
        (entry.path_type == PathType::File && self.owns(entry)).then_some(entry)
    }

    fn owns(&self, entry: &PathEntry) -> bool {
        (entry.uid, entry.gid) == (self.top.uid, self.top.gid)
    }
}
