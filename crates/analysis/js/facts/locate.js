// Where an element is: a short unique selector, a structural path that survives reloads, a shape that repeated
// elements share. Elements that facts refer to go into one table; facts hold its indices.

const ELEMENTS_MAX = 1200;
const elements = [];
const references = new Map();

// Ids and classes that frameworks generate change with every build or visit.
const VOLATILE = /\d{3,}|[a-f0-9]{8,}|^(?:ember|react|radix|headlessui|mui|css|sc|jsx|svelte|v|ng|yui|ext|gen)[-_:]|[:.]|__[a-z0-9]{5,}$/i;
const isStable = (name) => name.length > 0 && name.length <= 40 && !VOLATILE.test(name);
const isHuman = (name) => /^[a-z][a-z_-]{1,29}$/i.test(name) && isStable(name);

const stableId = (el) => {
  const id = el.getAttribute("id");
  return id && isStable(id) && el.getRootNode().getElementById?.(id) === el ? id : null;
};
const position = (el) => {
  let n = 1;
  for (let s = el.previousElementSibling; s; s = s.previousElementSibling) if (s.localName === el.localName) n += 1;
  return n;
};
const isOnlyOfType = (el) => {
  for (let s = el.parentNode?.firstElementChild; s; s = s.nextElementSibling) if (s !== el && s.localName === el.localName) return false;
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
  const root = el.getRootNode();
  if (root instanceof ShadowRoot) return selectorOf(root.host);
  const tag = CSS.escape(el.localName);
  if (el === document.body || el === document.documentElement || el === document.head) return tag;
  const id = stableId(el);
  if (id) return "#" + CSS.escape(id);
  const name = el.getAttribute("name");
  if (name && el.form !== undefined && document.getElementsByName(name).length === 1) return `${tag}[name="${CSS.escape(name)}"]`;
  if (LANDMARK.has(tag) && document.getElementsByTagName(tag).length === 1) {
    const outer = tag === "nav" ? el.closest("header,footer") : null;
    return outer && outer === document.querySelector(outer.localName) ? `${outer.localName} ${tag}` : tag;
  }
  const anchored = makeAnchored(el, tag, name);
  if (anchored) return anchored;
  const parent = el.parentElement;
  if (!parent) return tag;
  return `${selectorOf(parent)} > ${tag}${isOnlyOfType(el) ? "" : `:nth-of-type(${position(el)})`}`;
}

function makeAnchored(el, tag, name) {
  const classes = [...el.classList].filter(isHuman).slice(0, 3);
  for (const c of classes) {
    const same = document.getElementsByClassName(c);
    if (same.length === 1) return "." + CSS.escape(c);
  }
  let hops = 0;
  for (let at = el.parentElement; at && at !== document.body && hops < 6; at = at.parentElement, hops += 1) {
    const landmark = LANDMARK.has(at.localName) && document.getElementsByTagName(at.localName).length === 1;
    if (!landmark && !stableId(at)) continue;
    const prefix = selectorOf(at);
    if (at.getElementsByTagName(el.localName).length === 1) return `${prefix} ${tag}`;
    for (const c of classes) if (at.getElementsByClassName(c).length === 1) return `${prefix} .${CSS.escape(c)}`;
    if (name && at.querySelectorAll(`[name="${CSS.escape(name)}"]`).length === 1) return `${prefix} ${tag}[name="${CSS.escape(name)}"]`;
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
  else if (!parent) path = el.localName;
  else path = `${pathOf(parent)}>${el.localName}${isOnlyOfType(el) ? "" : position(el)}`;
  paths.set(el, path);
  return path;
}

const shapes = new Map();
const shapeIds = new Map();
/** A number that elements of one repeated structure share: tags, classes and ids without digits, no positions. */
function shapeOf(el) {
  if (!el) return 0;
  let shape = shapes.get(el);
  if (shape !== undefined) return shape;
  const id = el.id;
  const key = `${shapeOf(parentOf(el))}>${el.localName}.${el.getAttribute("class") ?? ""}#${typeof id === "string" ? id.replace(/\d+/g, "") : ""}`;
  shape = shapeIds.get(key);
  if (shape === undefined) shapeIds.set(key, (shape = shapeIds.size + 1));
  shapes.set(el, shape);
  return shape;
}

/** Rectangle in CSS pixels from the top left corner of the page. */
const pageRect = (r) => ({ x: round(r.left + scrollX, 1), y: round(r.top + scrollY, 1), width: round(r.width, 1), height: round(r.height, 1) });

const regions = new Map();
/** Which part of the page an element belongs to: header, nav, footer, aside, main or body. */
function regionOf(el) {
  if (!el) return "body";
  let region = regions.get(el);
  if (region) return region;
  const role = el.getAttribute("role");
  const tag = el.localName;
  const above = regionOf(parentOf(el));
  const top = above === "body" || above === "main";
  if (tag === "nav" || role === "navigation") region = above === "footer" ? "footer" : "nav";
  else if (role === "banner" || (tag === "header" && above === "body")) region = "header";
  else if (role === "contentinfo" || (tag === "footer" && top && !el.closest("article,section,blockquote,figure,li,aside"))) region = "footer";
  else if (tag === "aside" || role === "complementary") region = "aside";
  else if ((tag === "main" || role === "main") && above === "body") region = "main";
  else region = above;
  regions.set(el, region);
  return region;
}

/** Puts an element into the table and returns its index; null once the table is full. */
function refer(el, text = "") {
  if (!el) return null;
  let index = references.get(el);
  if (index !== undefined) return index;
  if (elements.length >= ELEMENTS_MAX) return null;
  index = elements.length;
  references.set(el, index);
  const rect = el.getBoundingClientRect();
  const box = rect.width > 0 || rect.height > 0;
  elements.push({
    tag: el.localName, selector: selectorOf(el), path: pathOf(el), shape: shapeOf(el), region: regionOf(el),
    rect: box ? pageRect(rect) : null,
    above_fold: box ? isAboveFold(rect) : null,
    text: shorten(text || el.textContent || "", 120),
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
