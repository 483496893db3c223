//! `ignition`: the version, other documents, and how Ignition fetches.

use pleach_customization::{Customization, Proxy, Reference, Secret, Timeouts};
use serde_json::{Value, json};

use super::contents::resource;
use super::object;

pub(super) fn ignition(c: &Customization, version: &str) -> Value {
    let section = &c.ignition;
    let reference = |reference: &Reference| resource(&reference.contents);
    let config = object([
        ("merge", section.merge.iter().map(reference).collect()),
        (
            "replace",
            section.replace.as_ref().map(reference).unwrap_or_default(),
        ),
    ]);
    let authorities: Vec<Value> = section
        .certificate_authorities
        .iter()
        .map(resource)
        .collect();
    let tls = object([("certificateAuthorities", json!(authorities))]);
    let timeouts = |t: &Timeouts| {
        object([
            ("httpResponseHeaders", json!(t.http_response_headers)),
            ("httpTotal", json!(t.http_total)),
        ])
    };
    let url = |proxy: &Option<Secret>| json!(proxy.as_ref().map(Secret::expose));
    let proxy = |p: &Proxy| {
        object([
            ("httpProxy", url(&p.http_proxy)),
            ("httpsProxy", url(&p.https_proxy)),
            ("noProxy", json!(p.no_proxy)),
        ])
    };
    object([
        ("version", json!(version)),
        ("config", config),
        ("security", object([("tls", tls)])),
        (
            "timeouts",
            section.timeouts.as_ref().map(timeouts).unwrap_or_default(),
        ),
        (
            "proxy",
            section.proxy.as_ref().map(proxy).unwrap_or_default(),
        ),
    ])
}
