//! What of a document a layer on this base can hold, and what is left.

use pleach_customization::{Customization, Refusal, Refused, Route, Split, split_without};
use pleach_fs_tree::Tree;

use crate::{Derivation, Options, PlanError, plan};

/// Plans the derivation of what a layer can hold, and gives the rest besides: what no layer holds, and
/// what this base stands in the way of (a file that its `/var` has already, a user that it has with
/// another shell).
///
/// # Errors
/// As [`plan`], apart from what can be left.
pub fn divide<C: Clone>(
    customization: &Customization,
    base: &Tree<C>,
    read: &dyn Fn(&C) -> Option<Vec<u8>>,
    options: &Options,
) -> Result<(Split, Derivation<C>), PlanError> {
    let mut refused: Vec<Refusal> = Vec::new();
    loop {
        let parts = split_without(customization, Route::Derive, &refused);
        match plan(&parts.carried, base, read, options) {
            Ok(derivation) => return Ok((parts, derivation)),
            Err(PlanError::Refused(Refused(more))) => {
                let new =
                    |refusal: &Refusal| refused.iter().all(|known| known.origin != refusal.origin);
                let more: Vec<_> = more.into_iter().filter(|refusal| new(refusal)).collect();
                // Each round leaves more, or is the last.
                if more.is_empty() {
                    return Err(Refused(refused).into());
                }
                refused.extend(more);
            }
            Err(error) => return Err(error),
        }
    }
}
