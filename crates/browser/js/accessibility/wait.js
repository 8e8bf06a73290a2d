// Waiting for something to become so, woken by what can make it so and by nothing else.

const WAKING_EVENTS = ['readystatechange', 'DOMContentLoaded', 'load', 'transitionend', 'transitioncancel', 'animationend',
  'animationcancel', 'input', 'change', 'toggle', 'focusin', 'focusout', 'fullscreenchange', 'slotchange', 'close'];
const TREES_WATCHED_MAX = 200;

/**
 * Resolves to true when `holds()` does, to false after `ms`. Asked again at most once per frame, and only after the
 * page changed: its tree, its attributes, what users do, or an animation under way.
 */
const becomes = (holds, ms) => new Promise((resolve) => {
  let pending = false;
  const watched = new Set();
  const observer = new MutationObserver(() => wake());
  const watch = (root) => {
    if (watched.has(root) || watched.size >= TREES_WATCHED_MAX) return;
    watched.add(root);
    observer.observe(root, { subtree: true, childList: true, characterData: true, attributes: true });
    for (const type of WAKING_EVENTS) addListener(root, type, wake, { capture: true, passive: true });
  };
  const watchAll = () => {
    watch(document);
    for (const tree of shadowTrees(document)) watch(tree);
  };
  const end = (value) => {
    observer.disconnect();
    for (const root of watched) for (const type of WAKING_EVENTS) removeListener(root, type, wake, { capture: true });
    for (const type of ['resize', 'load', 'popstate', 'hashchange']) removeListener(window, type, wake, { capture: true });
    clearTimeout(late);
    resolve(value);
  };
  const ask = () => {
    pending = false;
    if (holds()) return end(true);
    watchAll();
    // What moves without touching the tree: asked again at the next frame while it does.
    if (documentAnimations(document).some((animation) => animation.playState === 'running')) wake();
  };
  function wake() {
    if (pending) return;
    pending = true;
    nextFrame().then(ask);
  }
  const late = setTimeout(() => end(holds()), ms);
  for (const type of ['resize', 'load', 'popstate', 'hashchange']) addListener(window, type, wake, { capture: true, passive: true });
  ask();
});

const addListener = uncurry(EventTarget.prototype.addEventListener);
const removeListener = uncurry(EventTarget.prototype.removeEventListener);
const documentAnimations = uncurry(Document.prototype.getAnimations);

const shownText = (root) => {
  const body = bodyOf(root);
  return body && isHtml(body) ? innerTextOf(body) : body ? textContentOf(body) : '';
};

/** Whether an element that the selector names is there and can be seen. */
const isShown = (selector, within) => findAll(selector, within).some((node) => isRendered(node) && boxOf(node) !== null);

const READY = { 'content-loaded': new Set(['interactive', 'complete']), 'ready-state': new Set(['complete']) };

/**
 * Waits for one condition: `{ selector, state }` (`visible`, `hidden`, `attached`, `detached`), `{ text }`, `{ notText }`
 * or `{ load }`. Resolves to `{ met }`, or to `{ error }` for a selector that is none.
 */
const waitFor = async ({ selector, within, state, text, notText, load, title }, ms) => {
  let holds;
  if (selector !== undefined) {
    if (count(selector, within) < 0) return { error: 'invalid_selector' };
    const there = () => cached(() => (state === 'hidden' || state === 'visible' ? isShown(selector, within) : findAll(selector, within).length > 0));
    const wanted = state !== 'hidden' && state !== 'detached';
    holds = () => there() === wanted;
  } else if (text !== undefined) {
    holds = () => { const root = scopeOf(within); return root !== null && shownText(root).includes(text); };
  } else if (notText !== undefined) {
    holds = () => { const root = scopeOf(within); return root === null || !shownText(root).includes(notText); };
  } else if (title !== undefined) {
    holds = () => documentTitle(document).trim() !== '' && documentTitle(document).includes(title);
  } else {
    holds = () => READY[load].has(readyStateOf(document));
  }
  return { met: await becomes(holds, ms) };
};
