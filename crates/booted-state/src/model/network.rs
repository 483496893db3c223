//! Interfaces, their configuration, and who listens.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// `loopback`, `ether`…
    pub link_type: String,
    /// `UP`, `DOWN`, `UNKNOWN`…
    pub state: String,
    /// Flags such as `MULTICAST`.
    pub flags: BTreeSet<String>,
    /// Maximum transmission unit, in bytes.
    pub mtu: u64,
    /// Hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<String>,
    /// The interface that it is part of, such as a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Addresses, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `inet` or `inet6`.
    pub family: String,
    /// Address and prefix length.
    pub address: String,
    /// `global`, `link`, `host`.
    pub scope: String,
    /// Whether it was leased or announced rather than configured.
    pub dynamic: bool,
}

/// A file of network configuration. What is in `/etc` stands in `paths` too; here also what the
/// image and the running system bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// Where a symbolic link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `sha256:…` of the content, links followed; none if it leads nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A socket that takes connections or datagrams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListeningSocket {
    /// How many sockets share the address.
    pub count: u32,
    /// Who holds them, sorted; empty where it cannot be known.
    pub owners: Vec<SocketOwner>,
}

/// A process that holds a socket; processes of the same unit and name count once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketOwner {
    /// The unit of its control group, or the group itself.
    pub unit: String,
    /// Name of the process (`/proc/PID/comm`).
    pub process: String,
}
