//! What the kernel makes of the machine it finds. No two boots of an emulated machine leave exactly the
//! same memory free, but not every pair shows it, so the control cannot be asked.

use pleach_booted_state::model::SocketOwner;
use pleach_booted_state::{Difference, SectionName, Snapshot};

use crate::{Class, Context, Route, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "share-of-memory",
        reason: "a limit that the kernel sets from the memory it finds free; equal within a hundredth",
        class: Class::Machine,
        section: SectionName::Sysctls,
        covers: |_, difference| {
            let key = difference.key.as_deref();
            key.is_some_and(|key| MEMORY.contains(&key)) && close(difference)
        },
    },
    Rule {
        name: "share-of-memory",
        reason: "tmpfs is sized from the memory that the kernel finds, and says nothing where that is its default; equal within a hundredth, or near half of the memory",
        class: Class::Machine,
        section: SectionName::Mounts,
        covers: |context, difference| {
            let amount = difference
                .attribute
                .as_deref()
                .is_some_and(|a| a.contains(".amounts."));
            amount && (close(difference) || default_size(context, difference))
        },
    },
    Rule {
        name: "share-of-memory",
        reason: "systemd sets these from the memory that it finds; equal within a hundredth",
        class: Class::Machine,
        section: SectionName::Manager,
        covers: |_, difference| {
            let key = difference.key.as_deref();
            key.is_some_and(|key| MANAGER.contains(&key)) && close(difference)
        },
    },
    Rule {
        name: "work-of-ignition",
        reason: "a counter of how often file systems were synced; Ignition and its reboot sync too",
        class: Class::Machine,
        section: SectionName::Sysctls,
        covers: |context, difference| {
            context.has(Route::Ignition) && difference.key.as_deref() == Some("fs.quota.syncs")
        },
    },
    Rule {
        name: "udev-workers",
        reason: "systemd-udevd forks workers while devices are set up, and each holds its control socket until it is idle for some seconds; who holds it besides is compared",
        class: Class::Machine,
        section: SectionName::ListeningSockets,
        covers: |context, difference| {
            let attribute = difference.attribute.as_deref().unwrap_or_default();
            difference.key.as_deref() == Some(UDEV)
                && attribute.starts_with("owners.")
                && lasting(context.left.1) == lasting(context.right.1)
        },
    },
];

/// Below `/proc/sys`.
const MEMORY: &[&str] = &[
    "fs.epoll.max_user_watches",
    "fs.file-max",
    "kernel.threads-max",
    "net.ipv4.inet_peer_threshold",
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "vm.min_free_kbytes",
    "vm.user_reserve_kbytes",
];

/// Properties of the service manager.
const MANAGER: &[&str] = &[
    "DefaultLimitNPROC",
    "DefaultLimitNPROCSoft",
    "DefaultLimitSIGPENDING",
    "DefaultLimitSIGPENDINGSoft",
    "DefaultTasksMax",
];

/// Two numbers, with the same unit behind them, that differ by less than a hundredth.
fn close(difference: &Difference) -> bool {
    let (Some(left), Some(right)) = (&difference.left, &difference.right) else {
        return false;
    };
    let numbers = |text: &str| -> Option<Vec<(f64, String)>> {
        // A tab is escaped in what is compared.
        let text = text.replace(r"\x09", " ");
        text.split(['\t', ' ']).map(number).collect()
    };
    let (Some(left), Some(right)) = (numbers(left), numbers(right)) else {
        return false;
    };
    left.len() == right.len()
        && left
            .iter()
            .zip(&right)
            .all(|((a, a_unit), (b, b_unit))| a_unit == b_unit && (a - b).abs() * 100.0 < a.max(*b))
}

fn number(text: &str) -> Option<(f64, String)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].to_owned()))
}

/// One side says no size, and the other's is what the kernel takes where none is given: half of the
/// memory. `vm.user_reserve_kbytes` is a 32nd of what was free (Linux, `init_user_reserve`).
fn default_size(context: &Context<'_>, difference: &Difference) -> bool {
    let (size, snapshot) = match (&difference.left, &difference.right) {
        (Some(size), None) => (size, context.left.1),
        (None, Some(size)) => (size, context.right.1),
        _ => return false,
    };
    let half = |snapshot: &Snapshot| -> Option<f64> {
        use pleach_booted_state::model::Sysctl;
        match snapshot.sysctls.get("vm.user_reserve_kbytes")? {
            Sysctl::Value(text) => Some(text.parse::<f64>().ok()? * 16.0),
            _ => None,
        }
    };
    let said = number(size)
        .filter(|(_, unit)| unit == "k")
        .map(|(size, _)| size);
    match (said, half(snapshot)) {
        (Some(said), Some(half)) => (said - half).abs() * 20.0 < half,
        _ => false,
    }
}

/// The socket by which udevadm speaks to systemd-udevd.
const UDEV: &str = "unix seqpacket /run/udev/control";

/// Who holds it, but for the workers; none where there is no such socket.
fn lasting(snapshot: &Snapshot) -> Option<Vec<&SocketOwner>> {
    let socket = snapshot.listening_sockets.entries()?.get(UDEV)?;
    let worker = |owner: &&SocketOwner| {
        owner.unit == "systemd-udevd.service" && owner.process == "(udev-worker)"
    };
    Some(
        socket
            .owners
            .iter()
            .filter(|owner| !worker(owner))
            .collect(),
    )
}
