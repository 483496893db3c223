//! The matrix, its parts, and the parts put together.

use std::collections::BTreeMap;

use pleach_parity::{
    Judged, MATRIX_FORMAT_VERSION, Matrix, MatrixImage, MatrixReport, MergeError, Moment, Outcome,
    Route, Shard, merge,
};

fn matrix(images: usize, documents: usize) -> Matrix {
    let image = |n| MatrixImage {
        name: format!("oci:images:v{n}"),
        upgrade: Some(format!("oci:images:v{}", n + 1)),
    };
    Matrix {
        images: (0..images).map(image).collect(),
        customizations: (0..documents).map(|n| format!("site-{n}.bu")).collect(),
        routes: vec![Route::Derive, Route::Etc, Route::Ignition],
        moments: Moment::ALL.into(),
        booted: false,
    }
}

fn part(matrix: &Matrix, shard: &str) -> (String, MatrixReport) {
    let shard: Shard = shard.parse().expect("a part");
    let judge = |cell: &pleach_parity::Cell| Judged {
        cell: cell.clone(),
        outcome: Outcome::NotCompared("nothing is run here".to_owned()),
    };
    let report = MatrixReport {
        format_version: MATRIX_FORMAT_VERSION,
        matrix: matrix.clone(),
        shard: Some(shard),
        digests: BTreeMap::from([("site-0.bu".to_owned(), "sha256:1".to_owned())]),
        runs: Vec::new(),
        cells: shard.of(&matrix.cells()).iter().map(judge).collect(),
    };
    (
        format!("report-{}", shard.to_string().replace('/', "-of-")),
        report,
    )
}

type Parts = Vec<(String, MatrixReport)>;

fn parts(matrix: &Matrix, count: u32) -> Parts {
    let parts = 1..=count;
    parts
        .map(|k| part(matrix, &format!("{k}/{count}")))
        .collect()
}

#[test]
fn parts_are_disjoint_balanced_and_together_the_whole() {
    let check = |cells: usize, count: u32| {
        let all: Vec<usize> = (0..cells).collect();
        let shards = (1..=count).map(|k| format!("{k}/{count}").parse::<Shard>().expect("a part"));
        let parts: Vec<&[usize]> = shards.map(|shard| shard.of(&all)).collect();
        assert_eq!(parts.concat(), all, "{cells} in {count}");
        let lengths = parts.iter().map(|part| part.len());
        let (most, least) = (lengths.clone().max(), lengths.min());
        assert!(
            most.zip(least).is_some_and(|(a, b)| a - b <= 1),
            "{cells} in {count}"
        );
    };
    for cells in [0, 1, 7, 8, 9, 48, 500] {
        for count in [1, 2, 3, 8, 11] {
            check(cells, count);
        }
    }
    check(3, 1000);
}

#[test]
fn a_part_is_k_of_n() {
    let check = |text: &str, fine: bool| {
        let shard = text.parse::<Shard>();
        assert_eq!(shard.is_ok(), fine, "{text}");
        if let Ok(shard) = shard {
            assert_eq!(shard.to_string(), text);
        }
    };
    check("1/1", true);
    check("8/8", true);
    for wrong in [
        "",
        "1",
        "0/1",
        "2/1",
        "1/0",
        "0/0",
        "+1/2",
        "1/-2",
        "1/2/3",
        " 1/2",
        "a/b",
        "5000000000/5000000000",
    ] {
        check(wrong, false);
    }
}

#[test]
fn what_is_asked_twice_is_one_cell() {
    let once = matrix(2, 2);
    let mut twice = once.clone();
    twice.images.extend(once.images.clone());
    twice.customizations.extend(once.customizations.clone());
    twice.routes = vec![Route::Ignition, Route::Etc, Route::Derive, Route::Etc];
    twice.moments.reverse();
    assert_eq!(twice.normal(), once);
    assert_eq!(once.cells().len(), 2 * 2 * 3 * 4);
}

#[test]
fn parts_in_any_order_become_the_same_whole() {
    let matrix = matrix(3, 2);
    let mut parts = parts(&matrix, 8);
    let whole = merge(parts.clone()).expect("merged");
    parts.reverse();
    parts.swap(1, 5);
    assert_eq!(merge(parts).expect("merged"), whole);
    assert_eq!(whole.shard, None);
    let cells: Vec<_> = whole
        .cells
        .iter()
        .map(|judged| judged.cell.clone())
        .collect();
    assert_eq!(cells, matrix.cells());
    let json = whole.to_json();
    let read: MatrixReport = serde_json::from_str(&json).expect("JSON");
    assert_eq!(read, whole);
    // Nothing was compared.
    assert!(!whole.is_equal());
}

#[test]
fn what_is_no_whole_is_refused_by_name() {
    let matrix = matrix(1, 1);
    let check = |change: &dyn Fn(&mut Parts), expect: &str| {
        let mut parts = parts(&matrix, 4);
        change(&mut parts);
        let error = merge(parts).expect_err(expect);
        assert_eq!(error.to_string(), expect);
    };
    check(&|parts| parts.clear(), "no report was given");
    check(
        &|parts| {
            parts.remove(3);
        },
        "missing, 3 of 12 cells:\n  \
         oci:images:v0, site-0.bu: etc and ignition at t1\n  \
         oci:images:v0, site-0.bu: etc and ignition at t2\n  \
         oci:images:v0, site-0.bu: etc and ignition at t3",
    );
    check(
        &|parts| {
            let again = parts[1].1.clone();
            parts.push(("again".to_owned(), again));
        },
        "the cell oci:images:v0, site-0.bu: derive and etc at t3 is in report-2-of-4 and in again",
    );
    check(
        &|parts| parts[2].1.matrix.booted = true,
        "report-3-of-4 is of another matrix than report-1-of-4",
    );
    check(
        &|parts| {
            parts[2]
                .1
                .digests
                .insert("site-0.bu".to_owned(), "sha256:2".to_owned());
        },
        "site-0.bu is sha256:1 in report-1-of-4, and sha256:2 in report-3-of-4",
    );
    check(
        &|parts| parts[0].1.cells[0].cell.image = "oci:other".to_owned(),
        "report-1-of-4: the matrix has no cell oci:other, site-0.bu: derive and etc at t0",
    );
    check(
        &|parts| parts[3].1.format_version = 9,
        "report-4-of-4: its format_version is 9, this program reads 1",
    );
    assert_eq!(merge(Vec::new()), Err(MergeError::Nothing));
}
