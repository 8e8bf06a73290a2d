//! Pixels: decoding, cutting out with scaling, and drawing outlines and badges.
//!
//! Shapes are drawn from their signed distance, so that edges are smooth at any scale. All coordinates are clamped
//! to the canvas: nothing here can write outside of it, whatever the numbers.

use image::{DynamicImage, ImageDecoder, ImageReader};
use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

use super::digits;

/// Memory that decoding one screenshot may take.
const DECODE_BYTES_MAX: u64 = 512 << 20;

/// A colour as red, green and blue.
pub(super) type Color = [u8; 3];
/// White.
pub(super) const WHITE: Color = [255, 255, 255];
/// What the surroundings of an outlined element are dimmed towards.
const SHADE: Color = [18, 24, 38];
/// How much of the shade the surroundings get, of 256.
const SHADE_SHARE: u32 = 46;

/// A rectangle in pixels: left, top, right and bottom edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edges {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

/// An image of 8-bit RGB pixels, row by row.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// Decodes a PNG or JPEG.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, image::ImageError> {
        let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format()?;
        let mut decoder = reader.into_decoder()?;
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(DECODE_BYTES_MAX);
        decoder.set_limits(limits)?;
        let pixels = DynamicImage::from_decoder(decoder)?.into_rgb8();
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        Ok(Self { width, height, pixels: pixels.into_raw() })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Encodes as JPEG; fails if a side is longer than 65,535 pixels.
    pub(super) fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, EncodingError> {
        let mut bytes = Vec::with_capacity(self.pixels.len() / 16);
        let side = |length: usize| u16::try_from(length).unwrap_or(0);
        let mut encoder = Encoder::new(&mut bytes, quality);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder.encode(&self.pixels, side(self.width), side(self.height), ColorType::Rgb)?;
        Ok(bytes)
    }

    /// Cuts out a part, scaled to `width` x `height` pixels by averaging areas. The part is clamped to the canvas and
    /// is at least one pixel; it is never enlarged.
    pub(super) fn cut(&self, part: Edges, width: usize, height: usize) -> Self {
        let (left, right) = span(part.left, part.right, self.width);
        let (top, bottom) = span(part.top, part.bottom, self.height);
        let (width, height) = (width.clamp(1, right - left), height.clamp(1, bottom - top));
        let row = |y: usize| &self.pixels[(y * self.width + left) * 3..(y * self.width + right) * 3];
        let mut pixels = Vec::with_capacity(width * height * 3);
        if (width, height) == (right - left, bottom - top) {
            for y in top..bottom {
                pixels.extend_from_slice(row(y));
            }
            return Self { width, height, pixels };
        }
        let columns = weights(right - left, width);
        let rows = weights(bottom - top, height);
        let mut sums = vec![0.0_f32; (right - left) * 3];
        for taps in &rows {
            sums.fill(0.0);
            for (offset, weight) in taps.weights.iter().enumerate() {
                for (sum, value) in sums.iter_mut().zip(row(top + taps.start + offset)) {
                    *sum += f32::from(*value) * weight;
                }
            }
            for taps in &columns {
                let mut color = [0.5_f32; 3];
                for (offset, weight) in taps.weights.iter().enumerate() {
                    let at = (taps.start + offset) * 3;
                    for (channel, sum) in color.iter_mut().zip(&sums[at..at + 3]) {
                        *channel += sum * weight;
                    }
                }
                pixels.extend(color.map(|channel| channel as u8));
            }
        }
        Self { width, height, pixels }
    }

    /// Dims everything outside of `inside`.
    pub(super) fn dim_outside(&mut self, inside: Edges) {
        let shaded: [[u8; 256]; 3] = SHADE.map(|shade| {
            std::array::from_fn(|value| {
                ((value as u32 * (256 - SHADE_SHARE) + u32::from(shade) * SHADE_SHARE) >> 8) as u8
            })
        });
        let dim = |pixels: &mut [u8]| {
            for pixel in pixels.chunks_exact_mut(3) {
                for (channel, table) in pixel.iter_mut().zip(&shaded) {
                    *channel = table[usize::from(*channel)];
                }
            }
        };
        let clear = |low: f32, high: f32, size: usize| {
            let low = low.max(0.0).round() as usize;
            let high = high.max(0.0).round() as usize;
            (low.min(size), high.clamp(low.min(size), size))
        };
        let (left, right) = clear(inside.left, inside.right, self.width);
        let (top, bottom) = clear(inside.top, inside.bottom, self.height);
        for (y, row) in self.pixels.chunks_exact_mut(self.width * 3).enumerate() {
            if (top..bottom).contains(&y) {
                dim(&mut row[..left * 3]);
                dim(&mut row[right * 3..]);
            } else {
                dim(row);
            }
        }
    }

    /// Draws a box with rounded corners: a line of `color`, with a white one on either side so that it stands out from
    /// any background. The line lies around `edges`.
    pub(super) fn outline(&mut self, edges: Edges, color: Color, thickness: f32) {
        let halo = thickness * 0.6;
        let radius = thickness * 2.0;
        let reach = thickness / 2.0 + halo + 1.0;
        // The inner part has no line in it: only the frame's four strips are visited.
        let inset = reach + radius;
        let strips = [
            Edges { bottom: edges.top + inset, ..edges },
            Edges { top: edges.bottom - inset, ..edges },
            Edges {
                top: edges.top + inset,
                bottom: edges.bottom - inset,
                right: edges.left + inset,
                left: edges.left,
            },
            Edges {
                top: edges.top + inset,
                bottom: edges.bottom - inset,
                left: edges.right - inset,
                right: edges.right,
            },
        ];
        // Small boxes: strips of opposite sides overlap, and paint that is not opaque must not be laid on twice.
        let small = edges.right - edges.left < 2.0 * inset || edges.bottom - edges.top < 2.0 * inset;
        let strips = if small { &[edges][..] } else { &strips[..] };
        let horizontal = |strip: &Edges| strip.left <= edges.left && strip.right >= edges.right;
        for strip in strips {
            let grow_y = if horizontal(strip) { reach } else { 0.0 };
            let area = Edges {
                left: strip.left - if strip.left <= edges.left { reach } else { 0.0 },
                right: strip.right + if strip.right >= edges.right { reach } else { 0.0 },
                top: strip.top - if strip.top <= edges.top { grow_y } else { 0.0 },
                bottom: strip.bottom + if strip.bottom >= edges.bottom { grow_y } else { 0.0 },
            };
            self.paint(area, |x, y| {
                let distance = box_distance(edges, radius, x, y).abs();
                let line = coverage(distance - thickness / 2.0);
                let around = coverage(distance - thickness / 2.0 - halo);
                [(WHITE, around), (color, line)]
            });
        }
    }

    /// Draws a number in a filled capsule with a white ring, its centre as near to (`x`, `y`) as the canvas allows.
    /// Returns where the centre is.
    pub(super) fn badge(&mut self, number: u32, x: f32, y: f32, radius: f32, color: Color) -> (f32, f32) {
        let text = digits::layout(number, radius * 1.06);
        let half = (text.width / 2.0 - radius * 0.42).max(0.0);
        let ring = (radius * 0.17).max(1.5);
        let reach = radius + ring;
        let x = within(x, reach + half, self.width as f32);
        let y = within(y, reach, self.height as f32);
        let area = Edges {
            left: x - half - reach - 1.0,
            right: x + half + reach + 1.0,
            top: y - reach - 1.0,
            bottom: y + reach + 1.0,
        };
        self.paint(area, |px, py| {
            let dx = ((px - x).abs() - half).max(0.0);
            let distance = dx.hypot(py - y) - radius;
            let ink =
                if distance < 0.0 { coverage(text.distance(px - x, py - y) - radius * 0.115) } else { 0.0 };
            [(WHITE, coverage(distance - ring)), (color, coverage(distance)), (WHITE, ink)]
        });
        (x, y)
    }

    /// Lays coats of paint over the pixels of an area; `coats` is asked for each pixel's centre.
    fn paint<const N: usize>(&mut self, area: Edges, coats: impl Fn(f32, f32) -> [(Color, f32); N]) {
        let (left, right) = clipped(area.left, area.right, self.width);
        let (top, bottom) = clipped(area.top, area.bottom, self.height);
        for y in top..bottom {
            for x in left..right {
                let at = (y * self.width + x) * 3;
                let pixel = &mut self.pixels[at..at + 3];
                for (color, share) in coats(x as f32 + 0.5, y as f32 + 0.5) {
                    if share > 0.0 {
                        for (channel, paint) in pixel.iter_mut().zip(color) {
                            let value = f32::from(*channel);
                            *channel = (value + (f32::from(paint) - value) * share + 0.5) as u8;
                        }
                    }
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn filled(width: usize, height: usize, color: Color) -> Self {
        Self { width, height, pixels: color.repeat(width * height) }
    }

    #[cfg(test)]
    pub(super) fn pixel(&self, x: usize, y: usize) -> Color {
        let at = (y * self.width + x) * 3;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }
}

/// The source pixels that one target pixel averages.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

/// For each of `target` pixels, which of `source` pixels it covers and by how much.
fn weights(source: usize, target: usize) -> Vec<Taps> {
    let ratio = source as f64 / target as f64;
    (0..target)
        .map(|index| {
            let (low, high) = (index as f64 * ratio, ((index + 1) as f64 * ratio).min(source as f64));
            let start = (low as usize).min(source - 1);
            let end = (high.ceil() as usize).clamp(start + 1, source);
            let weights = (start..end)
                .map(|at| {
                    let covered = (high.min((at + 1) as f64) - low.max(at as f64)).max(0.0);
                    (covered / ratio) as f32
                })
                .collect();
            Taps { start, weights }
        })
        .collect()
}

/// Whole pixels of a span within `0..size`, at least one.
fn span(low: f32, high: f32, size: usize) -> (usize, usize) {
    let low = (low.max(0.0).round() as usize).min(size.saturating_sub(1));
    let high = (high.max(0.0).round() as usize).clamp(low + 1, size.max(low + 1));
    (low, high)
}

/// Whole pixels that a span touches within `0..size`, perhaps none.
fn clipped(low: f32, high: f32, size: usize) -> (usize, usize) {
    let low = (low.max(0.0).floor() as usize).min(size);
    let high = (high.max(0.0).ceil() as usize).clamp(low, size);
    (low, high)
}

/// `value` moved so that `reach` around it fits between 0 and `size`, or the middle if it does not.
fn within(value: f32, reach: f32, size: f32) -> f32 {
    if size < 2.0 * reach { size / 2.0 } else { value.max(reach).min(size - reach) }
}

/// How much of a pixel lies within a shape whose edge is `distance` away; negative is inside.
fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

/// Distance to the edge of a box with rounded corners; negative inside.
fn box_distance(edges: Edges, radius: f32, x: f32, y: f32) -> f32 {
    let half_width = (edges.right - edges.left) / 2.0;
    let half_height = (edges.bottom - edges.top) / 2.0;
    let radius = radius.min(half_width).min(half_height).max(0.0);
    let dx = (x - edges.left - half_width).abs() - half_width + radius;
    let dy = (y - edges.top - half_height).abs() - half_height + radius;
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scaling_down_averages_areas() {
        let mut canvas = Canvas::filled(6, 4, [0, 0, 0]);
        for y in 0..4 {
            for x in 0..3 {
                let at = (y * 6 + x) * 3;
                canvas.pixels[at..at + 3].fill(200);
            }
        }
        let all = Edges { left: 0.0, top: 0.0, right: 6.0, bottom: 4.0 };
        let half = canvas.cut(all, 4, 2);
        assert_eq!((half.width(), half.height()), (4, 2));
        assert_eq!(half.pixel(0, 0), [200; 3]);
        assert_eq!(half.pixel(3, 1), [0; 3]);
        assert_eq!(canvas.cut(all, 1, 1).pixel(0, 0), [100; 3]);
    }

    #[test]
    fn an_outline_stands_out_and_its_surroundings_are_dimmed() {
        let mut canvas = Canvas::filled(200, 120, WHITE);
        let edges = Edges { left: 40.0, top: 30.0, right: 160.0, bottom: 90.0 };
        canvas.dim_outside(edges);
        canvas.outline(edges, [192, 32, 46], 3.0);
        assert_eq!(canvas.pixel(100, 60), WHITE, "the element itself is untouched");
        assert_eq!(canvas.pixel(100, 30), [192, 32, 46], "the line runs along its edge");
        assert_eq!(canvas.pixel(160, 60), [192, 32, 46]);
        let dimmed = canvas.pixel(5, 5);
        assert!(dimmed[0] < 230 && dimmed[0] > 150, "slightly dimmed: {dimmed:?}");
    }

    #[test]
    fn a_badge_stays_on_the_canvas() {
        let mut canvas = Canvas::filled(80, 60, [10, 10, 10]);
        let (x, y) = canvas.badge(7, -500.0, 9000.0, 12.0, [192, 32, 46]);
        assert!(x > 12.0 && y < 48.0);
        let white = (0..80).flat_map(|x| (0..60).map(move |y| (x, y)));
        assert!(
            white.filter(|(x, y)| canvas.pixel(*x, *y) == WHITE).count() > 20,
            "ring and digit are drawn"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn drawing_never_panics(
            left in prop::num::f32::ANY, top in prop::num::f32::ANY,
            right in prop::num::f32::ANY, bottom in prop::num::f32::ANY,
            width in 0_usize..50, height in 0_usize..50, number in any::<u32>(),
        ) {
            let mut canvas = Canvas::filled(40, 30, WHITE);
            let edges = Edges { left, top, right, bottom };
            let cut = canvas.cut(edges, width, height);
            prop_assert!(cut.width() <= 40 && cut.height() <= 30);
            prop_assert_eq!(cut.pixels.len(), cut.width() * cut.height() * 3);
            canvas.dim_outside(edges);
            canvas.outline(edges, [1, 2, 3], 3.0);
            canvas.badge(number, left, top, 9.0, [1, 2, 3]);
        }
    }
}
