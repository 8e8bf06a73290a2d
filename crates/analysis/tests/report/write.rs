//! Writing a report into a directory.

use std::{collections::BTreeSet, fs, path::Path};

use bytes::Bytes;
use paddock_analysis::report::{Format, Image, Images, Report, WriteError, write};
use paddock_platform::problem::Problem;

use crate::{pictures::illustrated, sample};

/// All files below a directory, relative to it.
fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn a_report_is_written_with_all_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("deep/out");
    let (report, images) = illustrated(sample::mug_shop());
    let written = write(&target, &Format::ALL, &report, &images).unwrap();
    assert_eq!(written, ["report.html", "report.json", "report.md"].map(|name| target.join(name)));
    let mut expected: BTreeSet<String> = images.iter().map(|image| image.file.clone()).collect();
    expected.extend(Format::ALL.map(|format| format.file_name().to_owned()));
    assert_eq!(files(&target), expected, "and nothing else");
    let read: Report = serde_json::from_slice(&fs::read(target.join("report.json")).unwrap()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn only_the_formats_asked_for_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let report = Report::new(sample::mug_shop());
    write(dir.path(), &["markdown".parse().unwrap()], &report, &Images::default()).unwrap();
    assert_eq!(files(dir.path()), BTreeSet::from(["report.md".to_owned()]));
    assert_eq!(
        "pdf".parse::<Format>().unwrap_err().to_string(),
        "`pdf` is not a format; choose from `html`, `json` and `md`"
    );
}

#[test]
fn a_new_report_replaces_the_old_one_and_touches_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (report, images) = illustrated(sample::mug_shop());
    write(dir.path(), &Format::ALL, &report, &images).unwrap();
    fs::write(dir.path().join("shots/mine.jpg"), "mine").unwrap();
    let (empty, images) = illustrated(sample::analysis("Good", "https://example.com/"));
    write(dir.path(), &Format::ALL, &empty, &images).unwrap();
    let mut expected: BTreeSet<String> = images.iter().map(|image| image.file.clone()).collect();
    expected.extend(["report.html", "report.json", "report.md", "shots/mine.jpg"].map(str::to_owned));
    assert_eq!(files(dir.path()), expected);
}

#[test]
fn a_failure_leaves_the_report_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (report, images) = illustrated(sample::mug_shop());
    write(dir.path(), &Format::ALL, &report, &images).unwrap();
    let before = files(dir.path());
    // The last picture cannot be written: its name is longer than file systems take.
    let unwritable =
        Image { file: format!("shots/{}.jpg", "x".repeat(400)), bytes: Bytes::from_static(b"x") };
    let images: Images = images.iter().cloned().chain([unwritable]).collect();
    let changed = Report::new(sample::analysis("Another", "https://example.com/"));
    let error = write(dir.path(), &Format::ALL, &changed, &images).unwrap_err();
    assert!(matches!(error, WriteError::Other { .. }), "{error}");
    assert_eq!(files(dir.path()), before);
    let kept: Report = serde_json::from_slice(&fs::read(dir.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(kept, report);
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("taken");
    fs::write(&file, "").unwrap();
    let report = Report::new(sample::mug_shop());
    for target in [file.clone(), file.join("below")] {
        let error = write(&target, &Format::ALL, &report, &Images::default()).unwrap_err();
        assert!(matches!(error, WriteError::NotADirectory { .. }), "{error:?}");
        let problem = Problem::from(error);
        assert!(problem.detail.contains("is not a directory; nothing was written"), "{}", problem.detail);
    }
    assert_eq!(files(dir.path()), BTreeSet::from(["taken".to_owned()]));
}
