// Colours, effective backgrounds and contrast. Everything is cached per element: one style read each.

const CLEAR = [0, 0, 0, 0];
const WHITE = [255, 255, 255, 1];
const colours = new Map();
let pixel = null;

/** Any CSS colour as [r, g, b, alpha]; channels 0..255, alpha 0..1. */
function colourOf(text) {
  let value = colours.get(text);
  if (value) return value;
  const match = /^rgba?\(([\d.]+),\s*([\d.]+),\s*([\d.]+)(?:,\s*([\d.]+))?\)$/.exec(text);
  if (match) value = [Number(match[1]), Number(match[2]), Number(match[3]), match[4] === undefined ? 1 : Number(match[4])];
  else if (!text || text === "transparent" || text === "none") value = CLEAR;
  else {
    // lab(), oklch(), color(): let the engine convert. The canvas is never attached to the page.
    pixel ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = text;
    pixel.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
    value = [r, g, b, a / 255];
  }
  colours.set(text, value);
  return value;
}

function blend(over, under) {
  const a = over[3];
  return a >= 1 ? over : [0, 1, 2].map((i) => over[i] * a + under[i] * (1 - a)).concat(1);
}

function luminance([r, g, b]) {
  const linear = (c) => (c <= 10.31475 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

/** WCAG contrast ratio of two opaque colours, 1..21. */
function contrast(a, b) {
  const x = luminance(a), y = luminance(b);
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

const hex = (c) => "#" + c.slice(0, 3).map((v) => Math.round(v).toString(16).padStart(2, "0")).join("");
const round = (value, digits = 2) => (Number.isFinite(value) ? Number(value.toFixed(digits)) : 0);

/** The parent as it is drawn: through slots and out of shadow roots. */
const parentOf = (el) => slotOf(el) || parentElementOf(el) || (rootOf(el) instanceof ShadowRoot ? rootOf(el).host : null);

const styles = new Map();
/** Computed style, one object per element. */
function styleOf(el) {
  let style = styles.get(el);
  if (!style) styles.set(el, (style = getComputedStyle(el)));
  return style;
}

const paints = new Map();
/**
 * What lies behind an element's content: `colour` as seen, `image` when a picture or gradient is in between, `at` the
 * element that paints the colour, `layer` the nearest ancestor that floats over the page. Where a chain of opacities
 * fades the element, `solid` is the colour before that, over `under`, by `opacity`.
 */
function paintOf(el) {
  if (!el) return { colour: WHITE, solid: WHITE, under: WHITE, opacity: 1, image: false, at: null, layer: null };
  let paint = paints.get(el);
  if (paint) return paint;
  const below = paintOf(parentOf(el));
  const style = styleOf(el);
  const own = colourOf(style.backgroundColor);
  const opacity = Number(style.opacity);
  const fades = opacity < 1;
  const base = fades ? below.colour : below.solid;
  const solid = own[3] > 0 ? blend(own, base) : base;
  const under = fades ? below.colour : below.under;
  const whole = fades ? opacity : below.opacity;
  paint = {
    solid, under, opacity: whole, colour: fade(solid, under, whole),
    image: style.backgroundImage !== "none" || (below.image && own[3] < 0.95),
    at: own[3] > 0 ? el : below.at,
    layer: floats(el, style) ? el : below.layer,
  };
  paints.set(el, paint);
  return paint;
}

const fade = (colour, under, opacity) => (opacity >= 1 ? colour : blend([...colour.slice(0, 3), opacity], under));

/** A text's colour as it is seen over what it is painted on. */
const inkOf = (colour, paint) => fade(blend(colour, paint.solid), paint.under, paint.opacity);

/** Whether a box stays on the screen or is stacked far above the rest. */
function floats(el, style) {
  const position = style.position;
  if (position === "fixed" || position === "sticky") return true;
  if (position === "absolute") return Number(style.zIndex) >= 100 || attributeOf(el, "aria-modal") === "true";
  return tagOf(el) === "dialog" && el.open;
}

const PAINTED = "img,video,canvas,svg,picture,iframe,object";

/**
 * Whether something that is not an ancestor may lie between a text and the background its ancestors paint: a
 * pseudo-element, a picture or a coloured box placed behind it. Asked only of text that would otherwise be a flaw.
 */
function mayHaveOtherBackground(el, rect) {
  const x = rect.left + rect.width / 2, y = rect.top + rect.height / 2;
  const stop = paintOf(el).at;
  const own = styleOf(el);
  if (own.webkitTextFillColor !== own.color || own.backgroundClip === "text" || own.mixBlendMode !== "normal") return true;
  for (let at = el; at; at = parentOf(at)) {
    if (at !== el && styleOf(at).mixBlendMode !== "normal") return true;
    for (const pseudo of ["::before", "::after"]) {
      const style = getComputedStyle(at, pseudo);
      if (style.content === "none" || style.content === "normal") continue;
      if (style.backgroundImage !== "none" || colourOf(style.backgroundColor)[3] > 0) return true;
    }
    if (at === stop) return false;
    const siblings = parentOf(at) ? childrenOf(parentOf(at)) : [];
    for (let i = 0; i < Math.min(siblings.length, 40); i += 1) {
      const other = siblings[i];
      if (other === at) continue;
      const box = rectOf(other);
      if (x < box.left || x > box.right || y < box.top || y > box.bottom) continue;
      const style = styleOf(other);
      if (matches(other, PAINTED) || style.backgroundImage !== "none" || colourOf(style.backgroundColor)[3] > 0 || query(other, PAINTED)) return true;
    }
  }
  return false;
}
