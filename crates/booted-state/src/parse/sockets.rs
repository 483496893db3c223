//! `/proc/net/{tcp,tcp6,udp,udp6,unix}`: who waits for others (proc(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pleach_fs_tree::escape;

/// A socket that waits: protocol and address, and its inode.
pub(crate) type Listening = (String, u64);

/// `/proc/net/PROTOCOL`. A TCP socket waits in the state LISTEN; one of UDP that is connected to
/// nobody waits for everybody.
pub(crate) fn internet(protocol: &str, text: &str) -> Result<Vec<Listening>, String> {
    let waiting = if protocol.starts_with("tcp") {
        "0A"
    } else {
        "07"
    };
    let mut out = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bad = || format!("/proc/net/{protocol}: {line:?}");
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = words[..] else {
            return Err(bad());
        };
        if state != waiting || !remote.ends_with(":0000") {
            continue;
        }
        let address = address(local).ok_or_else(bad)?;
        let inode = inode.parse().map_err(|_| bad())?;
        out.push((format!("{protocol} {address}"), inode));
    }
    Ok(out)
}

/// Groups of 32 bits, each printed as a number of the machine's own byte order; then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for group in address.as_bytes().chunks(8) {
        let group = u32::from_str_radix(std::str::from_utf8(group).ok()?, 16).ok()?;
        bytes.extend(group.to_ne_bytes());
    }
    let address = if bytes.len() == 4 {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

/// `/proc/net/unix`: sockets that accept connections, and datagram sockets with a path.
pub(crate) fn unix(text: &[u8]) -> Vec<Listening> {
    const ACCEPTS: u32 = 0x1_0000; // __SO_ACCEPTCON
    let row = |line: &[u8]| {
        // Num: RefCount Protocol Flags Type St Inode Path. The inode is padded on its left, and a
        // path may have spaces.
        let words: Vec<&[u8]> = line.splitn(7, |&b| b == b' ').collect();
        let [_, _, _, flags, kind, _, rest] = words[..] else {
            return None;
        };
        let rest = rest.trim_ascii_start();
        let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
        let (inode, path) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let accepts = u32::from_str_radix(text(flags)?, 16).ok()? & ACCEPTS != 0;
        let kind = match text(kind)? {
            "0001" => "stream",
            "0002" => "datagram",
            "0005" => "seqpacket",
            other => other,
        };
        let waits = accepts || (kind == "datagram" && path.starts_with(b"/"));
        let inode = text(inode)?.parse().ok()?;
        let path = if path.is_empty() {
            "-".to_owned()
        } else {
            escape(path)
        };
        waits.then(|| (format!("unix {kind} {path}"), inode))
    };
    text.split(|&b| b == b'\n')
        .skip(1)
        .filter_map(row)
        .collect()
}

/// The inode in what a file descriptor of a socket links to: `socket:[123]`.
pub(crate) fn inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The unit of a process from `/proc/PID/cgroup`: the innermost part of the path that is one; the
/// whole path where none is.
pub(crate) fn unit(cgroup: &str) -> String {
    const SUFFIXES: &[&str] = &[".service", ".scope", ".socket", ".mount", ".swap"];
    let line = cgroup.lines().find(|line| line.starts_with("0::"));
    let path = line
        .or_else(|| cgroup.lines().next())
        .and_then(|line| line.splitn(3, ':').nth(2));
    let path = path.unwrap_or_default();
    let is_unit = |part: &&str| SUFFIXES.iter().any(|suffix| part.ends_with(suffix));
    path.rsplit('/').find(is_unit).unwrap_or(path).to_owned()
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n";

    #[test]
    fn internet_sockets() {
        let check = |protocol: &str, row: &str, expect: Option<(&str, u64)>| {
            let expect: Vec<Listening> = expect
                .map(|(key, inode)| (key.to_owned(), inode))
                .into_iter()
                .collect();
            let text = format!("{HEADER}{row}\n");
            assert_eq!(internet(protocol, &text), Ok(expect), "{row}");
        };
        let tail = "00000000:00000000 00:00000000 00000000     0        0";
        let any4 = "00000000:0000";
        let any6 = "00000000000000000000000000000000:0000";
        check(
            "tcp",
            &format!("0: 00000000:0016 {any4} 0A {tail} 4242 1 x 100"),
            Some(("tcp 0.0.0.0:22", 4242)),
        );
        check(
            "tcp",
            &format!("1: 0100007F:1F90 {any4} 0A {tail} 7 1"),
            Some(("tcp 127.0.0.1:8080", 7)),
        );
        check(
            "tcp",
            &format!("2: 0100007F:0016 0100007F:9999 01 {tail} 7 1"),
            None,
        );
        check(
            "tcp6",
            &format!("0: 00000000000000000000000000000000:0016 {any6} 0A {tail} 8 1"),
            Some(("tcp6 [::]:22", 8)),
        );
        check(
            "tcp6",
            &format!("0: 00000000000000000000000001000000:0035 {any6} 0A {tail} 9 1"),
            Some(("tcp6 [::1]:53", 9)),
        );
        check(
            "udp",
            &format!("0: 3500007F:0035 {any4} 07 {tail} 10 2"),
            Some(("udp 127.0.0.53:53", 10)),
        );
        check(
            "udp",
            &format!("0: 0100007F:A000 0100007F:0035 01 {tail} 11 2"),
            None,
        );
        assert!(internet("tcp", &format!("{HEADER}0: short\n")).is_err());
        assert!(internet("tcp", &format!("{HEADER}0: zz:0016 {any4} 0A {tail} 1 1\n")).is_err());
    }

    #[test]
    fn unix_sockets() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01  1234 /run/dbus/system bus\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 11871 /run/connected\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 77 /run/systemd/notify\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 78\n\
            0000000000000000: 00000002 00000000 00010000 0005 01   900 @abstract\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 901\n";
        let expect = [
            ("unix stream /run/dbus/system bus", 1234),
            ("unix datagram /run/systemd/notify", 77),
            ("unix seqpacket @abstract", 900),
            ("unix stream -", 901),
        ];
        let expect: Vec<Listening> = expect
            .into_iter()
            .map(|(key, inode)| (key.to_owned(), inode))
            .collect();
        assert_eq!(unix(text), expect);
    }

    #[test]
    fn owners() {
        assert_eq!(inode(b"socket:[42]"), Some(42));
        assert_eq!(inode(b"/dev/null"), None);
        assert_eq!(inode(b"socket:[x]"), None);
        for (cgroup, expect) in [
            ("0::/system.slice/ssh.service\n", "ssh.service"),
            ("0::/init.scope\n", "init.scope"),
            (
                "0::/user.slice/user-0.slice/user@0.service/app.slice/a.service/sub\n",
                "a.service",
            ),
            ("1:name=systemd:/x\n0::/system.slice/b.socket\n", "b.socket"),
            ("0::/docker/12\n", "/docker/12"),
            ("3:cpu:/system.slice/c.service\n", "c.service"),
            ("", ""),
        ] {
            assert_eq!(unit(cgroup), expect, "{cgroup}");
        }
    }
}
