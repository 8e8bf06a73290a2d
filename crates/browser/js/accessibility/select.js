// Selectors: how callers name elements.
//
//   e12            a reference          role:button Save   label:Email   placeholder:Search   alt:Logo
//   #id, css:…     CSS                  text:Sign in       title:Close   testid:submit
//   //a, xpath:…   XPath                first:… last:… nth:2:… (from 0) around any of them
//
// CSS looks into open shadow trees when the page itself has no match. None of them looks into frames: `within`, the
// reference of a frame, says that the document in that frame is meant.

class SelectorError extends Error {}

const MATCHES_MAX = 10000;
const SELECTOR_FORMS = /^(css|xpath|text|role|label|placeholder|alt|title|testid|first|last|nth):\s*([^]*)$/;

/** The document that selectors are about: the page's, or that of a frame of our origin; null if that is gone. */
const scopeOf = (within) => {
  if (within === undefined || within === null) return document;
  const frame = element(within);
  return frame && frameDocument(frame);
};

const queryAllIn = (root, css) => {
  try {
    return nodeType(root) === DOCUMENT ? documentQueryAll(root, css) : fragmentQueryAll(root, css);
  } catch {
    throw new SelectorError(css);
  }
};

/** The open shadow trees below a document or shadow tree, at any depth. */
const shadowTrees = (root) => {
  const found = [];
  const pending = [root];
  while (pending.length > 0 && found.length < MATCHES_MAX) {
    for (const host of queryAllIn(pending.pop(), '*')) {
      const shadow = shadowRootOf(host);
      if (!shadow) continue;
      found.push(shadow);
      pending.push(shadow);
    }
  }
  return found;
};

const limited = (nodes) => (nodes.length > MATCHES_MAX ? Array.prototype.slice.call(nodes, 0, MATCHES_MAX) : [...nodes]);

const byCss = (root, css) => {
  const found = limited(queryAllIn(root, css));
  if (found.length > 0) return found;
  for (const shadow of shadowTrees(root)) {
    for (const node of queryAllIn(shadow, css)) found.push(node);
    if (found.length >= MATCHES_MAX) break;
  }
  return found;
};

const byXPath = (root, path) => {
  let result;
  try {
    result = evaluateXPath(root, path, root, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
  } catch {
    throw new SelectorError(path);
  }
  const found = [];
  for (let index = 0; index < Math.min(result.snapshotLength, MATCHES_MAX); index += 1) {
    const node = result.snapshotItem(index);
    const target = isElement(node) ? node : node.ownerElement ?? parentNode(node);
    if (target && isElement(target)) found.push(target);
  }
  return found;
};

const folded = (text) => collapse(text).toLowerCase();

/** How well a text answers to what was asked for: 0 is the text itself, Infinity is not at all. */
const likeness = (text, wanted) => {
  const have = folded(text);
  if (have === wanted) return 0;
  if (wanted === '') return 1;
  if (have.startsWith(wanted)) return 1;
  return have.includes(wanted) ? 2 : Infinity;
};

/** All elements of the root and its shadow trees for which `rank` is finite, best first where `ranked`. */
const byRank = (root, css, rank) => {
  const found = [];
  for (const tree of [root, ...shadowTrees(root)]) {
    for (const node of queryAllIn(tree, css)) {
      const own = rank(node);
      if (own < Infinity) found.push({ node, rank: isRendered(node) ? own : own + 10 });
      if (found.length >= MATCHES_MAX) return found;
    }
  }
  return found;
};

/** The innermost elements whose text contains what was asked for. */
const byText = (root, text) => {
  const wanted = folded(text);
  if (wanted === '') throw new SelectorError(text);
  const says = (node) => {
    const tag = tagOf(node);
    if (tag === 'input') return /^(button|submit|reset)$/.test(inputType(node)) ? VALUE_READERS.input(node) : '';
    return NEVER_RENDERED.has(tag) ? '' : textContentOf(node);
  };
  // Buttons of forms, shadow trees and what is slotted have text that is not in the content of what is around them.
  const onTheWay = new Set();
  for (const tree of [root, ...shadowTrees(root)]) {
    const within = tree === root ? [] : [tree.host];
    for (const node of [...within, ...queryAllIn(tree, 'input[type=button], input[type=submit], input[type=reset], slot')]) {
      for (let at = node; at && !onTheWay.has(at); at = flatParent(at)) onTheWay.add(at);
    }
  }
  const found = [];
  const visit = (node, level) => {
    if (level > TREE_DEPTH_MAX || found.length >= MATCHES_MAX) return false;
    const own = likeness(says(node), wanted);
    if (own === Infinity && !onTheWay.has(node)) return false;
    let inside = false;
    eachFlatChild(node, (child) => {
      if (isElement(child) && visit(child, level + 1)) inside = true;
    });
    if (inside) return true;
    if (own === Infinity) return false;
    found.push({ node, rank: isRendered(node) ? own : own + 10 });
    return true;
  };
  const top = documentElementOf(root);
  if (top) visit(top, 0);
  return found;
};

const byAttribute = (root, named, text) => {
  const wanted = folded(text);
  return byRank(root, `[${named}]`, (node) => likeness(attribute(node, named), wanted));
};

const byTestId = (root, text) => byRank(root, TEST_IDS.map((named) => `[${named}]`).join(', '),
  (node) => (TEST_IDS.some((named) => attribute(node, named) === text) ? 0 : Infinity));

const byRole = (root, text) => {
  const [, asked, rest] = /^(\S+)\s*([^]*)$/.exec(text) ?? [];
  if (asked === undefined) throw new SelectorError(text);
  const wantedRole = (SYNONYMS[asked.toLowerCase()] ?? asked).toLowerCase();
  const wanted = folded(rest.replace(/^"([^]*)"$/, '$1'));
  return byRank(root, '*', (node) => {
    if (role(node).toLowerCase() !== wantedRole) return Infinity;
    return wanted === '' ? 0 : likeness(name(node), wanted);
  });
};

const byLabel = (root, text) => {
  const wanted = folded(text);
  return byRank(root, 'button, input, meter, output, progress, select, textarea, [aria-label], [aria-labelledby], [contenteditable]',
    (node) => {
      const labels = labelsOf(node).map((label) => likeness(plainText(label).replace(/\s*[:*]\s*$/, ''), wanted));
      return Math.min(likeness(name(node).replace(/\s*[:*]\s*$/, ''), wanted), ...labels);
    });
};

/** Elements as a selector names them, with how well each fits; in document order. */
const ranked = (selector, root) => {
  const text = selector.trim();
  const plain = (nodes) => nodes.map((node) => ({ node, rank: 0 }));
  if (text === '') throw new SelectorError(text);
  if (REFERENCE.test(text)) {
    const node = element(text);
    return node ? [{ node, rank: 0 }] : [];
  }
  if (text.startsWith('//') || text.startsWith('(//')) return plain(byXPath(root, text));
  const [, form, rest] = SELECTOR_FORMS.exec(text) ?? [];
  switch (form) {
    case undefined: return plain(byCss(root, text));
    case 'css': return plain(byCss(root, rest));
    case 'xpath': return plain(byXPath(root, rest));
    case 'text': return byText(root, rest);
    case 'role': return byRole(root, rest);
    case 'label': return byLabel(root, rest);
    case 'testid': return byTestId(root, rest);
    case 'first': return ranked(rest, root).slice(0, 1);
    case 'last': return ranked(rest, root).slice(-1);
    case 'nth': {
      const [, position, inner] = /^(\d{1,6}):([^]*)$/.exec(rest) ?? [];
      if (inner === undefined) throw new SelectorError(text);
      return ranked(inner, root).slice(Number(position)).slice(0, 1);
    }
    default: return byAttribute(root, form, rest);
  }
};

/** All that a selector names, in document order. */
const findAll = (selector, within) => cached(() => {
  const root = scopeOf(within);
  return root ? ranked(selector, root).map(({ node }) => node) : [];
});

/** The element that a selector names: the first of those that fit best; null if there is none. */
const find = (selector, within) => cached(() => {
  const root = scopeOf(within);
  let best = null;
  for (const match of root ? ranked(selector, root) : []) {
    if (best === null || match.rank < best.rank) best = match;
  }
  return best && best.node;
});

/** `{ node }`, or `{ error, … }`: what an answer says of a selector that names nothing. */
const locate = (selector, within) => {
  try {
    const node = find(selector, within);
    if (node) return { node };
  } catch (error) {
    if (error instanceof SelectorError) return { error: 'invalid_selector' };
    throw error;
  }
  return { error: REFERENCE.test(selector.trim()) ? 'stale_ref' : 'no_element' };
};

/** How many elements a selector names; -1 when it is no selector. */
const count = (selector, within) => {
  try {
    return findAll(selector, within).length;
  } catch (error) {
    if (error instanceof SelectorError) return -1;
    throw error;
  }
};

/** What a selector names, best first: `{ found: [{ ref, role, name, rank }], elements }`, or `{ error }`. */
const named = ({ selector, within, max }) => cached(() => {
  const root = scopeOf(within);
  if (!root) return { error: 'stale_ref' };
  let matches;
  try {
    matches = ranked(selector, root);
  } catch (error) {
    if (error instanceof SelectorError) return { error: 'invalid_selector' };
    throw error;
  }
  const best = [...matches].sort((one, other) => one.rank - other.rank).slice(0, max);
  const found = best.map(({ node, rank }) => ({ ref: ref(node), role: role(node), name: clip(name(node), NAME_SHOWN_MAX), rank }));
  return { found, elements: matches.length };
});
