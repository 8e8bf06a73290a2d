//! The pictures of a report: every finding that has a place gets one, whatever that place is.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use paddock_analysis::{
    Category, Finding, Rect, Screen, Severity,
    report::{Analysis, IllustrateOptions, Images, Report, Screenshot, html, illustrate, json, markdown},
};
use proptest::prelude::*;

use crate::{forms::validate, sample};

/// Pixels per CSS pixel of the painted screenshots: small ones, so that tests are quick.
const SCALE: f64 = 0.25;

/// A page painted in stripes, of a size in CSS pixels.
pub(crate) fn painted(screen: Screen, width: u32, height: u32, format: ImageFormat) -> Screenshot {
    let pixels = |side: u32| (f64::from(side) * SCALE) as u32;
    let image = RgbImage::from_fn(pixels(width), pixels(height), |x, y| {
        if y / 8 % 2 == 0 { Rgb([255, 255, 255]) } else { Rgb([(x % 256) as u8, 200, 240]) }
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    let fold = if screen == Screen::Desktop { 900 } else { 844 };
    Screenshot { screen, bytes: bytes.into_inner().into(), scale: SCALE, fold }
}

fn screenshots() -> [Screenshot; 2] {
    [
        painted(Screen::Desktop, 1440, 2124, ImageFormat::Png),
        painted(Screen::Mobile, 390, 1620, ImageFormat::Jpeg),
    ]
}

/// The report of an analysis with painted pictures.
pub(crate) fn illustrated(analysis: Analysis) -> (Report, Images) {
    let mut report = Report::new(analysis);
    let images = illustrate(&mut report, &screenshots(), &IllustrateOptions::default());
    (report, images)
}

/// The report of one finding at that place.
fn at(rect: Rect) -> Analysis {
    let finding =
        Finding { rect: Some(rect), ..sample::finding("cta.too_small", Severity::High, Category::Cta) };
    Analysis { findings: vec![finding], ..sample::analysis("Page", "https://example.com/") }
}

#[test]
fn every_picture_that_the_report_names_exists_and_has_the_size_it_says() {
    let (report, images) = illustrated(sample::mug_shop());
    let with_place = report.findings.iter().filter(|finding| finding.finding.rect.is_some()).count();
    let crops: Vec<_> = report.findings.iter().filter_map(|finding| finding.crop.as_ref()).collect();
    assert_eq!(crops.len(), with_place);
    let overviews = report.shots.iter().map(|shot| {
        let overview = shot.overview.as_ref().unwrap();
        (&overview.file, overview.width, overview.height)
    });
    for (file, width, height) in
        crops.iter().map(|crop| (&crop.file, crop.width, crop.height)).chain(overviews)
    {
        let image = image::load_from_memory(&images.get(file).unwrap().bytes).unwrap();
        assert_eq!((image.width(), image.height()), (width, height), "{file}");
    }
    let shots: Vec<_> =
        report.shots.iter().map(|shot| (shot.file.as_str(), shot.width, shot.height)).collect();
    assert_eq!(shots, [("shots/desktop.png", 1440, 2124), ("shots/mobile.jpg", 388, 1620)]);
}

#[test]
fn the_full_page_is_passed_on_as_it_came() {
    let screenshots = screenshots();
    let mut report = Report::new(sample::mug_shop());
    let images = illustrate(&mut report, &screenshots, &IllustrateOptions::default());
    assert_eq!(images.get("shots/desktop.png").unwrap().bytes, screenshots[0].bytes);
}

#[test]
fn the_most_urgent_findings_get_the_pictures_when_there_are_too_many() {
    let mut report = Report::new(sample::many(50));
    let options = IllustrateOptions { crops_max: 20, ..IllustrateOptions::default() };
    illustrate(&mut report, &screenshots(), &options);
    let (with, without) = report.findings.split_at(20);
    assert!(with.iter().all(|finding| finding.crop.is_some()));
    assert!(without.iter().all(|finding| finding.crop.is_none()));
    let gap = report.not_checked.last().unwrap();
    assert_eq!(gap.what, "pictures of 30 findings");
    assert!(gap.why.contains("at most 20 crops"), "{}", gap.why);
}

#[test]
fn a_finding_outside_of_the_captured_page_has_no_picture_and_the_report_says_so() {
    let (report, _) = illustrated(at(Rect { x: 10.0, y: 9000.0, width: 100.0, height: 20.0 }));
    assert_eq!(report.findings[0].crop, None);
    assert!(report.not_checked.iter().any(|gap| gap.what == "pictures of 1 finding"));
}

#[test]
fn a_screenshot_that_is_none_costs_only_its_pictures() {
    let mut report = Report::new(sample::mug_shop());
    let [desktop, mut mobile] = screenshots();
    mobile.bytes = bytes::Bytes::from_static(b"\x89PNG but not really");
    let images = illustrate(&mut report, &[desktop, mobile], &IllustrateOptions::default());
    assert_eq!(report.shots.len(), 1);
    assert!(images.get("shots/desktop-overview.jpg").is_some());
    assert!(report.not_checked.iter().any(|gap| gap.what == "pictures of the mobile page"));
}

#[test]
fn numbers_on_an_overview_lie_on_it_and_do_not_hide_each_other() {
    let (report, _) = illustrated(sample::mug_shop());
    for shot in &report.shots {
        let overview = shot.overview.as_ref().unwrap();
        assert!(!overview.markers.is_empty());
        for marker in &overview.markers {
            assert!((0.0..=f64::from(overview.width)).contains(&marker.x));
            assert!((0.0..=f64::from(overview.height)).contains(&marker.y));
        }
    }
    let below = &report.shots[0].overview.as_ref().unwrap().below;
    assert_eq!(below, &[3], "the price lies below the part that is shown");
}

fn side() -> impl Strategy<Value = f64> {
    prop_oneof![prop::num::f64::ANY, -3000.0..9000.0_f64, Just(0.0)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_place_and_any_text_make_a_valid_report(
        x in side(), y in side(), width in side(), height in side(), text in "\\PC{0,40}",
    ) {
        let mut analysis = sample::hostile(&text);
        analysis.findings[0].rect = Some(Rect { x, y, width, height });
        let mut report = Report::new(analysis);
        let page = painted(Screen::Desktop, 600, 800, ImageFormat::Png);
        let images = illustrate(&mut report, &[page], &IllustrateOptions::default());
        if let Some(crop) = &report.findings[0].crop {
            let Rect { x, y, width, height } = crop.region;
            prop_assert!(x >= 0.0 && y >= 0.0 && x + width <= 600.0 && y + height <= 800.0, "{:?}", crop.region);
        }
        html::render(&report, &images).unwrap();
        markdown::render(&report);
        validate(&json::render(&report).unwrap());
    }
}
