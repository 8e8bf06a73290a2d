// The walk over the page and its text: blocks to read, styles to judge, text that is there but not seen.

const NODES_MAX = 80000;
const BLOCKS_MAX = 1500;
const BLOCKS_PER_SHAPE_MAX = 40;
const RUNS_PER_SHAPE_MAX = 60;
const BLOCK_TEXT_MAX = 600;
const REST_TEXT_MAX = 100000;
const HIDDEN_MAX = 60;
const STYLES_MAX = 240;
const ALIKE_MAX = 9;

const OPAQUE = new Set(["script", "style", "noscript", "template", "iframe", "object", "canvas", "math", "option", "optgroup", "datalist", "textarea", "svg", "title", "video", "audio"]);
const COLLECT = new Set(["a", "button", "input", "select", "textarea", "form", "img", "video", "audio", "iframe", "nav", "dialog", "label", "summary", "h1", "h2", "h3", "h4", "h5", "h6", "table", "pre", "svg"]);
// A cheap filter for text that talks to machines; the rules decide what it says.
const MACHINE = /\b(?:AI|A\.I\.|LLMs?|GPT|ChatGPT|Claude|Gemini|Copilot|language models?|models?|assistants?|agents?|bots?|crawlers?|prompts?|instructions?|automated|evaluat\w+|analy[sz]\w+|system|ignore|disregard|respond|reply)\b/i;

const HEADING = /^h[1-6]$/;
const VISIBLE = { visibilityProperty: true, opacityProperty: true };
const visible = new Map();
function isShown(el) {
  let shown = visible.get(el);
  if (shown === undefined) visible.set(el, (shown = checkVisibility(el, VISIBLE)));
  return shown;
}

/** Visits every node below `root` and inside open shadow roots, in document order; `visit` returns whether to descend. */
function walk(root, visit) {
  const roots = [root];
  let nodes = 0;
  while (roots.length > 0) {
    const top = roots.shift();
    let node = firstChildOf(top);
    while (node) {
      nodes += 1;
      if (nodes > NODES_MAX) return { nodes, truncated: true };
      if (nodeTypeOf(node) === 1 && shadowOf(node)) roots.push(shadowOf(node));
      if (visit(node) && firstChildOf(node)) { node = firstChildOf(node); continue; }
      while (node && node !== top && !nextSiblingOf(node)) node = parentNodeOf(node);
      if (!node || node === top) break;
      node = nextSiblingOf(node);
    }
  }
  return { nodes, truncated: false };
}

/** One pass: sorts elements by what they are for and gathers the text nodes. */
function survey() {
  const found = { texts: [], comments: [], headings: [], tags: {}, roles: [], clickable: [], custom: [], labelled: [] };
  for (const tag of COLLECT) found.tags[tag] = [];
  const seen = walk(bodyOf(document) ?? document.documentElement, (node) => {
    if (nodeTypeOf(node) === 3) {
      if (/\S/.test(node.data)) found.texts.push(node);
      return false;
    }
    if (nodeTypeOf(node) === 8) {
      if (found.comments.length < HIDDEN_MAX && node.data.length > 20 && MACHINE.test(node.data)) found.comments.push(node);
      return false;
    }
    if (nodeTypeOf(node) !== 1) return false;
    const tag = tagOf(node);
    const list = found.tags[tag];
    if (list) {
      list.push(node);
      if (HEADING.test(tag) || (tag !== "a" && attributeOf(node, "role") === "heading")) found.headings.push(node);
    } else if (tag.includes("-")) found.custom.push(node);
    if (hasAttributes(node)) {
      const id = attributeOf(node, "id");
      if (id) countId(id);
      if (hasAttribute(node, "role")) {
        found.roles.push(node);
        if (!list && attributeOf(node, "role") === "heading") found.headings.push(node);
      }
      if (hasAttribute(node, "onclick") || hasAttribute(node, "tabindex")) found.clickable.push(node);
      if (hasAttribute(node, "aria-label") || hasAttribute(node, "title")) found.labelled.push(node);
    }
    return !OPAQUE.has(tag);
  });
  return Object.assign(found, seen);
}

const inlineShapes = new Map();
/** Equal shapes flow equally, unless one is styled by itself. */
function isInline(el) {
  const shape = hasAttribute(el, "style") ? -1 : shapeOf(el);
  let inline = inlineShapes.get(shape);
  if (inline === undefined || shape === -1) {
    const display = styleOf(el).display;
    inline = display === "inline" || display === "contents" || display.startsWith("ruby");
    inlineShapes.set(shape, inline);
  }
  return inline;
}

const blockOfs = new Map();
/** The box that a run of inline text flows in. */
function blockOf(el) {
  let block = blockOfs.get(el);
  if (block) return block;
  const inline = isInline(el);
  const parent = inline ? parentOf(el) : null;
  block = parent ? blockOf(parent) : el;
  blockOfs.set(el, block);
  return block;
}

/** Whether a line break stands before a node: words on two lines are two words. */
const isAfterBreak = (node) => { const before = previousSiblingOf(node); return Boolean(before) && nodeTypeOf(before) === 1 && tagOf(before) === "br"; };

/** Text of the page as blocks, groups of equal text style, and what is hidden. */
function readText(found) {
  const blocks = new Map();
  const runs = new Map();
  const unseen = new Map();
  const alike = new Map();
  let rest = "";
  for (const node of found.texts) {
    const parent = parentElementOf(node) ?? parentNodeOf(node).host;
    if (!parent) continue;
    const shape = shapeOf(parent);
    const kind = alike.get(shape) ?? { shown: false, runs: 0, more: 0 };
    alike.set(shape, kind);
    kind.runs += 1;
    // The hundredth of equal shapes is read, and no longer looked at, unless it is styled by itself or talks to machines.
    if (kind.runs > RUNS_PER_SHAPE_MAX && !hasAttribute(parent, "style") && !MACHINE.test(node.data)) {
      kind.more += 1;
      if (kind.shown && rest.length < REST_TEXT_MAX) rest += squeeze(node.data) + "\n";
      continue;
    }
    kind.shown ||= isShown(parent);
    if (!isShown(parent)) {
      unseen.set(parent, (unseen.get(parent) ?? "") + node.data);
      continue;
    }
    const el = blockOf(parent);
    const block = blocks.get(el);
    if (block) block.text += (isAfterBreak(node) || (block.last !== parent && isAfterBreak(parent)) ? " " : "") + node.data;
    else blocks.set(el, { el, text: node.data, first: parent });
    (blocks.get(el)).last = parent;
    const run = runs.get(parent);
    if (run) run.text += node.data;
    else runs.set(parent, { el: parent, text: node.data });
  }
  const styles = readStyles(runs, alike);
  const hidden = readHidden(unseen, styles, found);
  let length = rest.length;
  for (const block of blocks.values()) length += block.text.length;
  return { ...readBlocks(blocks, rest), length, styles: styles.map((style) => style.facts), hidden, collapsed: readCollapsed(unseen) };
}

function readBlocks(all, more) {
  const blocks = [];
  const perShape = new Map();
  let rest = more;
  for (const { el, text, first } of all.values()) {
    const clean = squeeze(text);
    const shape = shapeOf(el);
    const seen = (perShape.get(shape) ?? 0) + 1;
    perShape.set(shape, seen);
    if (blocks.length >= BLOCKS_MAX || seen > BLOCKS_PER_SHAPE_MAX) {
      if (rest.length < REST_TEXT_MAX) rest += clean + "\n";
      continue;
    }
    const rect = rectOf(el);
    const style = styleOf(first);
    const link = closestOf(first, "a[href],button,[role=button],[role=link]");
    blocks.push({
      element: refer(el, clean, ELEMENTS_OF_TEXT_MAX), text: clean.slice(0, BLOCK_TEXT_MAX), rect: pageRect(rect), above_fold: isAboveFold(rect),
      size: round(parseFloat(style.fontSize), 1), weight: Number(style.fontWeight) || 400,
      heading: headingLevel(el), region: regionOf(el), layer: layerIndex(first), interactive: Boolean(link), quote: Boolean(closestOf(el, "blockquote,q,[role=blockquote]")),
    });
  }
  return { blocks, rest };
}

const headingLevel = (el) => {
  const heading = closestOf(el, "h1,h2,h3,h4,h5,h6,[role=heading]");
  if (!heading) return 0;
  return /^h[1-6]$/.test(tagOf(heading)) ? Number(tagOf(heading)[1]) : Number(attributeOf(heading, "aria-level")) || 2;
};

/** Groups runs of text that look the same; the numbers are those of the first run. */
function readStyles(runs, kinds) {
  const groups = new Map();
  const alike = new Map();
  for (const { el, text } of runs.values()) {
    const shape = shapeOf(el);
    const chars = text.length;
    // The tenth of equal shapes looks like the nine before it, unless it is styled by itself.
    const known = alike.get(shape);
    if (known?.seen >= ALIKE_MAX && !hasAttribute(el, "style")) {
      known.group.count += 1;
      known.group.chars += chars;
      continue;
    }
    const style = styleOf(el);
    const paint = paintOf(el);
    const colour = style.color;
    const size = style.fontSize;
    const key = `${shape}|${colour}|${paint.colour}|${size}|${style.fontWeight}`;
    const group = groups.get(key);
    if (group) {
      group.count += 1;
      group.chars += chars;
      if (known?.group === group) known.seen += 1;
      continue;
    }
    if (groups.size >= STYLES_MAX) continue;
    const made = { el, text, chars, count: 1, colour: colourOf(colour), paint, size: parseFloat(size), weight: Number(style.fontWeight) || 400 };
    made.count += kinds.get(shape)?.more ?? 0;
    if (kinds.has(shape)) kinds.get(shape).more = 0;
    groups.set(key, made);
    alike.set(shape, { group: made, seen: 1 });
  }
  return [...groups.values()].map((group) => ({ el: group.el, facts: describeStyle(group) }));
}

function describeStyle(group) {
  const { el, paint } = group;
  const rect = rectOf(el);
  const ink = inkOf(group.colour, paint);
  const ratio = contrast(ink, paint.colour);
  // The expensive look behind is taken only where a flaw would be reported.
  const unsure = paint.image || (ratio < 4.5 && mayHaveOtherBackground(el, rect));
  const control = closestOf(el, "a,button,input,select,textarea,fieldset,[aria-disabled]");
  return {
    element: refer(el, group.text, ELEMENTS_OF_TEXT_MAX), text: shorten(group.text, 200), chars: group.chars, count: group.count,
    colour: hex(ink), background: hex(paint.colour), contrast: round(ratio), background_unsure: unsure,
    size: round(group.size, 1), weight: group.weight, box: pageRect(rect),
    disabled: Boolean(control && isDisabled(control)),
    interactive: Boolean(closestOf(el, "a[href],button,[role=button]")), region: regionOf(el),
    hidden_from_readers: Boolean(closestOf(el, "[aria-hidden=true]")),
  };
}

/** How an element that is rendered escapes the eye; null when it does not. */
function hidingOf(el) {
  const style = styleOf(el);
  const rect = rectOf(el);
  if (parseFloat(style.fontSize) < 3) return "tiny";
  if (rect.right + scrollX <= 0 || rect.bottom + scrollY <= 0) return "off_screen";
  if (parseFloat(style.textIndent) < -500) return "off_screen";
  for (let at = el, hops = 0; at && hops < 4; at = parentOf(at), hops += 1) {
    const s = styleOf(at);
    const box = rectOf(at);
    if (s.clip !== "auto" && s.position === "absolute") return "clipped";
    if (/^(?:inset\((?:50|100)%|circle\(0)/.test(s.clipPath)) return "clipped";
    if ((box.width <= 1 || box.height <= 1) && s.overflow !== "visible") return "clipped";
  }
  return null;
}

/** Text that a visitor does not see: candidates, with how each is hidden. */
function readHidden(unseen, styles, found) {
  const hidden = [];
  const add = (el, how, text) => {
    if (hidden.length < HIDDEN_MAX && text.length >= 8) {
      hidden.push({
        element: refer(el, text), how, text: text.slice(0, 400),
        interactive: Boolean(closestOf(el, "a[href],button,label,nav,[role=status],[role=alert],[aria-live]")),
      });
    }
  };
  for (const { el, facts } of styles) {
    facts.hidden = hidingOf(el) ?? (facts.contrast < 1.2 && !facts.background_unsure ? "same_colour" : null);
    if (facts.hidden === "off_screen" && (facts.hidden_from_readers || isCutOff(el, rectOf(el)))) facts.hidden = null;
    if (facts.hidden) add(el, facts.hidden, facts.text);
  }
  for (const [el, text] of unseen) {
    if (MACHINE.test(text)) add(el, "not_rendered", squeeze(text));
  }
  for (const node of found.comments) add(parentElementOf(node) ?? bodyOf(document), "comment", squeeze(node.data));
  for (const el of [...found.labelled, ...found.tags.img]) {
    for (const name of ["aria-label", "title", "alt"]) {
      const value = attributeOf(el, name);
      if (value && value.length > 40 && MACHINE.test(value)) add(el, "attribute", squeeze(value));
    }
  }
  return hidden;
}

/** Text behind accordions, tabs and menus: not seen at first, yet not missing either. */
function readCollapsed(unseen) {
  let text = "";
  for (const [el, part] of unseen) {
    if (text.length > 40000) break;
    if (!closestOf(el, "[role=dialog],dialog")) text += squeeze(part) + "\n";
  }
  return text;
}
