// Changing what controls hold, and the ways of acting that do not go through the pointer.

const focusElement = uncurry(HTMLElement.prototype.focus);
const blurElement = uncurry(HTMLElement.prototype.blur);
const clickElement = uncurry(HTMLElement.prototype.click);
const setter = (prototype, name) => uncurry(Object.getOwnPropertyDescriptor(prototype, name).set);
const setInputValue = setter(HTMLInputElement.prototype, 'value');
const setTextareaValue = setter(HTMLTextAreaElement.prototype, 'value');
const setOptionSelected = setter(HTMLOptionElement.prototype, 'selected');
const optionsOf = getter(HTMLSelectElement.prototype, 'options');
const optionValue = getter(HTMLOptionElement.prototype, 'value');
const selectInput = uncurry(HTMLInputElement.prototype.select);
const selectTextarea = uncurry(HTMLTextAreaElement.prototype.select);
const setInputRange = uncurry(HTMLInputElement.prototype.setSelectionRange);
const setTextareaRange = uncurry(HTMLTextAreaElement.prototype.setSelectionRange);
const getSelectionOf = uncurry(Document.prototype.getSelection);
const isContentEditable = getter(HTMLElement.prototype, 'isContentEditable');

/** Kinds of input that are typed into; all others are set. */
const TYPED_INPUTS = new Set(['email', 'number', 'password', 'search', 'tel', 'text', 'url']);
const OPTIONS_MAX = 5000;

const announce = (node, ...types) => {
  for (const type of types) dispatch(node, new Event(type, { bubbles: true, composed: true }));
};

const isHtml = (node) => node instanceof HTMLElement || namespaceURI(node) === HTML;

/** The field that text goes into: the element, the control of a label, or the one field inside of the element. */
const fieldOf = (node) => {
  const tag = tagOf(node);
  if (tag === 'input' || tag === 'textarea' || tag === 'select') return node;
  if (isHtml(node) && isContentEditable(node)) return node;
  if (tag === 'label' && labelControl(node)) return labelControl(node);
  const inner = queryAll(node, 'input:not([type=hidden]), textarea, [contenteditable=""], [contenteditable=true]');
  return inner.length === 1 ? inner[0] : node;
};

const hasFocus = (node) => {
  const root = getRootNode(node);
  return (nodeType(root) === DOCUMENT ? activeElementOf(root) : nodeType(root) === FRAGMENT ? shadowActiveElement(root) : null) === node;
};

const takeFocus = (node) => {
  if (hasFocus(node)) return true;
  // The frames around it first: a field in a frame that is not focused gets no keys.
  for (const frame of framesAround(node).reverse()) focusElement(frame, { preventScroll: true });
  if (isHtml(node)) focusElement(node, { preventScroll: true });
  return hasFocus(node);
};

const refused = (node, error) => ({ error, element: describeElement(node) });

/** Gives an element the focus. */
const focusOn = ({ selector, within }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const fault = unfit(found.node, true, false);
  if (fault) return fault;
  scrollIfOutside(found.node);
  if (!takeFocus(found.node)) return refused(found.node, 'element_not_focusable');
  return { ref: ref(found.node) };
};

const scrollIfOutside = (node) => {
  const box = boxOf(node);
  if (!box || !shownPart(node, box)) scrollTo(node, 'center');
};

const isTextField = (node) => {
  const tag = tagOf(node);
  if (tag === 'textarea') return true;
  if (tag === 'input') return TYPED_INPUTS.has(inputType(node));
  return isHtml(node) && isContentEditable(node);
};

/** Puts the caret where typing goes on: at the end, or, with `all`, around everything that is there. */
const placeCaret = (node, all) => {
  const tag = tagOf(node);
  if (tag === 'input' || tag === 'textarea') {
    if (all) return void (tag === 'input' ? selectInput(node) : selectTextarea(node));
    const end = VALUE_READERS[tag](node).length;
    try {
      (tag === 'input' ? setInputRange : setTextareaRange)(node, end, end);
    } catch {
      // Fields for numbers and addresses have no positions: all is selected, then collapsed by the first key.
    }
    return;
  }
  const selection = getSelectionOf(ownerDocument(node));
  selection.selectAllChildren(node);
  if (!all) selection.collapseToEnd();
};

/** Gets a field ready for keys: shown, enabled, focused, the caret at its end. */
const prepareTyping = ({ selector, within }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const node = fieldOf(found.node);
  const fault = unfit(node, true, true);
  if (fault) return fault;
  scrollIfOutside(node);
  const focused = hasFocus(node);
  if (!takeFocus(node)) return refused(node, 'element_not_focusable');
  if (!focused && isTextField(node)) placeCaret(node, false);
  return { ref: ref(node) };
};

/** Sets what a field holds. `typed`: the text is to be inserted now, over what is selected. */
const prepareFill = ({ selector, within, text }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const node = fieldOf(found.node);
  const tag = tagOf(node);
  if (tag === 'select') return choose({ selector: ref(node), value: text });
  const fault = unfit(node, true, true);
  if (fault) return fault;
  scrollIfOutside(node);
  if (isTextField(node)) {
    if (!takeFocus(node)) return refused(node, 'element_not_focusable');
    placeCaret(node, true);
    return { ref: ref(node), typed: true };
  }
  if (tag !== 'input') return refused(node, 'element_not_editable');
  if (CHECKED_INPUTS.has(inputType(node)) || inputType(node) === 'file') return refused(node, 'element_not_editable');
  takeFocus(node);
  setInputValue(node, text);
  // A date or colour that is none leaves the field empty.
  if (text !== '' && VALUE_READERS.input(node) === '') return refused(node, 'value_refused');
  announce(node, 'input', 'change');
  return { ref: ref(node) };
};
const CHECKED_INPUTS = new Set(['checkbox', 'radio', 'button', 'submit', 'reset', 'image']);

/** Tells the page that a field was left with another value, as it expects after an edit. */
const finishFill = (reference) => {
  const node = element(reference);
  if (node) announce(node, 'change');
  return true;
};

/** Chooses an option of a select by its value, its text, or a part of its text. */
const choose = ({ selector, within, value }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  let node = found.node;
  if (tagOf(node) === 'option') {
    value = optionValue(node);
    node = closest(node, 'select') ?? node;
  }
  if (tagOf(node) === 'label' && labelControl(node)) node = labelControl(node);
  if (tagOf(node) !== 'select') return refused(node, 'element_not_select');
  const fault = unfit(node, true, false);
  if (fault) return fault;
  scrollIfOutside(node);
  const options = limited(optionsOf(node)).slice(0, OPTIONS_MAX);
  const wanted = folded(value);
  const option = options.find((one) => optionValue(one) === value) ??
    options.find((one) => collapse(optionText(one)) === collapse(value)) ??
    options.find((one) => folded(optionText(one)) === wanted) ??
    options.find((one) => wanted !== '' && folded(optionText(one)).includes(wanted));
  if (!option) {
    const there = options.slice(0, 20).map((one) => clip(collapse(optionText(one)), 60));
    return { ...refused(node, 'no_option'), options: there };
  }
  if (isDisabled(option)) return refused(option, 'element_disabled');
  takeFocus(node);
  if (!optionSelected(option) || hasAttribute(node, 'multiple')) {
    setOptionSelected(option, true);
    announce(node, 'input', 'change');
  }
  return { ref: ref(node), value: clip(optionValue(option), VALUE_SHOWN_MAX), text: clip(collapse(optionText(option)), VALUE_SHOWN_MAX) };
};

/** The control that is checked, whether it is, and whether it can be seen; a hidden one is acted on by its label. */
const checkState = ({ selector, within }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const node = tagOf(found.node) === 'label' && labelControl(found.node) ? labelControl(found.node) : found.node;
  const state = checkedOf(node, role(node)) ?? checkedOf(node, 'checkbox');
  if (!CHECKABLE.has(role(node))) return refused(node, 'element_not_checkable');
  if (isDisabled(node)) return refused(node, 'element_disabled');
  const shown = isRendered(node) && boxOf(node) !== null;
  const label = shown ? undefined : labelsOf(node).find((one) => isRendered(one) && boxOf(one) !== null);
  return { ref: ref(node), checked: state === 'true', at: shown ? ref(node) : label && ref(label) };
};

/** Clicks without the pointer: as a script would (`dom`), or with the events that a pointer causes (`dispatch`). */
const clickDirectly = ({ selector, within, mode, times = 1 }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const node = found.node;
  if (mode === 'dom' && isHtml(node)) {
    for (let done = 0; done < times; done += 1) clickElement(node);
    if (times === 2) sendMouse(node, ['dblclick'], 2);
    return { ref: ref(node) };
  }
  for (let done = 1; done <= times; done += 1) sendMouse(node, ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'], done);
  if (times === 2) sendMouse(node, ['dblclick'], 2);
  return { ref: ref(node) };
};

const sendMouse = (node, types, detail) => {
  const box = getBoundingClientRect(node);
  const view = viewOf(ownerDocument(node));
  const at = { bubbles: true, cancelable: true, composed: true, view, detail, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
  for (const type of types) {
    const event = type.startsWith('pointer') ? new PointerEvent(type, { ...at, pointerType: 'mouse', isPrimary: true }) : new MouseEvent(type, at);
    dispatch(node, event);
  }
};

const canScroll = (node, down, across) => {
  const style = computedStyle(node);
  const may = (overflow) => overflow === 'auto' || overflow === 'scroll' || overflow === 'overlay';
  return (down !== 0 && may(style.overflowY) && node.scrollHeight > node.clientHeight) ||
    (across !== 0 && may(style.overflowX) && node.scrollWidth > node.clientWidth);
};

/** Scrolls by so many pixels: the element or the nearest around it that can, or without one the page. */
const scrollFrom = ({ selector, within, across = 0, down = 0, pages = 0 }) => {
  const root = scopeOf(within);
  if (!root) return { error: 'stale_ref' };
  let start;
  if (selector === undefined) {
    start = scrollingElementOf(root) ?? documentElementOf(root);
    // Pages whose body does not scroll have something in their middle that does.
    if (start && start.scrollHeight <= start.clientHeight) start = elementFromPoint(root, innerWidth / 2, innerHeight / 2) ?? start;
  } else {
    const found = locate(selector, within);
    if (found.error) return found;
    start = found.node;
    if (across === 0 && down === 0 && pages === 0) {
      scrollTo(start, 'center');
      return scrolled(start, 0);
    }
  }
  const inner = innerHeight * 0.9;
  const distance = down + pages * inner;
  for (let at = start; at; at = flatParent(at)) {
    if (at !== scrollingElementOf(root) && at !== documentElementOf(root) && canScroll(at, distance, across)) {
      at.scrollBy({ left: across, top: distance, behavior: 'instant' });
      return scrolled(at);
    }
  }
  const page = scrollingElementOf(root) ?? documentElementOf(root);
  page?.scrollBy({ left: across, top: distance, behavior: 'instant' });
  return scrolled(page);
};

const scrolled = (node) => ({ x: node ? hundredths(node.scrollLeft) : 0, y: node ? hundredths(node.scrollTop) : 0 });
