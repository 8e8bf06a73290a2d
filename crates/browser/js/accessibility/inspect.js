// Single facts about an element or the page.

const HTML_LENGTH_MAX = 8_000_000;
const STYLES_MAX = 1000;

const factOf = {
  html: (node) => {
    const html = outerHTMLOf(node);
    return html.length > HTML_LENGTH_MAX ? html.slice(0, HTML_LENGTH_MAX).toWellFormed() : html.toWellFormed();
  },
  styles: (node, property) => {
    const style = computedStyle(node);
    const styles = {};
    if (property) {
      styles[property] = style.getPropertyValue(property);
      return styles;
    }
    for (let index = 0; index < Math.min(style.length, STYLES_MAX); index += 1) styles[style[index]] = style.getPropertyValue(style[index]);
    return styles;
  },
  value: (node) => {
    const tag = tagOf(node);
    if (tag === 'select') {
      const chosen = selectedOptions(node)[0];
      return chosen ? clip(optionValue(chosen), READ_LENGTH_MAX) : '';
    }
    if (tag === 'option') return clip(optionValue(node), READ_LENGTH_MAX);
    const read = VALUE_READERS[tag];
    if (!read) return hasAttribute(node, 'value') ? clip(getAttribute(node, 'value'), READ_LENGTH_MAX) : null;
    const value = String(read(node));
    return isSecret(node) && value !== '' ? MASK : clip(value, READ_LENGTH_MAX);
  },
  attr: (node, named) => {
    if (named.toLowerCase() === 'value' && isSecret(node)) return hasAttribute(node, named) ? MASK : null;
    const value = getAttribute(node, named);
    return value === null ? null : clip(value, READ_LENGTH_MAX);
  },
  box: (node) => {
    const { x, y, width, height } = outward(node, getBoundingClientRect(node));
    const box = { x, y, width, height, top: y, right: x + width, bottom: y + height, left: x };
    for (const key in box) box[key] = hundredths(box[key]);
    return box;
  },
  visible: (node) => isRendered(node) && boxOf(node) !== null,
  enabled: (node) => !isDisabled(node),
  checked: (node) => (checkedOf(node, role(node)) ?? checkedOf(node, 'checkbox')) === 'true' || selectedOf(node, role(node)) === true,
};

/** One fact about the element of a selector: `{ value }`, or `{ error }`. Without a selector, about the document. */
const fact = ({ kind, selector, within, argument }) => {
  const root = scopeOf(within);
  if (!root) return { error: 'stale_ref' };
  if (selector === undefined) {
    const whole = documentElementOf(root);
    if (kind === 'page' || !whole) return { value: null, ...pageOf(root) };
    return { value: factOf[kind](whole, argument), ...pageOf(root) };
  }
  const found = locate(selector, within);
  if (found.error) return found;
  return { value: factOf[kind](found.node, argument), ...pageOf(root) };
};

/** What a frame is, for the reference or selector of its element: `{ ref, name, url, apart }`, or `{ error }`. */
const frameOf = ({ selector, within }) => {
  const found = locate(selector, within);
  if (found.error) return found;
  const tag = tagOf(found.node);
  if (tag !== 'iframe' && tag !== 'frame') return refused(found.node, 'not_a_frame');
  return frameFacts(found.node);
};

const frameFacts = (node) => {
  const inner = frameDocument(node);
  return {
    ref: ref(node), name: clip(attribute(node, 'name') || attribute(node, 'id'), 200), apart: inner === null,
    url: clip(inner ? addressOf(inner) : attribute(node, 'src'), URL_SHOWN_MAX),
  };
};

/** The frames of a document, as `frameOf` tells of each. */
const framesIn = (within) => {
  const root = scopeOf(within);
  return root ? limited(queryAllIn(root, 'iframe, frame')).slice(0, 200).map(frameFacts) : [];
};

/** Ways to name an element again, for people: a CSS selector and an XPath. */
const pathsOf = (reference) => {
  const node = element(reference);
  if (!node) return { css: '', xpath: '' };
  const css = [];
  const xpath = [];
  for (let at = node; at && isElement(at) && css.length < 40; at = parentNode(at)) {
    const tag = localName(at);
    const id = attribute(at, 'id');
    if (id && byId(at, id) === at) {
      css.unshift(`#${CSS.escape(id)}`);
      xpath.unshift(`//*[@id=${id.includes('"') ? `'${id}'` : `"${id}"`}]`);
      return { css: clip(css.join(' > '), URL_SHOWN_MAX), xpath: clip(xpath.join('/'), URL_SHOWN_MAX) };
    }
    let same = 1;
    for (let before = previousSibling(at); before; before = previousSibling(before)) {
      if (isElement(before) && localName(before) === tag) same += 1;
    }
    css.unshift(`${CSS.escape(tag)}:nth-of-type(${same})`);
    xpath.unshift(`${tag}[${same}]`);
  }
  return { css: clip(css.join(' > '), URL_SHOWN_MAX), xpath: clip(`/${xpath.join('/')}`, URL_SHOWN_MAX) };
};
const previousSibling = getter(Node.prototype, 'previousSibling');

/** What can be acted on, with boxes, for pictures with labels. */
const labelled = ({ selector, within, offscreen = false, max }) => cached(() => {
  const options = { filter: 'interactive', boxes: true, root: selector, within };
  const run = walk(options);
  if (run.outcome !== 'ok') return { error: run.outcome };
  const found = [];
  for (const [number, , roleIndex, ownName, , flags, details] of run.nodes) {
    const box = details?.box;
    if (!box || !(flags & ACTIONABLE) || box[2] < 1 || box[3] < 1 || (!offscreen && !(flags & IN_VIEWPORT))) continue;
    found.push({ ref: refPrefix + number, role: run.roles[roleIndex], name: ownName, box: { x: box[0], y: box[1], w: box[2], h: box[3] } });
    if (found.length >= max) break;
  }
  return { found, scrollX: hundredths(scrollX), scrollY: hundredths(scrollY), ...pageOf(document) };
});

/** Where the content of the frame of a reference begins in our viewport. */
const originOf = (reference) => {
  const frame = element(reference);
  if (!frame) return { x: 0, y: 0 };
  const origin = contentOrigin(frame);
  const { x, y } = outward(frame, { x: origin.x, y: origin.y, width: 0, height: 0 });
  return { x: hundredths(x), y: hundredths(y) };
};

/** The box of an element in the coordinates of the document: `{ here }`, or `{ error }`. */
const pageRect = ({ selector, within }) => {
  const found = locate(selector, within);
  if (found.error) return { error: found.error };
  const { pageX, pageY, width, height } = rect(found.node);
  return { here: { x: hundredths(pageX), y: hundredths(pageY), width: hundredths(width), height: hundredths(height) } };
};

const BANNERS = '[id*=cookie i], [class*=cookie i], [id*=consent i], [class*=consent i], [id*=gdpr i], [class*=gdpr i], ' +
  '[id*=onetrust i], [aria-label*=cookie i], [aria-label*=consent i], [role=dialog], dialog';
const ABOUT_CONSENT = /cookie|consent|privacy|gdpr|tracking/i;
/** What closes a banner, the refusing answers first. */
const CLOSING = [/^(reject|decline|refuse|deny)( all)?( cookies)?$/i, /^(only|use)? ?(strictly )?necessary( cookies)?( only)?$/i,
  /^(accept|allow|agree to)( all)?( cookies)?$/i, /^(i agree|agree|got it|ok|okay|i understand|understood|close|dismiss|continue)$/i];

/** Closes banners about cookies and consent; how many. */
const dismissBanners = () => {
  let closed = 0;
  for (const banner of limited(queryAllIn(document, BANNERS)).slice(0, 50)) {
    if (!isRendered(banner) || !ABOUT_CONSENT.test(textContentOf(banner).slice(0, 5000))) continue;
    const buttons = limited(queryAll(banner, 'button, [role=button], a, input[type=button], input[type=submit]')).slice(0, 50);
    const named = buttons.filter((node) => isRendered(node)).map((node) => ({ node, name: name(node).trim() }));
    const chosen = CLOSING.map((pattern) => named.find((button) => pattern.test(button.name))).find(Boolean);
    if (!chosen || !isHtml(chosen.node)) continue;
    clickElement(chosen.node);
    closed += 1;
    if (closed === 3) break;
  }
  return closed;
};
