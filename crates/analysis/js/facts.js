// One screen's facts about a page, as one JSON value. Runs in the isolated world after the page has settled, after
// accessibility.js; the parts it calls are in facts/. It only reads: no attribute, scroll position or focus changes.

const a11y = typeof paddockAccessibility === "undefined" ? null : paddockAccessibility;

/**
 * @param {{screen: string, width: number, height: number, touch: boolean}} options the emulated screen; `innerWidth` is no substitute,
 *   it grows with the content when there is no viewport meta.
 */
function collect(options) {
  return a11y ? a11y.cached(() => collectAll(options)) : collectAll(options);
}

function collectAll(options) {
  const started = performance.now();
  const spans = {};
  const span = (name, read) => {
    const before = performance.now();
    const value = read();
    spans[name] = round(performance.now() - before, 2);
    return value;
  };
  fold = /width\s*=\s*device-width|initial-scale/.test(meta("viewport") ?? "") || !options.touch ? options.height : null;
  const found = span("survey", () => survey());
  const page = readPage();
  const text = span("text", () => readText(found));
  const forms = [...formsOf(document)];
  page.text_length = text.length;
  const facts = {
    version: 1, screen: options.screen, url: location.href, page,
    viewport: { width: options.width, height: options.height, inner_width: innerWidth, fold: foldHeight(), page_height: document.documentElement.scrollHeight },
    nodes: found.nodes, truncated: found.truncated,
    blocks: text.blocks, rest: text.rest, collapsed: text.collapsed, styles: text.styles, hidden: text.hidden,
    labels: span("labels", () => readLabels(found)), headings: span("headings", () => readHeadings(found)),
    actions: span("actions", () => readActions(found, forms)), links: span("links", () => readLinks(found)), navs: span("navs", () => readNavs(found)),
    forms: span("forms", () => readForms(found)), layers: span("layers", () => readLayers(found, text.length)),
    images: span("images", () => readImages(found)), media: readMedia(found),
    // Only fingers need 24 px.
    targets: options.touch ? span("targets", () => readTargets()) : { total: 0, crowded: [] }, overflow: span("overflow", () => readOverflow(options.width, page.viewport !== null)),
    groups: span("groups", () => readGroups(found)), timing: span("vitals", () => readVitals()),
    elements,
  };
  spans.total = round(performance.now() - started, 2);
  return { ...facts, truncated: facts.truncated || tableIsFull, spans };
}

/** Names that are only for assistive technology: they say what stars and icons mean. */
function readLabels(found) {
  const labels = [];
  for (const el of found.labelled) {
    if (labels.length >= 200) break;
    const text = squeeze(attributeOf(el, "aria-label") || attributeOf(el, "title") || "");
    if (text && isShown(el)) labels.push(text.slice(0, 160));
  }
  for (const el of found.tags.img) {
    if (labels.length >= 300) break;
    if (el.alt && isShown(el)) labels.push(squeeze(el.alt).slice(0, 160));
  }
  return labels;
}
