//! `storage.luks`: encrypted volumes, and how they unlock by themselves.

use super::{Decoder, Entry, Object};
use crate::fields::{self, Field};
use crate::model::{Clevis, ClevisCustom, Luks, Tang};
use crate::source::{Limits, json};

impl Decoder<'_> {
    pub(super) fn luks(&mut self, entry: Entry<'_>) -> Option<Luks> {
        let object = self.object(entry, fields::LUKS)?;
        let name = self.required(&object, "name", fields::LUKS);
        if let Some((name, place, path)) = &name
            && name.contains(['/', '\0'])
        {
            self.error(*place, path, "a volume's name is a file name, without '/'");
        }
        let device = self.device(&object, fields::LUKS);
        let label = self.text(object.get("label"));
        if let Some((label, place, path)) = &label
            && label.len() > 47
        {
            self.error(*place, path, "a volume's label has at most 47 characters");
        }
        let label = label.map(|(text, ..)| text.to_owned());
        let key_file = object
            .get("key_file")
            .and_then(|entry| self.resource(entry, fields::RESOURCE));
        let clevis = match object.get("clevis") {
            Some(entry) => self.clevis(entry),
            None => Clevis::default(),
        };
        let cex = self.cex(&object);
        if cex == Some(true)
            && let Some((node, path)) = object.get("cex")
        {
            if clevis.is_present() {
                self.error(node.place, &path, "cex and clevis cannot be used together");
            }
            if key_file.is_some() {
                self.error(
                    node.place,
                    &path,
                    "cex and a key file cannot be used together",
                );
            }
        }
        let luks = Luks {
            name: name.map(|(text, ..)| text.to_owned()).unwrap_or_default(),
            device: device.clone().unwrap_or_default(),
            key_file,
            label: label.filter(|label| !label.is_empty()),
            uuid: self.string(&object, "uuid").filter(|uuid| !uuid.is_empty()),
            options: self.strings(&object, "options", None),
            discard: self.boolean(&object, "discard"),
            open_options: self.strings(&object, "open_options", Some("option")),
            wipe_volume: self.boolean(&object, "wipe_volume"),
            clevis,
            cex,
            origin: self.origin(object.place, &object.path),
        };
        (device.is_some() && !luks.name.is_empty()).then_some(luks)
    }

    pub(super) fn cex(&mut self, object: &Object<'_>) -> Option<bool> {
        let cex = self.object(object.get("cex")?, fields::CEX)?;
        self.boolean(&cex, "enabled")
    }

    fn clevis(&mut self, entry: Entry<'_>) -> Clevis {
        let Some(object) = self.object(entry, fields::CLEVIS) else {
            return Clevis::default();
        };
        let (tang, tpm2, threshold) = self.pins(&object);
        let custom = object
            .get("custom")
            .and_then(|entry| self.clevis_custom(entry));
        let others = !tang.is_empty() || tpm2 == Some(true) || threshold.is_some_and(|n| n != 0);
        if custom.is_some() && others {
            self.error(
                object.place,
                &object.path,
                "'custom' takes the place of tang, tpm2 and threshold, and so stands alone",
            );
        }
        Clevis {
            tang,
            tpm2,
            threshold,
            custom,
        }
    }

    /// `tang`, `tpm2` and `threshold`, which the boot device has too.
    pub(super) fn pins(&mut self, object: &Object<'_>) -> (Vec<Tang>, Option<bool>, Option<u32>) {
        let mut tang: Vec<Tang> = Vec::new();
        for entry in self.list(object.get("tang")) {
            let Some(server) = self.tang(entry.clone()) else {
                continue;
            };
            if tang.iter().any(|known| known.url == server.url) {
                let message = format!("the Tang server '{}' is given twice", server.url);
                self.error(entry.0.place, &entry.1, message);
            }
            tang.push(server);
        }
        let tpm2 = self.boolean(object, "tpm2");
        let threshold = self.count(object, "threshold");
        (tang, tpm2, threshold)
    }

    fn tang(&mut self, entry: Entry<'_>) -> Option<Tang> {
        const TABLE: &[Field] = fields::TANG;
        let object = self.object(entry, TABLE)?;
        let url = self.required(&object, "url", TABLE);
        if let Some((url, place, path)) = &url {
            self.http_url("a Tang server", url, *place, path);
        }
        let thumbprint = self.required(&object, "thumbprint", TABLE);
        let advertisement = self
            .text(object.get("advertisement"))
            .filter(|(text, ..)| !text.is_empty());
        if let Some((text, place, path)) = &advertisement {
            let limits = Limits {
                nodes: self.options.max_nodes,
                depth: self.options.max_depth,
                bytes: self.options.max_bytes,
            };
            let (json, faults) = json::read(text, limits);
            if json.is_none() || !faults.is_empty() {
                self.error(*place, path, "an advertisement is JSON, and this is not");
            }
        }
        Some(Tang {
            url: url?.0.into(),
            thumbprint: thumbprint?.0.into(),
            advertisement: advertisement.map(|(text, ..)| text.into()),
        })
    }

    fn clevis_custom(&mut self, entry: Entry<'_>) -> Option<ClevisCustom> {
        const TABLE: &[Field] = fields::CLEVIS_CUSTOM;
        let object = self.object(entry, TABLE)?;
        let needs_network = self.boolean(&object, "needs_network");
        let said = |name| {
            object
                .get(name)
                .is_some_and(|(node, _)| node.as_str() != Some(""))
        };
        if !said("pin") && !said("config") && needs_network != Some(true) {
            return None;
        }
        let pin = self.required(&object, "pin", TABLE);
        if let Some((pin, place, path)) = &pin
            && !matches!(*pin, "tpm2" | "tang" | "sss")
        {
            let message = format!("'{}' is no clevis pin", pin.escape_debug());
            self.error_help(*place, path, message, "known: tpm2, tang, sss");
        }
        let config = self.required(&object, "config", TABLE);
        Some(ClevisCustom {
            pin: pin?.0.into(),
            config: config?.0.into(),
            needs_network,
        })
    }
}
