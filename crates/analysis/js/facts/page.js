// The page as a whole: what it says of itself, its headings, its width, groups of equal siblings with prices.

const meta = (name) => document.querySelector(`meta[name="${name}" i],meta[property="${name}" i]`)?.getAttribute("content") ?? null;

function readPage() {
  const viewport = meta("viewport");
  const scripts = [...scriptsOf(document)];
  return {
    title: squeeze(titleOf(document)).slice(0, 300), has_title: Boolean(document.querySelector("head > title, title")), description: meta("description"), viewport,
    canonical: document.querySelector("link[rel=canonical]")?.getAttribute("href") ?? null, robots: meta("robots"), lang: document.documentElement.getAttribute("lang") ?? "",
    open_graph: { type: meta("og:type"), title: meta("og:title"), description: meta("og:description"), image: meta("og:image") },
    schema: readSchema(), year: new Date().getFullYear(), scripts: scripts.length, external_scripts: scripts.filter((s) => s.src).length,
    text_length: 0, footer: refer([...document.querySelectorAll("footer,[role=contentinfo]")].filter((el) => !closestOf(el, "article,section,blockquote,figure,li,aside")).at(-1)),
  };
}

/** Types and the product facts of JSON-LD and microdata. */
function readSchema() {
  const schema = { types: [], rating: null, review_count: null, price: null, currency: null, broken: 0 };
  const take = (node, depth) => {
    if (!node || typeof node !== "object" || depth > 6) return;
    if (Array.isArray(node)) { node.slice(0, 50).forEach((n) => take(n, depth + 1)); return; }
    const types = [node["@type"]].flat().filter((t) => typeof t === "string");
    for (const type of types) if (schema.types.length < 40) schema.types.push(type.replace(/^https?:\/\/schema\.org\//, ""));
    if (types.some((t) => /AggregateRating$/.test(t))) {
      schema.rating ??= Number(node.ratingValue) || null;
      schema.review_count ??= Number(node.reviewCount ?? node.ratingCount) || null;
    }
    if (types.some((t) => /Offer$/.test(t))) {
      schema.price ??= String(node.price ?? node.lowPrice ?? "") || null;
      schema.currency ??= typeof node.priceCurrency === "string" ? node.priceCurrency : null;
    }
    for (const key of Object.keys(node).slice(0, 60)) if (typeof node[key] === "object") take(node[key], depth + 1);
  };
  for (const script of document.querySelectorAll('script[type="application/ld+json" i]')) {
    try { take(JSON.parse(script.textContent), 0); } catch { schema.broken += 1; }
  }
  for (const el of [...document.querySelectorAll("[itemtype]")].slice(0, 40)) {
    const type = /schema\.org\/(\w+)/.exec(attributeOf(el, "itemtype") ?? "");
    if (type && schema.types.length < 40) schema.types.push(type[1]);
  }
  return schema;
}

const HEADINGS_MAX = 120;
const HEADINGS_PER_SHAPE_MAX = 30;
function readHeadings(found) {
  const shapes = new Map();
  const first = found.headings.filter((el) => {
    const seen = (shapes.get(shapeOf(el)) ?? 0) + 1;
    shapes.set(shapeOf(el), seen);
    return seen <= HEADINGS_PER_SHAPE_MAX;
  });
  return first.slice(0, HEADINGS_MAX).map((el) => {
    const rect = rectOf(el);
    const image = query(el, "img[alt],svg[aria-label],[role=img][aria-label]");
    const text = squeeze(textContentOf(el) || image?.getAttribute("alt") || image?.getAttribute("aria-label") || "");
    return { element: refer(el, text), level: headingLevel(el), text: shorten(text, 200), shown: isShown(el) && rect.height > 1, above_fold: isAboveFold(rect), size: round(parseFloat(styleOf(el).fontSize), 1) };
  });
}

/** Boxes that stick out to the right of the emulated screen, outermost first. */
function readOverflow(width, hasViewportMeta) {
  const page = Math.max(document.documentElement.scrollWidth, bodyOf(document)?.scrollWidth ?? 0);
  const limit = hasViewportMeta ? width : Math.max(width, 980);
  const clipped = [document.documentElement, bodyOf(document)].some((el) => el && /hidden|clip/.test(styleOf(el).overflowX));
  const wide = [];
  const sticksOut = page > limit + 1;
  if ((sticksOut && !clipped) || !hasViewportMeta) {
    const visit = (parent, depth) => {
      const before = wide.length;
      for (const el of childrenOf(parent)) {
        if (wide.length >= 8 || depth > 60) return;
        const rect = rectOf(el);
        const out = sticksOut && rect.right + scrollX > limit + 1;
        if (!out && (hasViewportMeta || rect.width <= width)) {
          // Narrow boxes hold wide ones only when those stick out.
          if (sticksOut && rect.height > 0) visit(el, depth + 1);
          continue;
        }
        if (!isShown(el) || styleOf(el).position === "fixed") continue;
        const insists = fixedWidth(el);
        // Several children that stick out are one row that does not wrap: the row is to be named.
        if (insists > width || (out && !holdsWider(el, limit))) wide.push({ element: refer(el), width: round(rect.width, 1), right: round(rect.right + scrollX, 1), fixed: round(insists, 1) });
        else if (!/auto|scroll|hidden|clip/.test(styleOf(el).overflowX)) visit(el, depth + 1);
      }
      const row = wide.slice(before);
      if (row.length >= 2 && parent !== bodyOf(document) && row.every((w) => w.fixed === 0 && w.element !== null && elements[w.element].path.startsWith(pathOf(parent) + ">"))) {
        wide.splice(before, row.length, { element: refer(parent), width: round(parent.scrollWidth, 1), right: Math.max(...row.map((w) => w.right)), fixed: 0 });
      }
    };
    if (bodyOf(document)) visit(bodyOf(document), 0);
  }
  return { page_width: page, screen_width: width, clipped, wide };
}

/** Whether a child sticks out too: then the child is the one to name. */
const holdsWider = (el, limit) => [...childrenOf(el)].some((child) => rectOf(child).right + scrollX > limit + 1);
/** The width in pixels that a box insists on, whatever the screen; 0 when it would give way. */
function fixedWidth(el) {
  const specified = specifiedOf(el);
  const pixels = (name) => { const v = specified.get(name); return v && v.unit === "px" ? v.value : null; };
  const most = specified.get("max-width");
  if (most && (most.unit === "percent" || (most.unit === "px" && most.value <= 390))) return 0;
  return Math.max(pixels("width") ?? 0, pixels("min-width") ?? 0);
}

const PRICE = /(?:[$€£¥₹₽₩]|\b(?:USD|EUR|GBP|CHF|CAD|AUD|SEK|NOK|DKK|PLN|JPY|INR)\b)\s?\d|\d\s?(?:[€£₽]|(?:USD|EUR|GBP|CHF|kr|zł)\b)/;

const FREE = /^\s*(?:free|gratis|kostenlos|gratuit)\b/i;

/** Whether a sibling is one of a kind with another: drawn by the same classes, or an offer by itself. */
function carries(el, other) {
  const text = (textContentOf(el) ?? "").slice(0, 3000);
  const priced = PRICE.test(text) || FREE.test(text);
  const acts = Boolean(query(el, "a,button,[role=button]"));
  const own = classesOf(el), theirs = classesOf(other);
  const shared = [...own].filter((c) => theirs.contains(c)).length;
  const alike = own.length + theirs.length === 0 || /^t[dh]$/.test(tagOf(el)) || shared / (own.length + theirs.length - shared) >= 0.3;
  return alike ? priced || acts : priced && acts;
}

/** Groups of equal siblings that carry prices or actions: plans, product cards, rows. */
function readGroups(found, actions) {
  const parents = new Map();
  const judged = new Map();
  const equalSiblings = (parent, tag) => {
    const known = judged.get(parent);
    if (known && known.tag === tag) return known.same;
    let same = [...childrenOf(parent)].filter((c) => tagOf(c) === tag);
    if (same.length >= 2) same = same.filter((c) => isShown(c) && rectOf(c).height > 20);
    if (same.length >= 2) {
      const carrying = same.slice(0, 40).filter((c) => carries(c, same[0] === c ? same[1] : same[0])).length;
      if (carrying < 2 || Math.min(same.length, 40) > carrying + 2) same = [];
    } else same = [];
    judged.set(parent, { tag, same });
    return same;
  };
  const climb = (el) => {
    for (let at = el, hops = 0; at && at !== bodyOf(document) && hops < 8; at = parentOf(at), hops += 1) {
      const parent = parentOf(at);
      if (!parent) return;
      const same = equalSiblings(parent, tagOf(at));
      if (same.length === 0) continue;
      if (!parents.has(parent)) parents.set(parent, same);
      return;
    }
  };
  const starts = new Set();
  const shapesSeen = new Map();
  const start = (el) => {
    const shape = shapeOf(el);
    const seen = (shapesSeen.get(shape) ?? 0) + 1;
    shapesSeen.set(shape, seen);
    if (seen <= 12) starts.add(el);
  };
  for (const node of found.texts) {
    const el = parentElementOf(node);
    if (el && starts.size < 200 && PRICE.test(textContentOf(el).length < 60 ? textContentOf(el) : node.data) && isShown(el)) start(el);
  }
  for (const tag of ["h2", "h3", "h4", "h5"]) for (const el of found.tags[tag]) if (starts.size < 300 && isShown(el)) start(el);
  starts.forEach(climb);
  return [...parents].slice(0, 30).map(([parent, members]) => describeGroup(parent, members));
}

function describeGroup(parent, members) {
  return {
    element: refer(parent), count: members.length, region: regionOf(parent),
    members: members.slice(0, 12).map((el) => {
      const style = styleOf(el);
      const inner = childrenOf(el).length === 1 ? firstElementOf(el) : el;
      const drawn = styleOf(inner);
      const rect = rectOf(inner);
      const action = query(el, "button,[role=button],input[type=submit],a[href]");
      return {
        element: refer(el), text: shorten(innerTextOf(el) ?? "", 1200), heading: shorten(query(el, "h1,h2,h3,h4,h5,h6,th,caption,legend,strong,b")?.textContent ?? "", 80),
        images: queryAll(el, "img").length, items: queryAll(el, "li").length, action: action ? shorten(nameOf(action), 80) : "",
        rect: pageRect(rect), style: `${drawn.backgroundColor}|${drawn.borderTopColor}|${drawn.borderTopWidth}|${drawn.boxShadow}|${drawn.transform}|${style.transform}|${style.zIndex}|${action ? styleOf(action).backgroundColor : ""}`,
      };
    }),
  };
}
