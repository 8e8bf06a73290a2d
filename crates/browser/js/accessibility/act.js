// Where to act: an element that is on the screen, at rest, enabled, and would get the event.

/** How long an element may move before acting on it is given up. */
const STEADY_MS_MAX = 2000;
/** A change of layout that is this old is taken for over: two frames. */
const STEADY_MS = 34;
const FRAME_MS_MAX = 100;

// When the page last changed something that may move elements. Noted from the first time somebody asks.
let disturbedAt = -1;
let disturbances = null;

const noteDisturbances = () => {
  if (disturbances) {
    if (disturbances.takeRecords().length > 0) disturbedAt = performance.now();
    return disturbedAt;
  }
  disturbances = new MutationObserver(() => { disturbedAt = performance.now(); });
  disturbances.observe(document, { subtree: true, childList: true, attributeFilter: ['class', 'style', 'hidden', 'open'] });
  disturbedAt = performance.now();
  return disturbedAt;
};

const nextFrame = () => new Promise((resolve) => {
  const late = setTimeout(resolve, FRAME_MS_MAX);
  requestAnimationFrame(() => { clearTimeout(late); resolve(); });
});

/** The element around a node on the screen, across the borders of frames of our origin. */
const around = (node) => flatParent(node) ?? (viewOf(ownerDocument(node)) === window ? null
  : viewOf(ownerDocument(node))?.frameElement ?? null);

const isAnimated = (node) => {
  for (let at = node, hops = 0; at && hops < TREE_DEPTH_MAX; at = around(at), hops += 1) {
    for (const animation of animationsOf(at)) if (animation.playState === 'running') return true;
  }
  return false;
};

const placeOf = (node) => {
  const { x, y, width, height } = outward(node, getBoundingClientRect(node));
  return `${x} ${y} ${width} ${height}`;
};

/** Waits until the element does not move from one frame to the next; at once when nothing moves on the page. */
const becomesSteady = async (node) => {
  const quiet = performance.now() - noteDisturbances() >= STEADY_MS;
  if (quiet && framesAround(node).length === 0 && !isAnimated(node)) return true;
  const until = performance.now() + STEADY_MS_MAX;
  for (let place = placeOf(node); performance.now() < until;) {
    await nextFrame();
    const next = placeOf(node);
    if (next === place) return true;
    place = next;
  }
  return false;
};

/** The element on top at a point of the viewport, through shadow trees and frames of our origin. */
const topmostAt = (x, y) => {
  let hit = null;
  let inside = document;
  for (let hops = 0; hops < FRAMES_DEEP_MAX; hops += 1) {
    let next = elementFromPoint(inside, x, y);
    if (!next) return hit;
    for (let shadow = shadowRootOf(next); shadow; shadow = shadowRootOf(next)) {
      const deeper = shadowElementFromPoint(shadow, x, y);
      if (!deeper || deeper === next) break;
      next = deeper;
    }
    hit = next;
    const inner = frameDocument(hit);
    if (!inner) return hit;
    const origin = contentOrigin(hit);
    x = (x - origin.x) / origin.scaleX;
    y = (y - origin.y) / origin.scaleY;
    inside = inner;
  }
  return hit;
};

/** Whether an event at what was hit reaches the element: it is the element, in it, or in a label of it. */
const wouldReach = (node, hit) => {
  for (let at = hit, hops = 0; at && hops < TREE_DEPTH_MAX; at = around(at), hops += 1) {
    if (at === node) return true;
    if (localName(at) === 'label' && namespaceURI(at) === HTML && labelControl(at) === node) return true;
  }
  return false;
};

/** A box of the element that has an area, in the coordinates of the top document; null if there is none. */
const boxOf = (node) => {
  let best = null;
  let index = 0;
  for (const box of getClientRects(node)) {
    if (box.width > 0 && box.height > 0 && (!best || box.width * box.height > best.width * best.height)) best = box;
    index += 1;
    if (index === 16) break;
  }
  return best && outward(node, best);
};

/** The part of a box that is in the viewport of the page and of every frame around the element. */
const shownPart = (node, box) => {
  let left = Math.max(box.x, 0);
  let top = Math.max(box.y, 0);
  let right = Math.min(box.x + box.width, innerWidth);
  let bottom = Math.min(box.y + box.height, innerHeight);
  for (const frame of framesAround(node)) {
    const outer = outward(frame, getBoundingClientRect(frame));
    left = Math.max(left, outer.x);
    top = Math.max(top, outer.y);
    right = Math.min(right, outer.x + outer.width);
    bottom = Math.min(bottom, outer.y + outer.height);
  }
  return right - left >= 1 && bottom - top >= 1 ? { x: left, y: top, width: right - left, height: bottom - top } : null;
};

/** Points to try: the middle first, then what is around it. */
const POINTS = [[0.5, 0.5], [0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]];
const ALIGNMENTS = ['center', 'start', 'end'];

const scrollTo = (node, block) => scrollIntoView(node, { block, inline: block === 'center' ? 'center' : 'nearest', behavior: 'instant' });

/** A closed select shows its options nowhere; acting on one is acting on the select. */
const shownFor = (node) => {
  const tag = tagOf(node);
  return (tag === 'option' || tag === 'optgroup') ? closest(node, 'select') ?? node : node;
};

const describeElement = (node) => ({
  ref: ref(node), role: role(node), name: clip(name(node), 120), tag: clip(tagOf(node), TAG_SHOWN_MAX),
  id: clip(attribute(node, 'id'), 80), classes: clip(attribute(node, 'class'), 120),
});

/**
 * A point of the element at which it gets events, scrolled into view: `{ x, y, … }`, or `{ error, … }`.
 *
 * `demands`: `enabled`, `editable`, `exposed` (nothing else is on top).
 */
const aim = async ({ selector, within, enabled = true, editable = false, exposed = true, steady = true }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const target = found.node;
  const node = shownFor(target);
  const fault = unfit(target, enabled, editable);
  if (fault) return fault;
  if (steady && !await becomesSteady(node)) return { error: 'element_moving', element: describeElement(target) };
  if (!isConnected(node)) return { error: 'no_element' };
  let box = boxOf(node);
  if (!box) return { error: 'element_hidden', reason: 'it has no size', element: describeElement(target) };
  let cover = null;
  for (const alignment of [null, ...ALIGNMENTS]) {
    if (alignment) {
      scrollTo(node, alignment);
      box = boxOf(node);
    }
    const shown = box && shownPart(node, box);
    if (!shown) continue;
    for (const [across, down] of POINTS) {
      const x = shown.x + shown.width * across;
      const y = shown.y + shown.height * down;
      if (!exposed) return aimed(target, node, x, y, box);
      const hit = topmostAt(x, y);
      if (hit && wouldReach(node, hit)) return aimed(target, node, x, y, box);
      cover ??= hit;
    }
  }
  if (cover) return { error: 'element_covered', element: describeElement(target), by: describeElement(cover) };
  return { error: 'element_hidden', reason: 'it cannot be scrolled into view', element: describeElement(target) };
};

const aimed = (target, node, x, y, box) => ({
  x, y, ref: ref(target), tag: clip(tagOf(target), TAG_SHOWN_MAX), box: { x: box.x, y: box.y, width: box.width, height: box.height },
});

/** Why an element cannot be acted on, whatever is on top of it. */
const unfit = (node, enabled, editable) => {
  if (!isRendered(node)) return { error: 'element_hidden', reason: hiddenBecause(node), element: describeElement(node) };
  if (enabled && isDisabled(node)) return { error: 'element_disabled', element: describeElement(node) };
  if (editable && (hasAttribute(node, 'readonly') || hasToken(node, 'aria-readonly', 'true'))) {
    return { error: 'element_read_only', element: describeElement(node) };
  }
  return null;
};

const hiddenBecause = (node) => {
  for (let at = node, hops = 0; at && hops < TREE_DEPTH_MAX; at = flatParent(at), hops += 1) {
    const whose = at === node ? 'it' : 'an element around it';
    const style = computedStyle(at);
    if (style.display === 'none') return `${whose} has \`display: none\``;
    if (at === node && style.visibility !== 'visible') return `it has \`visibility: ${style.visibility}\``;
  }
  return 'it is not rendered';
};

/** Whether an event at this point of our viewport reaches the frame of a reference; for frames of other origins. */
const frameAt = (reference, x, y) => {
  const frame = element(reference);
  if (!frame) return { error: 'stale_ref' };
  const origin = contentOrigin(frame);
  const scale = outward(frame, { x: 0, y: 0, width: origin.scaleX, height: origin.scaleY });
  const start = outward(frame, { x: origin.x, y: origin.y, width: 0, height: 0 });
  const at = { x: start.x + x * scale.width, y: start.y + y * scale.height };
  const hit = topmostAt(at.x, at.y);
  if (hit && !wouldReach(frame, hit)) return { error: 'element_covered', element: describeElement(frame), by: describeElement(hit) };
  return at;
};

/** Scrolls the frame of a reference into view. */
const showFrame = (reference) => {
  const frame = element(reference);
  if (!frame) return false;
  const box = boxOf(frame);
  if (!box || !shownPart(frame, box)) scrollTo(frame, 'center');
  return true;
};
