// What audits and crawls ask of a page beside its text: what its head says, its headings, its forms, its links.

const SURVEYED_MAX = 2000;
const FORMS_MAX = 200;
const STRUCTURED_SIZE_MAX = 65_536;

const baseOf = getter(Node.prototype, 'baseURI');

/** What an attribute with an address leads to; empty for one that is none. */
const resolved = (node, name) => {
  try {
    return clip(new URL(attribute(node, name).trim(), baseOf(node)).href, URL_SHOWN_MAX);
  } catch {
    return '';
  }
};

/** JSON-LD of a page, as far as it is JSON and not too much. */
const structuredData = (root) => {
  const found = [];
  let left = STRUCTURED_SIZE_MAX;
  for (const node of limited(queryAllIn(root, 'script[type="application/ld+json" i]'))) {
    const text = textContentOf(node);
    left -= text.length;
    if (left < 0) break;
    try {
      const data = JSON.parse(text);
      for (const item of Array.isArray(data) ? data : [data]) if (item && typeof item === 'object') found.push(item);
    } catch {
      // Not for machines then.
    }
  }
  return found;
};

/** `{ title, lang, description, headings, forms, links, structured }` of a document. */
const survey = ({ within } = {}) => cached(() => {
  const root = scopeOf(within);
  if (!root) return { error: 'stale_ref' };
  const html = documentElementOf(root);
  const some = (css) => limited(queryAllIn(root, css)).slice(0, SURVEYED_MAX);
  const [about] = some('meta[name="description" i]');
  return {
    title: clip(collapse(documentTitle(root)), NAME_SHOWN_MAX),
    lang: html ? clip(attribute(html, 'lang').trim(), 100) : '',
    description: about ? clip(collapse(attribute(about, 'content')), NAME_SHOWN_MAX) : '',
    headings: some('h1, h2, h3, h4, h5, h6').filter(isRendered).map((node) => Number(tagOf(node)[1])),
    forms: some('form').slice(0, FORMS_MAX).map((node) => ({
      action: attribute(node, 'action').trim() === '' ? clip(addressOf(root), URL_SHOWN_MAX) : resolved(node, 'action'),
      password: query(node, 'input[type=password i]') !== null,
    })),
    links: [...new Set(some('a[href], area[href]').map((node) => resolved(node, 'href')))].filter((link) => link !== ''),
    structured: structuredData(root),
  };
});
