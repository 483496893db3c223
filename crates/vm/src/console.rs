//! What lines of a serial console say about the guest's health.

/// Bytes of one line that are kept; a guest that never ends its line costs no more.
const LINE_MAX: usize = 4096;

/// Bytes in, lines out: carriage returns and terminal control sequences are dropped.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Adds bytes and gives every line that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                complete.push(self.partial());
                self.partial.clear();
            } else if self.partial.len() < LINE_MAX {
                self.partial.push(byte);
            }
        }
        complete
    }

    /// The line that is not ended yet, such as a prompt.
    pub(crate) fn partial(&self) -> String {
        plain(&self.partial)
    }
}

fn plain(line: &[u8]) -> String {
    let mut text = String::new();
    let line = String::from_utf8_lossy(line);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // ECMA-48: CSI, parameters, one final character from `@` to `~`; OSC up to BEL or ESC.
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                for c in chars.by_ref() {
                    if matches!(c, '@'..='~') {
                        break;
                    }
                }
            }
            '\x1b' if chars.next_if_eq(&']').is_some() => {
                while chars.next_if(|&c| c != '\x07' && c != '\x1b').is_some() {}
                if chars.next() == Some('\x1b') {
                    let _backslash = chars.next_if_eq(&'\\');
                }
            }
            c if c.is_control() && c != '\t' => {}
            c => text.push(c),
        }
    }
    text
}

/// What a line of console tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The kernel stopped for a reason that the guest's configuration gives it: no init, no root.
    Unbootable,
    /// The kernel found itself broken.
    Crash,
    /// A shell waits for an administrator.
    Emergency,
}

/// Kernel messages after which a kernel is not to be trusted, as they begin.
const CRASHES: &[&str] = &[
    "Kernel panic - not syncing",
    "Oops: ",
    "BUG: ",
    "kernel BUG at ",
    "PANIC: ",
    "general protection fault",
    "double fault: ",
    "invalid opcode: ",
    "stack segment: ",
    "Unable to handle kernel ",
    "Internal error: ",
];

/// Panics that say what the boot entry or the image lacks.
const UNBOOTABLE: &[&str] = &[
    "No working init found",
    "Requested init ",
    "VFS: Unable to mount root fs",
];

/// Lines of systemd, sulogin and dracut when they give up.
const EMERGENCIES: &[&str] = &[
    "You are in emergency mode",
    "You are in rescue mode",
    "Entering emergency mode",
    "Reached target emergency.target",
    "Reached target rescue.target",
    "Failed to start initrd-switch-root.service",
    "Press Enter for maintenance",
    "Press Enter for emergency shell",
    "Give root password for maintenance",
    "Cannot open access to console, the root account is locked",
    "Generating \"/run/initramfs/rdsosreport.txt\"",
    "dracut: Refusing to continue",
    "dracut:/# ",
    "(initramfs) ",
];

/// Reads one line.
pub(crate) fn sign(line: &str) -> Option<Sign> {
    if let Some(message) = kernel_message(line) {
        // A program's fault is reported as `traps: name[pid] …`, the kernel's own without a name.
        let message = message.strip_prefix("traps: ").unwrap_or(message);
        if let Some(cause) = message.strip_prefix("Kernel panic - not syncing: ") {
            // A status whose low seven bits are zero is an exit, others are signals: an init that exits
            // does so of itself, one that is killed may be the emulator's victim.
            let exited = |status: &str| {
                u32::from_str_radix(status.get(..8).unwrap_or(""), 16).is_ok_and(|s| s & 0x7f == 0)
            };
            let killed_init = cause.strip_prefix("Attempted to kill init! exitcode=0x");
            let own_fault = match killed_init {
                Some(status) => exited(status),
                None => UNBOOTABLE.iter().any(|text| cause.starts_with(text)),
            };
            return Some(if own_fault {
                Sign::Unbootable
            } else {
                Sign::Crash
            });
        }
        if CRASHES.iter().any(|text| message.starts_with(text)) {
            return Some(Sign::Crash);
        }
        // systemd's own lines pass through the kernel's log too.
        let by_systemd = message.starts_with("systemd[1]: ") || message.starts_with("dracut");
        if !by_systemd {
            return None;
        }
    }
    EMERGENCIES
        .iter()
        .any(|text| line.contains(text))
        .then_some(Sign::Emergency)
}

/// The text behind `[   12.345678] ` or `[   12.345678][    T1] `.
fn kernel_message(line: &str) -> Option<&str> {
    let (stamp, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let (seconds, fraction) = stamp.trim_start().split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(digits(seconds) && digits(fraction) && fraction.len() == 6) {
        return None;
    }
    let rest = match rest.strip_prefix('[') {
        Some(caller) => caller.split_once(']')?.1,
        None => rest,
    };
    rest.strip_prefix(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_for_what_they_tell() {
        let check = |line: &str, expect: Option<Sign>| assert_eq!(sign(line), expect, "{line}");
        let (crash, emergency, unbootable) = (
            Some(Sign::Crash),
            Some(Sign::Emergency),
            Some(Sign::Unbootable),
        );

        check(
            "[   72.113355] Kernel panic - not syncing: Fatal exception in interrupt",
            crash,
        );
        check(
            "[    5.000001] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI",
            crash,
        );
        check(
            "[    5.000001] BUG: unable to handle page fault for address: ffff",
            crash,
        );
        check("[    5.000001] kernel BUG at mm/slub.c:448!", crash);
        check(
            "[    5.000001][    T1] BUG: kernel NULL pointer dereference",
            crash,
        );
        check(
            "[   24.123456] traps: PANIC: double fault, error_code: 0x0",
            crash,
        );
        check(
            "[   24.123456] general protection fault, probably for non-canonical address",
            crash,
        );

        // An exit is the guest's doing, a signal may be the emulator's.
        let init = "[    9.123456] Kernel panic - not syncing: Attempted to kill init! exitcode=0x";
        check(&format!("{init}00000100"), unbootable);
        check(&format!("{init}00007f00"), unbootable);
        check(&format!("{init}0000000b"), crash);
        check(&format!("{init}0000008b"), crash);
        check(
            "[    1.5] Kernel panic - not syncing: no six digits, no kernel",
            None,
        );
        check(
            "[    1.500000] Kernel panic - not syncing: No working init found.",
            unbootable,
        );
        check(
            "[    1.500000] Kernel panic - not syncing: Requested init /x failed (error -2).",
            unbootable,
        );
        check(
            "[    1.500000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            unbootable,
        );

        check(
            "You are in emergency mode. After logging in, type \"journalctl -xb\"",
            emergency,
        );
        check(
            "[  OK  ] Reached target emergency.target - Emergency Mode.",
            emergency,
        );
        check(
            "[   31.000001] systemd[1]: Reached target emergency.target - Emergency Mode.",
            emergency,
        );
        check(
            "[FAILED] Failed to start initrd-switch-root.service - Switch Root.",
            emergency,
        );
        check("Press Enter for maintenance", emergency);
        check("Generating \"/run/initramfs/rdsosreport.txt\"", emergency);
        check("dracut:/# ", emergency);
        check("(initramfs) ", emergency);
        check("root@debian:/# ", None);
        check(
            "Cannot open access to console, the root account is locked.",
            emergency,
        );

        // A busy host makes the guest's watchdogs bark; the guest goes on.
        check(
            "[   61.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
            None,
        );
        check(
            "[   61.000001] rcu: INFO: rcu_sched self-detected stall on CPU",
            None,
        );
        check(
            "[   10.000001] traps: sshd[312] general protection fault ip:7f sp:7f error:0",
            None,
        );
        check(
            "[   10.000001] WARNING: CPU: 0 PID: 1 at kernel/x.c:1",
            None,
        );
        check(
            "[  OK  ] Started systemd-journald.service - Journal Service.",
            None,
        );
        check(
            "[   10.000001] Kernel command line: BUG: emergency You are in emergency mode",
            None,
        );
        // Text of a service is not the kernel's word.
        check("backup: Oops: could not reach the mirror", None);
        check("BUG: printed by a program", None);
        check("", None);
    }

    #[test]
    fn control_sequences_are_dropped() {
        let check = |bytes: &[u8], expect: &[&str]| {
            assert_eq!(
                Lines::default().push(bytes),
                expect,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        };
        check(b"a\r\nb\n", &["a", "b"]);
        check(
            b"[\x1b[0;32m  OK  \x1b[0m] Reached\r\n",
            &["[  OK  ] Reached"],
        );
        check(b"\x1b]3008;start=1\x1b\\shell\n", &["shell"]);
        check(b"\x1b]0;title\x07shell\n", &["shell"]);
        check(b"\xff\x1b[\n", &["\u{fffd}"]);
        check(b"no end", &[]);
    }

    #[test]
    fn line_may_come_in_pieces_and_never_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"drac"), [""; 0]);
        assert_eq!(lines.push(b"ut:/# "), [""; 0]);
        assert_eq!(sign(&lines.partial()), Some(Sign::Emergency));
        lines.push(&vec![b'x'; 3 * LINE_MAX]);
        assert_eq!(lines.partial().len(), LINE_MAX);
    }
}
