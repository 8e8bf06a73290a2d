//! Which part of a page a finding's picture shows.

use crate::Rect;

/// Least width of the part shown, in CSS pixels, page permitting: as wide as the report shows it.
const WIDTH_MIN: f64 = 520.0;
/// Least height of the part shown.
const HEIGHT_MIN: f64 = 260.0;
/// Least height where the element is so wide that its surroundings say little.
const HEIGHT_MIN_WIDE: f64 = 180.0;
/// Width from which an element is that wide.
const WIDE: f64 = 800.0;
/// Greatest width of the part shown.
const WIDTH_MAX: f64 = 1100.0;
/// Greatest height of the part shown.
const HEIGHT_MAX: f64 = 760.0;
/// Context around the element, on each side.
const MARGIN: f64 = 56.0;
/// Share of the first screen from which an element counts as the whole page.
const WHOLE_PAGE_SHARE: f64 = 0.85;
/// Side that an element without an extent is shown with.
const SIDE_MIN: f64 = 8.0;
/// Pixels of a picture.
const PIXELS_MAX: f64 = 720.0 * 540.0;
/// Pixels of a picture of the whole page.
const WHOLE_PAGE_PIXELS_MAX: f64 = 560.0 * 350.0;
/// Pixels per CSS pixel at most: beyond, a picture only gets heavier.
const DENSITY_MAX: f64 = 1.35;

/// A page's captured size and first screen, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Height of the screen that the page was shown on.
    pub(super) fold: f64,
    /// Pixels of the screenshot per CSS pixel.
    pub(super) scale: f64,
}

/// The part of a page to show, and how large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    /// The part of the page, in CSS pixels.
    pub(super) region: Rect,
    /// The element, in CSS pixels, clipped to the page.
    pub(super) element: Rect,
    /// Pixels of the picture per CSS pixel.
    pub(super) density: f64,
}

/// Frames an element; `None` if no part of it was captured.
pub(super) fn frame(rect: Rect, page: Page) -> Option<Frame> {
    let element = visible(rect, page)?;
    let whole = element.width * element.height >= WHOLE_PAGE_SHARE * page.width * page.fold.min(page.height);
    if whole {
        let region = Rect { x: 0.0, y: 0.0, width: page.width, height: page.fold.min(page.height) };
        return Some(Frame { region, element, density: density(region, WHOLE_PAGE_PIXELS_MAX, page) });
    }
    let width = (element.width + 2.0 * MARGIN).clamp(WIDTH_MIN, WIDTH_MAX).min(page.width);
    let height_min = if element.width >= WIDE { HEIGHT_MIN_WIDE } else { HEIGHT_MIN };
    let height = (element.height + 2.0 * MARGIN).clamp(height_min, HEIGHT_MAX).min(page.height);
    let region = Rect {
        x: place(element.x, element.width, width, page.width),
        y: place(element.y, element.height, height, page.height),
        width,
        height,
    };
    Some(Frame { region, element, density: density(region, PIXELS_MAX, page) })
}

/// The part of an element that was captured, made large enough to be seen.
pub(super) fn visible(rect: Rect, page: Page) -> Option<Rect> {
    let side = |start: f64, length: f64, size: f64| {
        if !(start.is_finite() && length.is_finite() && length >= 0.0) {
            return None;
        }
        let grow = (SIDE_MIN - length).max(0.0) / 2.0;
        let (low, high) = ((start - grow).max(0.0), (start + length + grow).min(size));
        (high > low && start < size && start + length > -f64::EPSILON).then_some((low, high - low))
    };
    let (x, width) = side(rect.x, rect.width, page.width)?;
    let (y, height) = side(rect.y, rect.height, page.height)?;
    Some(Rect { x, y, width, height })
}

/// Where a window of `window` starts that shows `length` from `start`: centred, or from its start if it is longer.
fn place(start: f64, length: f64, window: f64, size: f64) -> f64 {
    let free = window - length;
    let wish = if free >= 0.0 { start - free / 2.0 } else { start - MARGIN };
    wish.min(size - window).max(0.0)
}

fn density(region: Rect, pixels_max: f64, page: Page) -> f64 {
    let pixels = (region.width * region.height).max(1.0);
    page.scale.min(DENSITY_MAX).min((pixels_max / pixels).sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DESKTOP: Page = Page { width: 1440.0, height: 3000.0, fold: 900.0, scale: 1.0 };

    #[test]
    fn a_small_element_is_shown_in_its_context() {
        let frame = frame(Rect { x: 700.0, y: 500.0, width: 80.0, height: 30.0 }, DESKTOP).unwrap();
        assert_eq!(frame.region, Rect { x: 480.0, y: 385.0, width: 520.0, height: 260.0 });
        assert!((frame.density - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_crop_at_the_edge_stays_on_the_page() {
        let frame = frame(Rect { x: 1400.0, y: 2990.0, width: 40.0, height: 40.0 }, DESKTOP).unwrap();
        assert_eq!(frame.region, Rect { x: 920.0, y: 2740.0, width: 520.0, height: 260.0 });
    }

    #[test]
    fn the_whole_page_is_shown_by_its_first_screen() {
        let frame = frame(Rect { x: 0.0, y: 0.0, width: 1440.0, height: 3000.0 }, DESKTOP).unwrap();
        assert_eq!(frame.region, Rect { x: 0.0, y: 0.0, width: 1440.0, height: 900.0 });
        assert!(frame.density < 0.5);
    }

    #[test]
    fn an_element_outside_of_the_page_has_no_crop() {
        for (x, y) in [(-500.0, 10.0), (10.0, 4000.0), (1441.0, 10.0)] {
            assert_eq!(frame(Rect { x, y, width: 50.0, height: 50.0 }, DESKTOP), None);
        }
        assert_eq!(frame(Rect { x: f64::NAN, y: 0.0, width: 5.0, height: 5.0 }, DESKTOP), None);
    }

    fn side() -> impl Strategy<Value = f64> {
        prop_oneof![prop::num::f64::ANY, -2000.0..8000.0_f64, Just(0.0)]
    }

    proptest! {
        #[test]
        fn a_crop_lies_on_the_page(
            x in side(), y in side(), width in side(), height in side(),
            page_width in 1.0..4000.0_f64, page_height in 1.0..20_000.0_f64, scale in 0.1..4.0_f64,
        ) {
            let page = Page { width: page_width, height: page_height, fold: 900.0, scale };
            if let Some(frame) = frame(Rect { x, y, width, height }, page) {
                let Rect { x, y, width, height } = frame.region;
                prop_assert!(x >= 0.0 && y >= 0.0 && width > 0.0 && height > 0.0);
                prop_assert!(x + width <= page_width + 1e-6 && y + height <= page_height + 1e-6);
                prop_assert!(width * height * frame.density.powi(2) <= PIXELS_MAX + 1e-3);
                prop_assert!(frame.density > 0.0 && frame.density <= scale);
            }
        }
    }
}
