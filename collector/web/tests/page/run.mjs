// Runs every trial of the page, in the order in which a person meets what they try.
import { trials as alerts } from './alerts.mjs';
import { open, visit } from './browser.mjs';
import { trials as looks } from './looks.mjs';
import { trials as matrix } from './matrix.mjs';
import { trials as questions } from './questions.mjs';
import { trials as settings } from './settings.mjs';
import { trials as ways } from './ways.mjs';

/** What a trial may take. */
const LIMIT_MS = 120_000;

const wanted = process.argv[2] ?? '';
/** Files of trials. */
const all = { ways, alerts, matrix, questions, settings, looks };
const browser = await open();
let failed = 0;
const named = Object.entries(all).flatMap(([file, trials]) =>
  Object.entries(trials).map(([name, one]) => [`${file}: ${name}`, one]),
);
for (const [name, { options, trial }] of named) {
  if (!name.includes(wanted)) continue;
  const { page, context, faults } = await visit(browser, options);
  let timer;
  const began = Date.now();
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`longer than ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    await Promise.race([trial({ page, context, browser, faults }), late]);
    if (faults.length > 0) throw new Error(faults.join('\n'));
    process.stdout.write(`page: ${name} ... ok, ${Date.now() - began} ms\n`);
  } catch (error) {
    failed += 1;
    process.stdout.write(`page: ${name} ... FAILED at ${page.url()}\n${error.stack}\n`);
    if (faults.length > 0) process.stdout.write(`faults: ${faults.join('\n')}\n`);
    await page.screenshot({
      path: `${import.meta.dirname}/../../../../target/screenshots/failed-${failed}.png`,
    });
  } finally {
    clearTimeout(timer);
    await context.close();
  }
}
await browser.close();
process.exitCode = failed === 0 ? 0 : 1;
