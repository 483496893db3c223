//! `systemd`: units and drop-ins.

use super::{Decoder, Entry, Object};
use crate::fields::{self, Field};
use crate::model::{Customization, Dropin, Unit};
use crate::source::Place;
use crate::unit_name;

impl Decoder<'_> {
    pub(super) fn systemd(&mut self, entry: Entry<'_>, out: &mut Customization) {
        let Some(object) = self.object(entry, fields::SYSTEMD) else {
            return;
        };
        for entry in self.list(object.get("units")) {
            out.units.extend(self.unit(entry));
        }
    }

    fn unit(&mut self, entry: Entry<'_>) -> Option<Unit> {
        let object = self.object(entry, fields::UNIT)?;
        let name = self
            .required(&object, "name", fields::UNIT)
            .and_then(|(name, place, path)| match unit_name::check(name) {
                Ok(()) => Some(name.to_owned()),
                Err(problem) => {
                    self.error(
                        place,
                        &path,
                        format!("unit name '{}' {problem}", name.escape_debug()),
                    );
                    None
                }
            });
        let contents = self.unit_text(&object, fields::UNIT);
        let mut dropins: Vec<Dropin> = Vec::new();
        for entry in self.list(object.get("dropins")) {
            if let Some((dropin, place, path)) = self.dropin(entry) {
                if dropins.iter().any(|known| known.name == dropin.name) {
                    let name = &dropin.name;
                    self.error(
                        place,
                        &path,
                        format!("drop-in '{name}' is given twice for this unit"),
                    );
                }
                dropins.push(dropin);
            }
        }
        let enabled = self.boolean(&object, "enabled");
        let mask = self.boolean(&object, "mask");
        let origin = self.origin(object.place, &object.path);
        let unit = Unit {
            name: name?,
            enabled,
            mask,
            contents,
            dropins,
            origin,
        };
        self.unit_sense(&object, &unit);
        Some(unit)
    }

    /// Combinations that contradict themselves.
    fn unit_sense(&mut self, object: &Object<'_>, unit: &Unit) {
        if unit.mask == Some(true)
            && unit.unit_file().is_some()
            && let Some((node, path)) = object.get("mask")
        {
            self.error_help(
                node.place,
                &path,
                "a masked unit is a link to /dev/null in place of its file, so its contents would be lost",
                "drop the contents, or the mask",
            );
        }
        if unit.enabled != Some(true) {
            return;
        }
        let Some((node, path)) = object.get("enabled") else {
            return;
        };
        if unit.mask == Some(true) {
            self.warn(
                node.place,
                &path,
                "a masked unit cannot be started, so enabling it has no effect",
            );
        } else if let Some(text) = unit.unit_file()
            && !text.lines().any(|line| line.trim() == "[Install]")
            && !unit.dropins.iter().any(|dropin| {
                dropin
                    .contents
                    .as_deref()
                    .unwrap_or_default()
                    .contains("[Install]")
            })
        {
            self.warn(
                node.place,
                &path,
                format!(
                    "unit '{}' is enabled, but has no [Install] section, so nothing will start it",
                    unit.name
                ),
            );
        }
    }

    fn dropin(&mut self, entry: Entry<'_>) -> Option<(Dropin, Place, String)> {
        let object = self.object(entry, fields::DROPIN)?;
        let name = self.required(&object, "name", fields::DROPIN);
        let contents = self.unit_text(&object, fields::DROPIN);
        let (name, place, path) = name?;
        if !name.ends_with(".conf")
            || name.len() > 255
            || name == ".conf"
            || name.contains(['/', '\0'])
        {
            self.error(
                place,
                &path,
                format!(
                    "drop-in name '{}' is no file name that ends in '.conf'",
                    name.escape_debug()
                ),
            );
            return None;
        }
        let origin = self.origin(object.place, &object.path);
        Some((
            Dropin {
                name: name.into(),
                contents,
                origin,
            },
            place,
            path,
        ))
    }

    /// `contents` or `contents_local`.
    fn unit_text(&mut self, object: &Object<'_>, table: &'static [Field]) -> Option<String> {
        if object.get("contents").is_some()
            && let Some((node, path)) = object.get("contents_local")
        {
            let name = self.spelled("contents", table);
            self.error(node.place, &path, format!("'{name}' is given already"));
            return None;
        }
        let (text, entry) = match object.get("contents") {
            Some(entry) => (self.string(object, "contents"), Some(entry)),
            None => (
                self.local_text(object, "contents_local"),
                object.get("contents_local"),
            ),
        };
        let text = text?;
        if let (Err(problem), Some((node, path))) = (crate::unit_text::check(&text), entry) {
            self.error(node.place, &path, format!("not a unit file: {problem}"));
        }
        Some(text)
    }
}
