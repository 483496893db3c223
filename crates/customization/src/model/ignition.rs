//! `ignition`: what a document says to Ignition itself.

use super::{Contents, Customization, Origin};
use crate::secret::Secret;

/// The `ignition` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnitionSection {
    /// Documents that are merged into this one, in order; each later one overrides.
    pub merge: Vec<Reference>,
    /// The document that takes this one's place.
    pub replace: Option<Reference>,
    /// How long a fetch may take.
    pub timeouts: Option<Timeouts>,
    /// Certificates that are trusted besides the system's, in PEM.
    pub certificate_authorities: Vec<Contents>,
    /// Proxies for fetches.
    pub proxy: Option<Proxy>,
}

/// Another document, which is always Ignition JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reference {
    /// Its text, or where Ignition fetches it from.
    pub contents: Contents,
    /// What it asks for; none where its text is not here, or names a version that is not known.
    pub document: Option<Box<Customization>>,
}

/// How long a fetch may take, in seconds; 0 means for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Until the response's headers; none means 10.
    pub http_response_headers: Option<u32>,
    /// For all of it, retries included; none means 0.
    pub http_total: Option<u32>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// Proxies for fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxy {
    /// For `http:`, and for `https:` unless that has its own. The URL may hold a password.
    pub http_proxy: Option<Secret>,
    /// For `https:`.
    pub https_proxy: Option<Secret>,
    /// Hosts that are reached without one.
    pub no_proxy: Vec<String>,
    /// Where it was asked for.
    pub origin: Origin,
}
