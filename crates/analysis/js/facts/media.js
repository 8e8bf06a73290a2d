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
  const rect = rectOf(el);
  const source = el.currentSrc || el.src || "";
  return {
    element: refer(el, el.alt || fileOf(source)), file: fileOf(source), rect: pageRect(rect), above_fold: isAboveFold(rect), region: regionOf(el), shape: shapeOf(el),
    has_alt: hasAttribute(el, "alt"), alt: shorten(el.alt ?? "", 120),
    decorative: /^(?:presentation|none)$/.test(attributeOf(el, "role") ?? "") || Boolean(closestOf(el, "[aria-hidden=true]")),
    named_otherwise: Boolean(attributeOf(el, "aria-label") || attributeOf(el, "aria-labelledby") || attributeOf(el, "title")),
    natural_width: el.naturalWidth, natural_height: el.naturalHeight, sized: isSized(el), in_link: Boolean(closestOf(el, "a[href]")), lazy: el.loading === "lazy", repeats: 1,
  };
}

const fileOf = (url) => (url.startsWith("data:") ? "data:" : url.split(/[?#]/)[0].split("/").pop() ?? "").slice(0, 80);

/** Whether the box is reserved before the picture has arrived: attributes, CSS sizes or an aspect ratio. */
function isSized(el) {
  const style = styleOf(el);
  if (style.position === "absolute" || style.position === "fixed") return true;
  const specified = specifiedOf(el);
  const isAuto = (name) => (specified.get(name)?.toString() ?? "auto").startsWith("auto");
  const ratio = specified.get("aspect-ratio")?.toString() ?? "auto";
  const hasRatio = ratio !== "auto";
  if (!isAuto("height")) {
    const height = specified.get("height")?.toString() ?? "";
    return !height.endsWith("%") || hasRatio || parentStyle(el, "height") !== "auto" || hasReservedBox(parentOf(el));
  }
  return hasRatio;
}

/** Whether a box has its height from elsewhere: an aspect ratio, or the edges that it is pinned to. */
function hasReservedBox(el) {
  if (!el) return false;
  const ratio = specifiedOf(el).get("aspect-ratio")?.toString() ?? "auto";
  return ratio !== "auto" || /^(?:absolute|fixed)$/.test(styleOf(el).position);
}

const parentStyle = (el, name) => { const parent = parentOf(el); return parent ? specifiedOf(parent).get(name)?.toString() : undefined; };

function readMedia(found) {
  const media = [];
  for (const el of [...found.tags.video, ...found.tags.audio]) {
    if (!el.autoplay || (tagOf(el) === "video" && !isShown(el))) continue;
    media.push({ element: refer(el), tag: tagOf(el), muted: el.muted || el.defaultMuted, controls: el.controls, loop: el.loop, rect: pageRect(rectOf(el)) });
  }
  for (const el of found.tags.iframe) {
    if (isShown(el) && /[?&]autoplay=(?:1|true)\b/.test(el.src)) {
      media.push({ element: refer(el), tag: "iframe", muted: /[?&]mute[d]?=1/.test(el.src), controls: !/[?&]controls=0/.test(el.src), loop: false, rect: pageRect(rectOf(el)) });
    }
  }
  return media.slice(0, 20);
}
