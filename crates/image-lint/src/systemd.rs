//! Files in systemd's own formats: sysusers.d(5), tmpfiles.d(5), systemd.preset(5), unit files.

use crate::glob::glob;
use crate::view::{View, What};

/// A line of a drop-in with its place.
pub(crate) struct Line {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) fields: Vec<String>,
}

impl Line {
    pub(crate) fn field(&self, index: usize) -> &str {
        match self.fields.get(index).map_or("", |field| field) {
            "-" => "",
            field => field,
        }
    }
}

/// The lines of all files of a folder of drop-ins.
pub(crate) fn drop_in_lines(view: &View<'_>, folder: &str) -> Vec<Line> {
    let mut out = Vec::new();
    for path in view.drop_ins(folder, ".conf") {
        for (line, text) in view.lines(&path) {
            let text = text.trim_start();
            if text.starts_with('#') || text.is_empty() {
                continue;
            }
            let fields = fields(text);
            let path = path.clone();
            out.push(Line { path, line, fields });
        }
    }
    out
}

/// The fields of a line: apart by blanks, quoted where they hold some.
pub(crate) fn fields(line: &str) -> Vec<String> {
    let (mut out, mut field, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                field.get_or_insert_default();
            }
            (c, Some(end)) if c == end => quote = None,
            ('\\', _) => field.get_or_insert_default().extend(rest.next()),
            (c, None) if c.is_whitespace() => out.extend(field.take()),
            (c, _) => field.get_or_insert_default().push(c),
        }
    }
    out.extend(field);
    out
}

/// A path of tmpfiles.d: `%%` is the one specifier that no machine changes. `None` with another one.
pub(crate) fn plain_path(field: &str) -> Option<String> {
    let plain = field.replace("%%", "\0");
    (!plain.contains('%')).then(|| plain.replace('\0', "%"))
}

/// The value of a key in a section of an INI file, and its line: the last one counts.
pub(crate) fn value(
    lines: &[(usize, String)],
    section: &str,
    key: &str,
) -> Option<(usize, String)> {
    values(lines, section, key).pop()
}

/// All values of a key in a section of an INI file, with their lines.
pub(crate) fn values(lines: &[(usize, String)], section: &str, key: &str) -> Vec<(usize, String)> {
    let (mut here, mut out) = (false, Vec::new());
    for (number, line) in lines {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            here = name == section;
        } else if let Some((name, value)) = line.split_once('=')
            && here
            && name.trim_end() == key
        {
            out.push((*number, value.trim().to_owned()));
        }
    }
    out
}

/// A unit that a link in `/etc` starts with another one.
pub(crate) struct Enabled {
    pub(crate) unit: String,
    pub(crate) link: String,
}

const DEPENDENCIES: [&str; 3] = [".wants", ".requires", ".upholds"];

/// Whether a folder holds links to what starts with a unit.
pub(crate) fn is_dependencies(folder: &str) -> bool {
    DEPENDENCIES.iter().any(|end| folder.ends_with(end))
}

/// Folders of units, the first one counts.
pub(crate) fn unit_folders(view: &View<'_>) -> [String; 3] {
    [
        view.etc("systemd/system"),
        "/usr/local/lib/systemd/system".to_owned(),
        "/usr/lib/systemd/system".to_owned(),
    ]
}

/// What `systemctl enable` has made.
pub(crate) fn enabled(view: &View<'_>) -> Vec<Enabled> {
    let mut out: Vec<Enabled> = Vec::new();
    for folder in view.children(&view.etc("systemd/system")) {
        if !folder.is_directory() || !is_dependencies(folder.name()) {
            continue;
        }
        for item in view.children(&folder.path.to_string()) {
            let masked = item.what == What::Symlink(b"/dev/null");
            if matches!(item.what, What::Symlink(_)) && !masked && !item.name().is_empty() {
                let (unit, link) = (item.name().to_owned(), item.path.to_string());
                out.push(Enabled { unit, link });
            }
        }
    }
    out
}

/// `getty@.service` of `getty@tty1.service`.
pub(crate) fn template(unit: &str) -> Option<String> {
    let (name, rest) = unit.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{name}@.{kind}"))
}

/// Where a unit's file is: a regular file, links followed; of an instance also its template's.
pub(crate) fn unit_file(view: &View<'_>, unit: &str) -> Option<String> {
    let names = [Some(unit.to_owned()), template(unit)];
    for name in names.into_iter().flatten() {
        for folder in unit_folders(view) {
            let Some(item) = view.get(&format!("{folder}/{name}")) else {
                continue;
            };
            let end = view.resolve(&item.path).filter(|end| {
                let file = view.at(end);
                file.is_some_and(|item| item.is_file())
            });
            if let Some(end) = end {
                return Some(end.to_string());
            }
        }
    }
    None
}

/// Whether a quadlet generator makes a unit of that name.
pub(crate) fn is_generated(view: &View<'_>, unit: &str) -> bool {
    let Some(stem) = unit.strip_suffix(".service") else {
        return false;
    };
    let names: Vec<String> = quadlets(view)
        .filter_map(|(_, name)| {
            let (stem, kind) = name.rsplit_once('.')?;
            Some(match kind {
                "container" | "kube" => stem.to_owned(),
                kind => format!("{stem}-{kind}"),
            })
        })
        .collect();
    names.iter().any(|name| name == stem)
}

/// The folders that quadlet's generator reads.
pub(crate) fn quadlet_folders(view: &View<'_>) -> [String; 2] {
    [
        view.etc("containers/systemd"),
        "/usr/share/containers/systemd".to_owned(),
    ]
}

/// Quadlet files: path and name.
pub(crate) fn quadlets(view: &View<'_>) -> impl Iterator<Item = (String, String)> {
    let kinds = [
        "container",
        "pod",
        "kube",
        "image",
        "build",
        "volume",
        "network",
    ];
    let mut out = Vec::new();
    for folder in quadlet_folders(view) {
        for item in view.below(&folder) {
            let kind = item.name().rsplit_once('.').map_or("", |(_, kind)| kind);
            if !item.is_directory() && kinds.contains(&kind) {
                out.push((item.path.to_string(), item.name().to_owned()));
            }
        }
    }
    out.into_iter()
}

/// A line of a preset file.
pub(crate) struct Preset {
    pub(crate) path: String,
    pub(crate) line: usize,
    /// `enable`, `disable` or `ignore`.
    pub(crate) verb: String,
    pattern: String,
}

impl Preset {
    pub(crate) fn enables(&self) -> bool {
        self.verb == "enable"
    }

    pub(crate) fn disables(&self) -> bool {
        self.verb == "disable"
    }

    /// Whether it names one unit alone.
    pub(crate) fn is_explicit(&self) -> bool {
        !self.pattern.contains(['*', '?', '['])
    }
}

/// All preset lines in their order.
pub(crate) struct Presets(Vec<Preset>);

impl Presets {
    pub(crate) fn read(view: &View<'_>) -> Self {
        let mut out = Vec::new();
        for path in view.drop_ins("systemd/system-preset", ".preset") {
            for (line, text) in view.lines(&path) {
                let mut words = text.split_whitespace();
                if let (Some(verb @ ("enable" | "disable" | "ignore")), Some(pattern)) =
                    (words.next(), words.next())
                {
                    out.push(Preset {
                        path: path.clone(),
                        line,
                        verb: verb.to_owned(),
                        pattern: pattern.to_owned(),
                    });
                }
            }
        }
        Self(out)
    }

    /// The line that decides about a unit: the first that fits. Without one, systemd enables it.
    pub(crate) fn of(&self, unit: &str) -> Option<&Preset> {
        let names = [Some(unit.to_owned()), template(unit)];
        let fits = |preset: &&Preset| {
            let pattern = preset.pattern.as_bytes();
            names
                .iter()
                .flatten()
                .any(|name| glob(pattern, name.as_bytes()))
        };
        self.0.iter().find(fits)
    }

    /// The line that leaves off a unit that is enabled; none where one that is to be enabled brings it
    /// along (`Also=`): systemctl disables first, and enables then.
    pub(crate) fn against<'p>(&'p self, view: &View<'_>, unit: &str) -> Option<&'p Preset> {
        let preset = self.of(unit).filter(|preset| preset.disables())?;
        let brings = |other: &Enabled| {
            let on = self.of(&other.unit).is_none_or(Preset::enables);
            let file = unit_file(view, &other.unit).filter(|_| on);
            let also = file.map(|file| values(&view.lines(&file), "Install", "Also"));
            let mut also = also.iter().flatten();
            also.any(|(_, units)| units.split_whitespace().any(|also| also == unit))
        };
        (!enabled(view).iter().any(brings)).then_some(preset)
    }

    /// Lines that enable one unit by its name.
    pub(crate) fn explicit(&self) -> impl Iterator<Item = (&Preset, &str)> {
        let explicit = self.0.iter().filter(|p| p.enables() && p.is_explicit());
        explicit.map(|preset| (preset, &*preset.pattern))
    }
}

/// Whether a unit belongs to a program that sets machines up at their first boot.
pub(crate) fn is_agent(unit: &str) -> bool {
    const AGENTS: [&str; 12] = [
        "cloud-init*",
        "cloud-config*",
        "cloud-final*",
        "ignition-*",
        "afterburn*",
        "combustion*",
        "google-*",
        "waagent*",
        "walinuxagent*",
        "amazon-*",
        "ec2-*",
        "coreos-*",
    ];
    AGENTS
        .iter()
        .any(|pattern| glob(pattern.as_bytes(), unit.as_bytes()))
}
