//! What one screen shows of a page, measured: the ground truth that rules judge and that reports quote.
//!
//! `js/facts.js` fills this structure in one pass inside the page's isolated world. Elements that facts refer to stand
//! in one table, [`Facts::elements`]; everything else holds indices into it ([`ElementIndex`]). Lengths are CSS pixels,
//! rectangles count from the top left corner of the page, times are milliseconds since navigation start. Every field
//! has a default, so that facts of an older version can still be read.

mod collect;
mod element;
mod interaction;
mod probe;
mod script;
mod timing;

use serde::{Deserialize, Serialize};

use crate::{Rect, Screen};

pub use collect::{collect, prepare};
pub use element::{Element, ElementIndex};
pub use interaction::{
    Action, Control, Field, Form, LabelSource, Layer, Line, Link, Look, Nav, Reset, Target, Targets,
};
pub use probe::probe;
pub use script::{VITALS, facts_script, observe_until_script, vitals_script};
pub use timing::{Interaction, LargestPaint, LongTask, Shift, Timing};

/// Version of the structure; raised when a field changes its meaning.
pub const VERSION: u32 = 1;

/// Everything measured about a page on one screen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// [`VERSION`] at the time of measuring.
    pub version: u32,
    /// The screen it was measured on.
    pub screen: ScreenName,
    /// Final URL.
    pub url: String,
    /// What the page says of itself.
    pub page: Page,
    /// The screen in numbers.
    pub viewport: Viewport,
    /// DOM nodes walked.
    pub nodes: u32,
    /// Whether the walk stopped at its bound; then "missing" is not claimed.
    pub truncated: bool,
    /// Elements that facts refer to.
    pub elements: Vec<Element>,
    /// Text as it is read, in document order.
    pub blocks: Vec<Block>,
    /// Text of repeated blocks beyond the bound.
    pub rest: String,
    /// Text behind accordions, tabs and menus.
    pub collapsed: String,
    /// Names for assistive technology: what stars, icons and images say.
    pub labels: Vec<String>,
    /// Text grouped by how it looks.
    pub styles: Vec<TextStyle>,
    /// Text that is on the page and cannot be seen.
    pub hidden: Vec<HiddenText>,
    /// Headings in document order.
    pub headings: Vec<Heading>,
    /// Buttons, and links that look like buttons.
    pub actions: Vec<Action>,
    /// Links with a destination.
    pub links: Vec<Link>,
    /// Bars of links.
    pub navs: Vec<Nav>,
    /// Forms, one for each repeated kind.
    pub forms: Vec<Form>,
    /// Boxes that float over the page.
    pub layers: Vec<Layer>,
    /// Images that are shown.
    pub images: Vec<Image>,
    /// Video and sound that start by themselves.
    pub media: Vec<Media>,
    /// Touch targets; empty on a screen without touch.
    pub targets: Targets,
    /// Whether the page is wider than the screen.
    pub overflow: Overflow,
    /// Equal siblings that carry prices or actions.
    pub groups: Vec<Group>,
    /// Web vitals.
    pub timing: Timing,
}

impl Facts {
    /// The element behind an index.
    pub fn element(&self, index: Option<ElementIndex>) -> Option<&Element> {
        self.elements.get(index?.0 as usize)
    }
}

/// Which of the two screens; facts of unknown origin count as desktop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScreenName {
    /// See [`Screen::Desktop`].
    #[default]
    Desktop,
    /// See [`Screen::Mobile`].
    Mobile,
}

impl From<ScreenName> for Screen {
    fn from(name: ScreenName) -> Self {
        match name {
            ScreenName::Desktop => Self::Desktop,
            ScreenName::Mobile => Self::Mobile,
        }
    }
}

/// What a page says of itself in its head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// Text of `<title>`.
    pub title: String,
    /// Whether there is a `<title>`.
    pub has_title: bool,
    /// `meta[name=description]`.
    pub description: Option<String>,
    /// `meta[name=viewport]`.
    pub viewport: Option<String>,
    /// `link[rel=canonical]`.
    pub canonical: Option<String>,
    /// `meta[name=robots]`.
    pub robots: Option<String>,
    /// `html[lang]`.
    pub lang: String,
    /// Open Graph properties.
    pub open_graph: OpenGraph,
    /// schema.org data.
    pub schema: Schema,
    /// The year on the browser's clock.
    pub year: i32,
    /// `<script>` elements.
    pub scripts: u32,
    /// Those with a `src`.
    pub external_scripts: u32,
    /// Characters of visible text.
    pub text_length: u32,
    /// The page's footer.
    pub footer: Option<ElementIndex>,
}

/// Open Graph properties of a page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenGraph {
    /// `og:type`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `og:title`.
    pub title: Option<String>,
    /// `og:description`.
    pub description: Option<String>,
    /// `og:image`.
    pub image: Option<String>,
}

/// schema.org data of a page, from JSON-LD and microdata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schema {
    /// Types in the order they occur, for example `Product`.
    pub types: Vec<String>,
    /// `AggregateRating.ratingValue`.
    pub rating: Option<f64>,
    /// `AggregateRating.reviewCount`.
    pub review_count: Option<f64>,
    /// `Offer.price`.
    pub price: Option<String>,
    /// `Offer.priceCurrency`.
    pub currency: Option<String>,
    /// JSON-LD blocks that are not JSON.
    pub broken: u32,
}

/// The screen in CSS pixels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Viewport {
    /// Emulated width.
    pub width: f64,
    /// Emulated height.
    pub height: f64,
    /// Layout width: larger than `width` on a phone without a viewport meta.
    pub inner_width: f64,
    /// Bottom of the first screen in layout pixels.
    pub fold: f64,
    /// Height of the whole page.
    pub page_height: f64,
}

/// A run of text in one box.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Block {
    /// The box.
    pub element: Option<ElementIndex>,
    /// Its text with white space folded, shortened at 600 characters.
    pub text: String,
    /// Where it is.
    pub rect: Rect,
    /// Whether it begins in the first screen.
    pub above_fold: bool,
    /// Font size of its first run.
    pub size: f64,
    /// Font weight of its first run.
    pub weight: f64,
    /// Level of the heading it belongs to; 0 for none.
    pub heading: u8,
    /// Part of the page: `header`, `nav`, `main`, `aside`, `footer` or `body`.
    pub region: String,
    /// The layer it floats in, if any.
    pub layer: Option<ElementIndex>,
    /// Whether it is inside a link or button.
    pub interactive: bool,
    /// Whether it is inside a quotation.
    pub quote: bool,
}

/// Text that looks the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextStyle {
    /// The first element of the group.
    pub element: Option<ElementIndex>,
    /// Its text.
    pub text: String,
    /// Characters of the whole group.
    pub chars: u32,
    /// Elements in the group.
    pub count: u32,
    /// Colour as seen over the background, `#rrggbb`.
    pub colour: String,
    /// Effective background, `#rrggbb`.
    pub background: String,
    /// Contrast ratio of the two.
    pub contrast: f64,
    /// Whether a picture, gradient or pseudo-element may lie behind the text.
    pub background_unsure: bool,
    /// Font size.
    pub size: f64,
    /// Font weight.
    pub weight: f64,
    /// Where the first element is.
    #[serde(rename = "box")]
    pub rect: Rect,
    /// Whether it labels a control that cannot be used.
    pub disabled: bool,
    /// Whether it is inside a link or button.
    pub interactive: bool,
    /// Part of the page.
    pub region: String,
    /// Whether it is hidden from assistive technology.
    pub hidden_from_readers: bool,
    /// How it escapes the eye; `None` when it can be seen.
    pub hidden: Option<Hiding>,
}

/// How text escapes the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hiding {
    /// Font smaller than 3 px.
    Tiny,
    /// Left of or above the page.
    OffScreen,
    /// Cut to nothing: the usual way to speak to screen readers only.
    Clipped,
    /// The colour of its background.
    SameColour,
    /// Not rendered at all.
    NotRendered,
    /// An HTML comment.
    Comment,
    /// An attribute such as `alt` or `title`.
    Attribute,
    /// A way this version does not know.
    #[serde(other)]
    Other,
}

/// Text that is on the page and cannot be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HiddenText {
    /// The element that holds it.
    pub element: Option<ElementIndex>,
    /// How it is hidden.
    pub how: Hiding,
    /// The text, shortened at 400 characters.
    pub text: String,
    /// Whether it belongs to a control or a live region.
    #[serde(default)]
    pub interactive: bool,
}

/// A heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heading {
    /// The heading.
    pub element: Option<ElementIndex>,
    /// 1 to 6.
    pub level: u8,
    /// Its text, or the alternative text of its image.
    pub text: String,
    /// Whether it can be seen.
    pub shown: bool,
    /// Whether it begins in the first screen.
    pub above_fold: bool,
    /// Font size.
    pub size: f64,
}

/// An image that is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// The `<img>`.
    pub element: Option<ElementIndex>,
    /// Name of its file; `data:` for inline ones.
    pub file: String,
    /// Where it is.
    pub rect: Rect,
    /// Whether it begins in the first screen.
    pub above_fold: bool,
    /// Part of the page.
    pub region: String,
    /// Shape that repeated images share.
    pub shape: u32,
    /// Whether there is an `alt` attribute, empty or not.
    pub has_alt: bool,
    /// Its value.
    pub alt: String,
    /// Whether it is marked as decoration.
    pub decorative: bool,
    /// Whether it has a name by other means.
    pub named_otherwise: bool,
    /// Width of the file.
    pub natural_width: f64,
    /// Height of the file.
    pub natural_height: f64,
    /// Whether its box is reserved before the file arrives.
    pub sized: bool,
    /// Whether it is inside a link.
    pub in_link: bool,
    /// `loading=lazy`.
    pub lazy: bool,
    /// Images of this shape.
    pub repeats: u32,
}

/// Video or sound that starts by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Media {
    /// The element.
    pub element: Option<ElementIndex>,
    /// `video`, `audio` or `iframe`.
    pub tag: String,
    /// Whether it starts without sound.
    pub muted: bool,
    /// Whether it can be stopped.
    pub controls: bool,
    /// Whether it starts over.
    #[serde(rename = "loop")]
    pub repeat: bool,
    /// Where it is.
    pub rect: Rect,
}

/// How wide the page is against the emulated screen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overflow {
    /// Scrollable width.
    pub page_width: f64,
    /// Emulated width.
    pub screen_width: f64,
    /// Whether the page cuts off what sticks out.
    pub clipped: bool,
    /// What sticks out, outermost first.
    pub wide: Vec<Wide>,
}

/// A box that sticks out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wide {
    /// The box.
    pub element: Option<ElementIndex>,
    /// Its width.
    pub width: f64,
    /// Its right edge.
    pub right: f64,
    /// The width it insists on; 0 when its content is what is wide.
    pub fixed: f64,
}

/// Equal siblings: plans, product cards, table cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Their parent.
    pub element: Option<ElementIndex>,
    /// How many there are.
    pub count: u32,
    /// Part of the page.
    pub region: String,
    /// The first twelve.
    pub members: Vec<Member>,
}

/// One of several equal siblings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The sibling.
    pub element: Option<ElementIndex>,
    /// Its text, shortened at 1200 characters.
    pub text: String,
    /// Its heading or boldest text.
    pub heading: String,
    /// Images in it.
    pub images: u32,
    /// List items in it.
    pub items: u32,
    /// Label of its first action.
    pub action: String,
    /// Where it is drawn.
    pub rect: Rect,
    /// How it is drawn: equal siblings that differ in it are set apart on purpose.
    pub style: String,
}
