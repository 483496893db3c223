//! Which specification a document needs: what each brought, by Ignition's migration guide.

use pleach_customization::{Contents, Customization, Source};

/// The lowest specification that holds everything.
pub(super) fn lowest(c: &Customization) -> &'static str {
    const VERSIONS: [&str; 6] = ["3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0"];
    VERSIONS[storage(c).max(rest(c)).max(fetched(c))]
}

fn storage(c: &Customization) -> usize {
    let mut minor = 0;
    let mut needs = |needed: bool, since: usize| {
        if needed {
            minor = minor.max(since);
        }
    };
    for luks in &c.luks {
        let tang = luks.clevis.tang.iter();
        needs(true, 2);
        needs(luks.discard.is_some() || !luks.open_options.is_empty(), 4);
        needs(tang.clone().any(|t| t.advertisement.is_some()), 4);
        needs(luks.cex.is_some(), 5);
    }
    for filesystem in &c.filesystems {
        needs(!filesystem.mount_options.is_empty(), 1);
        needs(filesystem.format.as_deref() == Some("none"), 3);
    }
    let mut partitions = c.disks.iter().flat_map(|disk| &disk.partitions);
    needs(partitions.any(|partition| partition.resize.is_some()), 2);
    minor
}

fn rest(c: &Customization) -> usize {
    let arguments = &c.kernel_arguments;
    let accounts = c.users.iter().any(|u| u.should_exist.is_some())
        || c.groups.iter().any(|g| g.should_exist.is_some());
    if !arguments.should_exist.is_empty() || !arguments.should_not_exist.is_empty() {
        3
    } else if accounts {
        2
    } else {
        usize::from(c.ignition.proxy.is_some())
    }
}

/// What any contents need.
fn fetched(c: &Customization) -> usize {
    let files = c
        .files
        .iter()
        .flat_map(|file| file.contents.iter().chain(&file.append));
    let keys = c.luks.iter().filter_map(|luks| luks.key_file.as_ref());
    let documents = c.ignition.merge.iter().chain(&c.ignition.replace);
    let references = documents
        .map(|document| &document.contents)
        .chain(&c.ignition.certificate_authorities);
    let of_references = references
        .clone()
        .map(|contents| usize::from(contents.compression.is_some()));
    let all = files.chain(keys).chain(references).map(contents);
    all.chain(of_references).max().unwrap_or_default()
}

fn contents(contents: &Contents) -> usize {
    let hash = contents.hash.as_ref();
    let sha256 = hash.is_some_and(|hash| hash.as_str().starts_with("sha256-"));
    let Source::Remote(remote) = &contents.source else {
        return usize::from(sha256);
    };
    match remote.url.split(':').next().unwrap_or_default() {
        scheme if scheme.eq_ignore_ascii_case("arn") => 4,
        scheme if scheme.eq_ignore_ascii_case("gs") => 2,
        _ => usize::from(sha256 || !remote.headers.is_empty()),
    }
}
