// The accessible name and description: "Accessible Name and Description Computation 1.2", letters as in its section 4.3.

/** Roles that are named by what they contain when nothing else names them. */
const NAMED_BY_CONTENT = new Set(['button', 'cell', 'checkbox', 'columnheader', 'comment', 'DisclosureTriangle',
  'gridcell', 'heading', 'link', 'menuitem', 'menuitemcheckbox', 'menuitemradio', 'option', 'radio', 'rowheader',
  'switch', 'tab', 'tooltip', 'treeitem']);

/** Roles that authors may not name; an `aria-label` on them is passed over. */
const NAME_PROHIBITED = new Set(['caption', 'code', 'deletion', 'emphasis', 'generic', 'insertion', 'mark', 'none',
  'paragraph', 'strong', 'subscript', 'superscript', 'term', 'time']);

const TEXT_FIELDS = new Set(['searchbox', 'textbox']);
const RANGES = new Set(['progressbar', 'scrollbar', 'slider', 'spinbutton']);
const BUTTON_LABELS = table({ submit: 'Submit', reset: 'Reset', image: 'Submit' });
const NAME_DEPTH_MAX = 64;
const NAME_LENGTH_MAX = 4096;

const LABELABLE = new Set(['button', 'input', 'meter', 'output', 'progress', 'select', 'textarea']);
const labelControl = getter(HTMLLabelElement.prototype, 'control');

/** The labels of a tree by their control. `control.labels` would search the whole tree for each control. */
const labelsByControl = (tree) => {
  const labels = new Map();
  for (const label of nodeType(tree) === DOCUMENT ? documentQueryAll(tree, 'label')
    : nodeType(tree) === FRAGMENT ? fragmentQueryAll(tree, 'label') : []) {
    // SVG may have elements of this name, too: they label nothing, and are asked nothing.
    const control = tagOf(label) === 'label' ? labelControl(label) : null;
    if (!control) continue;
    const others = labels.get(control);
    if (others) others.push(label);
    else labels.set(control, [label]);
  }
  return labels;
};

const NO_LABELS = [];

/** The label elements of a control, in document order. */
const labelsOf = (element) => (LABELABLE.has(tagOf(element))
  ? rememberTree(getRootNode(element), 'labels', labelsByControl).get(element) ?? NO_LABELS
  : NO_LABELS);

/** One computation: where it started from, what it has been through, how much it may still gather. */
const traversal = (origin, includeHidden) =>
  ({ origin, includeHidden, visited: new Set(), referenced: false, depth: 0, gathered: 0 });

const nameOf = (element) => {
  if (!has(element, HAS_ARIA | HAS_TITLE) && !NAMED_BY_CONTENT.has(role(element)) && !NATIVE_TEXT[tagOf(element)] &&
    !isPrompted(role(element)) && role(element) !== 'row') return '';
  return clip(tidy(textOf(element, traversal(element, false), true)), NAME_LENGTH_MAX);
};

/** The accessible name of an element; the empty string when it has none. */
const name = (element) => {
  if (moment === 0) return nameOf(element);
  const facts = known(element);
  return (facts.name ??= nameOf(element));
};

/** The accessible description: `aria-describedby`, `aria-description`, or a title that did not become the name. */
const description = (element) => {
  const targets = referenced(element, 'aria-describedby');
  if (targets.length > 0) {
    const text = collapse(targets.map((target) => referencedText(target, element, 0)).join(' '));
    if (text) return clip(text, NAME_LENGTH_MAX);
  }
  const written = attribute(element, 'aria-description') || attribute(element, 'title');
  return written === name(element) ? '' : clip(collapse(written), NAME_LENGTH_MAX);
};

/** The text that a reference to `target` stands for; hidden targets count (2A). */
const referencedText = (target, origin, depth) => {
  const hidden = !isRendered(target) || isAriaHidden(target);
  return textOf(target, { ...traversal(origin, hidden), referenced: true, depth: depth + 1 }, true);
};

/**
 * The text alternative of an element (steps 2A to 2I). `direct`: the element is the one asked for, or the target of a
 * reference, rather than a descendant met on the way.
 */
const textOf = (element, run, direct) => {
  // Met on its own way, the element adds nothing; a reference to itself is meant.
  if (!direct && element === run.origin) return '';
  if (run.visited.has(element) || run.depth > NAME_DEPTH_MAX || run.gathered > NAME_LENGTH_MAX) return '';
  run.visited.add(element);
  // 2A: what is hidden names nothing, unless it was referenced while hidden.
  if (!run.includeHidden && !direct && (!isRendered(element) || isHiddenByAria(element))) return '';
  // 2B: references, but not those of an element that was itself referenced.
  if (!run.referenced && has(element, HAS_ARIA)) {
    const targets = referenced(element, 'aria-labelledby');
    if (targets.length > 0) {
      const text = targets.map((target) => referencedText(target, run.origin, run.depth)).join(' ');
      if (collapse(text)) return text;
    }
  }
  const ownRole = role(element);
  // 2C: a control within another's label, or named as one, contributes its value.
  if (element !== run.origin) {
    const value = embeddedValue(element, ownRole);
    if (value !== null) return value;
  }
  // 2D
  const label = has(element, HAS_ARIA) ? attribute(element, 'aria-label') : '';
  if (label && !(direct && !run.referenced && NAME_PROHIBITED.has(ownRole))) return label;
  // 2E
  const native = nativeText(element, ownRole, run);
  if (native !== null && collapse(native)) return native;
  // 2F to 2H
  if (NAMED_BY_CONTENT.has(ownRole) || run.referenced || !direct || isGridRow(element, ownRole)) {
    const content = contentText(element, run);
    if (collapse(content)) return content;
  }
  // 2I
  if (direct && NAME_PROHIBITED.has(ownRole) && !run.referenced) return '';
  return attribute(element, 'title') || (isPrompted(ownRole) ? placeholderOf(element) : '');
};

const isHiddenByAria = (element) => has(element, HAS_ARIA) && hasToken(element, 'aria-hidden', 'true');

/** Roles of controls that a placeholder may name. */
const isPrompted = (ownRole) => TEXT_FIELDS.has(ownRole) || ownRole === 'combobox' || ownRole === 'spinbutton';

const isGridRow = (element, ownRole) => ownRole === 'row' && closest(element, '[role=grid], [role=treegrid]') !== null;

const placeholderOf = (element) => (has(element, HAS_PLACEHOLDER) ? attribute(element, 'placeholder') : '') ||
  (has(element, HAS_ARIA) ? attribute(element, 'aria-placeholder') : '');

/** What a control inside of another's label says; null for what is not a control. */
const embeddedValue = (element, ownRole) => {
  if (TEXT_FIELDS.has(ownRole)) return textValue(element);
  if (ownRole === 'combobox' || ownRole === 'listbox') return tagOf(element) === 'datalist' ? '' : chosenText(element);
  if (RANGES.has(ownRole)) return rangeText(element);
  return null;
};

/** What HTML and SVG provide to name this kind of element; null when they provide nothing. */
const nativeText = (element, ownRole, run) => {
  if (ownRole === 'none') return null;
  const tag = tagOf(element);
  const provide = NATIVE_TEXT[tag];
  return provide ? provide(element, run) : null;
};

const labelsText = (element, run) => {
  const labels = labelsOf(element);
  if (labels.length === 0) return null;
  const texts = [];
  for (const label of labels) {
    // A label that nobody sees is no label: here browsers depart from the letter of 2A.
    if (run.visited.has(label) || !isRendered(label)) continue;
    const visited = new Set(run.visited).add(element);
    texts.push(textOf(label, { ...run, includeHidden: false, visited, depth: run.depth + 1 }, false));
  }
  return texts.join(' ');
};

const childText = (tag) => (element, run) => {
  for (let child = firstChild(element); child; child = nextSibling(child)) {
    if (isElement(child) && tagOf(child) === tag) {
      return contentText(child, { ...run, visited: new Set(run.visited) });
    }
  }
  return null;
};

const inputText = (element, run) => {
  const type = inputType(element);
  const labelled = labelsText(element, run);
  if (labelled !== null && collapse(labelled)) return labelled;
  const fallback = BUTTON_LABELS[type];
  if (type === 'image') return attribute(element, 'alt') || attribute(element, 'value') || attribute(element, 'title') || fallback;
  if (type === 'button' || fallback !== undefined) return getAttribute(element, 'value') ?? fallback ?? null;
  return type === 'file' ? attribute(element, 'title') || 'Choose File' : null;
};

const altText = (element) => attribute(element, 'alt') || null;

const NATIVE_TEXT = table({
  abbr: (element) => attribute(element, 'title') || null,
  area: altText,
  button: labelsText,
  fieldset: childText('legend'),
  figure: childText('figcaption'),
  html: (element) => documentTitle(ownerDocument(element)),
  iframe: (element) => attribute(element, 'title') || null,
  img: altText,
  input: inputText,
  meter: labelsText,
  optgroup: (element) => attribute(element, 'label') || null,
  option: (element) => attribute(element, 'label') || optionText(element),
  output: labelsText,
  progress: labelsText,
  select: labelsText,
  'svg:svg': childText('svg:title'),
  'svg:a': (element) => attribute(element, 'xlink:title') || null,
  table: (element, run) => childText('caption')(element, run) ?? (attribute(element, 'summary') || null),
  textarea: labelsText,
});

/** The text within an element, with what CSS generates before and after it, and what it owns (2F). */
const contentText = (element, run) => {
  run.depth += 1;
  const generated = mayGenerate(element);
  let text = generated ? generatedText(element, '::before') : '';
  eachFlatChild(element, (child) => {
    text = append(text, child, run);
  });
  for (const owned of has(element, HAS_ARIA) ? referenced(element, 'aria-owns') : []) text = append(text, owned, run);
  if (generated) text += generatedText(element, '::after');
  run.depth -= 1;
  return text;
};

const append = (text, child, run) => {
  if (run.gathered > NAME_LENGTH_MAX) return text;
  const type = nodeType(child);
  if (type === TEXT) {
    const data = textData(child);
    run.gathered += data.length;
    return text + data;
  }
  if (type !== ELEMENT) return text;
  const part = tagOf(child) === 'br' ? ' ' : textOf(child, run, false);
  // Inline boxes continue the word before them; all others begin and end one.
  if (part === '') return isInline(child) ? text : text + ' ';
  return isInline(child) ? text + part : text + ' ' + part + ' ';
};

const INLINE_DISPLAYS = new Set(['inline', 'contents', 'ruby', 'ruby-text', '']);
const isInlineNow = (element) => INLINE_DISPLAYS.has(computedStyle(element).display);
const isInline = (element) => {
  if (moment === 0) return isInlineNow(element);
  const facts = known(element);
  if (facts.inline < 0) facts.inline = isInlineNow(element) ? 1 : 0;
  return facts.inline === 1;
};

/** Whether any style sheet of the tree may generate text; true when one of them cannot be read. */
const generatesText = (tree) => {
  if (nodeType(tree) !== DOCUMENT) return true;
  try {
    for (const sheet of [...styleSheetsOf(tree), ...adoptedSheetsOf(tree)]) {
      if (hasPseudoRule(sheet.cssRules, 0)) return true;
    }
    return false;
  } catch {
    return true;
  }
};

const hasPseudoRule = (rules, depth) => {
  if (depth > 8) return true;
  for (const rule of rules) {
    if (/:(before|after)/.test(rule.selectorText)) return true;
    const inner = rule.cssRules ?? rule.styleSheet?.cssRules;
    if (inner && inner.length > 0 && hasPseudoRule(inner, depth + 1)) return true;
  }
  return false;
};

/** Whether a style sheet may put text before or after what is in the element. */
const mayGenerate = (element) => tagOf(element) === 'q' || rememberTree(getRootNode(element), 'generates', generatesText);

/** Strings of the `content` property, or what stands after the slash as their alternative. */
const generatedText = (element, pseudo) => {
  const style = computedStyle(element, pseudo);
  const content = style.content;
  if (content === 'none' || content === 'normal' || content === '' || style.display === 'none') return '';
  const [shown, alternative] = splitAlternative(content);
  const text = (alternative ?? shown)
    .replace(/attr\(([\w-]+)\)/g, (_, named) => JSON.stringify(getAttribute(element, named) ?? ''));
  const strings = text.match(/"(?:[^"\\]|\\.)*"/g) ?? [];
  const joined = strings.map((string) => string.slice(1, -1).replace(/\\(.)/g, '$1')).join('');
  return joined && !INLINE_DISPLAYS.has(style.display) ? ' ' + joined + ' ' : joined;
};

/** Parts before and after the slash that stands outside of quotes. */
const splitAlternative = (content) => {
  let quoted = false;
  for (let index = 0; index < content.length; index += 1) {
    if (content[index] === '\\') index += 1;
    else if (content[index] === '"') quoted = !quoted;
    else if (content[index] === '/' && !quoted) return [content.slice(0, index), content.slice(index + 1)];
  }
  return [content, undefined];
};
