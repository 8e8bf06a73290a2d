// References to elements: each node that was ever in a snapshot keeps its number as long as it is in the page.

const numbered = [];
// The first number: later documents of a tab go on where the one before ended, so that no reference means two things.
let numberBase = 0;
// `e`, and for a frame of another origin letters of its own, so that no reference means elements of two frames.
let refPrefix = 'e';

const refNumber = (node) => {
  const facts = known(node);
  if (facts.number < 0) {
    facts.number = numbered.length;
    numbered.push(node);
  }
  return numberBase + facts.number;
};

const startNumbersAt = (base, prefix) => {
  if (numbered.length > 0) return;
  if (Number.isInteger(base) && base > 0) numberBase = base;
  if (/^e[a-z]{0,4}$/.test(prefix)) refPrefix = prefix;
};

const REFERENCE = /^(e[a-z]{0,4})(\d{1,9})$/;

/** The node of a reference such as `e12`; null when it is unknown or has left the page. */
const nodeOf = (ref) => {
  const match = REFERENCE.exec(ref);
  const node = match && match[1] === refPrefix ? numbered[Number(match[2]) - numberBase] : undefined;
  return node && isConnected(node) ? node : null;
};

/** The element of a reference; for text the element around it. */
const element = (ref) => {
  const node = nodeOf(ref);
  if (!node) return null;
  if (nodeType(node) === TEXT) return flatParent(node);
  return nodeType(node) === DOCUMENT ? documentElementOf(node) : node;
};

/** The reference of a node, given now if it has none. */
const ref = (node) => refPrefix + refNumber(node);

/** An answer, with the number of the next reference: who reads it keeps references of documents apart by it. */
const told = async (answer) => ({ answer: await answer, refNext: numberBase + numbered.length });

/** Where the content of a frame begins, in the coordinates of the document around it, and how it is scaled. */
const contentOrigin = (frame) => {
  const box = getBoundingClientRect(frame);
  const style = computedStyle(frame);
  const scale = { x: box.width / offsetWidthOf(frame) || 1, y: box.height / offsetHeightOf(frame) || 1 };
  const inset = (side) => (parseFloat(style[`border${side}Width`]) || 0) + (parseFloat(style[`padding${side}`]) || 0);
  return { x: box.x + inset('Left') * scale.x, y: box.y + inset('Top') * scale.y, scaleX: scale.x, scaleY: scale.y };
};

/** The frames of our origin around a node, innermost first. */
const framesAround = (node) => {
  const frames = [];
  let view = viewOf(nodeType(node) === DOCUMENT ? node : ownerDocument(node));
  while (view && view !== window && view.frameElement && frames.length < FRAMES_DEEP_MAX) {
    frames.push(view.frameElement);
    view = view.parent;
  }
  return frames;
};
const FRAMES_DEEP_MAX = 32;

/** A rectangle of a node's document in the coordinates of the top document's viewport. */
const outward = (node, box) => {
  let { x, y, width, height } = box;
  for (const frame of framesAround(node)) {
    const origin = contentOrigin(frame);
    x = origin.x + x * origin.scaleX;
    y = origin.y + y * origin.scaleY;
    width *= origin.scaleX;
    height *= origin.scaleY;
  }
  return { x, y, width, height };
};

/** Box of an element in the coordinates of the top document's viewport, and of the page. */
const rect = (node) => {
  const { x, y, width, height } = outward(node, getBoundingClientRect(node));
  return { x, y, width, height, pageX: x + scrollX, pageY: y + scrollY };
};
