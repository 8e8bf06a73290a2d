// Where an element is: a short unique selector, a structural path that survives reloads, a shape that repeated
// elements share. Elements that facts refer to go into one table; facts hold its indices.

const ELEMENTS_MAX = 1200;
/** Text is told of first and is the most: what can be acted on needs a place in the table, too. */
const ELEMENTS_OF_TEXT_MAX = 700;
const elements = [];
const references = new Map();

// Ids and classes that frameworks generate change with every build or visit.
const VOLATILE = /\d{3,}|[a-f0-9]{8,}|^(?:ember|react|radix|headlessui|mui|css|sc|jsx|svelte|v|ng|yui|ext|gen)[-_:]|[:.]|__[a-z0-9]{5,}$/i;
const isStable = (name) => name.length > 0 && name.length <= 40 && !VOLATILE.test(name);
const isHuman = (name) => /^[a-z][a-z_-]{1,29}$/i.test(name) && isStable(name);

const stableId = (el) => {
  const id = attributeOf(el, "id");
  return id && isStable(id) && rootOf(el).getElementById?.(id) === el ? id : null;
};
const position = (el) => {
  let n = 1;
  for (let s = previousElementOf(el); s; s = previousElementOf(s)) if (tagOf(s) === tagOf(el)) n += 1;
  return n;
};
const isOnlyOfType = (el) => {
  for (let s = previousElementOf(el); s; s = previousElementOf(s)) if (tagOf(s) === tagOf(el)) return false;
  for (let s = nextElementOf(el); s; s = nextElementOf(s)) if (tagOf(s) === tagOf(el)) return false;
  return true;
};

const LANDMARK = new Set(["header", "nav", "main", "footer", "aside", "form", "dialog", "h1", "title"]);
const selectors = new Map();
/** A short CSS selector whose first match in the document is the element (its host, inside a shadow root). */
function selectorOf(el) {
  let selector = selectors.get(el);
  if (!selector) selectors.set(el, (selector = makeSelector(el)));
  return selector;
}

function makeSelector(el) {
  const root = rootOf(el);
  if (root instanceof ShadowRoot) return selectorOf(root.host);
  const tag = CSS.escape(tagOf(el));
  if (el === bodyOf(document) || el === document.documentElement || el === headOf(document)) return tag;
  const id = stableId(el);
  if (id) return "#" + CSS.escape(id);
  const name = attributeOf(el, "name");
  if (name && el.form !== undefined && document.getElementsByName(name).length === 1) return `${tag}[name="${CSS.escape(name)}"]`;
  if (LANDMARK.has(tag) && document.getElementsByTagName(tag).length === 1) {
    const outer = tag === "nav" ? closestOf(el, "header,footer") : null;
    return outer && outer === document.querySelector(tagOf(outer)) ? `${tagOf(outer)} ${tag}` : tag;
  }
  const anchored = makeAnchored(el, tag, name);
  if (anchored) return anchored;
  const parent = parentElementOf(el);
  if (!parent) return tag;
  return `${selectorOf(parent)} > ${tag}${isOnlyOfType(el) ? "" : `:nth-of-type(${position(el)})`}`;
}

function makeAnchored(el, tag, name) {
  const classes = [...classesOf(el)].filter(isHuman).slice(0, 3);
  for (const c of classes) {
    const same = document.getElementsByClassName(c);
    if (same.length === 1) return "." + CSS.escape(c);
  }
  let hops = 0;
  for (let at = parentElementOf(el); at && at !== bodyOf(document) && hops < 6; at = parentElementOf(at), hops += 1) {
    const landmark = LANDMARK.has(tagOf(at)) && document.getElementsByTagName(tagOf(at)).length === 1;
    if (!landmark && !stableId(at)) continue;
    const prefix = selectorOf(at);
    if (byTag(at, tagOf(el)).length === 1) return `${prefix} ${tag}`;
    for (const c of classes) if (byClass(at, c).length === 1) return `${prefix} .${CSS.escape(c)}`;
    if (name && queryAll(at, `[name="${CSS.escape(name)}"]`).length === 1) return `${prefix} ${tag}[name="${CSS.escape(name)}"]`;
    return null;
  }
  return null;
}

const paths = new Map();
/** The way from the nearest stable id, or the root, in tags and positions: the same on every load and screen. */
function pathOf(el) {
  let path = paths.get(el);
  if (path !== undefined) return path;
  const id = stableId(el);
  const parent = parentOf(el);
  if (id) path = "#" + id;
  else if (!parent) path = tagOf(el);
  else path = `${pathOf(parent)}>${tagOf(el)}${isOnlyOfType(el) ? "" : position(el)}`;
  paths.set(el, path);
  return path;
}

const NUMBERED_MAX = 6;
const idKinds = new Map();
const withoutDigits = (id) => id.replace(/\d+/g, "");
/** Ids that differ in digits only, when there are many of them, count the rows of a list. */
const countId = (id) => { const kind = withoutDigits(id); idKinds.set(kind, (idKinds.get(kind) ?? 0) + 1); };
const idKind = (id) => { const kind = withoutDigits(id); return (idKinds.get(kind) ?? 0) > NUMBERED_MAX ? kind : id; };

const shapes = new Map();
const shapeIds = new Map();
/** A number that elements of one repeated structure share: tags, classes and ids, no positions. */
function shapeOf(el) {
  if (!el) return 0;
  let shape = shapes.get(el);
  if (shape !== undefined) return shape;
  const id = attributeOf(el, "id") ?? "";
  const key = `${shapeOf(parentOf(el))}>${tagOf(el)}.${attributeOf(el, "class") ?? ""}#${id && idKind(id)}`;
  shape = shapeIds.get(key);
  if (shape === undefined) shapeIds.set(key, (shape = shapeIds.size + 1));
  shapes.set(el, shape);
  return shape;
}

/** Rectangle in CSS pixels from the top left corner of the page. */
const pageRect = (r) => ({ x: round(r.left + scrollX, 1), y: round(r.top + scrollY, 1), width: round(r.width, 1), height: round(r.height, 1) });

const HEADER_HEIGHT_MAX = 240;
/** A <header> as tall as a screen is the hero; the bar at the top is lower, or navigates. */
const isBar = (el) => rectOf(el).height <= HEADER_HEIGHT_MAX || Boolean(query(el, "nav,[role=navigation]"));

const regions = new Map();
/** Which part of the page an element belongs to: header, nav, footer, aside, main or body. */
function regionOf(el) {
  if (!el) return "body";
  let region = regions.get(el);
  if (region) return region;
  const role = attributeOf(el, "role");
  const tag = tagOf(el);
  const above = regionOf(parentOf(el));
  const top = above === "body" || above === "main";
  if (tag === "nav" || role === "navigation") region = above === "footer" ? "footer" : "nav";
  else if (role === "banner" || (tag === "header" && above === "body" && isBar(el))) region = "header";
  else if (role === "contentinfo" || (tag === "footer" && top && !closestOf(el, "article,section,blockquote,figure,li,aside"))) region = "footer";
  else if (tag === "aside" || role === "complementary") region = "aside";
  else if ((tag === "main" || role === "main") && above === "body") region = "main";
  else region = above;
  regions.set(el, region);
  return region;
}

/** Whether a box around an element cuts it off whole: the next slide of a carousel is neither seen nor hidden on purpose. */
function isCutOff(el, rect) {
  for (let at = parentOf(el), hops = 0; at && at !== bodyOf(document) && hops < 10; at = parentOf(at), hops += 1) {
    if (styleOf(at).overflowX === "visible") continue;
    const box = rectOf(at);
    if (box.width > 1 && (rect.right <= box.left || rect.left >= box.right)) return true;
  }
  return false;
}

let tableIsFull = false;
/** Puts an element into the table and returns its index; null once the table is full. */
function refer(el, text = "", most = ELEMENTS_MAX) {
  if (!el) return null;
  let index = references.get(el);
  if (index !== undefined) return index;
  if (elements.length >= most) { tableIsFull ||= most === ELEMENTS_MAX; return null; }
  index = elements.length;
  references.set(el, index);
  const rect = rectOf(el);
  const box = rect.width > 0 || rect.height > 0;
  elements.push({
    tag: tagOf(el), selector: selectorOf(el), path: pathOf(el), shape: shapeOf(el), region: regionOf(el),
    rect: box ? pageRect(rect) : null,
    above_fold: box ? isAboveFold(rect) : null,
    text: shorten(text || textContentOf(el) || "", 120),
  });
  return index;
}

const isAboveFold = (rect) => rect.top + scrollY < foldHeight() && rect.bottom + scrollY > 0 && rect.right > 0 && rect.left < innerWidth;
let fold = null;
/** Bottom of the first screen. Without a viewport meta a phone shows a taller, shrunk page: `innerHeight` knows. */
const foldHeight = () => fold ?? innerHeight;
const squeeze = (text) => text.replace(/\s+/g, " ").trim();
const shorten = (text, most) => {
  const clean = squeeze(text.length > most * 20 ? text.slice(0, most * 20) : text);
  return clean.length > most ? clean.slice(0, most - 1).trimEnd() + "…" : clean;
};
