//! What the template shows, worked out: the template itself only places things.

use std::collections::HashSet;

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Category, Screen, Severity};

use super::{
    super::{
        Crop, Deduction, Flaw, Images, NotChecked, QuickWin, Report, ReportedFinding, Shot,
        score::CATEGORIES, wording,
    },
    EMBEDDED_BYTES_MAX,
    chart::{Bar, Gauge},
    vitals::VitalRow,
};

#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page<'a> {
    report: &'a Report,
    title: &'a str,
    asked: Address,
    /// Where the redirects ended, if elsewhere.
    landed: Option<Address>,
    date: String,
    datetime: String,
    screens: String,
    sizes: Vec<(&'static str, String)>,
    duration: String,
    overall: Overall,
    verdict: String,
    quick_wins: &'a [QuickWin],
    categories: Vec<CategoryRow<'a>>,
    overviews: Vec<OverviewFigure>,
    severities: Vec<SeverityChip>,
    filters: Vec<CategoryChip>,
    /// Pairs of filters that leave nothing.
    empty_pairs: Vec<(&'static str, &'static str)>,
    flaws: Vec<FlawCard<'a>>,
    vital_screens: Vec<&'static str>,
    vitals: Vec<VitalRow>,
    not_checked: &'a [NotChecked],
    weights: Vec<(&'static str, u8)>,
    /// Pictures of which only the file beside this one exists.
    left_out: usize,
}

/// A URL or path, and whether it may be a link.
struct Address {
    text: String,
    href: Option<String>,
}

struct Overall {
    score: Option<u8>,
    band: &'static str,
    words: &'static str,
    gauge: Gauge,
}

struct CategoryRow<'a> {
    name: &'static str,
    score: Option<u8>,
    band: &'static str,
    rules: String,
    deductions: Vec<DeductionRow<'a>>,
}

/// What was taken off for one flaw.
struct DeductionRow<'a> {
    number: u32,
    title: &'a str,
    note: String,
    points: String,
}

struct SeverityChip {
    slug: &'static str,
    name: &'static str,
    count: usize,
}

struct CategoryChip {
    slug: &'static str,
    name: &'static str,
    count: usize,
}

/// An embedded picture.
struct Picture {
    uri: String,
    width: u32,
    height: u32,
    screen: &'static str,
    screen_slug: String,
    alt: String,
}

impl Picture {
    /// Whether the picture needs the whole width of a card to be read.
    fn is_wide(&self) -> bool {
        self.width > 600 && f64::from(self.width) / f64::from(self.height.max(1)) >= 2.2
    }
}

struct OverviewFigure {
    picture: Picture,
    /// Width of the picture for a height of 1.
    ratio: String,
    caption: String,
    markers: Vec<MarkerLink>,
    below: Vec<u32>,
}

struct MarkerLink {
    number: u32,
    left: String,
    top: String,
    title: String,
}

struct FlawCard<'a> {
    number: u32,
    title: &'a str,
    severity: &'static str,
    severity_slug: &'static str,
    category: &'static str,
    category_slug: &'static str,
    screens: String,
    priority: u8,
    why: &'a str,
    recommendation: &'a str,
    rule: &'a str,
    fingerprint: &'a str,
    gains: [Gain; 3],
    seen: Vec<Seen<'a>>,
    places: Vec<Place<'a>>,
    /// A picture too wide for a column beside the text.
    wide: Option<Picture>,
    pictures: Vec<Picture>,
    /// How text and pictures share the card.
    layout: &'static str,
    sources: Vec<(&'a str, Option<String>)>,
}

/// A rating of 1 to 10.
struct Gain {
    name: &'static str,
    value: u8,
}

/// What was seen on one screen, or on all if it was the same.
struct Seen<'a> {
    /// Empty if it was the same on all screens.
    screen: &'static str,
    statement: &'a str,
    snippet: &'a str,
    count: u32,
    bar: Option<Bar>,
}

/// Where a finding is.
struct Place<'a> {
    screen: &'static str,
    selector: &'a str,
    position: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(report: &'a Report, images: &Images) -> Self {
        let flaws: Vec<Flaw<'a>> = report.flaws().collect();
        let mut album = Album { images, bytes_left: EMBEDDED_BYTES_MAX, left_out: 0 };
        let overviews = report.shots.iter().filter_map(|shot| overview(report, shot, &mut album)).collect();
        let pictures = crops(&flaws, &mut album);
        let categories = report.scores.categories.iter().map(|category| CategoryRow {
            name: wording::category(category.category),
            score: category.score,
            band: category.score.map_or("none", |score| wording::band(score).0),
            rules: wording::count(category.rules as usize, "rule"),
            deductions: category.deductions.iter().map(DeductionRow::new).collect(),
        });
        let (vital_screens, vitals) = super::vitals::rows(&report.vitals);
        Self {
            report,
            title: if report.title.trim().is_empty() { "Untitled page" } else { &report.title },
            asked: Address::new(&report.url),
            landed: (report.final_url != report.url && !report.final_url.is_empty())
                .then(|| Address::new(&report.final_url)),
            date: wording::date(report.generated_at),
            datetime: report.generated_at.to_string(),
            screens: report
                .environment
                .screens
                .iter()
                .map(|size| format!("{} {} × {}", wording::screen(size.screen), size.width, size.height))
                .collect::<Vec<_>>()
                .join(", "),
            sizes: report
                .environment
                .screens
                .iter()
                .map(|it| {
                    let size =
                        format!("{} × {} px, scale {}", it.width, it.height, wording::number(it.scale));
                    (wording::screen(it.screen), size)
                })
                .collect(),
            duration: wording::quantity(report.duration_ms as f64, "ms"),
            overall: Overall::new(report.scores.overall),
            verdict: super::super::summary::verdict(report),
            quick_wins: &report.summary.quick_wins,
            categories: categories.collect(),
            overviews,
            severities: severity_chips(&flaws),
            filters: category_chips(&flaws),
            empty_pairs: empty_pairs(&flaws),
            flaws: flaws.iter().zip(pictures).map(|(flaw, pictures)| FlawCard::new(flaw, pictures)).collect(),
            vital_screens,
            vitals,
            not_checked: &report.not_checked,
            weights: CATEGORIES
                .iter()
                .map(|(category, weight)| (wording::category(*category), *weight))
                .collect(),
            left_out: album.left_out,
        }
    }
}

impl Address {
    fn new(url: &str) -> Self {
        Self { text: url.to_owned(), href: wording::link(url) }
    }
}

impl Overall {
    fn new(score: Option<u8>) -> Self {
        let (band, words) = score.map_or(("none", "Not judged"), wording::band);
        Self { score, band, words, gauge: Gauge::new(score.unwrap_or(0)) }
    }
}

impl<'a> DeductionRow<'a> {
    fn new(deduction: &'a Deduction) -> Self {
        let mut note = format!(
            "{} severity, confidence {} of 10",
            wording::severity(deduction.severity),
            deduction.confidence
        );
        if deduction.share < 1.0 {
            note.push_str(", further flaw of the same rule");
        }
        Self {
            number: deduction.number,
            title: &deduction.title,
            note,
            points: wording::number(deduction.points),
        }
    }
}

impl<'a> FlawCard<'a> {
    fn new(flaw: &Flaw<'a>, mut pictures: Vec<Picture>) -> Self {
        let lead = flaw.lead();
        let wide = pictures.iter().position(Picture::is_wide).map(|at| pictures.remove(at));
        let layout = match pictures.as_slice() {
            [] => "plain-text",
            [only] if only.screen_slug == "mobile" => "narrow",
            _ => "",
        };
        let mut linked = HashSet::new();
        let sources = flaw.findings.iter().flat_map(|it| &it.finding.sources);
        Self {
            number: flaw.number,
            title: &lead.title,
            severity: wording::severity(flaw.severity()),
            severity_slug: wording::severity_slug(flaw.severity()),
            category: wording::category(lead.category),
            category_slug: wording::category_slug(lead.category),
            screens: wording::screens(&flaw.screens()),
            priority: flaw.priority(),
            why: &lead.why,
            recommendation: &lead.recommendation,
            rule: &lead.rule,
            fingerprint: &lead.fingerprint,
            gains: [
                Gain { name: "Impact", value: lead.impact.min(10) },
                Gain { name: "Effort", value: lead.effort.min(10) },
                Gain { name: "Confidence", value: lead.confidence.min(10) },
            ],
            seen: seen(flaw),
            places: flaw.findings.iter().map(place).collect(),
            wide,
            pictures,
            layout,
            sources: sources
                .filter(|source| linked.insert(source.title.as_ref()))
                .map(|source| (source.title.as_ref(), wording::link(&source.url)))
                .collect(),
        }
    }
}

/// What was seen; once if every screen shows the same.
fn seen<'a>(flaw: &Flaw<'a>) -> Vec<Seen<'a>> {
    let same = flaw.findings.iter().all(|it| it.finding.evidence == flaw.findings[0].finding.evidence);
    let shown = if same { &flaw.findings[..1] } else { flaw.findings };
    shown
        .iter()
        .map(|ReportedFinding { finding, .. }| Seen {
            screen: if same { "" } else { wording::screen(finding.viewport) },
            statement: &finding.evidence.statement,
            snippet: &finding.evidence.snippet,
            count: finding.evidence.count,
            bar: finding.evidence.measured.as_ref().map(Bar::new),
        })
        .collect()
}

fn place(reported: &ReportedFinding) -> Place<'_> {
    let finding = &reported.finding;
    let number = |value: f64| wording::number(value.round());
    let mut position = match finding.rect {
        Some(rect) => format!(
            "{} × {} px at {}, {}",
            number(rect.width),
            number(rect.height),
            number(rect.x),
            number(rect.y)
        ),
        None => "no box on the page".to_owned(),
    };
    match finding.evidence.above_fold {
        Some(true) => position.push_str(", in the first screen"),
        Some(false) => position.push_str(", below the first screen"),
        None => {}
    }
    Place { screen: wording::screen(finding.viewport), selector: &finding.selector, position }
}

fn severity_chips(flaws: &[Flaw<'_>]) -> Vec<SeverityChip> {
    [Severity::High, Severity::Medium, Severity::Low]
        .into_iter()
        .map(|severity| SeverityChip {
            slug: wording::severity_slug(severity),
            name: wording::severity(severity),
            count: flaws.iter().filter(|flaw| flaw.severity() == severity).count(),
        })
        .collect()
}

fn category_chips(flaws: &[Flaw<'_>]) -> Vec<CategoryChip> {
    CATEGORIES
        .iter()
        .map(|(category, _)| CategoryChip {
            slug: wording::category_slug(*category),
            name: wording::category(*category),
            count: flaws.iter().filter(|flaw| flaw.lead().category == *category).count(),
        })
        .filter(|chip| chip.count > 0)
        .collect()
}

fn empty_pairs(flaws: &[Flaw<'_>]) -> Vec<(&'static str, &'static str)> {
    let pair = |severity: Severity, category: Category| {
        (wording::severity_slug(severity), wording::category_slug(category))
    };
    let taken: HashSet<_> = flaws.iter().map(|flaw| pair(flaw.severity(), flaw.lead().category)).collect();
    let severities = severity_chips(flaws).into_iter().filter(|chip| chip.count > 0);
    let categories = category_chips(flaws);
    severities
        .flat_map(|severity| categories.iter().map(move |category| (severity.slug, category.slug)))
        .filter(|pair| !taken.contains(pair))
        .collect()
}

// Pictures.

/// Embeds pictures until the bytes for them are used up.
struct Album<'a> {
    images: &'a Images,
    bytes_left: usize,
    left_out: usize,
}

impl Album<'_> {
    fn embed(&mut self, file: &str, size: (u32, u32), screen: Screen, alt: String) -> Option<Picture> {
        let image = self.images.get(file)?;
        let Some(bytes_left) = self.bytes_left.checked_sub(image.bytes.len()) else {
            self.left_out += 1;
            return None;
        };
        self.bytes_left = bytes_left;
        Some(Picture {
            uri: format!("data:{};base64,{}", image.media_type(), STANDARD.encode(&image.bytes)),
            width: size.0,
            height: size.1,
            screen: wording::screen(screen),
            screen_slug: screen.to_string(),
            alt,
        })
    }
}

/// The pictures of each flaw, one per screen. The first picture of every flaw is embedded before any second one.
fn crops(flaws: &[Flaw<'_>], album: &mut Album<'_>) -> Vec<Vec<Picture>> {
    let mut pictures: Vec<Vec<Picture>> = flaws.iter().map(|_| Vec::new()).collect();
    for rank in 0..2 {
        for (flaw, pictures) in flaws.iter().zip(&mut pictures) {
            if let Some((screen, crop)) = nth_crop(flaw, rank) {
                let alt = format!(
                    "Part of the page on {screen}, with number {} marking where: {}",
                    flaw.number,
                    flaw.lead().title
                );
                pictures.extend(album.embed(&crop.file, (crop.width, crop.height), screen, alt));
            }
        }
    }
    pictures
}

/// The first crop of a flaw's n-th screen that has one.
fn nth_crop<'a>(flaw: &Flaw<'a>, rank: usize) -> Option<(Screen, &'a Crop)> {
    let with_crop = flaw.findings.iter().filter_map(|it| Some((it.finding.viewport, it.crop.as_ref()?)));
    let mut screens = HashSet::new();
    with_crop.filter(|(screen, _)| screens.insert(*screen)).nth(rank)
}

fn overview(report: &Report, shot: &Shot, album: &mut Album<'_>) -> Option<OverviewFigure> {
    let overview = shot.overview.as_ref()?;
    let screen = wording::screen(shot.screen);
    let alt = format!("The top of the page on {}, with the numbers of the findings", shot.screen);
    let size = (overview.width.max(1), overview.height.max(1));
    let picture = album.embed(&overview.file, size, shot.screen, alt)?;
    let percent =
        |part: f64, whole: u32| format!("{:.2}%", (part / f64::from(whole) * 100.0).clamp(0.0, 100.0));
    let mut linked = HashSet::new();
    let markers = overview.markers.iter().filter(|marker| linked.insert(marker.number));
    Some(OverviewFigure {
        picture,
        ratio: format!("{:.4}", f64::from(size.0) / f64::from(size.1)),
        caption: format!(
            "{screen}, {} × {} px in all",
            wording::number(f64::from(shot.width)),
            wording::number(f64::from(shot.height))
        ),
        markers: markers
            .map(|marker| MarkerLink {
                number: marker.number,
                left: percent(marker.x, size.0),
                top: percent(marker.y, size.1),
                title: report
                    .flaws()
                    .find(|flaw| flaw.number == marker.number)
                    .map(|flaw| wording::capitalised(&flaw.lead().title))
                    .unwrap_or_default(),
            })
            .collect(),
        below: overview.below.clone(),
    })
}
