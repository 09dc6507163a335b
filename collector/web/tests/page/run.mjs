// Runs trials of the page, in the order in which a person meets what they try: `node run.mjs shop`,
// or `fault`, whose site has a fault that goes on until somebody knows of it.
import { trials as alerts, over } from './alerts.mjs';
import { open, visit } from './browser.mjs';
import { trials as looks, ofAlerts } from './looks.mjs';
import { trials as matrix } from './matrix.mjs';
import { trials as questions } from './questions.mjs';
import { trials as settings } from './settings.mjs';
import { trials as ways } from './ways.mjs';

/** What a trial may take: some look at 21 views, beside whatever else runs there. */
const LIMIT_MS = 300_000;

const [, , of = '', wanted = ''] = process.argv;
/** Files of trials, by the site that they are of. */
const all = {
  shop: { ways, matrix, questions, settings, looks },
  fault: { alerts, looks: ofAlerts, over },
}[of];
if (!all) throw new Error(`${of}: no such site`);
const browser = await open();
const failed = [];
const named = Object.entries(all).flatMap(([file, trials]) =>
  Object.entries(trials).map(([name, one]) => [`${file}: ${name}`, one]),
);
for (const [name, { options, trial, limit = LIMIT_MS }] of named) {
  if (!name.includes(wanted)) continue;
  const { page, context, faults } = await visit(browser, options);
  let timer;
  const began = Date.now();
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`longer than ${limit} ms`)), limit);
  });
  try {
    await Promise.race([trial({ page, context, browser, faults }), late]);
    if (faults.length > 0) throw new Error(faults.join('\n'));
    process.stdout.write(`page: ${name} ... ok, ${Date.now() - began} ms\n`);
  } catch (error) {
    failed.push(`${name}: ${String(error.message).split('\n')[0]}`);
    process.stdout.write(`page: ${name} ... FAILED at ${page.url()}\n${error.stack}\n`);
    if (faults.length > 0) process.stdout.write(`faults: ${faults.join('\n')}\n`);
    await page.screenshot({
      path: `${import.meta.dirname}/../../../../target/screenshots/failed-${failed.length}.png`,
    });
  } finally {
    clearTimeout(timer);
    await context.close();
  }
}
await browser.close();
// Last, where whoever reads only the end of a long log finds it.
for (const one of failed) process.stdout.write(`page: FAILED ${one}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
