//! `ip -json address`.

use serde::Deserialize;

use crate::model::{Address, Interface};

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    operstate: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    mtu: u64,
    address: Option<String>,
    master: Option<String>,
    #[serde(default)]
    addr_info: Vec<AddressInfo>,
}

#[derive(Deserialize)]
struct AddressInfo {
    family: Option<String>,
    local: Option<String>,
    #[serde(default)]
    prefixlen: u32,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    dynamic: bool,
}

/// The interfaces by name.
pub(crate) fn interfaces(json: &[u8]) -> Result<Vec<(String, Interface)>, String> {
    let links: Vec<Link> = serde_json::from_slice(json).map_err(|error| format!("ip: {error}"))?;
    Ok(links.into_iter().map(interface).collect())
}

fn interface(link: Link) -> (String, Interface) {
    let address = |info: AddressInfo| {
        Some(Address {
            family: info.family?,
            address: format!("{}/{}", info.local?, info.prefixlen),
            scope: info.scope,
            dynamic: info.dynamic,
        })
    };
    let mut addresses: Vec<Address> = link.addr_info.into_iter().filter_map(address).collect();
    addresses.sort();
    let interface = Interface {
        link_type: link.link_type,
        state: link.operstate,
        flags: link.flags.into_iter().collect(),
        mtu: link.mtu,
        hardware_address: link.address,
        controller: link.master,
        addresses,
    };
    (link.ifname, interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_interfaces() {
        let json = br#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536,
            "operstate":"UNKNOWN","link_type":"loopback","address":"00:00:00:00:00:00",
            "addr_info":[{"family":"inet6","local":"::1","prefixlen":128,"scope":"host"},
                         {"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
            {"ifname":"ens3","link_type":"ether","master":"br0",
             "addr_info":[{},{"family":"inet","local":"10.0.2.15","prefixlen":24,"scope":"global",
                              "dynamic":true}]}]"#;
        let found = interfaces(json).expect("JSON");
        let shown: Vec<String> = found
            .iter()
            .map(|(name, link)| {
                let addresses: Vec<String> = link
                    .addresses
                    .iter()
                    .map(|a| format!("{} {} {}", a.address, a.scope, a.dynamic))
                    .collect();
                format!("{name} {} {} {:?}", link.link_type, link.mtu, addresses)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "lo loopback 65536 [\"127.0.0.1/8 host false\", \"::1/128 host false\"]",
                "ens3 ether 0 [\"10.0.2.15/24 global true\"]",
            ]
        );
        assert_eq!(found[1].1.controller.as_deref(), Some("br0"));
        assert!(interfaces(b"").is_err());
    }
}
