//! `kernel_arguments`.

use super::{Decoder, Entry, Object};
use crate::fields;
use crate::model::{Customization, KernelArgument};
use crate::source::Place;

impl Decoder<'_> {
    pub(super) fn kernel_arguments(&mut self, entry: Entry<'_>, out: &mut Customization) {
        let Some(object) = self.object(entry, fields::KERNEL_ARGUMENTS) else {
            return;
        };
        out.kernel_arguments.should_exist = self.arguments(&object, "should_exist");
        out.kernel_arguments.should_not_exist = self.arguments(&object, "should_not_exist");
        let wanted: Vec<String> = out
            .kernel_arguments
            .should_exist
            .iter()
            .map(|arg| arg.value.clone())
            .collect();
        for argument in &out.kernel_arguments.should_not_exist {
            if wanted.contains(&argument.value) {
                let place = Place {
                    line: argument.origin.line,
                    column: argument.origin.column,
                };
                let message = format!("'{}' is both to exist and not to exist", argument.value);
                self.error(place, &argument.origin.path.clone(), message);
            }
        }
    }

    fn arguments(&mut self, object: &Object<'_>, name: &str) -> Vec<KernelArgument> {
        let mut out: Vec<KernelArgument> = Vec::new();
        for entry in self.list(object.get(name)) {
            let Some((text, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            if text.trim().is_empty() || text.contains(['\0', '\n']) {
                self.error(
                    place,
                    &path,
                    "a kernel argument is one line of text, and not empty",
                );
            } else if out.iter().any(|known| known.value == text) {
                self.error(
                    place,
                    &path,
                    format!("kernel argument '{text}' is given twice"),
                );
            } else {
                out.push(KernelArgument {
                    value: text.into(),
                    origin: self.origin(place, &path),
                });
            }
        }
        out
    }
}
