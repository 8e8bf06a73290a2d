// What lies over the page before anything was touched: dialogs, banners, bubbles.

const LAYERS_MAX = 12;
const CONTROLS_MAX = 24;

/**
 * Boxes that float over the page, and open dialogs. Every box that paints behind text, an image or a control has been
 * looked at by then, so its floating ancestors are known without asking all elements.
 */
function readLayers(found, pageTextLength) {
  const roots = new Set();
  for (const { layer } of paints.values()) if (layer) roots.add(outermost(layer));
  for (const el of [...found.tags.dialog.filter((d) => d.open), ...found.roles.filter((r) => /^(?:alert)?dialog$/.test(attributeOf(r, "role")))]) {
    if (isShown(el)) roots.add(outermost(paintOf(el).layer ?? el));
  }
  return [...roots].filter((el) => isShown(el)).slice(0, LAYERS_MAX).map((el) => describeLayer(el, pageTextLength));
}

function outermost(layer) {
  let top = layer;
  for (let up = paintOf(parentOf(top)).layer; up; up = paintOf(parentOf(top)).layer) top = up;
  return top;
}

function describeLayer(el, pageTextLength) {
  const rect = boxOf(el);
  const style = styleOf(el);
  const width = Math.max(0, Math.min(rect.right, innerWidth) - Math.max(rect.left, 0));
  const height = Math.max(0, Math.min(rect.bottom, innerHeight) - Math.max(rect.top, 0));
  const modal = matches(el, "dialog,[role=dialog],[role=alertdialog],[aria-modal=true]") || Boolean(query(el, "dialog[open],[role=dialog],[role=alertdialog],[aria-modal=true]"));
  const text = innerTextOf(el) ?? "";
  return {
    element: refer(el, text), position: style.position, z_index: Number(style.zIndex) || 0, rect: pageRect(rect),
    share: round((width * height) / (innerWidth * innerHeight), 3), modal, text: shorten(text, 800),
    // A layer that holds the page itself is a layout, not an interruption.
    holds_page: Boolean(query(el, "main,h1")) && !modal || text.length > pageTextLength * 0.6 && !modal,
    navigates: matches(el, "header,nav,[role=banner],[role=navigation]") || Boolean(query(el, "nav,[role=navigation]")),
    top: round(rect.top, 1), bottom: round(innerHeight - rect.bottom, 1), covers: coversAt(el, rect),
    controls: readControls(el), lines: readLines(el),
  };
}

/** The box an element draws in, children included when it has none of its own. */
function boxOf(el) {
  const own = rectOf(el);
  if (own.width > 1 && own.height > 1) return own;
  let box = own;
  for (const child of childrenOf(el)) {
    const r = rectOf(child);
    if (r.width * r.height > box.width * box.height) box = r;
  }
  return box;
}

/** Share of sampled points of the layer where it is really on top. */
function coversAt(el, rect) {
  let asked = 0, top = 0;
  for (const fx of [0.1, 0.5, 0.9]) {
    for (const fy of [0.1, 0.5, 0.9]) {
      const x = rect.left + rect.width * fx, y = rect.top + rect.height * fy;
      if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
      asked += 1;
      const hit = document.elementFromPoint(x, y);
      if (hit && isWithin(hit, el)) top += 1;
    }
  }
  return asked ? round(top / asked) : 0;
}

/** Everything in a layer that can be pressed, with its size and how well it is seen. */
function readControls(layer) {
  const controls = [];
  for (const el of queryAll(layer, "a,button,[role=button],[onclick],[tabindex],input[type=button],input[type=submit],summary,[aria-label]")) {
    if (controls.length >= CONTROLS_MAX) break;
    if (!isShown(el) || matches(el, "[role=dialog],dialog,input:not([type=button]):not([type=submit])") || el === layer) continue;
    const rect = rectOf(el);
    const style = styleOf(el);
    const paint = paintOf(el);
    controls.push({
      element: refer(el, nameOf(el)), label: shorten(nameOf(el), 120), href: (attributeOf(el, "href") ?? "").slice(0, 100), width: round(rect.width, 1), height: round(rect.height, 1),
      size: round(parseFloat(style.fontSize), 1), contrast: round(contrast(inkOf(colourOf(style.color), paint), paint.colour)),
      interactive: matches(el, "a[href],button,[role=button],[onclick],input"),
      corner: rect.top - rectOf(layer).top < 80 && rectOf(layer).right - rect.right < 100,
    });
  }
  return controls;
}

/** The lines of text in a layer, each with its element. */
function readLines(layer) {
  const lines = [];
  for (const el of queryAll(layer, "*")) {
    if (lines.length >= 30) break;
    const own = [...childNodesOf(el)].some((n) => n.nodeType === 3 && /\S/.test(n.data));
    if (own && isShown(el)) lines.push({ element: refer(el), text: shorten(textContentOf(el) ?? "", 200) });
  }
  return lines;
}
