//! What has to hold of a sysroot in every state that a power cut leaves.

use std::collections::BTreeSet;

use super::view::{Booting, View};

/// What is there before something is done to a sysroot, and after.
#[derive(Debug)]
pub struct Expected {
    /// Before.
    pub start: View,
    /// After.
    pub end: View,
}

impl Expected {
    /// With what is the same in every run that comes to the same: see [`View::essential`].
    pub fn essential(&self) -> Self {
        Self {
            start: self.start.essential(),
            end: self.end.essential(),
        }
    }

    /// What is wrong with a sysroot; `done` says that whoever changed it has said that all is done.
    pub fn problems(&self, view: &View, done: bool) -> Vec<String> {
        let (start, end) = (&self.start, &self.end);
        let mut problems = Vec::new();
        let set = |view: &View| view.bootings().cloned().collect::<BTreeSet<_>>();
        let (here, before, after) = (set(view), set(start), set(end));
        for booting in here
            .iter()
            .filter(|b| !before.contains(*b) && !after.contains(*b))
        {
            problems.push(format!(
                "an entry is neither old nor new: {}",
                self.parts(booting)
            ));
        }
        for booting in before.intersection(&after).filter(|b| !here.contains(*b)) {
            problems.push(format!(
                "an entry that stays is gone: {}",
                booting.deployment
            ));
        }
        match view.chosen() {
            None if start.chosen().is_none() && !done => {}
            None => problems.push("no entry".to_owned()),
            default if done && default != end.chosen() => {
                problems.push("all is done, and another entry is the default".to_owned());
            }
            default if default != start.chosen() && default != end.chosen() => {
                problems.push("the default is neither the old nor the new".to_owned());
            }
            Some(_) => {}
        }
        if let [first, second, ..] = view.entries.as_slice()
            && first.0 == second.0
            && first.2 != second.2
        {
            problems.push(format!("two defaults: {} and {}", first.1, second.1));
        }
        let file = |view: &View| view.staged.as_ref().map(|staged| staged.file);
        if done && view.staged != end.staged {
            problems.push("all is done, and what is staged is not what it should be".to_owned());
        } else if let Some(staged) = &view.staged {
            // Of what was staged before, /etc is merged while it is still said to be staged.
            if file(view) != file(start) && Some(staged) != end.staged.as_ref() {
                problems.push(match file(view) == file(end) {
                    true => "what is staged is not whole".to_owned(),
                    false => "what is staged is neither old nor new".to_owned(),
                });
            }
        }
        for (stateroot, hash) in &start.var {
            let now = view.var.get(stateroot);
            if now != Some(hash) && now != end.var.get(stateroot) {
                problems.push(format!("/var of {stateroot} has changed"));
            }
        }
        for (deployment, hash) in &start.etc {
            if end.etc.get(deployment) == Some(hash) && view.etc.get(deployment) != Some(hash) {
                problems.push(format!("/etc of {deployment} has changed"));
            }
        }
        problems
    }

    /// What is wrong after a second run, which has said that all is done.
    pub fn problems_again(&self, view: &View, target: Option<&Booting>) -> Vec<String> {
        let mut problems = Vec::new();
        // It may be another deployment of the same: a half-made one is made anew.
        let name = |b: Option<&Booting>| b.map(|b| b.deployment.clone());
        if let (Some(is), Some(should)) = (view.chosen(), target) {
            let parts = [
                ("commit", is.checksum() == should.checksum()),
                ("kernel", is.kernel.1 == should.kernel.1),
                ("initramfs", hashes(is) == hashes(should)),
                ("tree", is.tree == should.tree),
                ("/etc", is.etc == should.etc),
            ];
            for (part, _) in parts.iter().filter(|(_, same)| !same) {
                problems.push(format!(
                    "again: the {part} of the default {} is not that of {}",
                    is.deployment, should.deployment
                ));
            }
        } else if view.chosen().is_some() != target.is_some() {
            let names = (name(view.chosen()), name(target));
            problems.push(format!("again: the default is {names:?}"));
        }
        for booting in view.bootings() {
            let whole = booting.kernel.1.is_some()
                && booting.initrd.iter().all(|(_, hash)| hash.is_some())
                && booting.tree.is_some()
                && booting.etc.is_some();
            if !whole {
                problems.push(format!("again: an entry is not whole: {booting:?}"));
            }
        }
        for (stateroot, hash) in &self.end.var {
            if view.var.get(stateroot) != Some(hash) {
                problems.push(format!("again: /var of {stateroot} has changed"));
            }
        }
        problems
    }

    /// Which parts of an entry are as none that has the same deployment.
    fn parts(&self, booting: &Booting) -> String {
        let all = self.start.bootings().chain(self.end.bootings());
        let like = all.filter(|other| other.deployment == booting.deployment);
        let mut text = format!("{:?}", booting.deployment);
        for other in like {
            let parts = [
                ("options", other.options == booting.options),
                ("kernel", other.kernel == booting.kernel),
                ("initrd", other.initrd == booting.initrd),
                ("tree", other.tree == booting.tree),
                ("etc", other.etc == booting.etc),
                ("beside", other.beside == booting.beside),
            ];
            let wrong: Vec<_> = parts
                .iter()
                .filter(|(_, same)| !same)
                .map(|(name, _)| *name)
                .collect();
            text.push_str(&format!(", not in {}", wrong.join(", ")));
        }
        text
    }
}

fn hashes(booting: &Booting) -> Vec<Option<u64>> {
    booting.initrd.iter().map(|(_, hash)| *hash).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::Staged;
    use super::*;

    fn booting(deployment: &str) -> Booting {
        Booting {
            options: format!("ostree={deployment}"),
            deployment: format!("default/{deployment}.0"),
            kernel: ("/k".into(), Some(1)),
            initrd: vec![("/i".into(), Some(2))],
            tree: Some(3),
            etc: Some(4),
            beside: vec![(".origin".into(), Some(5))],
        }
    }

    fn view(entries: &[(u64, &str)]) -> View {
        let mut view = View::default();
        for (version, deployment) in entries {
            let booting = booting(deployment);
            view.etc.insert(booting.deployment.clone(), 4);
            view.entries
                .push((*version, format!("ostree-{version}.conf"), booting));
        }
        view.var.insert("default".into(), 9);
        view
    }

    fn check(done: bool, change: impl FnOnce(&mut View), expected: &[&str]) {
        let oracle = Expected {
            start: view(&[(1, "old")]),
            end: view(&[(2, "new"), (1, "old")]),
        };
        let mut state = view(&[(2, "new"), (1, "old")]);
        change(&mut state);
        let problems = oracle.problems(&state, done);
        let all = problems
            .iter()
            .zip(expected)
            .all(|(is, begins)| is.starts_with(begins));
        assert!(
            all && problems.len() == expected.len(),
            "{problems:#?}\n{expected:#?}"
        );
    }

    #[test]
    fn old_and_new_are_right_and_nothing_else_is() {
        check(true, |_| {}, &[]);
        check(false, |_| {}, &[]);
        check(false, |v| *v = view(&[(1, "old")]), &[]);
        check(true, |v| *v = view(&[(1, "old")]), &["all is done"]);
        check(
            false,
            |v| v.entries.clear(),
            &["an entry that stays is gone", "no entry"],
        );
        check(
            false,
            |v| *v = view(&[(2, "new")]),
            &["an entry that stays is gone", "/etc of default/old.0"],
        );
        check(
            false,
            |v| *v = view(&[(3, "x"), (1, "old")]),
            &["an entry is neither", "the default is neither"],
        );
        check(
            false,
            |v| v.entries[0].2.kernel.1 = None,
            &["an entry is neither", "the default is neither"],
        );
        check(
            false,
            |v| v.entries[0].2.tree = Some(0),
            &["an entry is neither", "the default is neither"],
        );
        check(
            false,
            |v| v.entries[1].2.etc = None,
            &["an entry is neither", "an entry that stays is gone"],
        );
        check(false, |v| v.entries[1].0 = 2, &["two defaults"]);
        check(false, |v| v.var.clear(), &["/var of default has changed"]);
        check(
            false,
            |v| v.staged = Some(Staged::default()),
            &["what is staged is neither"],
        );
        check(
            true,
            |v| v.staged = Some(Staged::default()),
            &["all is done, and what is staged"],
        );
        check(
            false,
            |v| {
                v.etc.insert("default/old.0".into(), 0);
            },
            &["/etc of default/old.0"],
        );
    }

    #[test]
    fn a_second_run_comes_to_the_same_end() {
        let oracle = Expected {
            start: view(&[(1, "old")]),
            end: view(&[(2, "new"), (1, "old")]),
        };
        let check = |change: &dyn Fn(&mut View), expected: usize| {
            let mut state = oracle.end.clone();
            change(&mut state);
            let problems = oracle.problems_again(&state, oracle.end.chosen());
            assert_eq!(problems.len(), expected, "{problems:#?}");
        };
        check(&|_| {}, 0);
        check(&|v| v.entries[0].2.deployment = "default/new.1".into(), 0);
        check(&|v| v.entries[0].2.etc = Some(0), 1);
        check(&|v| v.entries[1].2.tree = None, 1);
        check(&|v| v.entries.swap(0, 1), 1);
        check(&|v| v.var.clear(), 1);
    }
}
