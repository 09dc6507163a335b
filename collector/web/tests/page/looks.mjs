// What views look like: in both themes and languages, for those who see and those who do not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { api, given, shot } from './browser.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The address of every view, by the name of its picture. */
async function views(page) {
  const { edges } = await api(page, '/api/v1/topology');
  const stock = edges.find(
    (edge) => edge.client === 'app-2/checkout' && edge.server === 'stock-2/stock',
  );
  const connection = encodeURIComponent('10.1.0.2:32770 -> 10.1.0.100:443');
  return {
    map: '/ui/map',
    'map-edge': `/ui/map?by=none&sel=${encodeURIComponent(`${keyOf(await nodes(page), stock.client)} ${keyOf(await nodes(page), stock.server)}`)}`,
    'map-force': '/ui/map?layout=force',
    'map-table': '/ui/map?table=1',
    edge: `/ui/edge/${stock.key}`,
    node: `/ui/node/${encodeURIComponent('edge-1/nginx')}`,
    chain: `/ui/chain?tuple=${connection}`,
    matrix: '/ui/matrix',
    'matrix-edges': '/ui/matrix?tab=edges',
    'matrix-learned': '/ui/matrix?tab=learned',
    'matrix-versions': '/ui/matrix?tab=versions',
    fleet: '/ui/fleet',
    host: '/ui/host/db-1',
    events: '/ui/events',
    data: '/ui/data',
    table: '/ui/data/listener',
    settings: '/ui/settings',
    'settings-users': '/ui/settings/users',
    'settings-enrolment': '/ui/settings/enrolment',
    'settings-keeping': '/ui/settings/keeping',
    nothing: `/ui/map?from=2001-01-01T00:00:00Z&to=2001-01-01T01:00:00Z`,
  };
}

/** The views of alerts. */
async function alertViews(page) {
  const { alerts } = await api(page, '/api/v1/alerts?rule=edge-reset-by-peer');
  return {
    'map-alerts': '/ui/map',
    alerts: '/ui/alerts',
    alert: `/ui/alerts/${alerts[0].id}`,
    'alert-rules': '/ui/alerts?tab=rules',
    silences: '/ui/alerts?tab=silences',
  };
}

async function nodes(page) {
  return (await api(page, '/api/v1/topology')).nodes;
}

function keyOf(all, id) {
  return all.find((node) => node.id === id).key;
}

/** Looks at every view, keeps its picture, and has axe find nothing serious. */
function every(of, scheme, locale, only = () => true) {
  return {
    options: { scheme, locale },
    async trial({ page }) {
      const found = [];
      for (const [name, path] of Object.entries(await of(page))) {
        if (!only(name)) continue;
        await page.goto(given.url + path);
        await page.locator('main').waitFor();
        const language = locale.startsWith('zh') ? '-zh' : '';
        await shot(page, `${name}-${scheme}${language}`, { fullPage: !name.startsWith('map') });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) found.push(`${name}: ${wide} pixels wider than the window`);
        await page.evaluate(AXE);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document));
        for (const one of violations.filter((it) => ['serious', 'critical'].includes(it.impact))) {
          const where = one.nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`);
          found.push(`${name}: ${one.id}: ${where.join('\n')}`);
        }
      }
      assert.deepEqual(found, []);
    },
  };
}

export const ofAlerts = {
  'every view of alerts is seen and read, in light': every(alertViews, 'light', 'en-GB'),
  'every view of alerts is seen and read, in dark': every(alertViews, 'dark', 'en-GB'),
  'every view of alerts is seen and read, in Chinese': every(alertViews, 'light', 'zh-CN'),
};

export const trials = {
  'every view is seen and read, in light': every(views, 'light', 'en-GB'),
  'every view is seen and read, in dark': every(views, 'dark', 'en-GB'),
  'every view is seen and read, in Chinese': every(views, 'light', 'zh-CN', (name) =>
    [
      'map',
      'edge',
      'chain',
      'fleet',
      'matrix',
      'matrix-edges',
      'settings',
      'settings-users',
    ].includes(name),
  ),
  'the language is chosen, and stays': {
    async trial({ page }) {
      await page.goto(`${given.url}/ui/fleet`);
      await page.getByLabel('Language').selectOption('zh');
      await page.getByRole('heading', { name: '主机' }).waitFor();
      await page.reload();
      await page.getByRole('heading', { name: '主机' }).waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
    },
  },
};
