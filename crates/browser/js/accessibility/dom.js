// Reading the DOM without trusting it.
//
// A form whose inputs are named `firstChild` or `parentNode` answers those properties with the inputs, and a document
// does the same for `title` or `body`: named elements shadow the platform's own members, in isolated worlds too. So
// every access goes through the getters and methods of the prototypes, taken before they can be shadowed.

const uncurry = (fn) => Function.prototype.call.bind(fn);
const getter = (prototype, name) => uncurry(Object.getOwnPropertyDescriptor(prototype, name).get);

/** A table that only has what is written in it: pages choose the keys that are looked up. */
const table = (entries) => Object.freeze(Object.assign(Object.create(null), entries));

const nodeType = getter(Node.prototype, 'nodeType');
const firstChild = getter(Node.prototype, 'firstChild');
const firstElementChild = getter(Element.prototype, 'firstElementChild');
const nextSibling = getter(Node.prototype, 'nextSibling');
const parentNode = getter(Node.prototype, 'parentNode');
const ownerDocument = getter(Node.prototype, 'ownerDocument');
const connected = getter(Node.prototype, 'isConnected');
const getRootNode = uncurry(Node.prototype.getRootNode);
const contains = uncurry(Node.prototype.contains);
const textData = getter(CharacterData.prototype, 'data');
const localName = getter(Element.prototype, 'localName');
const namespaceURI = getter(Element.prototype, 'namespaceURI');
const shadowRootOf = getter(Element.prototype, 'shadowRoot');
const assignedSlot = getter(Element.prototype, 'assignedSlot');
const textAssignedSlot = getter(Text.prototype, 'assignedSlot');
const getAttribute = uncurry(Element.prototype.getAttribute);
const hasAttribute = uncurry(Element.prototype.hasAttribute);
const attributeNames = uncurry(Element.prototype.getAttributeNames);
const matches = uncurry(Element.prototype.matches);
const closest = uncurry(Element.prototype.closest);
const checkVisibility = uncurry(Element.prototype.checkVisibility);
const getBoundingClientRect = uncurry(Element.prototype.getBoundingClientRect);
const getClientRects = uncurry(Element.prototype.getClientRects);
const offsetWidthOf = getter(HTMLElement.prototype, 'offsetWidth');
const offsetHeightOf = getter(HTMLElement.prototype, 'offsetHeight');
const textContentOf = getter(Node.prototype, 'textContent');
const innerTextOf = getter(HTMLElement.prototype, 'innerText');
const outerHTMLOf = getter(Element.prototype, 'outerHTML');
const animationsOf = uncurry(Element.prototype.getAnimations);
const elementFromPoint = uncurry(Document.prototype.elementFromPoint);
const shadowElementFromPoint = uncurry(ShadowRoot.prototype.elementFromPoint);
const scrollIntoView = uncurry(Element.prototype.scrollIntoView);
const bodyOf = getter(Document.prototype, 'body');
const scrollingElementOf = getter(Document.prototype, 'scrollingElement');
const readyStateOf = getter(Document.prototype, 'readyState');
const evaluateXPath = uncurry(Document.prototype.evaluate);
const dispatch = uncurry(EventTarget.prototype.dispatchEvent);
const assignedNodes = uncurry(HTMLSlotElement.prototype.assignedNodes);
const query = uncurry(Element.prototype.querySelector);
const queryAll = uncurry(Element.prototype.querySelectorAll);
const documentQuery = uncurry(Document.prototype.querySelector);
const documentQueryAll = uncurry(Document.prototype.querySelectorAll);
const fragmentQueryAll = uncurry(DocumentFragment.prototype.querySelectorAll);
const styleSheetsOf = getter(Document.prototype, 'styleSheets');
const adoptedSheetsOf = getter(Document.prototype, 'adoptedStyleSheets');
const viewOf = getter(Document.prototype, 'defaultView');
const documentElementOf = getter(Document.prototype, 'documentElement');
const documentTitle = getter(Document.prototype, 'title');
const activeElementOf = getter(Document.prototype, 'activeElement');
const shadowActiveElement = getter(ShadowRoot.prototype, 'activeElement');
const elementById = uncurry(Document.prototype.getElementById);
const shadowElementById = uncurry(DocumentFragment.prototype.getElementById);
const computedStyle = globalThis.getComputedStyle.bind(globalThis);

const ELEMENT = 1;
const TEXT = 3;
const DOCUMENT = 9;
const FRAGMENT = 11;
const HTML = 'http://www.w3.org/1999/xhtml';
const SVG = 'http://www.w3.org/2000/svg';

/** Whether the node is in a document that is on the screen: not in one of a frame that was removed. */
const isConnected = (node) => connected(node) && viewOf(nodeType(node) === DOCUMENT ? node : ownerDocument(node)) !== null;

const isElement = (node) => nodeType(node) === ELEMENT;

const tagNow = (element) => {
  const name = localName(element);
  const namespace = namespaceURI(element);
  if (namespace === HTML) return name;
  return namespace === SVG ? 'svg:' + name : 'other:' + name;
};

/** Name of an element: the local name of HTML and `svg:`-prefixed that of SVG, so that tables need no namespaces. */
const tagOf = (element) => (moment === 0 ? tagNow(element) : (known(element).tag ??= tagNow(element)));

/** The attribute without white space around it; the empty string when it is absent. */
const attribute = (element, name) => {
  const value = getAttribute(element, name);
  return value === null ? '' : value.trim();
};

const hasToken = (element, name, token) => getAttribute(element, name)?.toLowerCase().trim() === token;

/** The element that contains the node on the screen: its slot if it is slotted, the host for the top of a shadow tree. */
const flatParent = (node) => {
  const slot = nodeType(node) === ELEMENT ? assignedSlot(node) : nodeType(node) === TEXT ? textAssignedSlot(node) : null;
  if (slot) return slot;
  const parent = parentNode(node);
  if (!parent) return null;
  if (nodeType(parent) === FRAGMENT) return parent.host ?? null;
  return nodeType(parent) === ELEMENT ? parent : null;
};

/** Calls `visit` with each child as it is on the screen: of the shadow tree, or those assigned to a slot. */
const eachFlatChild = (element, visit) => {
  const tag = tagOf(element);
  if (tag === 'details' && !hasAttribute(element, 'open')) {
    const summary = query(element, ':scope > summary');
    if (summary) visit(summary);
    return;
  }
  const shadow = shadowRootOf(element);
  if (!shadow && tag === 'slot') {
    const assigned = assignedNodes(element);
    if (assigned.length > 0) {
      for (const node of assigned) visit(node);
      return;
    }
  }
  for (let child = firstChild(shadow ?? element); child; child = nextSibling(child)) visit(child);
};

/** The element with this id in the node's own tree: ids do not cross shadow roots. */
const byId = (node, id) => {
  const root = getRootNode(node);
  if (nodeType(root) === DOCUMENT) return elementById(root, id);
  return nodeType(root) === FRAGMENT ? shadowElementById(root, id) : null;
};

/** The elements that an attribute lists by id, without those that do not exist. */
const referenced = (element, name) => {
  const value = getAttribute(element, name);
  if (!value) return [];
  const found = [];
  for (const id of value.split(/\s+/)) {
    const target = id && byId(element, id);
    if (target && !found.includes(target)) found.push(target);
  }
  return found;
};

/** The document inside an iframe when its origin is ours; null otherwise. */
const frameDocument = (frame) => {
  try {
    return FRAME_DOCUMENT[localName(frame)]?.(frame) ?? null;
  } catch {
    return null;
  }
};
const FRAME_DOCUMENT = table({
  iframe: getter(HTMLIFrameElement.prototype, 'contentDocument'),
  frame: getter(HTMLFrameElement.prototype, 'contentDocument'),
});

const WHITE_SPACE = /[\s\u200b\ufeff]+/g;
// Icon fonts draw glyphs at private code points; they say nothing.
const PRIVATE_USE = /[\ue000-\uf8ff]|[\u{f0000}-\u{ffffd}]|[\u{100000}-\u{10fffd}]/gu;
const UNTIDY = /[^\x20-\x7e]| {2}|^ | $/;

const isUntidy = (text) => text !== '' && UNTIDY.test(text);
const collapse = (text) => (isUntidy(text) ? text.replace(WHITE_SPACE, ' ').trim() : text);
/** The text as it is read: white space collapsed, glyphs of icon fonts left out. */
const tidy = (text) => (isUntidy(text) ? text.replace(PRIVATE_USE, '').replace(WHITE_SPACE, ' ').trim() : text);
/** At most `length` units of the text, which stays well-formed: half of a character is no JSON. */
const clip = (text, length) => {
  const kept = text.length <= length ? text : text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '') + '\u2026';
  return kept.isWellFormed() ? kept : kept.toWellFormed();
};

// What is known of a node: its number and its tag for good, the rest as long as the page does not change, which is within
// one walk or one `cached` call. `moment` tells these apart; without one nothing is kept.
let moment = 0;
let moments = 0;

class Known {
  number = -1;
  tag = undefined;
  moment = 0;
  traits = -1;
  visibility = -1;
  inline = -1;
  role = undefined;
  name = undefined;
}

const knowledge = new Map();
// The node that was asked about last, at this moment: most questions are about the same node as the one before.
let recent = null;
let recentFacts = null;

/** What is known of a node at this moment; to be asked only when there is one. */
const known = (node) => {
  if (node === recent) return recentFacts;
  let facts = knowledge.get(node);
  if (facts === undefined) {
    facts = new Known();
    facts.moment = moment;
    knowledge.set(node, facts);
  } else if (facts.moment !== moment) {
    facts.moment = moment;
    facts.traits = facts.visibility = facts.inline = -1;
    facts.role = facts.name = undefined;
  }
  recent = node;
  recentFacts = facts;
  return facts;
};

/** Facts about whole trees (documents and shadow trees), for one moment. */
const trees = new Map();
const rememberTree = (tree, question, answer) => {
  if (moment === 0) return answer(tree);
  let facts = trees.get(tree);
  if (facts === undefined) {
    facts = {};
    trees.set(tree, facts);
  }
  facts[question] ??= answer(tree);
  return facts[question];
};

/** Runs `work`, computing each role, name and visibility at most once. The page must not be changed by it. */
const cached = (work) => {
  if (moment !== 0) return work();
  moments += 1;
  moment = moments;
  recent = recentFacts = null;
  try {
    return work();
  } finally {
    moment = 0;
    recent = recentFacts = null;
    trees.clear();
    if (knowledge.size > knowledgeMax) forgetDetached();
  }
};

// How many nodes are known before those that left the page are looked for: often enough that a page which keeps
// replacing its content does not grow, seldom enough that it costs nothing.
const KNOWLEDGE_MAX = 20000;
let knowledgeMax = KNOWLEDGE_MAX;

/** Lets go of nodes that left the page, so that they can be freed; their numbers are not given again. */
const forgetDetached = () => {
  for (const [node, facts] of knowledge) {
    if (isConnected(node)) continue;
    if (facts.number >= 0) numbered[facts.number] = undefined;
    knowledge.delete(node);
  }
  knowledgeMax = Math.max(KNOWLEDGE_MAX, 2 * knowledge.size);
};

// Which attributes of interest an element has: one question instead of a dozen, most of which would be answered "no".
const HAS_ARIA = 1;
const HAS_TITLE = 2;
const HAS_ROLE = 4;
const HAS_DATA = 8;
const HAS_FOCUS = 16;
const HAS_INERT = 32;
const HAS_PLACEHOLDER = 64;
const HAS_CONSTRAINT = 128;
const TRAITS = table({ title: HAS_TITLE, role: HAS_ROLE, tabindex: HAS_FOCUS, contenteditable: HAS_FOCUS, onclick: HAS_FOCUS,
  inert: HAS_INERT, placeholder: HAS_PLACEHOLDER, required: HAS_CONSTRAINT, readonly: HAS_CONSTRAINT });

// By the attribute's name; pages choose the names, so there is a bound.
const TRAIT_NAMES_MAX = 1000;
const traitByName = new Map();

const traitOf = (named) => {
  let trait = traitByName.get(named);
  if (trait === undefined) {
    trait = named.startsWith('aria-') ? HAS_ARIA : named.startsWith('data-') ? HAS_DATA : TRAITS[named] ?? 0;
    if (traitByName.size < TRAIT_NAMES_MAX) traitByName.set(named, trait);
  }
  return trait;
};

const traitsNow = (element) => {
  let traits = 0;
  for (const named of attributeNames(element)) traits |= traitOf(named);
  return traits;
};

const traitsOf = (element) => {
  if (moment === 0) return traitsNow(element);
  const facts = known(element);
  if (facts.traits < 0) facts.traits = traitsNow(element);
  return facts.traits;
};

const has = (element, traits) => (traitsOf(element) & traits) !== 0;
