//! What the check said in each machine.

use pleach_parity::Route;

use crate::boot::Checked;

/// The results of one run's checks.
#[derive(Default)]
pub(super) struct Checks {
    said: Vec<String>,
    failures: Vec<String>,
}

impl Checks {
    /// Takes the result of one boot. A route has to pass. The base image alone has to fail: a check
    /// that it passes too says nothing about the customization.
    pub(super) fn add(&mut self, boot: &str, route: Route, checked: &Checked) {
        let (exit, output) = (checked.exit, checked.output.trim_end());
        match (route == Route::Base, exit == 0) {
            (false, true) => self.said.push(format!("{boot} passes")),
            (true, false) => self.said.push(format!("{boot} fails, as it should")),
            (false, false) => self
                .failures
                .push(format!("the check failed on {boot} with {exit}:\n{output}")),
            (true, true) => self.failures.push(format!(
                "the check passes on the base image alone ({boot}), so it says nothing about the customization:\n{output}"
            )),
        }
    }

    /// One line for the report; none if there was no check.
    pub(super) fn line(&self) -> Option<String> {
        let failed = self.failures.iter().filter_map(|text| text.lines().next());
        let all: Vec<_> = self.said.iter().map(String::as_str).chain(failed).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// What is not as it should be, whole.
    pub(super) fn into_failures(self) -> Vec<String> {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_passes_and_the_base_image_does_not() {
        let check = |route, exit, failures: usize, line: &str| {
            let mut checks = Checks::default();
            let output = "one\ntwo\n".to_owned();
            checks.add("boot", route, &Checked { exit, output });
            assert_eq!(checks.line().as_deref(), Some(line), "{route} {exit}");
            let found = checks.into_failures();
            assert_eq!(found.len(), failures, "{route} {exit}");
            assert!(found.iter().all(|text| text.ends_with(":\none\ntwo")));
        };
        check(Route::Derive, 0, 0, "boot passes");
        check(Route::Derive, 7, 1, "the check failed on boot with 7:");
        check(Route::Base, 1, 0, "boot fails, as it should");
        check(
            Route::Base,
            0,
            1,
            "the check passes on the base image alone (boot), so it says nothing about the customization:",
        );
        assert_eq!(Checks::default().line(), None);
    }
}
