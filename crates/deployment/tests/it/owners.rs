//! Kernel arguments through images and changes of the machine.

use pleach_deployment::{KernelArguments, OwnedArguments};
use proptest::prelude::*;

fn line(text: &str) -> KernelArguments {
    text.parse().expect("arguments")
}

#[test]
fn a_line_is_divided_among_its_owners() {
    #[track_caller]
    fn check(text: &str, image: &str, known: &str, expect: [&str; 4]) {
        let known = OwnedArguments {
            customization: line(known),
            ..OwnedArguments::default()
        };
        let owned = OwnedArguments::read(&line(text), &line(image), Some(&known));
        let found = [
            &owned.image,
            &owned.customization,
            &owned.machine,
            &owned.removed,
        ];
        assert_eq!(found.map(ToString::to_string), expect, "{text}");
    }
    check("", "", "", ["", "", "", ""]);
    check(
        "quiet root=x ostree=/y",
        "quiet",
        "",
        ["quiet", "", "root=x", ""],
    );
    check("root=x", "quiet", "", ["quiet", "", "root=x", "quiet"]);
    check(
        "quiet fips=1 a",
        "quiet",
        "fips=1",
        ["quiet", "fips=1", "a", ""],
    );
    // Somebody else has removed it.
    check("quiet a", "quiet", "fips=1", ["quiet", "", "a", ""]);
    // One that both want stands there twice.
    check("c=1 c=1", "c=1", "", ["c=1", "", "c=1", ""]);
    // The kernel takes - and _ for the same in a key.
    check("a-b=1", "a_b=1", "", ["a_b=1", "", "", ""]);
}

#[test]
fn the_next_image_changes_what_the_image_changed() {
    #[track_caller]
    fn check(now: &str, image: &str, next: &str, expect: &str) {
        let owned = OwnedArguments::read(&line(now), &line(image), None);
        let after = owned.with_image(line(next));
        assert_eq!(after.line().to_string(), expect, "{now}, {image} to {next}");
    }
    check("quiet root=x", "quiet", "quiet v=2", "quiet v=2 root=x");
    check("v=1 root=x", "v=1", "v=2", "v=2 root=x");
    check("root=x", "quiet", "quiet v=2", "v=2 root=x");
    // What was removed, went, and comes again is the image's again.
    check("root=x", "quiet", "", "root=x");
}

#[test]
fn the_machine_takes_away_and_gives_back() {
    let mut owned = OwnedArguments::of_image(line("quiet v=1"));
    let argument = |text: &str| text.parse().expect("an argument");
    owned.append(argument("site=one"));
    assert!(owned.delete(&argument("quiet")));
    assert!(!owned.delete(&argument("quiet")));
    assert_eq!(owned.line().to_string(), "v=1 site=one");
    owned.append(argument("quiet"));
    assert_eq!(owned.line().to_string(), "quiet v=1 site=one");
    assert!(owned.removed.is_empty());
    let text = serde_json::to_string(&owned).expect("JSON");
    assert_eq!(
        text,
        r#"{"image":["quiet","v=1"],"customization":[],"machine":["site=one"],"removed":[]}"#
    );
    let again: OwnedArguments = serde_json::from_str(&text).expect("read");
    assert_eq!(again, owned);
}

fn arguments() -> impl Strategy<Value = KernelArguments> {
    prop::collection::vec("[a-d](=[0-2])?", 0..5).prop_map(|texts| {
        texts
            .iter()
            .map(|t| t.parse().expect("an argument"))
            .collect()
    })
}

proptest! {
    /// What is read from a line is that line again.
    #[test]
    fn reading_is_faithful(now in arguments(), image in arguments(), known in arguments()) {
        let known = OwnedArguments { customization: known, ..OwnedArguments::default() };
        let owned = OwnedArguments::read(&now, &image, Some(&known));
        let mut found: Vec<_> = owned.line().iter().map(ToString::to_string).collect();
        let mut expect: Vec<_> = now.iter().map(ToString::to_string).collect();
        found.sort();
        expect.sort();
        prop_assert_eq!(found, expect);
    }

    /// The same image again changes nothing, and going there and back neither, but for what the other
    /// image does not bring.
    #[test]
    fn the_same_image_is_no_change(now in arguments(), image in arguments()) {
        let owned = OwnedArguments::read(&now, &image, None);
        prop_assert_eq!(owned.with_image(image), owned);
    }

    /// What the machine added is there whatever the images bring.
    #[test]
    fn the_machine_keeps_its_own(now in arguments(), image in arguments(), next in arguments()) {
        let owned = OwnedArguments::read(&now, &image, None);
        prop_assert_eq!(owned.with_image(next).machine, owned.machine);
    }
}
