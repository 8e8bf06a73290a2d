// Whether an element is on the screen, and whether assistive technology is told of it.

const VISIBLE_BOX = { visibilityProperty: true };
const OPAQUE_BOX = { visibilityProperty: true, opacityProperty: true };

/** Elements that never show, whatever their style says. */
const NEVER_RENDERED = new Set(['base', 'head', 'link', 'meta', 'noembed', 'noframes', 'noscript', 'param', 'script',
  'source', 'style', 'template', 'title', 'track', 'svg:defs', 'svg:desc', 'svg:metadata', 'svg:script', 'svg:style',
  'svg:symbol', 'svg:title']);

const UNRENDERED = 0;
const TRANSPARENT = 1;
const OPAQUE = 2;

const visibilityOf = (element) => {
  const tag = tagOf(element);
  // A closed select draws no options; they are there as much as it is.
  if (tag === 'option' || tag === 'optgroup') {
    const select = closest(element, 'select');
    if (select) return computedStyle(element).display === 'none' ? UNRENDERED : visibility(select);
  }
  if (checkVisibility(element, OPAQUE_BOX)) return OPAQUE;
  if (checkVisibility(element, VISIBLE_BOX)) return TRANSPARENT;
  return isRenderedWithoutBox(element) ? OPAQUE : UNRENDERED;
};

/** Elements that are there without having a box of their own. */
const isRenderedWithoutBox = (element) => {
  const tag = tagOf(element);
  if (NEVER_RENDERED.has(tag)) return false;
  const style = computedStyle(element);
  // Outside the flat tree there is no style at all.
  if (style.display === '' || style.display === 'none') return false;
  // An image map draws no areas; they are there as much as the image is.
  if (tag === 'area' || tag === 'map') return !hasAttribute(element, 'hidden');
  if (style.display !== 'contents' || style.visibility !== 'visible') return false;
  // Such an element shows when the nearest box around it is there.
  for (let parent = flatParent(element); parent; parent = flatParent(parent)) {
    if (checkVisibility(parent)) return true;
    if (computedStyle(parent).display !== 'contents') return false;
  }
  return false;
};

const visibility = (element) => {
  if (moment === 0) return visibilityOf(element);
  const facts = known(element);
  if (facts.visibility < 0) facts.visibility = visibilityOf(element);
  return facts.visibility;
};

/**
 * Whether the element is rendered: not `display: none`, not `visibility: hidden`, not skipped by `content-visibility`,
 * not in a closed `<details>`, and in the flat tree. Says nothing of its size, its opacity or what covers it.
 */
const isRendered = (element) => visibility(element) !== UNRENDERED;

/** Whether the element or one around it is inert, by attribute or because a modal dialog is open elsewhere. */
const isInert = (element) => {
  for (let node = element; node; node = flatParent(node)) {
    if (hasAttribute(node, 'inert')) return true;
  }
  const modal = modalDialog(ownerDocument(element));
  return modal !== null && !flatContains(modal, element);
};

const isAriaHidden = (element) => {
  for (let node = element; node; node = flatParent(node)) {
    if (hasToken(node, 'aria-hidden', 'true')) return true;
  }
  return false;
};

/** Whether assistive technology is told of the element: rendered, not `aria-hidden`, not inert. */
const isExposed = (element) => isRendered(element) && !isAriaHidden(element) && !isInert(element);

/** The modal dialog on top, if one is open. */
const modalDialog = (document) => {
  const modals = documentQueryAll(document, 'dialog:modal');
  return modals.length > 0 ? modals[modals.length - 1] : null;
};

const flatContains = (ancestor, element) => {
  for (let node = element; node; node = flatParent(node)) {
    if (node === ancestor) return true;
  }
  return false;
};

/** Whether opacity makes the element, or one around it, entirely transparent. */
const isTransparent = (element) => visibility(element) === TRANSPARENT;
