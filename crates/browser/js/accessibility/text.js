// The text of a page: what a reader would read of it, without what is around it on every page of the site.

const READ_LENGTH_MAX = 2_000_000;
const READ_VISITS_MAX = 100_000;
/** Less than this share of the visible text, and less than this many characters: the page has no article. */
const ARTICLE_SHARE_MIN = 0.25;
const ARTICLE_LENGTH_MIN = 250;

const NOT_READ = new Set(['aside', 'audio', 'button', 'canvas', 'dialog', 'embed', 'footer', 'form', 'iframe', 'input', 'map',
  'menu', 'nav', 'object', 'select', 'svg:svg', 'textarea', 'video']);
const NOT_READ_ROLES = new Set(['alert', 'alertdialog', 'banner', 'complementary', 'contentinfo', 'dialog', 'menu', 'menubar',
  'navigation', 'search', 'toolbar']);
const UNLIKELY = /(^|[\s_-])(ad|ads|advert\w*|banner|breadcrumbs?|comments?|cookie\w*|consent|footer|masthead|menu|modal|nav\w*|newsletter|pagination|popup|promo\w*|related|share|sharing|sidebar|social|sponsor\w*|subscribe|toolbar|widget)([\s_-]|$)/i;
const BLOCKS = new Set(['block', 'flex', 'grid', 'list-item', 'table', 'table-row', 'table-caption', 'flow-root', 'table-row-group',
  'table-header-group', 'table-footer-group']);

const isBoilerplate = (node, tag) => {
  if (NOT_READ.has(tag) || NEVER_RENDERED.has(tag) || NOT_READ_ROLES.has(attribute(node, 'role').toLowerCase())) return true;
  if (tag === 'header') return !closest(node, 'article, main, section');
  if (tag === 'article' || tag === 'main' || tag === 'body' || tag === 'html') return false;
  return UNLIKELY.test(`${attribute(node, 'class')} ${attribute(node, 'id')}`) && closest(node, 'article, p, pre, table') === null;
};

/** Gathers text as it is laid out: blocks on lines of their own, cells apart, items with a dash. */
class Reader {
  constructor(strict) {
    this.strict = strict;
    this.lines = [];
    this.line = '';
    this.length = 0;
    this.visits = 0;
  }

  read(node, level = 0) {
    this.visits += 1;
    if (this.visits > READ_VISITS_MAX || this.length > READ_LENGTH_MAX || level > TREE_DEPTH_MAX) return;
    const type = nodeType(node);
    if (type === TEXT) this.line += tidySpace(textData(node));
    if (type !== ELEMENT) return;
    const tag = tagOf(node);
    if (tag === 'br') this.endLine();
    if (NEVER_RENDERED.has(tag) || (this.strict && level > 0 && isBoilerplate(node, tag))) return;
    const style = computedStyle(node);
    if (style.display === 'none' || (style.visibility !== 'visible' && style.visibility !== '')) return;
    if (tag === 'pre') return this.preformatted(node);
    const block = BLOCKS.has(style.display);
    if (block) this.endLine();
    if (tag === 'li') this.line = '- ';
    const heading = /^h([1-6])$/.exec(tag);
    if (heading) this.gap();
    if (heading && this.strict) this.line = `${'#'.repeat(Number(heading[1]))} `;
    eachFlatChild(node, (child) => this.read(child, level + 1));
    if (style.display === 'table-cell') this.line += '\t';
    if (block) this.endLine();
    if (heading || tag === 'p' || tag === 'ul' || tag === 'ol' || tag === 'table' || tag === 'blockquote') this.gap();
  }

  preformatted(node) {
    this.gap();
    for (const line of textContentOf(node).slice(0, READ_LENGTH_MAX).split('\n')) this.push(line.trimEnd());
    this.gap();
  }

  push(line) {
    this.lines.push(line);
    this.length += line.length + 1;
  }

  endLine() {
    const line = this.line.replace(/[ ]+/g, ' ').replace(/ ?\t ?/g, '\t').trim();
    this.line = '';
    if (line !== '' && !/^(-|#+)$/.test(line)) this.push(line);
  }

  gap() {
    this.endLine();
    if (this.lines.length > 0 && this.lines.at(-1) !== '') this.push('');
  }

  text() {
    this.endLine();
    return this.lines.join('\n').replace(/\n{3,}/g, '\n\n').trim();
  }
}

const tidySpace = (text) => text.replace(/[\t\n\r\f \u200b\ufeff]+/g, ' ').replace(PRIVATE_USE, '');

/** How much an element reads like the article: its paragraphs, less what is linked. */
const score = (node) => {
  let total = 0;
  for (let child = firstChild(node); child; child = nextSibling(child)) {
    if (!isElement(child)) continue;
    const tag = tagOf(child);
    if (!/^(p|pre|blockquote|ul|ol|table|h[1-6]|figure|section|div|dl)$/.test(tag) || isBoilerplate(child, tag)) continue;
    const weight = tag === 'p' || tag === 'pre' || tag === 'blockquote' ? 1 : tag === 'div' || tag === 'section' ? 0.25 : 0.6;
    const length = collapse(textContentOf(child)).length;
    let linked = 0;
    for (const link of queryAll(child, 'a')) linked += collapse(textContentOf(link)).length;
    if (length > 25) total += weight * Math.max(0, length - 2 * linked);
  }
  return total;
};

const CANDIDATES_MAX = 3000;

/** The element that holds the article; null when nothing on the page reads like one. */
const articleOf = (root) => {
  const named = ['article', 'main, [role=main]'].map((css) => queryAllIn(root, css)).find((nodes) => nodes.length === 1);
  if (named && isRendered(named[0])) return named[0];
  const parents = new Set();
  for (const node of queryAllIn(root, 'p, pre, blockquote, article, main')) {
    const parent = parentNode(node);
    if (parent && isElement(parent)) parents.add(parent);
    if (parents.size >= CANDIDATES_MAX) break;
  }
  let best = null;
  let most = 0;
  for (const node of parents) {
    const own = isRendered(node) && !closest(node, 'nav, aside, footer, [role=navigation]') ? score(node) : 0;
    if (own > most) [best, most] = [node, own];
  }
  return best;
};

const layoutText = (node, strict) => {
  const reader = new Reader(strict);
  reader.read(node);
  return reader.text();
};

/** Text of the frames of our origin below a document, each as its own part. */
const framedText = (root, raw, level) => {
  const parts = [];
  for (const frame of level > 4 ? [] : limited(queryAllIn(root, 'iframe, frame')).slice(0, 50)) {
    const inner = isRendered(frame) ? frameDocument(frame) : null;
    if (inner) parts.push(documentText(inner, raw, level + 1));
  }
  return parts.filter((part) => part !== '');
};

const documentText = (root, raw, level) => {
  const whole = shownText(root).trim();
  const inFrames = framedText(root, raw, level);
  if (raw) return [whole, ...inFrames].join('\n\n');
  const article = articleOf(root);
  const text = article ? layoutText(article, true) : '';
  const body = bodyOf(root);
  const enough = text.length >= ARTICLE_LENGTH_MIN || text.length >= ARTICLE_SHARE_MIN * whole.length;
  const chosen = text !== '' && enough ? text : body ? layoutText(body, false) : whole;
  return [chosen || whole, ...inFrames].filter((part) => part !== '').join('\n\n');
};

/**
 * `{ url, title, text, truncated }`: the article, or with `raw` all text that shows, or that of the element of
 * `selector`; cut after `lengthMax` characters.
 */
const readText = ({ selector, within, raw = false, lengthMax = READ_LENGTH_MAX }) => cached(() => {
  const root = scopeOf(within);
  if (!root) return { error: 'stale_ref' };
  let text;
  if (selector === undefined) {
    text = documentText(root, raw, 0);
  } else {
    const found = locate(selector, within);
    if (found.error) return found;
    text = isHtml(found.node) ? innerTextOf(found.node) : textContentOf(found.node);
  }
  const longest = Math.min(lengthMax, READ_LENGTH_MAX);
  const truncated = text.length > longest;
  if (truncated) text = text.slice(0, longest).replace(/[\ud800-\udbff]$/, '');
  return { ...pageOf(root), text: text.toWellFormed(), truncated };
});

const pageOf = (root) => ({
  url: clip(addressOf(root), URL_SHOWN_MAX), title: clip(collapse(documentTitle(root)), NAME_SHOWN_MAX),
});
