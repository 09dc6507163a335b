// How long the page takes with a site of some size, and what its tab takes; prints figures beside
// their goals, and fails where one is missed. What is timed is timed by the page's own clock, from
// the press to the frame that shows its answer.
import { api, given, open, visit } from './browser.mjs';

const [nodes, edges] = (process.env.WAYBILL_SITE ?? '0 0').split(' ').map(Number);
const BEATS = Number(process.env.WAYBILL_BEATS ?? 360);
/** Goals: milliseconds, and how much the tab may have grown, MiB. */
const GOALS = { content: 1500, interaction: 200, growth: 8 };
/** How often each thing is done; the median counts. */
const ROUNDS = 5;

const median = (of) => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)];
let missed = false;

function line(name, value, unit, goal) {
  const good = goal === undefined || value <= goal;
  missed ||= !good;
  const beside = goal === undefined ? '' : `  goal ${goal} ${unit}  ${good ? 'met' : 'MISSED'}`;
  process.stdout.write(`  ${name.padEnd(44)}${value.toFixed(1).padStart(9)} ${unit}${beside}\n`);
}

/** From the beginning of the navigation until something of the site is shown. */
async function opened(browser, path, what) {
  const times = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    // A context of its own: nothing is known from before.
    const { page, context } = await visit(browser);
    await page.addInitScript((selector) => {
      const look = () => {
        if (document.querySelector(selector)) globalThis.shownAt ??= performance.now();
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    }, what);
    await page.goto(given.url + path);
    const shown = await page.waitForFunction(() => globalThis.shownAt, undefined, {
      timeout: 60_000,
    });
    times.push(await shown.jsonValue());
    await context.close();
  }
  return median(times);
}

/** How long an answer is waited for. */
const PATIENCE_MS = 10_000;

/** From an event until the frame after the page has answered to it; both are texts of functions. */
async function answered(page, act, done) {
  // Evaluated by the browser and not by the page, whose policy forbids it.
  return page.evaluate(`new Promise((resolve) => {
    const [act, done] = [${act}, ${done}];
    const begun = performance.now();
    const took = () => performance.now() - begun;
    act();
    const look = () => {
      if (done() || took() > ${PATIENCE_MS}) requestAnimationFrame(() => resolve(took()));
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  })`);
}

/** Heap of the tab after its garbage is gone, MiB; and elements of the document. */
async function taken(session) {
  await session.send('HeapProfiler.collectGarbage');
  const { metrics } = await session.send('Performance.getMetrics');
  const of = (name) => metrics.find((one) => one.name === name)?.value ?? 0;
  return { heap: of('JSHeapUsedSize') / 2 ** 20, elements: of('Nodes') };
}

/** Things that people do on a map, each with what shows that it was done. */
const press = (selector) =>
  `() => document.querySelector(${JSON.stringify(selector)}).dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))`;
const MAP = {
  'a thing is pressed, its panel is there': [
    press('.thing'),
    `() => document.querySelector('aside')`,
  ],
  'a line is pressed, its panel is there': [
    press('.line'),
    `() => document.querySelector('.line.selected') && document.querySelector('aside')`,
  ],
  'the pointer is over a thing, its path is lit': [
    `() => document.querySelector('.thing').dispatchEvent(new PointerEvent('pointerenter'))`,
    // Of a small site everything may be on its path.
    `() => document.querySelector('.dim') || document.querySelectorAll('.thing').length < 20`,
  ],
  zoom: [
    `() => { globalThis.was = document.querySelector('svg.map > g').getAttribute('transform'); document.querySelector('.zoom button').click(); }`,
    `() => document.querySelector('svg.map > g').getAttribute('transform') !== globalThis.was`,
  ],
  'what is wrong alone, and all again': [
    `() => { globalThis.was = document.querySelector('button[aria-pressed][class^=pill]:not(.time *)').ariaPressed; document.querySelector('button[aria-pressed][class^=pill]:not(.time *)').click(); }`,
    `() => document.querySelector('button[aria-pressed][class^=pill]:not(.time *)')?.ariaPressed !== globalThis.was`,
  ],
  'a letter is typed into the search, hits are there': [
    `() => { const field = document.querySelector('#search'); globalThis.typed = (globalThis.typed ?? 0) + 1; field.focus(); field.value = globalThis.typed % 2 ? 'svc-0' : 'svc'; field.dispatchEvent(new Event('input', { bubbles: true })); }`,
    `() => document.querySelector('[role=listbox][aria-busy=false] [role=option]')`,
  ],
};

async function interactions(page, all) {
  for (const [name, [act, done]] of Object.entries(all)) {
    const times = [];
    for (let round = 0; round < ROUNDS; round += 1) times.push(await answered(page, act, done));
    line(name, median(times), 'ms', GOALS.interaction);
    await page.keyboard.press('Escape');
  }
}

/** A beat of live mode: the page asks again, and draws what it is answered. */
async function beat(page) {
  const [answer] = await Promise.all([
    page.waitForResponse((one) => one.url().includes('/api/v1/topology'), { timeout: 60_000 }),
    page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))),
  ]);
  await answer.finished();
}

const browser = await open();
process.stdout.write(`page: ${nodes} nodes, ${edges} edges\n`);
line('map: first content', await opened(browser, '/ui/map', '.thing'), 'ms', GOALS.content);
line('fleet: first content', await opened(browser, '/ui/fleet', 'tbody tr'), 'ms', GOALS.content);
const { page, faults } = await visit(browser);
const { edges: some } = await api(page, '/api/v1/topology?limit=200&max_age=10m');
for (const [name, path, what] of [
  ['map as a table', '/ui/map?table=1', 'tbody tr'],
  ['a service', `/ui/node/${encodeURIComponent(some[0].server)}`, 'tbody tr'],
  ['an edge', `/ui/edge/${some[0].key}`, '.say'],
]) {
  line(`${name}: first content`, await opened(browser, path, what), 'ms', GOALS.content);
}
await page.goto(`${given.url}/ui/map`);
await page.locator('.line').first().waitFor({ state: 'attached', timeout: 60_000 });
await page.waitForLoadState('networkidle');
line('things drawn', await page.locator('.thing').count(), '', 200);
line('lines drawn', await page.locator('.line').count(), '', 400);
await interactions(page, MAP);
await page.goto(`${given.url}/ui/map?table=1`);
await page.locator('tbody tr').first().waitFor({ timeout: 60_000 });
await page.waitForLoadState('networkidle');
await interactions(page, {
  'the table is sorted': [
    `() => { globalThis.was = document.querySelector('[aria-sort]:not([aria-sort=none])')?.textContent; [...document.querySelectorAll('th button')].find((one) => one.closest('th').getAttribute('aria-sort') === 'none').click(); }`,
    `() => document.querySelector('[aria-sort]:not([aria-sort=none])')?.textContent !== globalThis.was`,
  ],
});
await page.goto(`${given.url}/ui/map`);
await page.locator('.thing').first().waitFor({ timeout: 60_000 });
const session = await page.context().newCDPSession(page);
await session.send('Performance.enable');
// The first beats fill what is kept; from then on nothing may grow.
for (let n = 0; n < 10; n += 1) await beat(page);
const first = await taken(session);
const beats = [];
for (let n = 0; n < BEATS; n += 1) {
  const begun = performance.now();
  await beat(page);
  beats.push(performance.now() - begun);
}
const last = await taken(session);
line('a beat of live mode, with its answer', median(beats), 'ms');
line('heap after ten beats', first.heap, 'MiB');
line(`heap after ${BEATS} more`, last.heap, 'MiB', first.heap + GOALS.growth);
line('elements after ten beats', first.elements, '');
line(`elements after ${BEATS} more`, last.elements, '', first.elements * 1.1 + 500);
await browser.close();
if (faults.length > 0) process.stdout.write(`faults: ${faults.slice(0, 5).join('\n')}\n`);
process.exitCode = missed || faults.length > 0 ? 1 : 0;
