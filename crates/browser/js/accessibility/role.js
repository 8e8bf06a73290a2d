// The role of an element: WAI-ARIA 1.2 for the explicit one, HTML-AAM for the implicit one.
//
// Where ARIA has no role for an element, the name is the one that Chrome's accessibility tree gives it (`Iframe`,
// `ColorWell`, …): clients of snapshots know those.

/** Every role that an author may write; all others are passed over. */
const ARIA_ROLES = new Set(
  ('alert alertdialog application article banner blockquote button caption cell checkbox code columnheader combobox ' +
    'comment complementary contentinfo definition deletion dialog directory document emphasis feed figure form ' +
    'generic grid gridcell group heading image img insertion link list listbox listitem log main mark marquee math ' +
    'menu menubar menuitem menuitemcheckbox menuitemradio meter navigation none note option paragraph presentation ' +
    'progressbar radio radiogroup region row rowgroup rowheader scrollbar search searchbox sectionfooter ' +
    'sectionheader separator slider spinbutton status strong subscript suggestion superscript switch tab table ' +
    'tablist tabpanel term textbox time timer toolbar tooltip tree treegrid treeitem').split(' '),
);
const SYNONYMS = table({ img: 'image', presentation: 'none', directory: 'list' });

/** Attributes that make an element known to assistive technology even if it says `role="none"`. */
const GLOBAL_ARIA = ['aria-atomic', 'aria-busy', 'aria-controls', 'aria-current', 'aria-describedby',
  'aria-description', 'aria-details', 'aria-dropeffect', 'aria-flowto', 'aria-grabbed', 'aria-keyshortcuts',
  'aria-label', 'aria-labelledby', 'aria-live', 'aria-owns', 'aria-relevant', 'aria-roledescription'];

const INPUT_ROLES = table({
  button: 'button', checkbox: 'checkbox', color: 'ColorWell', date: 'Date', 'datetime-local': 'DateTime',
  email: 'textbox', file: 'button', image: 'button', month: 'DateTime', number: 'spinbutton', password: 'textbox',
  radio: 'radio', range: 'slider', reset: 'button', search: 'searchbox', submit: 'button', tel: 'textbox',
  text: 'textbox', time: 'InputTime', url: 'textbox', week: 'DateTime', hidden: 'none',
});
const LISTABLE_INPUTS = new Set(['email', 'search', 'tel', 'text', 'url']);

/** Elements whose role does not depend on anything. What is missing here and below is generic. */
const SIMPLE_ROLES = table({
  abbr: 'Abbr', address: 'group', article: 'article', audio: 'Audio', blockquote: 'blockquote', button: 'button',
  canvas: 'Canvas', caption: 'caption', code: 'code', datalist: 'listbox', dd: 'definition', del: 'deletion',
  details: 'group', dfn: 'term', dialog: 'dialog', dl: 'DescriptionList', dt: 'term', em: 'emphasis',
  embed: 'EmbeddedObject', fieldset: 'group', figcaption: 'Figcaption', figure: 'figure', frame: 'Iframe',
  h1: 'heading', h2: 'heading', h3: 'heading', h4: 'heading', h5: 'heading', h6: 'heading', hgroup: 'group',
  hr: 'separator', html: 'RootWebArea', iframe: 'Iframe', ins: 'insertion', legend: 'Legend', main: 'main',
  mark: 'mark', menu: 'list', meter: 'meter', nav: 'navigation', object: 'PluginObject', ol: 'list',
  optgroup: 'group', option: 'option', output: 'status', p: 'paragraph', progress: 'progressbar', ruby: 'Ruby',
  s: 'deletion', search: 'search', strong: 'strong', sub: 'subscript', sup: 'superscript', table: 'table',
  tbody: 'rowgroup', textarea: 'textbox', tfoot: 'rowgroup', thead: 'rowgroup', time: 'time', ul: 'list',
  video: 'Video', 'svg:svg': 'image', 'other:math': 'math',
});

/** Inside of these a header or footer belongs to the section, not to the page. */
const SECTIONING = 'article, aside, main, nav, section, [role=article], [role=complementary], [role=main], ' +
  '[role=navigation], [role=region]';

const CONDITIONAL_ROLES = table({
  a: (element) => (hasAttribute(element, 'href') ? 'link' : 'generic'),
  area: (element) => (hasAttribute(element, 'href') ? 'link' : 'generic'),
  aside: (element) => (isScopedToSection(element, 'article, aside, nav, section') && !isNamed(element)
    ? 'generic' : 'complementary'),
  footer: (element) => (isScopedToSection(element, SECTIONING) ? 'sectionfooter' : 'contentinfo'),
  form: () => 'form',
  header: (element) => (isScopedToSection(element, SECTIONING) ? 'sectionheader' : 'banner'),
  img: (element) => (getAttribute(element, 'alt') === '' && !isNamed(element) ? 'none' : 'image'),
  input: (element) => {
    const type = inputType(element);
    if (LISTABLE_INPUTS.has(type) && hasAttribute(element, 'list')) return 'combobox';
    return INPUT_ROLES[type];
  },
  li: (element) => {
    const parent = flatParent(element);
    return parent && role(parent) === 'list' ? 'listitem' : 'generic';
  },
  section: (element) => (isNamed(element) ? 'region' : 'generic'),
  select: (element) => (hasAttribute(element, 'multiple') || Number(attribute(element, 'size')) > 1
    ? 'listbox' : 'combobox'),
  summary: (element) => {
    const parent = flatParent(element);
    const details = parent && tagOf(parent) === 'slot' ? flatParent(parent) : parent;
    return details && tagOf(details) === 'details' && query(details, ':scope > summary') === element
      ? 'DisclosureTriangle' : 'generic';
  },
  td: (element) => {
    const table = tableRole(element);
    return table === 'grid' || table === 'treegrid' ? 'gridcell' : table === 'table' ? 'cell' : 'generic';
  },
  th: (element) => {
    if (!tableRole(element)) return 'generic';
    const scope = attribute(element, 'scope').toLowerCase();
    if (scope === 'row' || scope === 'rowgroup') return 'rowheader';
    if (scope === 'col' || scope === 'colgroup') return 'columnheader';
    return isRowHeader(element) ? 'rowheader' : 'columnheader';
  },
  tr: (element) => (tableRole(element) ? 'row' : 'generic'),
  'svg:a': (element) => (hasAttribute(element, 'href') || hasAttribute(element, 'xlink:href') ? 'link' : 'generic'),
});

/** Roles whose children take no part when the parent is declared to be none. */
const REQUIRED_OWNER = table({
  li: 'ul, ol, menu', dt: 'dl', dd: 'dl', tr: 'table', td: 'table', th: 'table', thead: 'table', tbody: 'table',
  tfoot: 'table', caption: 'table',
});

const inputType = (element) => {
  const type = (getAttribute(element, 'type') ?? '').toLowerCase();
  return Object.hasOwn(INPUT_ROLES, type) ? type : 'text';
};

const isNamed = (element) =>
  has(element, HAS_ARIA | HAS_TITLE) && (attribute(element, 'aria-label') !== '' || referenced(element, 'aria-labelledby').length > 0 ||
  attribute(element, 'title') !== '');

const isScopedToSection = (element, sections) => {
  const parent = parentNode(element);
  return parent !== null && isElement(parent) && closest(parent, sections) !== null;
};

const tableRole = (element) => {
  const table = closest(element, 'table');
  if (!table) return null;
  const role = roleOf(table);
  return role === 'table' || role === 'grid' || role === 'treegrid' ? role : null;
};

/** A header cell without a scope heads its row when data cells follow it there and none stands before it. */
const isRowHeader = (element) => {
  const row = parentNode(element);
  if (!row || tagOf(row) !== 'tr') return false;
  const section = parentNode(row);
  if (section && isElement(section) && tagOf(section) === 'thead') return false;
  for (let cell = firstChild(row); cell; cell = nextSibling(cell)) {
    if (isElement(cell) && tagOf(cell) === 'td') return true;
  }
  return false;
};

const isEditingHost = (element) => {
  const value = getAttribute(element, 'contenteditable');
  return value !== null && value.toLowerCase() !== 'false';
};

const FOCUSABLE_TAGS = new Set(['button', 'iframe', 'input', 'select', 'summary', 'textarea']);

/** Whether the element takes the focus by keyboard or pointer, leaving aside whether it is visible. */
const isFocusable = (element) => {
  if (hasAttribute(element, 'tabindex') && Number.isInteger(Number(attribute(element, 'tabindex')))) return true;
  if (isEditingHost(element)) return true;
  const tag = tagOf(element);
  if (tag === 'a' || tag === 'area') return hasAttribute(element, 'href');
  if (tag === 'audio' || tag === 'video') return hasAttribute(element, 'controls');
  if (!FOCUSABLE_TAGS.has(tag) || (tag === 'input' && inputType(element) === 'hidden')) return false;
  return !isDisabled(element);
};

const explicitRole = (element) => {
  if (!has(element, HAS_ROLE)) return null;
  const value = getAttribute(element, 'role');
  if (!value) return null;
  for (const token of value.toLowerCase().split(/\s+/)) {
    if (!ARIA_ROLES.has(token)) continue;
    const role = SYNONYMS[token] ?? token;
    // These are landmarks only with a name (ARIA 1.2); an author who omits it falls back to what the element is.
    if ((role === 'region' || role === 'form') && !isNamed(element)) continue;
    if (role === 'none' && (isFocusable(element) || GLOBAL_ARIA.some((name) => hasAttribute(element, name)))) continue;
    return role;
  }
  return null;
};

const implicitRole = (element, tag) => {
  const simple = SIMPLE_ROLES[tag];
  if (simple) return simple;
  const conditional = CONDITIONAL_ROLES[tag];
  const role = conditional ? conditional(element) : 'generic';
  return role === 'generic' && isEditingHost(element) ? 'textbox' : role;
};

const roleOf = (element) => {
  const explicit = explicitRole(element);
  if (explicit) return explicit;
  const tag = tagOf(element);
  const owner = REQUIRED_OWNER[tag];
  if (owner) {
    const list = closest(element, owner);
    if (list && explicitRole(list) === 'none') return 'none';
  }
  return implicitRole(element, tag);
};

/** The role of an element; `generic` for containers without meaning, `none` for what is presentational. */
const role = (element) => {
  if (moment === 0) return roleOf(element);
  const facts = known(element);
  return (facts.role ??= roleOf(element));
};
