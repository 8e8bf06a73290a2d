// One walk over the flat tree, from which a snapshot is made.

const NODES_MAX = 20000;
const VISITS_MAX = 200000;
const TREE_DEPTH_MAX = 1000;
const WALK_MS_MAX = 5000;
const NAME_SHOWN_MAX = 500;
const VALUE_SHOWN_MAX = 500;
const TEXT_SHOWN_MAX = 1000;
const ATTRIBUTE_SHOWN_MAX = 200;
const URL_SHOWN_MAX = 2000;
const TAG_SHOWN_MAX = 60;
/** Characters that one walk returns; what a page may say at most, however many nodes it says it with. */
const LENGTH_MAX = 4_000_000;

/** Roles of what can be acted on. */
const INTERACTIVE_ROLES = new Set(['button', 'checkbox', 'ColorWell', 'combobox', 'Date', 'DateTime',
  'DisclosureTriangle', 'Iframe', 'InputTime', 'link', 'listbox', 'menuitem', 'menuitemcheckbox', 'menuitemradio',
  'option', 'radio', 'scrollbar', 'searchbox', 'slider', 'spinbutton', 'switch', 'tab', 'textbox', 'treeitem']);
/** Roles that say where one is; kept among the interactive ones when they have a name. */
const CONTEXT_ROLES = new Set(['caption', 'cell', 'columnheader', 'figure', 'heading', 'image', 'rowheader']);
/** Roles whose inside is fully told by their name and value. */
const OPAQUE_ROLES = new Set(['Audio', 'Canvas', 'EmbeddedObject', 'image', 'math', 'meter', 'progressbar', 'PluginObject',
  'scrollbar', 'searchbox', 'separator', 'slider', 'spinbutton', 'Video']);
/** Roles inside of which only what can be acted on is worth a node of its own. */
const QUIET_ROLES = new Set(['button', 'checkbox', 'DisclosureTriangle', 'link', 'menuitemcheckbox', 'menuitemradio',
  'option', 'radio', 'switch', 'tab', 'textbox']);
/** Roles that are nothing without content. */
const HOLLOW_ROLES = new Set(['article', 'banner', 'caption', 'cell', 'code', 'complementary', 'contentinfo', 'definition',
  'deletion', 'DescriptionList', 'emphasis', 'Figcaption', 'figure', 'form', 'group', 'insertion', 'Legend', 'list',
  'listitem', 'main', 'mark', 'navigation', 'paragraph', 'region', 'row', 'rowgroup', 'search', 'sectionfooter',
  'sectionheader', 'status', 'strong', 'subscript', 'superscript', 'table', 'term', 'time']);
/** Elements that do not interrupt the text around them. */
const PHRASING = new Set(['a', 'b', 'bdi', 'bdo', 'big', 'cite', 'data', 'font', 'i', 'kbd', 'label', 'q', 'samp',
  'slot', 'small', 'span', 'tt', 'u', 'var', 'wbr']);
const TEST_IDS = ['data-testid', 'data-test-id', 'data-test', 'data-cy', 'data-qa'];

const DISABLED = 1;
const FOCUSED = 2;
const HIDDEN = 4;
const REQUIRED = 8;
const INVALID = 16;
const READ_ONLY = 32;
const IN_VIEWPORT = 64;
/** The name is the text of the control's label. */
const LABELLED = 128;
/** What a reader loses last when nodes have to be left out: what can be acted on, then what tells where one is. */
const ACTIONABLE = 256;
const CONTEXT = 512;

/** Whether a person would act on the element: a control, a link, something focusable or with a click handler. */
const interactive = (node) => {
  const ownRole = role(node);
  return INTERACTIVE_ROLES.has(ownRole) || ((ownRole === 'generic' || ownRole === 'none') && isActionable(node));
};

/** Whether the element itself keeps what is in it from assistive technology. */
const isLeftOut = (node) => has(node, HAS_ARIA | HAS_INERT) && (hasToken(node, 'aria-hidden', 'true') || hasAttribute(node, 'inert'));

const isAriaDisabled = (node) => has(node, HAS_ARIA) && hasToken(node, 'aria-disabled', 'true');

const isActionable = (node) => has(node, HAS_FOCUS) && ((isFocusable(node) && attribute(node, 'tabindex') !== '-1') || hasAttribute(node, 'onclick'));

class Walk {
  constructor(options) {
    this.interactiveOnly = options.filter === 'interactive';
    this.depthMax = Number.isInteger(options.depth) && options.depth >= 0 ? options.depth : Infinity;
    this.boxes = options.boxes === true;
    this.deadline = performance.now() + WALK_MS_MAX;
    this.nodesMax = Math.min(options.nodesMax ?? NODES_MAX, NODES_MAX);
    this.visits = 0;
    this.visitsMax = VISITS_MAX;
    this.length = 0;
    this.truncated = false;
    this.nodes = [];
    this.roles = new Map();
    this.tags = new Map();
    this.focused = null;
    this.offset = { x: 0, y: 0 };
    this.clearText();
  }

  document(document, depth, level = 0) {
    const modal = modalDialog(document);
    const root = documentElementOf(document);
    if (!root) return;
    this.element(modal ?? root, { ...OUTERMOST, depth, level });
    this.flushText();
  }

  /** Visits the first element that a selector names; says what came of it. */
  matching(selector, within) {
    const found = locate(selector, within);
    if (found.error) return found.error === 'invalid_selector' ? 'invalid_selector' : 'not_found';
    this.element(found.node, OUTERMOST);
    this.flushText();
    return 'ok';
  }

  /** Visits an element. `cover`: the name around it that already tells its text; `level`: how deep in the DOM. */
  element(node, around) {
    if (!this.mayVisit(around.level)) return;
    const tag = tagOf(node);
    if (NEVER_RENDERED.has(tag) || isLeftOut(node)) return;
    const rendered = isRendered(node);
    if (!rendered && !checkVisibility(node) && computedStyle(node).display !== 'contents') return;
    if (tag === 'br') {
      this.text += ' ';
      return;
    }
    const ownRole = role(node);
    const meaningless = ownRole === 'generic' || ownRole === 'none';
    if (!rendered || tag === 'html' || (meaningless && !isActionable(node))) {
      this.container(node, tag, around);
    } else {
      this.meaningful(node, tag, ownRole, around);
    }
  }

  mayVisit(level) {
    this.visits += 1;
    if (this.visits % 256 === 0 && performance.now() > this.deadline) this.visitsMax = 0;
    if (this.visits <= this.visitsMax && level <= TREE_DEPTH_MAX && this.nodes.length < this.nodesMax &&
      this.length <= LENGTH_MAX) return true;
    this.truncated = true;
    return false;
  }

  /** An element that is only a container: its text joins the text around it if it is set in line. */
  container(node, tag, around) {
    const cover = tag === 'label' ? this.labelCover(node, around.cover) : around.cover;
    const within = { ...around, cover, level: around.level + 1, disabled: around.disabled || isAriaDisabled(node) };
    const flows = PHRASING.has(tag) && cover === around.cover;
    if (flows) this.breakWord(node);
    else this.flushText();
    this.children(node, within);
    if (flows) this.breakWord(node);
    else this.flushText();
  }

  /** The text of a label is told by the name of its control. */
  labelCover(label, cover) {
    const control = labelControl(label);
    return control && isRendered(control) ? name(control) : cover;
  }

  meaningful(node, tag, ownRole, around) {
    const acts = INTERACTIVE_ROLES.has(ownRole) || ownRole === 'generic' || ownRole === 'none';
    const disabled = around.disabled || isAriaDisabled(node) ||
      (DISABLEABLE.has(tag) && rememberTree(getRootNode(node), 'disabled', hasDisabled) && matches(node, ':disabled'));
    this.flushText();
    let depth = around.depth;
    let cover = around.cover;
    const own = this.nodes.length;
    if (!around.quiet || acts) {
      const shown = ownRole === 'none' ? 'generic' : ownRole;
      const ownName = shown === 'generic' ? genericName(node) : name(node);
      if (NAMED_BY_CONTENT.has(ownRole) || shown === 'generic') cover = ownName;
      if (this.wants(shown, ownName)) {
        this.push(node, tag, shown, ownName, depth, acts && disabled);
        depth += 1;
      }
    }
    if (tag === 'iframe' || tag === 'frame') {
      this.frame(node, { ...around, depth });
      return;
    }
    if ((OPAQUE_ROLES.has(ownRole) && tag !== 'svg:svg') || depth > this.depthMax) return;
    if (ownRole === 'option' && isToldByName(node, tag, cover)) return;
    const editable = ownRole === 'textbox';
    if (editable && tag !== 'textarea' && tag !== 'input') cover = collapse(plainText(node));
    else if (editable) return;
    const quiet = around.quiet || QUIET_ROLES.has(ownRole) || tag === 'svg:svg';
    this.children(node, { depth, cover, quiet, disabled, level: around.level + 1 });
    this.flushText();
    this.dropIfEmpty(own, ownRole);
  }

  /** A container that turned out to hold nothing says nothing either. */
  dropIfEmpty(own, ownRole) {
    if (this.nodes.length !== own + 1 || INTERACTIVE_ROLES.has(ownRole) || ownRole === 'generic') return;
    const [, , , ownName, , , details] = this.nodes[own];
    if (ownName === '' && details === undefined && HOLLOW_ROLES.has(ownRole)) this.nodes.pop();
  }

  /** Children where they stand: what `aria-owns` lists elsewhere is told there, once. */
  children(node, within) {
    eachFlatChild(node, (child) => {
      const type = nodeType(child);
      if (type === ELEMENT) this.element(child, within);
      else if (type === TEXT && !this.interactiveOnly) this.appendText(child, node, within);
    });
  }

  wants(ownRole, ownName) {
    if (!this.interactiveOnly) return true;
    return INTERACTIVE_ROLES.has(ownRole) || ownRole === 'generic' || (ownName !== '' && CONTEXT_ROLES.has(ownRole));
  }

  push(node, tag, ownRole, ownName, depth, disabled) {
    let flags = 0;
    if (disabled) flags |= DISABLED;
    if (node === this.focused) flags |= FOCUSED;
    if (tag !== 'input' && isTransparent(node)) flags |= HIDDEN;
    const details = {};
    flags |= this.describe(node, tag, ownRole, ownName, details);
    if (INTERACTIVE_ROLES.has(ownRole)) {
      flags |= constraints(node);
    }
    if (this.boxes && this.box(getBoundingClientRect(node), details)) flags |= IN_VIEWPORT;
    this.emit(node, depth, ownRole, ownName, tag, flags, details);
  }

  emit(node, depth, ownRole, ownName, tag, flags, details, lengthMax = NAME_SHOWN_MAX) {
    const shown = clip(ownName, lengthMax);
    const tier = INTERACTIVE_ROLES.has(ownRole) || ownRole === 'generic' ? ACTIONABLE
      : CONTEXT_ROLES.has(ownRole) || ownRole === 'RootWebArea' ? CONTEXT : 0;
    const row = [refNumber(node), depth, index(this.roles, ownRole), shown, index(this.tags, tag), flags | tier];
    let any = false;
    for (const key in details) {
      any = true;
      if (typeof details[key] === 'string') this.length += details[key].length;
    }
    if (any) row.push(details);
    this.length += shown.length;
    this.nodes.push(row);
  }

  /** Notes attributes, value and states, each only when there is something to say; returns further flags. */
  describe(node, tag, ownRole, ownName, details) {
    let flags = 0;
    const put = (key, value, length = ATTRIBUTE_SHOWN_MAX) => {
      if (value !== '' && value !== undefined) details[key] = typeof value === 'string' ? clip(value, length) : value;
    };
    if (has(node, HAS_TITLE)) put('title', attribute(node, 'title'));
    for (const testId of has(node, HAS_DATA) ? TEST_IDS : []) {
      if (details.testid === undefined) put('testid', attribute(node, testId));
    }
    if (tag === 'img') put('alt', attribute(node, 'alt'));
    if (ownRole === 'Iframe') this.describeFrame(node, put);
    if (ownRole === 'heading') put('level', levelOf(node, ownRole));
    if (!INTERACTIVE_ROLES.has(ownRole) && !RANGES.has(ownRole) && ownRole !== 'meter') return flags;
    put('value', collapse(valueOf(node, ownRole)), VALUE_SHOWN_MAX);
    put('placeholder', placeholderOf(node));
    if (labelsOf(node).length > 0) {
      // A label is the name, unless ARIA names the control in its place.
      if (!has(node, HAS_ARIA)) flags |= LABELLED;
      else put('label', tidy(labelsText(node, traversal(node, false))));
    }
    put('checked', checkedOf(node, ownRole));
    if (has(node, HAS_ARIA) || ownRole === 'DisclosureTriangle') put('expanded', expandedOf(node, ownRole));
    if (selectedOf(node, ownRole)) put('selected', true);
    if (!has(node, HAS_ARIA)) return flags;
    if (ownRole === 'button') put('pressed', TRISTATE[attribute(node, 'aria-pressed').toLowerCase()]);
    if (hasAttribute(node, 'aria-label') || hasAttribute(node, 'aria-labelledby')) {
      const text = QUIET_ROLES.has(ownRole) ? tidy(plainText(node)) : '';
      if (!ownName.includes(text)) put('text', text, TEXT_SHOWN_MAX);
    }
    return flags;
  }

  /** What a frame shows. One of another origin is walked in its own world, by whoever asked for this walk. */
  describeFrame(node, put) {
    const inner = frameDocument(node);
    put('childFrameUrl', inner ? addressOf(inner) : attribute(node, 'src'), URL_SHOWN_MAX);
    put('childFrameName', attribute(node, 'name'));
    if (!inner) put('apart', true);
  }

  /** Notes the box in the coordinates of the top document; says whether it meets the viewport. */
  box(rect, details) {
    const x = rect.x + this.offset.x;
    const y = rect.y + this.offset.y;
    details.box = [x, y, rect.width, rect.height].map(hundredths);
    return rect.width > 0 && rect.height > 0 && x < innerWidth && y < innerHeight && x + rect.width > 0 && y + rect.height > 0;
  }

  frame(node, around) {
    const inner = frameDocument(node);
    if (!inner || around.depth > this.depthMax) return;
    const outer = this.offset;
    const content = this.boxes ? contentOrigin(node) : { x: 0, y: 0 };
    this.offset = { x: outer.x + content.x, y: outer.y + content.y };
    this.document(inner, around.depth, around.level + 1);
    this.offset = outer;
  }

  // Text: runs of text in line become one node, however many elements they are spread over.

  appendText(node, parent, within) {
    const data = textData(node);
    if (this.textNode === null) {
      if (!/\S/.test(data)) return;
      if (!isRendered(parent)) return;
      this.textNode = node;
      this.textParent = parent;
      this.textDepth = within.depth;
      this.textCover = within.cover;
    } else if (!isRendered(parent)) {
      return;
    }
    if (this.text.length <= TEXT_SHOWN_MAX) this.text += data;
  }

  /** Ends the word before a box that is not set in line. */
  breakWord(node) {
    if (this.textNode !== null && !/\s$/.test(this.text) && !isInline(node)) this.text += ' ';
  }

  flushText() {
    const node = this.textNode;
    if (node === null) {
      this.text = '';
      return;
    }
    const text = tidy(this.text);
    const depth = this.textDepth;
    const told = this.textCover.includes(text);
    const parent = this.textParent;
    this.clearText();
    if (text === '' || told || depth > this.depthMax || this.nodes.length >= this.nodesMax) return;
    const details = {};
    let flags = isTransparent(parent) ? HIDDEN : 0;
    if (this.boxes && this.box(getBoundingClientRect(parent), details)) flags |= IN_VIEWPORT;
    this.emit(node, depth, 'StaticText', text, '', flags, details, TEXT_SHOWN_MAX);
  }

  clearText() {
    this.text = '';
    this.textNode = null;
    this.textParent = null;
    this.textDepth = 0;
    this.textCover = '';
  }
}

const constraints = (node) => {
  let flags = 0;
  if (has(node, HAS_CONSTRAINT)) {
    if (hasAttribute(node, 'required')) flags |= REQUIRED;
    if (hasAttribute(node, 'readonly')) flags |= READ_ONLY;
  }
  if (!has(node, HAS_ARIA)) return flags;
  if (hasToken(node, 'aria-required', 'true')) flags |= REQUIRED;
  if (hasToken(node, 'aria-readonly', 'true')) flags |= READ_ONLY;
  const invalid = attribute(node, 'aria-invalid');
  return invalid !== '' && invalid !== 'false' ? flags | INVALID : flags;
};

/** Whether a native option holds nothing but its name: lists are long, and its text would be looked at for nothing. */
const isToldByName = (node, tag, cover) =>
  tag === 'option' && firstElementChild(node) === null && cover.includes(tidy(optionText(node)));

const index = (table, key) => {
  let position = table.get(key);
  if (position === undefined) {
    position = table.size;
    table.set(key, position);
  }
  return position;
};

/** What is actionable without a role is called by its text: authors gave it nothing better. */
const genericName = (node) => {
  const label = attribute(node, 'aria-label');
  return label || clip(tidy(contentText(node, traversal(node, false))), NAME_LENGTH_MAX) ||
    attribute(node, 'title');
};

const addressOf = (document) => viewOf(document)?.location.href ?? '';

/** A length as JSON can carry it. */
const hundredths = (number) => (Number.isFinite(number) ? Math.round(number * 100) / 100 : 0);

/** Tells documents apart: references of one mean nothing in another. */
const documentId = `${performance.timeOrigin.toString(36)}-${Math.random().toString(36).slice(2)}`;

const OUTERMOST = { depth: 0, cover: '', quiet: false, disabled: false, level: 0 };

/**
 * Walks the page, or what is under `options.root`, and returns
 * `{ document, url, title, outcome, roles, tags, nodes, refNext, visits, truncated }`, each node being
 * `[ref, depth, role, name, tag, flags, details?]` with `role` and `tag` as indices.
 *
 * `options`: `filter` (`interactive` or `all`), `depth`, `boxes`, `nodesMax`, `refsFrom` and `prefix` (of references),
 * `root` (an element, or a selector as `find` takes it), `within` (the reference of the frame that is meant instead of
 * the page). `outcome` is `ok`, or why the root was not found.
 */
const walk = (options = {}) => cached(() => {
  const run = new Walk(options);
  startNumbersAt(options.refsFrom, options.prefix);
  run.focused = focusedElement(document);
  const title = clip(collapse(documentTitle(document)), NAME_SHOWN_MAX);
  let outcome = 'ok';
  if (options.within !== undefined) {
    const inner = scopeOf(options.within);
    if (!inner) outcome = 'not_found';
    else if (typeof options.root === 'string') outcome = run.matching(options.root, options.within);
    else run.document(inner, 0);
  } else if (typeof options.root === 'string') {
    outcome = run.matching(options.root);
  } else if (options.root === undefined || options.root === null) {
    const bare = run.interactiveOnly || options.framed === true;
    if (!bare) run.emit(document, 0, 'RootWebArea', title, 'html', 0, {});
    run.document(document, bare ? 0 : 1);
  } else {
    run.element(options.root, OUTERMOST);
    run.flushText();
  }
  return {
    document: documentId,
    url: clip(location.href, URL_SHOWN_MAX),
    title,
    outcome,
    roles: [...run.roles.keys()],
    tags: [...run.tags.keys()].map((tag) => clip(tag, TAG_SHOWN_MAX)),
    nodes: run.nodes,
    prefix: refPrefix,
    refNext: numberBase + numbered.length,
    visits: run.visits,
    truncated: run.truncated,
  };
});
