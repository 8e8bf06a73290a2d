//! Pictures for a report: one annotated crop per finding and an overview per screen, from full-page screenshots.

use std::{borrow::Cow, thread};

use bytes::Bytes;

use crate::{Rect, Screen, Severity};

use super::{
    Crop, NotChecked, Overview, Report, ReportedFinding, Shot,
    canvas::{Canvas, Color, Edges},
    crop::{self, Frame, Page},
    overview,
};

/// A page as it looked on one screen, from top to bottom.
#[derive(Clone, Debug)]
pub struct Screenshot {
    /// Which screen.
    pub screen: Screen,
    /// PNG or JPEG.
    pub bytes: Bytes,
    /// Pixels of the image per CSS pixel.
    pub scale: f64,
    /// Height of the screen in CSS pixels: what is seen without scrolling.
    pub fold: u32,
}

/// Bounds of the pictures.
#[derive(Clone, Copy, Debug)]
pub struct IllustrateOptions {
    /// Crops made at most over all screens; the most urgent findings get theirs.
    pub crops_max: usize,
    /// JPEG quality of the crops, 1 to 100.
    pub crop_quality: u8,
    /// JPEG quality of the overviews, 1 to 100.
    pub overview_quality: u8,
}

impl Default for IllustrateOptions {
    fn default() -> Self {
        Self { crops_max: 60, crop_quality: 80, overview_quality: 74 }
    }
}

/// A picture of a report.
#[derive(Clone, Debug)]
pub struct Image {
    /// Path relative to the report, for example `shots/desktop.jpg`.
    pub file: String,
    /// PNG or JPEG.
    pub bytes: Bytes,
}

impl Image {
    /// The image's media type, by its first bytes.
    pub fn media_type(&self) -> &'static str {
        if self.bytes.starts_with(b"\x89PNG") { "image/png" } else { "image/jpeg" }
    }
}

/// The pictures of a report, by the file names that the report gives them.
#[derive(Clone, Debug, Default)]
pub struct Images(Vec<Image>);

impl Images {
    /// The picture of that name.
    pub fn get(&self, file: &str) -> Option<&Image> {
        self.0.iter().find(|image| image.file == file)
    }

    /// All pictures.
    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.0.iter()
    }
}

impl FromIterator<Image> for Images {
    fn from_iter<I: IntoIterator<Item = Image>>(images: I) -> Self {
        Self(images.into_iter().collect())
    }
}

/// The colour that stands for a severity in pictures; the HTML form uses the same.
pub(super) fn color(severity: Severity) -> Color {
    match severity {
        Severity::High => [0xc0, 0x1f, 0x35],
        Severity::Medium => [0xa3, 0x58, 0x00],
        Severity::Low => [0x2a, 0x5f, 0xa8],
    }
}

/// Makes the pictures of a report and names them in it. Screens are worked on in parallel, each screenshot is decoded
/// once. What could not be shown is added to the report's `not_checked`; nothing here fails.
pub fn illustrate(report: &mut Report, screenshots: &[Screenshot], options: &IllustrateOptions) -> Images {
    let mut wanted: Vec<usize> =
        (0..report.findings.len()).filter(|index| report.findings[*index].finding.rect.is_some()).collect();
    let left_out = wanted.len().saturating_sub(options.crops_max);
    wanted.truncate(options.crops_max);

    let findings = &report.findings;
    let drawn: Vec<Result<Drawn, Undrawn>> = thread::scope(|scope| {
        let work = |screenshot| draw_screen(findings, &wanted, screenshot, options);
        let threads: Vec<_> =
            screenshots.iter().skip(1).map(|screenshot| scope.spawn(move || work(screenshot))).collect();
        let first = screenshots.first().map(work);
        let rest = threads.into_iter().filter_map(|thread| thread.join().ok());
        first.into_iter().chain(rest).collect()
    });

    let mut images = Vec::new();
    for drawn in drawn {
        match drawn {
            Ok(drawn) => {
                for (index, crop) in drawn.crops {
                    report.findings[index].crop = Some(crop);
                }
                report.shots.push(drawn.shot);
                images.extend(drawn.images);
                if drawn.outside > 0 {
                    report
                        .not_checked
                        .push(not_shown(drawn.outside, "they lie outside of the captured part of the page"));
                }
            }
            Err(undrawn) => report.not_checked.push(NotChecked {
                what: Cow::Owned(format!("pictures of the {} page", undrawn.screen)),
                why: Cow::Owned(undrawn.why),
            }),
        }
    }
    if left_out > 0 {
        let why = format!(
            "a report has at most {} crops, and these findings are the least urgent",
            options.crops_max
        );
        report.not_checked.push(not_shown(left_out, why));
    }
    Images(images)
}

fn not_shown(findings: usize, why: impl Into<Cow<'static, str>>) -> NotChecked {
    let plural = if findings == 1 { "" } else { "s" };
    NotChecked { what: Cow::Owned(format!("pictures of {findings} finding{plural}")), why: why.into() }
}

/// What one screenshot yielded.
struct Drawn {
    shot: Shot,
    /// Crops by the index of their finding.
    crops: Vec<(usize, Crop)>,
    images: Vec<Image>,
    /// Findings that lie outside of the screenshot.
    outside: usize,
}

/// Why a screenshot yielded nothing.
struct Undrawn {
    screen: Screen,
    why: String,
}

fn draw_screen(
    findings: &[ReportedFinding],
    wanted: &[usize],
    screenshot: &Screenshot,
    options: &IllustrateOptions,
) -> Result<Drawn, Undrawn> {
    let screen = screenshot.screen;
    let fail = |why: String| Undrawn { screen, why };
    let page = Canvas::decode(&screenshot.bytes)
        .map_err(|error| fail(format!("the screenshot could not be decoded ({error})")))?;
    if !(screenshot.scale.is_finite() && screenshot.scale > 0.0) {
        return Err(fail("the screenshot's scale is not a number above 0".to_owned()));
    }
    let size = Page {
        width: page.width() as f64 / screenshot.scale,
        height: page.height() as f64 / screenshot.scale,
        fold: f64::from(screenshot.fold.max(1)),
        scale: screenshot.scale,
    };
    let mut drawn = Drawn {
        shot: Shot {
            screen,
            width: size.width.round() as u32,
            height: size.height.round() as u32,
            file: format!("shots/{screen}.{}", extension(&screenshot.bytes)),
            overview: None,
        },
        crops: Vec::new(),
        images: Vec::new(),
        outside: 0,
    };
    drawn.images.push(Image { file: drawn.shot.file.clone(), bytes: screenshot.bytes.clone() });

    for &index in wanted {
        let finding = &findings[index];
        if finding.finding.viewport != screen {
            continue;
        }
        let Some(frame) = finding.finding.rect.and_then(|rect| crop::frame(rect, size)) else {
            drawn.outside += 1;
            continue;
        };
        let canvas = annotate(&page, frame, size, finding);
        let Ok(bytes) = canvas.to_jpeg(options.crop_quality.clamp(1, 100)) else { continue };
        let file = crop_name(finding, &drawn.images);
        drawn.images.push(Image { file: file.clone(), bytes: bytes.into() });
        let (width, height) = (canvas.width() as u32, canvas.height() as u32);
        drawn.crops.push((index, Crop { file, width, height, region: rounded(frame.region) }));
    }

    let own: Vec<&ReportedFinding> = findings.iter().filter(|it| it.finding.viewport == screen).collect();
    let overview = overview::draw(&page, size, screen, &own);
    if let Ok(bytes) = overview.canvas.to_jpeg(options.overview_quality.clamp(1, 100)) {
        let file = format!("shots/{screen}-overview.jpg");
        drawn.images.push(Image { file: file.clone(), bytes: bytes.into() });
        drawn.shot.overview = Some(Overview {
            file,
            width: overview.canvas.width() as u32,
            height: overview.canvas.height() as u32,
            markers: overview.markers,
            below: overview.below,
        });
    }
    Ok(drawn)
}

/// How thick things are drawn: the report shows a phone's picture at half of its size.
fn unit(screen: Screen) -> f32 {
    match screen {
        Screen::Desktop => 1.0,
        Screen::Mobile => 1.7,
    }
}

/// Cuts a finding's part out of the page, dims what is around the element, outlines and numbers it.
fn annotate(page: &Canvas, frame: Frame, size: Page, finding: &ReportedFinding) -> Canvas {
    let Frame { region, element, density } = frame;
    let part = Edges {
        left: (region.x * size.scale) as f32,
        top: (region.y * size.scale) as f32,
        right: ((region.x + region.width) * size.scale) as f32,
        bottom: ((region.y + region.height) * size.scale) as f32,
    };
    let mut canvas =
        page.cut(part, (region.width * density).round() as usize, (region.height * density).round() as usize);
    // Air between the element and its outline, so that the line hides nothing of it.
    let unit = unit(finding.finding.viewport);
    let air = 5.0 * unit;
    let (width, height) = (canvas.width() as f32, canvas.height() as f32);
    let outline = Edges {
        left: (((element.x - region.x) * density) as f32 - air).max(3.0),
        top: (((element.y - region.y) * density) as f32 - air).max(3.0),
        right: (((element.x + element.width - region.x) * density) as f32 + air).min(width - 3.0),
        bottom: ((element.y + element.height - region.y) * density) as f32 + air,
    };
    // An element that goes on below the crop keeps its outline open there.
    let goes_on = element.y + element.height > region.y + region.height + 1.0;
    let bottom = if goes_on { height + 20.0 } else { outline.bottom.min(height - 3.0) };
    let outline = Edges { bottom, ..outline };
    let color = color(finding.finding.severity);
    canvas.dim_outside(outline);
    canvas.outline(outline, color, 3.0 * unit);
    // The number sits on the corner's outer side: text that starts there stays readable.
    canvas.badge(finding.number, outline.left + 3.0, outline.top - 9.0 * unit, 13.0 * unit, color);
    canvas
}

/// A file name that tells number, rule and screen, and is not taken.
fn crop_name(finding: &ReportedFinding, taken: &[Image]) -> String {
    let rule: String = finding
        .finding
        .rule
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let stem = format!("shots/{:02}-{rule}-{}", finding.number, finding.finding.viewport);
    match taken.iter().filter(|image| image.file.starts_with(&stem)).count() {
        0 => format!("{stem}.jpg"),
        others => format!("{stem}-{}.jpg", others + 1),
    }
}

fn extension(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"\x89PNG") { "png" } else { "jpg" }
}

fn rounded(rect: Rect) -> Rect {
    Rect { x: rect.x.round(), y: rect.y.round(), width: rect.width.round(), height: rect.height.round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_page_use_the_same_colours() {
        let styles = include_str!("../../templates/report.css");
        for (name, severity) in
            [("high", Severity::High), ("medium", Severity::Medium), ("low", Severity::Low)]
        {
            let [red, green, blue] = color(severity);
            let declaration = format!("--solid-{name}:#{red:02x}{green:02x}{blue:02x};");
            assert!(styles.contains(&declaration), "{declaration}");
        }
    }
}
