// Values and states of controls.

const MASK = '\u2022'.repeat(8);
const SECRET_AUTOCOMPLETE = new Set(['current-password', 'new-password', 'one-time-code']);

const VALUE_READERS = table({
  input: getter(HTMLInputElement.prototype, 'value'),
  meter: getter(HTMLMeterElement.prototype, 'value'),
  output: getter(HTMLOutputElement.prototype, 'value'),
  progress: getter(HTMLProgressElement.prototype, 'value'),
  textarea: getter(HTMLTextAreaElement.prototype, 'value'),
});
const inputChecked = getter(HTMLInputElement.prototype, 'checked');
const inputIndeterminate = getter(HTMLInputElement.prototype, 'indeterminate');
const selectedOptions = getter(HTMLSelectElement.prototype, 'selectedOptions');
const selectedIndex = getter(HTMLSelectElement.prototype, 'selectedIndex');
const selectOption = uncurry(HTMLSelectElement.prototype.item);
const optionSelected = getter(HTMLOptionElement.prototype, 'selected');
const optionText = getter(HTMLOptionElement.prototype, 'text');

const DISABLEABLE = new Set(['button', 'fieldset', 'input', 'optgroup', 'option', 'select', 'textarea']);

/** Whether `:disabled` may hold for elements of a tree: an attribute of this name is what makes it so. */
const hasDisabled = (tree) => {
  if (nodeType(tree) === DOCUMENT) return documentQuery(tree, '[disabled]') !== null;
  return nodeType(tree) !== FRAGMENT || fragmentQueryAll(tree, '[disabled]').length > 0;
};

const isSecret = (element) => {
  const tag = tagOf(element);
  if (tag !== 'input' && tag !== 'textarea') return false;
  if (tag === 'input' && inputType(element) === 'password') return true;
  return attribute(element, 'autocomplete').toLowerCase().split(/\s+/).some((token) => SECRET_AUTOCOMPLETE.has(token));
};

/** What a text field holds; a mask for passwords. */
const textValue = (element) => {
  const read = VALUE_READERS[tagOf(element)];
  if (!read) return collapse(plainText(element));
  const value = String(read(element));
  return value !== '' && isSecret(element) ? MASK : value;
};

/** Text of the descendants without regard to style: the content of an editing host. */
const plainText = (element) => {
  let text = '';
  const visit = (node, depth) => {
    if (depth > NAME_DEPTH_MAX || text.length > NAME_LENGTH_MAX) return;
    if (nodeType(node) === TEXT) text += textData(node);
    else if (isElement(node)) {
      if (text !== '' && !isInline(node)) text += ' ';
      eachFlatChild(node, (child) => visit(child, depth + 1));
    }
  };
  visit(element, 0);
  return text;
};

const chosenText = (element) => {
  if (tagOf(element) === 'select') {
    if (!hasAttribute(element, 'multiple')) {
      const option = selectOption(element, selectedIndex(element));
      return option ? collapse(optionText(option)) : '';
    }
    const texts = [];
    for (const option of selectedOptions(element)) texts.push(collapse(optionText(option)));
    return texts.join(', ');
  }
  if (VALUE_READERS[tagOf(element)]) return textValue(element);
  const texts = [];
  for (const option of queryAll(element, '[role=option][aria-selected=true]')) texts.push(collapse(plainText(option)));
  return texts.join(', ');
};

/** What a range says of itself; a field that holds a secret stays one whatever role it is given. */
const rangeText = (element) => {
  if (isSecret(element)) return textValue(element);
  return attribute(element, 'aria-valuetext') || rangeValue(element);
};

const rangeValue = (element) => {
  const written = attribute(element, 'aria-valuenow');
  if (written) return written;
  const tag = tagOf(element);
  if (tag === 'progress' && !hasAttribute(element, 'value')) return '';
  return VALUE_READERS[tag] ? String(VALUE_READERS[tag](element)) : '';
};

/** The value that a snapshot shows; the empty string for what has none. */
const valueOf = (element, ownRole) => {
  if (ownRole === 'combobox' || (ownRole === 'listbox' && tagOf(element) === 'select')) return chosenText(element);
  if (TEXT_FIELDS.has(ownRole)) return textValue(element);
  if (ownRole === 'meter' || RANGES.has(ownRole)) return rangeText(element);
  if (tagOf(element) !== 'input') return '';
  if (ownRole === 'button' || ownRole === 'checkbox' || ownRole === 'radio' || ownRole === 'switch') return '';
  return textValue(element);
};

/** Whether the element is disabled: itself, by its fieldset, or by `aria-disabled` on it or around it. */
const isDisabled = (element) => {
  if (DISABLEABLE.has(tagOf(element)) && matches(element, ':disabled')) return true;
  for (let node = element; node; node = flatParent(node)) {
    if (hasToken(node, 'aria-disabled', 'true')) return true;
  }
  return false;
};

const TRISTATE = table({ true: 'true', false: 'false', mixed: 'mixed' });
const CHECKABLE = new Set(['checkbox', 'menuitemcheckbox', 'menuitemradio', 'radio', 'switch']);

/** `true`, `false` or `mixed` for what can be checked; undefined for all else. */
const checkedOf = (element, ownRole) => {
  if (!CHECKABLE.has(ownRole)) return undefined;
  const type = tagOf(element) === 'input' ? inputType(element) : '';
  if (type === 'checkbox' || type === 'radio') {
    return inputIndeterminate(element) ? 'mixed' : String(inputChecked(element));
  }
  return TRISTATE[attribute(element, 'aria-checked').toLowerCase()] ?? 'false';
};

const expandedOf = (element, ownRole) => {
  const written = attribute(element, 'aria-expanded').toLowerCase();
  if (written === 'true' || written === 'false') return written === 'true';
  if (ownRole !== 'DisclosureTriangle') return undefined;
  const details = closest(element, 'details');
  return details ? hasAttribute(details, 'open') : undefined;
};

const selectedOf = (element, ownRole) => {
  if (ownRole === 'option' && tagOf(element) === 'option') return optionSelected(element);
  if (!has(element, HAS_ARIA)) return undefined;
  const written = attribute(element, 'aria-selected').toLowerCase();
  return written === 'true' || written === 'false' ? written === 'true' : undefined;
};

const LEVEL_MAX = 99;

const levelOf = (element, ownRole) => {
  if (ownRole !== 'heading') return undefined;
  const written = Number(attribute(element, 'aria-level'));
  if (Number.isInteger(written) && written > 0) return Math.min(written, LEVEL_MAX);
  const native = /^h([1-6])$/.exec(localName(element));
  return native ? Number(native[1]) : 2;
};

/** The element with the focus, through shadow trees and frames of our origin; null when it is the page. */
const focusedElement = (document) => {
  let focused = activeElementOf(document);
  for (let hops = 0; focused && hops < NAME_DEPTH_MAX; hops += 1) {
    const shadow = shadowRootOf(focused);
    const inner = shadow ? shadowActiveElement(shadow) : null;
    const framed = inner ? null : frameDocument(focused);
    const next = inner ?? (framed ? activeElementOf(framed) : null);
    if (!next) break;
    focused = next;
  }
  if (!focused) return null;
  const tag = localName(focused);
  return tag === 'body' || tag === 'html' ? null : focused;
};
