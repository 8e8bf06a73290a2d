// Images, video and sound.

const IMAGES_MAX = 160;
const IMAGES_PER_SHAPE_MAX = 12;

function readImages(found) {
  const images = [];
  const counts = new Map();
  for (const el of found.tags.img) {
    if (!isShown(el)) continue;
    const shape = shapeOf(el);
    const seen = (counts.get(shape) ?? 0) + 1;
    counts.set(shape, seen);
    if (seen > IMAGES_PER_SHAPE_MAX || images.length >= IMAGES_MAX) continue;
    images.push({ el, facts: describeImage(el) });
  }
  for (const { el, facts } of images) facts.repeats = counts.get(shapeOf(el));
  return images.map((image) => image.facts);
}

function describeImage(el) {
  const rect = el.getBoundingClientRect();
  const source = el.currentSrc || el.src || "";
  return {
    element: refer(el, el.alt || fileOf(source)), file: fileOf(source), rect: pageRect(rect), above_fold: isAboveFold(rect), region: regionOf(el), shape: shapeOf(el),
    has_alt: el.hasAttribute("alt"), alt: shorten(el.alt ?? "", 120),
    decorative: /^(?:presentation|none)$/.test(el.getAttribute("role") ?? "") || Boolean(el.closest("[aria-hidden=true]")),
    named_otherwise: Boolean(el.getAttribute("aria-label") || el.getAttribute("aria-labelledby") || el.getAttribute("title")),
    natural_width: el.naturalWidth, natural_height: el.naturalHeight, sized: isSized(el), in_link: Boolean(el.closest("a[href]")), lazy: el.loading === "lazy", repeats: 1,
  };
}

const fileOf = (url) => (url.startsWith("data:") ? "data:" : url.split(/[?#]/)[0].split("/").pop() ?? "").slice(0, 80);

/** Whether the box is reserved before the picture has arrived: attributes, CSS sizes or an aspect ratio. */
function isSized(el) {
  const style = styleOf(el);
  if (style.position === "absolute" || style.position === "fixed") return true;
  const specified = el.computedStyleMap?.();
  if (!specified) return el.hasAttribute("width") && el.hasAttribute("height");
  const isAuto = (name) => (specified.get(name)?.toString() ?? "auto").startsWith("auto");
  const ratio = specified.get("aspect-ratio")?.toString() ?? "auto";
  const hasRatio = ratio !== "auto";
  if (!isAuto("height")) {
    const height = specified.get("height")?.toString() ?? "";
    return !height.endsWith("%") || hasRatio || parentOf(el)?.computedStyleMap?.().get("height")?.toString() !== "auto";
  }
  return hasRatio;
}

function readMedia(found) {
  const media = [];
  for (const el of [...found.tags.video, ...found.tags.audio]) {
    if (!el.autoplay || (el.localName === "video" && !isShown(el))) continue;
    media.push({ element: refer(el), tag: el.localName, muted: el.muted || el.defaultMuted, controls: el.controls, loop: el.loop, rect: pageRect(el.getBoundingClientRect()) });
  }
  for (const el of found.tags.iframe) {
    if (isShown(el) && /[?&]autoplay=(?:1|true)\b/.test(el.src)) {
      media.push({ element: refer(el), tag: "iframe", muted: /[?&]mute[d]?=1/.test(el.src), controls: !/[?&]controls=0/.test(el.src), loop: false, rect: pageRect(el.getBoundingClientRect()) });
    }
  }
  return media.slice(0, 20);
}
