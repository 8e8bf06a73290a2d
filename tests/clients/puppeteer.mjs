// Puppeteer drives one instance while another exists. Usage: puppeteer.mjs SERVER PAGES INSTANCE [KEY]
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [server, pages, instance, key] = process.argv.slice(2);
const query = key ? `?token=${key}` : '';
const address = `${server}/browser/instances/${instance}`;
const version = await (await fetch(`${address}/json/version${query}`)).json();
const browser = await puppeteer.connect({ browserWSEndpoint: version.webSocketDebuggerUrl });

const page = await browser.newPage();
await page.goto(`${pages}/form`);
assert.equal(await page.title(), 'A form');
await page.type('#name', 'Grace');
await page.click('#send');
assert.equal(await page.$eval('#sent', sent => sent.textContent), 'Hello, Grace');
assert.ok((await page.screenshot()).length > 1000);
await browser.setCookie({ name: 'canary', value: 'p', domain: '127.0.0.1' });
assert.deepEqual((await browser.cookies()).map(cookie => cookie.value), ['p']);
const own = await (await fetch(`${address}/json/list${query}`)).json();
assert.deepEqual((await browser.pages()).map(page => page.url()).sort(), own.map(page => page.url).sort());
await assert.rejects(browser.createBrowserContext(), /start another instance/);
await page.close();
await browser.disconnect();
console.log('ok');
