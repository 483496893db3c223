//! URLs: which schemes there are, and what each asks of the rest.

use super::Decoder;
use crate::source::Place;

/// What becomes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// The bytes are in the URL.
    Data,
    /// The bytes are beside the document.
    File,
    /// HTTP, with or without TLS: headers can be sent.
    Http,
    /// Another one that Ignition fetches.
    Fetched,
}

impl Decoder<'_> {
    /// The scheme of a resource's URL, if it is one that can be used.
    pub(super) fn scheme(&mut self, url: &str, place: Place, path: &str) -> Option<Scheme> {
        const UNKNOWN: &str = "this is no URL with a known scheme";
        const KNOWN: &str = "known: data, file, http, https, tftp, s3, gs, arn";
        if url.contains(|c: char| c.is_control() || c == ' ') {
            self.error(place, path, "a URL has no blanks and no control characters");
            return None;
        }
        let Some((scheme, rest)) = url.split_once(':') else {
            self.error_help(place, path, UNKNOWN, KNOWN);
            return None;
        };
        let scheme = scheme.to_ascii_lowercase();
        let found = match &*scheme {
            "data" => return Some(Scheme::Data),
            "file" => return Some(Scheme::File),
            "http" | "https" => Scheme::Http,
            "tftp" | "s3" => Scheme::Fetched,
            "gs" => self
                .has("the scheme 'gs'", (2, 2), place, path)
                .then_some(Scheme::Fetched)?,
            "arn" => self
                .has("the scheme 'arn'", (5, 4), place, path)
                .then_some(Scheme::Fetched)?,
            _ => {
                self.error_help(place, path, UNKNOWN, KNOWN);
                return None;
            }
        };
        let problem = match &*scheme {
            "arn" => arn_problem(url),
            _ => authority(rest).is_none().then_some("it names no host"),
        };
        let empty = |query: &str| {
            query
                .split('&')
                .any(|part| matches!(part, "versionId" | "versionId="))
        };
        let version = matches!(&*scheme, "s3" | "arn")
            && url.split_once('?').is_some_and(|(_, query)| empty(query));
        if let Some(problem) = problem.or(version.then_some("its versionId is empty")) {
            self.error(
                place,
                path,
                format!("this {scheme} URL cannot be used: {problem}"),
            );
            return None;
        }
        Some(found)
    }

    /// A URL that is reached by HTTP: a proxy, a Tang server.
    pub(super) fn http_url(&mut self, what: &str, url: &str, place: Place, path: &str) -> bool {
        let rest = ["http:", "https:"].iter().find_map(|scheme| {
            let (head, rest) = url.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        });
        let blank = url.contains(|c: char| c.is_control() || c == ' ');
        let usable = rest.and_then(authority).is_some() && !blank;
        if !usable {
            let message =
                format!("the URL of {what} begins with http:// or https:// and names a host");
            self.error(place, path, message);
        }
        usable
    }
}

/// Host, port and what stands before them.
fn authority(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix("//")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

/// `arn:PARTITION:s3:REGION:ACCOUNT:BUCKET/KEY`, or an access point.
fn arn_problem(url: &str) -> Option<&'static str> {
    let url = url.split('?').next().unwrap_or(url);
    let parts: Vec<&str> = url.splitn(6, ':').collect();
    let [_, _, service, _, _, resource] = parts[..] else {
        return Some("an ARN has six parts with ':' between them");
    };
    if service != "s3" {
        return Some("its service is not s3");
    }
    let slashes = resource.matches('/').count();
    if slashes == 0 || (resource.starts_with("accesspoint/") && slashes < 2) {
        return Some("it names no object");
    }
    None
}
