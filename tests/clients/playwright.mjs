// Playwright drives two instances at once. Usage: playwright.mjs SERVER PAGES FIRST_INSTANCE SECOND_INSTANCE [KEY]
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [server, pages, first, second, key] = process.argv.slice(2);
const headers = key ? { Authorization: `Bearer ${key}` } : {};
const query = key ? `?token=${key}` : '';

// One by its HTTP address, one by its WebSocket.
const a = await chromium.connectOverCDP(`${server}/browser/instances/${first}`, { headers });
const b = await chromium.connectOverCDP(`${server.replace('http', 'ws')}/browser/instances/${second}/cdp${query}`);
const [worldA] = a.contexts();
const [worldB] = b.contexts();
assert.equal(a.contexts().length, 1);

const pageA = await worldA.newPage();
const pageB = await worldB.newPage();
await pageA.goto(`${pages}/form`);
await pageB.goto(`${pages}/form`);
assert.equal(await pageA.title(), 'A form');

// A click, what it did, and a picture of it.
await pageA.fill('#name', 'Ada');
await pageA.click('#send');
assert.equal(await pageA.textContent('#sent'), 'Hello, Ada');
const picture = await pageA.screenshot();
assert.deepEqual([...picture.subarray(1, 4)], [0x50, 0x4e, 0x47]);

// Two worlds.
await worldA.addCookies([{ name: 'canary', value: 'a', url: pages }]);
await pageA.evaluate(() => localStorage.setItem('canary', 'a'));
assert.deepEqual((await worldA.cookies()).map(cookie => cookie.name), ['canary']);
assert.deepEqual(await worldB.cookies(), []);
assert.equal(await pageB.evaluate(() => localStorage.getItem('canary')), null);
assert.equal(await pageB.textContent('#sent'), '');
const urls = worldB.pages().map(page => page.url());
assert.equal(urls.filter(url => url.endsWith('/form')).length, 1);

// A page that a page opens belongs to the same world.
const [popup] = await Promise.all([worldA.waitForEvent('page'), pageA.evaluate(() => { open('/form'); })]);
await popup.waitForLoadState();
assert.equal(await popup.title(), 'A form');

// Interception, console, dialogs and frames work as they do elsewhere.
await pageB.route('**/intercepted', route => route.fulfill({ body: '<title>from the client</title>', contentType: 'text/html' }));
await pageB.goto(`${pages}/intercepted`);
assert.equal(await pageB.title(), 'from the client');
const [message] = await Promise.all([pageB.waitForEvent('console'), pageB.evaluate(() => console.log('said'))]);
assert.equal(message.text(), 'said');

// What is not the instance's stays out of reach.
const infoA = await (await worldA.newCDPSession(pageA)).send('Target.getTargetInfo');
const sessionB = await b.newBrowserCDPSession();
for (const [method, params] of [
  ['Target.attachToTarget', { targetId: infoA.targetInfo.targetId, flatten: true }],
  ['Target.closeTarget', { targetId: infoA.targetInfo.targetId }],
  ['Target.createTarget', { url: 'about:blank', browserContextId: infoA.targetInfo.browserContextId }],
  ['Storage.getCookies', { browserContextId: infoA.targetInfo.browserContextId }],
  ['Target.createTarget', { url: 'file:///etc/passwd' }],
  ['Target.exposeDevToolsProtocol', { targetId: infoA.targetInfo.targetId }],
  ['SystemInfo.getProcessInfo', {}],
  ['Tracing.start', {}],
  ['Browser.crash', {}],
]) {
  await assert.rejects(sessionB.send(method, params), /Protocol error/, method);
}
const { targetInfos } = await sessionB.send('Target.getTargets', { filter: [{}] });
assert.ok(targetInfos.length > 0 && targetInfos.every(info => info.browserContextId !== infoA.targetInfo.browserContextId));
await assert.rejects(pageB.goto('file:///etc/passwd'), /not opened/);
await assert.rejects(b.newContext(), /start another instance/);

await pageA.close();
await b.close();
await a.close();
console.log('ok');
