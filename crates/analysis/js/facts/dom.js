// Reading the DOM without trusting it: a form's fields shadow the form's own members (`<input name="children">`), so
// every access to an element that may be a form goes through the prototypes. `<img name=body>` shadows the document's.

const uncurry = (fn) => Function.prototype.call.bind(fn);
const getter = (prototype, name) => uncurry(Object.getOwnPropertyDescriptor(prototype, name).get);

const bodyOf = getter(Document.prototype, "body");
const headOf = getter(Document.prototype, "head");
const titleOf = getter(Document.prototype, "title");
const formsOf = getter(Document.prototype, "forms");
const scriptsOf = getter(Document.prototype, "scripts");
const nodeTypeOf = getter(Node.prototype, "nodeType");
const firstChildOf = getter(Node.prototype, "firstChild");
const previousSiblingOf = getter(Node.prototype, "previousSibling");
const nextSiblingOf = getter(Node.prototype, "nextSibling");
const parentNodeOf = getter(Node.prototype, "parentNode");
const parentElementOf = getter(Node.prototype, "parentElement");
const textContentOf = getter(Node.prototype, "textContent");
const childNodesOf = getter(Node.prototype, "childNodes");
const rootOf = uncurry(Node.prototype.getRootNode);
const contains = uncurry(Node.prototype.contains);
const tagOf = getter(Element.prototype, "localName");
const childrenOf = getter(Element.prototype, "children");
const childCountOf = getter(Element.prototype, "childElementCount");
const firstElementOf = getter(Element.prototype, "firstElementChild");
const nextElementOf = getter(Element.prototype, "nextElementSibling");
const previousElementOf = getter(Element.prototype, "previousElementSibling");
const classesOf = getter(Element.prototype, "classList");
const slotOf = getter(Element.prototype, "assignedSlot");
const shadowOf = getter(Element.prototype, "shadowRoot");
const attributeOf = uncurry(Element.prototype.getAttribute);
const hasAttribute = uncurry(Element.prototype.hasAttribute);
const hasAttributes = uncurry(Element.prototype.hasAttributes);
const closestOf = uncurry(Element.prototype.closest);
const matches = uncurry(Element.prototype.matches);
const query = uncurry(Element.prototype.querySelector);
const queryAll = uncurry(Element.prototype.querySelectorAll);
const byTag = uncurry(Element.prototype.getElementsByTagName);
const byClass = uncurry(Element.prototype.getElementsByClassName);
const rectOf = uncurry(Element.prototype.getBoundingClientRect);
const rectsOf = uncurry(Element.prototype.getClientRects);
const checkVisibility = uncurry(Element.prototype.checkVisibility);
const specifiedOf = uncurry(Element.prototype.computedStyleMap);
const innerTextOf = (el) => (el instanceof HTMLElement ? innerText(el) : textContentOf(el)) ?? "";
const innerText = getter(HTMLElement.prototype, "innerText");
