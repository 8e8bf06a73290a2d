// What can be pressed: buttons and links that look like buttons, links to elsewhere, targets too small to touch.

const ACTIONS_MAX = 300;
const ACTIONS_PER_SHAPE_MAX = 12;
const LINKS_MAX = 500;
const LINKS_PER_SHAPE_MAX = 60;
const TARGET_SIZE_MIN = 24;

/** Accessible name, falling back to what can be read. */
function nameOf(el) {
  const name = a11y ? a11y.name(el) : "";
  return squeeze(name || attributeOf(el, "aria-label") || innerTextOf(el) || (isButton(el) ? el.value : "") || attributeOf(el, "title") || "");
}

const isButton = (el) => {
  const role = attributeOf(el, "role");
  if (role) return role === "button" || (role !== "presentation" && tagOf(el) === "button");
  return tagOf(el) === "button" || (tagOf(el) === "input" && /^(?:submit|button|image|reset)$/.test(el.type));
};

/** Disabled by attribute, or by style as some frameworks do. */
const isDisabled = (el) => matches(el, ":disabled") || attributeOf(el, "aria-disabled") === "true" || styleOf(el).pointerEvents === "none";

/** How an element sets itself off from what is around it. */
function lookOf(el) {
  const style = styleOf(el);
  const around = paintOf(parentOf(el));
  const inside = paintOf(el);
  const own = colourOf(style.backgroundColor);
  const fill = own[3] > 0.05 ? contrast(inside.colour, around.colour) : 1;
  let edge = 1;
  const width = parseFloat(style.borderTopWidth);
  if (width >= 1 && style.borderTopStyle !== "none") {
    const border = colourOf(style.borderTopColor);
    if (border[3] > 0.05) edge = contrast(blend(border, around.colour), around.colour);
  }
  // A shadow that is neither moved nor blurred is a ring.
  const ring = /^(rgba?\([^)]*\)|#\w+) 0px 0px 0px ([\d.]+)px/.exec(style.boxShadow);
  if (ring && Number(ring[2]) >= 1) {
    edge = Math.max(edge, contrast(blend(colourOf(ring[1]), around.colour), around.colour));
  }
  const picture = style.backgroundImage !== "none";
  const kind = picture || own[3] > 0.05 && fill > 1.04 ? "filled" : edge > 1.2 ? "outlined" : "text";
  return { kind, fill: round(fill), edge: round(edge), unsure: picture || around.image };
}

const padded = (style) => parseFloat(style.paddingTop) + parseFloat(style.paddingBottom) >= 4 && parseFloat(style.paddingLeft) + parseFloat(style.paddingRight) >= 10;

/** Whether a link, or an element of unknown tag, is made to look like a button. */
function looksLikeButton(el, look, rect, label) {
  if (label.length === 0 || label.length > 60 || rect.height > 140) return false;
  return look.kind !== "text" && padded(styleOf(el)) && !query(el, "h1,h2,h3,h4,h5,h6,p,img:only-child");
}

/** A link that is nothing but a picture of a button's size, such as the badge of an app store. */
function isBadge(el, rect) {
  if (tagOf(el) !== "a" || rect.height < 28 || rect.height > 110 || rect.width < 80 || rect.width > 400) return false;
  return /^(?:main|body)$/.test(regionOf(el)) && !/\S/.test(textContentOf(el)) && Boolean(query(el, "img,svg"));
}

function badgeName(el) {
  const name = nameOf(el);
  if (/[a-z]{2}/i.test(name)) return name;
  return fileOf(query(el, "img")?.currentSrc ?? "").replace(/\.\w+$/, "").replace(/[-_]+/g, " ") || "picture";
}

/** Five points of an element in the first screen; which of them something else covers. */
function coverOf(el, rect) {
  if (rect.bottom <= 0 || rect.right <= 0 || rect.top >= innerHeight || rect.left >= innerWidth) return { share: 0, by: null };
  const points = [[0.5, 0.5], [0.25, 0.3], [0.75, 0.3], [0.25, 0.7], [0.75, 0.7]];
  let asked = 0, covered = 0, by = null;
  for (const [fx, fy] of points) {
    const x = rect.left + rect.width * fx, y = rect.top + rect.height * fy;
    if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
    asked += 1;
    let hit = document.elementFromPoint(x, y);
    while (hit && shadowOf(hit)) {
      const inner = shadowOf(hit).elementFromPoint(x, y);
      if (!inner || inner === hit) break;
      hit = inner;
    }
    if (!hit || isWithin(hit, el) || isWithin(el, hit) || closestOf(hit, "label")?.control === el) {
      if (fx === 0.5) break; // A free centre can be pressed: hit tests are dear on large pages.
      continue;
    }
    covered += 1;
    by ??= hit;
  }
  return { share: asked ? covered / asked : 0, by };
}

function isWithin(inner, outer) {
  for (let at = inner; at; at = parentOf(at)) if (at === outer) return true;
  return false;
}

/** Buttons and links that look like buttons. */
function readActions(found, forms) {
  const candidates = new Set([...found.tags.button, ...found.tags.input.filter(isButton), ...found.roles.filter(isButton), ...found.tags.a,
    ...found.custom.filter((el) => hasAttribute(el, "onclick") || hasAttribute(el, "tabindex") || (isShown(el) && styleOf(el).cursor === "pointer")),
    ...found.clickable.filter((el) => hasAttribute(el, "onclick"))]);
  const actions = [];
  const badges = new Set();
  const counts = new Map();
  for (const el of candidates) {
    if (!isShown(el)) continue;
    const seen = (counts.get(shapeOf(el)) ?? 0) + 1;
    counts.set(shapeOf(el), seen);
    if (seen > ACTIONS_PER_SHAPE_MAX || actions.length >= ACTIONS_MAX) continue;
    const rect = rectOf(el);
    if (rect.width < 2 || rect.height < 2 || isCutOff(el, rect)) continue;
    const style = styleOf(el);
    const link = tagOf(el) === "a" || !isButton(el);
    // Cheap no for the many plain links: no padding, or nothing that sets them off.
    const badge = link && isBadge(el, rect);
    if (link && !isButton(el) && !padded(style) && !badge) continue;
    const look = badge ? { kind: "filled", fill: 1, edge: 1, unsure: true } : lookOf(el);
    const label = badge ? badgeName(el) : nameOf(el);
    if (link && !isButton(el) && !badge && !looksLikeButton(el, look, rect, label)) continue;
    const action = describeAction(el, rect, style, look, label, forms);
    if (badge) badges.add(action.element);
    actions.push(action);
  }
  for (const action of actions) action.repeats = counts.get(action.shape);
  // Pictures in a row are logos or a gallery, not buttons.
  return actions.filter((action) => !badges.has(action.element) || (action.repeats <= 2 && !/logo/i.test(action.label)));
}

function describeAction(el, rect, style, look, label, forms) {
  const paint = paintOf(el);
  const cover = coverOf(el, rectsOf(el)[0] ?? rect);
  const fore = colourOf(style.color);
  const href = tagOf(el) === "a" ? attributeOf(el, "href") ?? "" : "";
  return {
    element: refer(el, label), tag: tagOf(el), type: isButton(el) && "type" in el ? el.type : "", label: shorten(label, 120),
    visible_text: shorten(tagOf(el) === "input" ? el.value : innerTextOf(el) || (look.unsure ? label : ""), 120),
    href: href.startsWith("javascript:") ? "javascript:" : href.slice(0, 200), rect: pageRect(rect), above_fold: isAboveFold(rect), region: regionOf(el), shape: shapeOf(el),
    form: el.form ? forms.indexOf(el.form) : forms.indexOf(closestOf(el, "form")), group: refer(groupOf(el)),
    disabled: isDisabled(el),
    toggles: hasAttribute(el, "aria-expanded") || hasAttribute(el, "aria-haspopup") || hasAttribute(el, "aria-controls") || /^(?:tab|switch|menuitem)$/.test(attributeOf(el, "role") ?? ""),
    size: round(parseFloat(style.fontSize), 1), weight: Number(style.fontWeight) || 400, look: look.kind, look_unsure: look.unsure,
    colour: hex(inkOf(fore, paint)), background: hex(paint.colour), contrast: round(contrast(inkOf(fore, paint), paint.colour)),
    fill_contrast: look.fill, edge_contrast: look.edge, style: `${hex(paint.colour)}/${hex(fore)}/${look.kind}`,
    layer: layerIndex(el), covered: round(cover.share), covered_by: cover.by ? refer(layerOf(cover.by)) : null, repeats: 1,
  };
}

/** The nearest ancestor that holds more than this action: where competing actions meet. */
function groupOf(el) {
  let at = parentOf(el);
  for (let hops = 0; at && at !== bodyOf(document) && hops < 3; at = parentOf(at), hops += 1) {
    if (childCountOf(at) > 1) return at;
  }
  return at ?? bodyOf(document);
}

const layerOf = (el) => paintOf(el).layer ?? el;
const layerIndex = (el) => { const layer = paintOf(el).layer; return layer ? refer(outermost(layer)) : null; };

/** Links with a destination: what the page offers to go to. */
function readLinks(found) {
  const links = [];
  const counts = new Map();
  for (const el of found.tags.a) {
    const href = attributeOf(el, "href");
    if (href === null) continue;
    const shape = shapeOf(el);
    const seen = (counts.get(shape) ?? 0) + 1;
    counts.set(shape, seen);
    if (seen > LINKS_PER_SHAPE_MAX || links.length >= LINKS_MAX) continue;
    const text = squeeze(attributeOf(el, "aria-label") || textContentOf(el) || query(el, "img")?.alt || el.title || "");
    links.push({ text: text.slice(0, 100), href: href.slice(0, 200), region: regionOf(el), shown: isShown(el) });
  }
  return links;
}

/** Bars of links: each navigation, or a header without one, with how many links it shows at once. */
function readNavs(found) {
  const bars = [...new Set([...found.tags.nav, ...found.roles.filter((el) => /^(?:navigation|banner)$/.test(attributeOf(el, "role"))), ...document.querySelectorAll("header")])];
  const navs = [];
  for (const el of bars.slice(0, 40)) {
    if (!isShown(el) || bars.some((other) => other !== el && contains(el, other))) continue;
    const shown = [...queryAll(el, "a[href]")].filter((a) => isShown(a) && rectOf(a).width > 0 && squeeze(textContentOf(a)).length > 0);
    if (shown.length === 0) continue;
    const rect = rectOf(el);
    const buttons = shown.filter((a) => padded(styleOf(a)) && lookOf(a).kind === "filled").length;
    navs.push({ element: refer(el), region: regionOf(el), shown: shown.length, buttons, top: round(rect.top + scrollY, 1), column: rect.height > rect.width });
  }
  return navs;
}

const TARGETS = "a[href],button,input:not([type=hidden]),select,textarea,summary,[role=button],[role=link],[role=checkbox],[role=radio],[role=switch],[role=tab],[role=menuitem],[onclick]";

/** Touch targets under 24 x 24 px that the spacing exception of WCAG 2.5.8 does not save. */
function readTargets() {
  const targets = [];
  const shapes = new Map();
  for (const el of document.querySelectorAll(TARGETS)) {
    const seen = (shapes.get(shapeOf(el)) ?? 0) + 1;
    shapes.set(shapeOf(el), seen);
    // Neighbours of the first of a shape are among the first of theirs.
    if (seen > TARGETS_PER_SHAPE_MAX || targets.length >= TARGETS_MAX || !isShown(el)) continue;
    const rect = rectOf(el);
    if (rect.width <= 1 || rect.height <= 1 || rect.right + scrollX <= 0 || rect.bottom + scrollY <= 0) continue;
    targets.push({ el, rect, small: rect.width < TARGET_SIZE_MIN || rect.height < TARGET_SIZE_MIN, x: rect.left + rect.width / 2, y: rect.top + rect.height / 2 });
  }
  const cells = new Map();
  for (const target of targets) eachCell(target.rect, 0, (key) => (cells.has(key) ? cells.get(key).push(target) : cells.set(key, [target])));
  const groups = new Map();
  for (const target of targets) {
    if (!target.small || !isCrowded(target, cells) || isExempt(target)) continue;
    const shape = shapeOf(target.el);
    const group = groups.get(shape);
    if (group) { group.count += 1; continue; }
    if (groups.size >= 80) break;
    groups.set(shape, { element: refer(target.el, nameOf(target.el)), label: shorten(nameOf(target.el), 60), width: round(target.rect.width, 1), height: round(target.rect.height, 1), count: 1 });
  }
  for (const [shape, group] of groups) {
    const all = shapes.get(shape);
    if (all > TARGETS_PER_SHAPE_MAX && group.count >= TARGETS_PER_SHAPE_MAX - 2) group.count = all;
  }
  return { total: targets.length, crowded: [...groups.values()] };
}

const TARGETS_MAX = 1000;
const TARGETS_PER_SHAPE_MAX = 40;
const CELL = 64;
const CELLS_MAX = 400;
function eachCell(rect, grow, visit) {
  let cells = 0;
  const right = Math.floor((rect.right + grow) / CELL), bottom = Math.floor((rect.bottom + grow) / CELL);
  for (let x = Math.floor((rect.left - grow) / CELL); x <= right; x += 1) {
    for (let y = Math.floor((rect.top - grow) / CELL); y <= bottom; y += 1) {
      if ((cells += 1) > CELLS_MAX) return;
      visit(x * 1e6 + y);
    }
  }
}

/** WCAG 2.5.8: a circle of 24 px around a small target may touch neither another target nor its circle. */
function isCrowded(target, cells) {
  const radius = TARGET_SIZE_MIN / 2;
  const centre = { left: target.x, right: target.x, top: target.y, bottom: target.y };
  let crowded = false;
  eachCell(centre, TARGET_SIZE_MIN, (key) => {
    if (crowded) return;
    for (const other of cells.get(key) ?? []) {
      if (other === target) continue;
      const dx = Math.max(other.rect.left - target.x, 0, target.x - other.rect.right);
      const dy = Math.max(other.rect.top - target.y, 0, target.y - other.rect.bottom);
      const touches = Math.hypot(dx, dy) < radius - 0.05 || (other.small && Math.hypot(other.x - target.x, other.y - target.y) < TARGET_SIZE_MIN - 0.05);
      if (touches && !contains(other.el, target.el) && !contains(target.el, other.el) && paintOf(other.el).layer === paintOf(target.el).layer) { crowded = true; return; }
    }
  });
  return crowded;
}

/** Links inside a sentence, and native boxes with a label that can be pressed instead. */
function isExempt({ el }) {
  if (tagOf(el) === "input" && /^(?:checkbox|radio)$/.test(el.type)) return (el.labels?.length ?? 0) > 0;
  if (tagOf(el) !== "a" || styleOf(el).display !== "inline") return false;
  const block = blockOf(parentOf(el));
  let around = squeeze(textContentOf(block) ?? "").length;
  for (const link of queryAll(block, "a[href],button")) around -= squeeze(textContentOf(link)).length;
  return around >= 20;
}
