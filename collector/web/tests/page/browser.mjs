// A headless Chromium that reaches one collector and nothing else.
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Where screenshots of a run are kept. */
const SHOTS = new URL('../../../../target/screenshots/', import.meta.url).pathname;

export const given = {
  url: process.env.WAYBILL_URL ?? '',
  token: process.env.WAYBILL_TOKEN ?? '',
  /** A token of somebody who reads alone. */
  reader: process.env.WAYBILL_READER ?? '',
  /** A workbook of 200 declared flows. */
  matrix: process.env.WAYBILL_MATRIX ?? '',
  hostile: process.env.WAYBILL_HOSTILE ?? '',
  stock: (process.env.WAYBILL_STOCK ?? '').split(' ').map(Number),
};

export async function open() {
  mkdirSync(SHOTS, { recursive: true });
  const executablePath = process.env.WAYBILL_CHROMIUM ?? '/usr/bin/chromium';
  return chromium.launch({ executablePath, args: ARGUMENTS });
}

/**
 * A page of somebody who has signed in, unless `token` is empty.
 *
 * `faults` gathers what must not happen: messages of the console, errors of the page, dialogs, and
 * requests to any other place.
 */
export async function visit(
  browser,
  { token = given.token, scheme = 'light', locale = 'en-GB' } = {},
) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    colorScheme: scheme,
    locale,
    viewport: { width: 1440, height: 900 },
    acceptDownloads: true,
  });
  const faults = [];
  await context.route(
    (url) => url.origin !== given.url && url.protocol !== 'blob:',
    (route) => {
      faults.push(`a request to ${route.request().url()}`);
      return route.abort();
    },
  );
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('dialog', (dialog) => {
    faults.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.setDefaultTimeout(45_000);
  if (token !== '') {
    await context.addInitScript((value) => sessionStorage.setItem('waybill.token', value), token);
  }
  return { page, context, faults };
}

/** What the API answers, to compare with. */
export async function api(page, path) {
  const headers = { authorization: `Bearer ${given.token}` };
  const answer = await page.request.get(given.url + path, { headers });
  return answer.json();
}

/** Keeps what a view looks like. */
export async function shot(page, name, options = {}) {
  await settled(page);
  await page.screenshot({ path: `${SHOTS}${name}.png`, ...options });
}

/** Until nothing is awaited any more, and what arrives has faded in. */
export async function settled(page) {
  await page.waitForLoadState('networkidle');
  await page.waitForFunction(() => document.querySelector('.waiting') === null);
  await page.evaluate(() =>
    Promise.all(document.getAnimations().map((one) => one.finished.catch(() => undefined))),
  );
}
