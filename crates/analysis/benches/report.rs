//! What a report costs: thirty findings on a page of 1440 x 6000 pixels on a desktop and as many on a phone.

#[path = "../tests/report/sample.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod sample;

use std::{hint::black_box, io::Cursor};

use criterion::{Criterion, criterion_group, criterion_main};
use image::{ImageFormat, Rgb, RgbImage};
use paddock_analysis::{
    Finding, Rect, Screen,
    report::{Analysis, IllustrateOptions, Report, Screenshot, html, illustrate, json, markdown},
};

/// A page with blocks of text-like detail between plain areas, as pages are.
fn screenshot(screen: Screen, width: u32, height: u32, scale: f64, format: ImageFormat) -> Screenshot {
    let image = RgbImage::from_fn(width, height, |x, y| {
        let text = (x / 400 + y / 300) % 2 == 0 && y % 20 < 12;
        if text && (x * 7 + (y / 20) * 13) % 11 < 4 { Rgb([40, 44, 52]) } else { Rgb([250, 250, 248]) }
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("the image is encoded");
    Screenshot { screen, bytes: bytes.into_inner().into(), scale, fold: 900 }
}

/// An analysis with thirty findings on each screen.
fn thirty() -> Analysis {
    let desktop = sample::many(30);
    let mut findings = Vec::new();
    for (index, finding) in desktop.findings.iter().enumerate() {
        let y = index as f64 * 190.0;
        let size = [(140.0, 40.0), (700.0, 60.0), (1100.0, 48.0), (320.0, 420.0)][index % 4];
        let rect = |x, width| Some(Rect { x, y, width, height: size.1 });
        findings.push(Finding { viewport: Screen::Desktop, rect: rect(120.0, size.0), ..finding.clone() });
        findings.push(Finding {
            viewport: Screen::Mobile,
            rect: rect(20.0, size.0.min(340.0)),
            ..finding.clone()
        });
    }
    Analysis { findings, ..desktop }
}

fn report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10);
    for (name, format) in [("jpeg", ImageFormat::Jpeg), ("png", ImageFormat::Png)] {
        let desktop = screenshot(Screen::Desktop, 1440, 6000, 1.0, format);
        let mobile = screenshot(Screen::Mobile, 780, 12_000, 2.0, format);
        let options = IllustrateOptions::default();
        for (screens, shots) in [("desktop", &[desktop.clone()][..]), ("both", &[desktop, mobile][..])] {
            group.bench_function(format!("illustrate/{screens}/{name}"), |bencher| {
                bencher.iter(|| {
                    let mut report = Report::new(thirty());
                    black_box(illustrate(&mut report, shots, &options))
                });
            });
        }
        if name == "jpeg" {
            let shots = [
                screenshot(Screen::Desktop, 1440, 6000, 1.0, format),
                screenshot(Screen::Mobile, 780, 12_000, 2.0, format),
            ];
            let mut report = Report::new(thirty());
            let images = illustrate(&mut report, &shots, &options);
            group
                .bench_function("html", |bencher| bencher.iter(|| black_box(html::render(&report, &images))));
            group.bench_function("json", |bencher| bencher.iter(|| black_box(json::render(&report))));
            group.bench_function("markdown", |bencher| bencher.iter(|| black_box(markdown::render(&report))));
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default();
    targets = report
}
criterion_main!(benches);
