// `paddockAccessibility`: what assistive technology, and an agent, is told of a page.
//
// Runs in an isolated world of the page. A page cannot redefine anything there, but it can name an element after a
// global; only a property of the global object itself counts as defined.
if (!Object.hasOwn(globalThis, 'paddockAccessibility')) {
  Object.defineProperty(globalThis, 'paddockAccessibility', { value: (() => {
    'use strict';
