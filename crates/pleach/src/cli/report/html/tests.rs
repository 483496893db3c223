//! The page at its largest.

use pleach_booted_state::{Difference, SectionName};
use pleach_image_lint::{Change, FileChange, Finding, Pair, lint};
use pleach_parity::{
    Class, Defect, Expected, Judged, MATRIX_FORMAT_VERSION, Matrix, MatrixImage, MatrixReport,
    Moment, Outcome, Route, RuleCount, Verdict,
};

use super::{Release, page};

fn difference(number: usize) -> Difference {
    Difference {
        section: SectionName::Paths,
        key: Some(format!("/etc/<a>&\"{number}\"/{}", "x".repeat(60))),
        attribute: Some("digest".to_owned()),
        left: Some("sha256:".to_owned() + &"1".repeat(64)),
        right: Some("sha256:".to_owned() + &"2".repeat(64)),
    }
}

fn verdict(cell: &pleach_parity::Cell, expected: usize, defects: usize) -> Verdict {
    let rule = |number: usize| format!("rule-number-{number}");
    Verdict {
        moment: cell.moment,
        left: cell.left,
        right: cell.right,
        equal: [(SectionName::Paths, 8919)].into(),
        rules: (0..16)
            .map(|number| RuleCount {
                rule: rule(number),
                class: Class::Definition,
                reason: "what the routes are, by definition".to_owned(),
                count: expected / 16,
            })
            .collect(),
        expected: (0..expected)
            .map(|number| Expected {
                rule: rule(number % 16),
                difference: difference(number),
            })
            .collect(),
        defects: (0..defects)
            .map(|n| Defect::Difference(difference(n)))
            .collect(),
        partings: Vec::new(),
    }
}

fn report(images: usize, documents: usize, expected: usize, defects: usize) -> MatrixReport {
    let matrix = Matrix {
        images: (0..images)
            .map(|n| MatrixImage {
                name: format!("oci:images:v{n}"),
                upgrade: None,
            })
            .collect(),
        customizations: (0..documents).map(|n| format!("site-{n}.bu")).collect(),
        routes: vec![Route::Derive, Route::Etc],
        moments: Moment::ALL.into(),
        booted: true,
    };
    let judged = |(number, cell): (usize, pleach_parity::Cell)| Judged {
        outcome: match number % 10 {
            7 => Outcome::NotCompared("the route does not carry <it>".to_owned()),
            8 => Outcome::Failed("<".repeat(3000)),
            9 => Outcome::Verdict(Box::new(verdict(&cell, expected, defects))),
            _ => Outcome::Verdict(Box::new(verdict(&cell, expected, 0))),
        },
        cell,
    };
    MatrixReport {
        format_version: MATRIX_FORMAT_VERSION,
        shard: None,
        digests: Default::default(),
        runs: Vec::new(),
        cells: matrix.cells().into_iter().enumerate().map(judged).collect(),
        matrix,
    }
}

fn sample(matrix: &MatrixReport, many: usize) -> String {
    let tree = pleach_fs_tree::parse_dump("/ directory 0755 0:0 0.0\n", Some).expect("a dump");
    let mut lint = lint(&tree, &|bytes: &Vec<u8>| Some(bytes.clone()));
    let finding: Finding = lint.findings[0].clone();
    lint.findings = vec![finding; many];
    let file = |number| FileChange {
        path: format!("/usr/lib/{number}/<&>"),
        change: Change::Changed,
        what: vec!["content".to_owned()],
        package: None,
    };
    let pair = Pair {
        files: (0..many).map(file).collect(),
        ..Pair::default()
    };
    page(&Release {
        name: "oci:<image>@sha256:0",
        lint: &lint,
        parity: std::slice::from_ref(matrix),
        diff: Some(&pair),
        origins: &[],
    })
}

#[test]
fn a_page_of_500_cells_is_small_whatever_is_in_them() {
    let check = |images: usize, documents: usize, expected: usize, defects: usize, many: usize| {
        let matrix = report(images, documents, expected, defects);
        let cells = matrix.cells.len();
        let page = sample(&matrix, many);
        let what = format!("{cells} cells of {expected} and {defects}, {many} findings");
        assert!(page.len() < 2_000_000, "{what}: {} bytes", page.len());
        // Each is there, with a link that leads to it.
        assert_eq!(
            page.matches("<details class=\"cell\">").count(),
            cells,
            "{what}"
        );
        for number in 0..cells {
            let link = format!("href=\"#c{number}\" aria-label");
            assert_eq!(page.matches(&link).count(), 1, "{what}");
            assert_eq!(
                page.matches(&format!("id=\"c{number}\"")).count(),
                1,
                "{what}"
            );
        }
        // What does not fit is said.
        let all = (expected + defects) * cells * 100 < 200_000 && many < 100;
        assert!(
            all || page.contains("of them in the JSON report only")
                || page.contains("listed above"),
            "{what}"
        );
    };
    check(1, 1, 0, 0, 1);
    check(1, 1, 82, 3, 1);
    check(25, 5, 82, 40, 20);
    check(25, 5, 1000, 1000, 5000);
    check(125, 1, 0, 5000, 0);
}

#[test]
fn a_page_stands_alone_and_nothing_on_it_is_taken_for_markup() {
    let page = sample(&report(2, 2, 5, 2), 3);
    // Nothing is loaded, and the browser is told so.
    for fetched in [
        "<script", "<link", "<img", "src=", "url(", "@import", "http://", "https://",
    ] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("<a>&"), "a path is markup");
    assert!(page.contains("&lt;image&gt;") && page.contains("&lt;it&gt;"));
    // One first heading, and each table says what it is.
    assert_eq!(page.matches("<h1").count(), 1);
    assert_eq!(
        page.matches("<table").count(),
        page.matches("<caption").count()
    );
    for id in page
        .split("href=\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(
            page.contains(&format!("id=\"{id}\"")),
            "nothing is at #{id}"
        );
    }
}
