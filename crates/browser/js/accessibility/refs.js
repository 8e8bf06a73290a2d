// References to elements: each node that was ever in a snapshot keeps its number as long as it is in the page.

const numbered = [];
// The first number: later documents of a tab go on where the one before ended, so that no reference means two things.
let numberBase = 0;

const refNumber = (node) => {
  const facts = known(node);
  if (facts.number < 0) {
    facts.number = numbered.length;
    numbered.push(node);
  }
  return numberBase + facts.number;
};

const startNumbersAt = (base) => {
  if (numbered.length === 0 && Number.isInteger(base) && base > 0) numberBase = base;
};

/** The element of a reference such as `e12`; null when it is unknown or has left the page. */
const element = (ref) => {
  const match = /^e(\d{1,9})$/.exec(ref);
  const node = match ? numbered[Number(match[1]) - numberBase] : undefined;
  if (!node || !isConnected(node)) return null;
  if (nodeType(node) === TEXT) return flatParent(node);
  return nodeType(node) === DOCUMENT ? documentElementOf(node) : node;
};

/** The reference of a node, given now if it has none. */
const ref = (node) => 'e' + refNumber(node);

/** The first element that a selector names: a reference (`e5`), or CSS, with or without `css:`; null if none. */
const find = (selector) => {
  if (/^e\d+$/.test(selector)) return element(selector);
  return documentQuery(document, selector.startsWith('css:') ? selector.slice(4) : selector);
};

const findChecked = (selector) => {
  try {
    const node = find(selector);
    return node ? { node } : { error: 'not_found' };
  } catch {
    return { error: 'invalid_selector' };
  }
};

/** Box of an element in the coordinates of the top document's viewport, and of the page. */
const rect = (node) => {
  const box = getBoundingClientRect(node);
  let x = box.x;
  let y = box.y;
  for (let view = ownerDocument(node).defaultView; view && view !== window && view.frameElement; view = view.parent) {
    const frame = view.frameElement;
    const outer = getBoundingClientRect(frame);
    x += outer.x + frame.clientLeft;
    y += outer.y + frame.clientTop;
  }
  return { x, y, width: box.width, height: box.height, pageX: x + scrollX, pageY: y + scrollY };
};
