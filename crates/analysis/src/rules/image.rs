//! Pictures: whether they are described, reserve their place, and show enough.

use super::{
    Applies, Hit, Rule, View,
    source::{GOOGLE_PLAYBOOK, WCAG_TEXT_ALTERNATIVES, WEB_CLS, WEB_LCP},
};
use crate::{Bound, Category, Severity, facts::Image, page_type::PageType};

/// Smaller pictures are icons.
const PICTURE_MIN_PX: f64 = 48.0;
/// A product is looked at from more than one side.
const GALLERY_MIN: usize = 3;
/// Added later than this after the document was parsed, a picture was not in it.
const INJECTED_AFTER_MS: f64 = 300.0;
const FINDINGS_MAX: usize = 8;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "image.missing_alt",
        category: Category::Seo,
        severity: Severity::Low,
        title: "An image has no alternative text",
        why: "Search engines and screen readers learn nothing from it, and nobody does while it loads or when it fails.",
        recommendation: "Describe in alt what the image shows, or set alt=\"\" if it only decorates.",
        impact: 3,
        effort: 1,
        confidence: 10,
        sources: &[WCAG_TEXT_ALTERNATIVES],
        applies: Applies::Everywhere,
        check: missing_alt,
    },
    Rule {
        id: "image.unsized",
        category: Category::Performance,
        severity: Severity::Low,
        title: "An image does not reserve its place",
        why: "When it arrives everything below it jumps, and what the visitor was about to press is elsewhere.",
        recommendation: "Give it width and height attributes, or an aspect-ratio in CSS.",
        impact: 4,
        effort: 1,
        confidence: 9,
        sources: &[WEB_CLS],
        applies: Applies::Everywhere,
        check: unsized_image,
    },
    Rule {
        id: "image.lcp_injected_late",
        category: Category::Performance,
        severity: Severity::Medium,
        title: "The main picture is put in by a script",
        why: "The browser cannot begin to load what it does not find in the document; the largest thing on the screen appears last.",
        recommendation: "Put the <img> into the HTML with fetchpriority=\"high\", or preload it; never lazy-load the first screen.",
        impact: 7,
        effort: 3,
        confidence: 9,
        sources: &[WEB_LCP],
        applies: Applies::Everywhere,
        check: lcp_injected_late,
    },
    Rule {
        id: "gallery.single_image",
        category: Category::Price,
        severity: Severity::Medium,
        title: "The product is shown in a single picture",
        why: "Online, pictures replace touching: one view leaves size, detail and use to the imagination, and doubt is not bought.",
        recommendation: "Show at least three to five pictures: other sides, a detail, the scale, the product in use.",
        impact: 6,
        effort: 5,
        confidence: 7,
        sources: &[GOOGLE_PLAYBOOK],
        applies: Applies::ToProducts,
        check: single_image,
    },
];

/// One hit for each shape of image that has the flaw.
fn by_shape<'a>(images: impl Iterator<Item = &'a Image>, say: impl Fn(&Image) -> Hit) -> Vec<Hit> {
    let mut shapes: Vec<(u32, &Image, u32)> = Vec::new();
    for image in images {
        match shapes.iter_mut().find(|(shape, ..)| *shape == image.shape) {
            Some((_, _, count)) => *count += 1,
            None => shapes.push((image.shape, image, 1)),
        }
    }
    // Beyond the images listed of one shape, the rest is taken to be alike when all listed ones are.
    shapes
        .into_iter()
        .take(FINDINGS_MAX)
        .map(|(_, image, count)| say(image).count(if count >= 12 { image.repeats.max(count) } else { count }))
        .collect()
}

fn missing_alt(view: &View<'_>) -> Vec<Hit> {
    let bare = view.facts.images.iter().filter(|i| {
        !i.has_alt && !i.decorative && !i.named_otherwise && i.rect.width > 3.0 && i.rect.height > 3.0
    });
    by_shape(bare, |image| {
        Hit::on(image.element, "the image has no alt attribute").snippet(image.file.clone())
    })
}

fn unsized_image(view: &View<'_>) -> Vec<Hit> {
    let bare = view
        .facts
        .images
        .iter()
        .filter(|i| !i.sized && i.rect.width >= PICTURE_MIN_PX && i.rect.height >= PICTURE_MIN_PX);
    by_shape(bare, |image| {
        Hit::on(
            image.element,
            format!(
                "the image takes {} x {} px and reserves none of it",
                image.rect.width, image.rect.height
            ),
        )
        .snippet(image.file.clone())
    })
}

fn lcp_injected_late(view: &View<'_>) -> Vec<Hit> {
    let timing = &view.facts.timing;
    let Some(lcp) = timing.lcp.as_ref().filter(|l| l.is_image) else { return Vec::new() };
    let (Some(inserted), Some(parsed)) = (lcp.inserted_ms, timing.dom_content_loaded_ms) else {
        return Vec::new();
    };
    if inserted - parsed < INJECTED_AFTER_MS {
        return Vec::new();
    }
    vec![
        Hit::on(lcp.element, format!("the largest picture was added {:.1} s after navigation began; the document was parsed at {:.1} s", inserted / 1000.0, parsed / 1000.0))
            .measured("added after parsing", (inserted - parsed).round(), Bound::AtMost, INJECTED_AFTER_MS, "ms"),
    ]
}

fn single_image(view: &View<'_>) -> Vec<Hit> {
    if view.page_type != PageType::EcommerceProduct || view.facts.truncated {
        return Vec::new();
    }
    let shown: Vec<&Image> = view
        .facts
        .images
        .iter()
        .filter(|i| {
            !matches!(i.region.as_str(), "header" | "nav" | "footer")
                && i.rect.width >= PICTURE_MIN_PX
                && i.rect.height >= PICTURE_MIN_PX
        })
        .collect();
    let Some(main) =
        shown.iter().max_by(|a, b| (a.rect.width * a.rect.height).total_cmp(&(b.rect.width * b.rect.height)))
    else {
        return Vec::new();
    };
    // Cards of other products further down are no views of this one.
    let near: usize = shown
        .iter()
        .filter(|i| {
            (i.rect.y - main.rect.y).abs() < main.rect.height + view.facts.viewport.fold * 0.6
                && i.repeats < 3
                || i.element == main.element
        })
        .count();
    let repeated =
        shown.iter().any(|i| i.repeats >= 3 && (i.rect.y - main.rect.y).abs() < main.rect.height + 200.0);
    if near >= GALLERY_MIN - 1 || repeated || shown.len() > 1 && near > 1 {
        return Vec::new();
    }
    vec![
        Hit::on(main.element, "the product has one picture")
            .measured("pictures", 1.0, Bound::AtLeast, GALLERY_MIN as f64, "")
            .snippet(main.file.clone()),
    ]
}
