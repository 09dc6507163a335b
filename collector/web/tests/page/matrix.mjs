// The communication matrix: looked at, declared, and shown on the map.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { api, given, settled } from './browser.mjs';

const at = (path) => given.url + path;

/** Chooses a file to look at, and waits for what it says. */
async function look(page, file) {
  await page.goto(at('/ui/matrix'));
  await page.getByLabel('Check a file…').setInputFiles(file);
  await page.getByRole('heading', { name: 'Communication matrix' }).waitFor();
}

/** What the first column says of each flow, by its id. */
async function verdicts(page) {
  const more = page.getByRole('button', { name: /^Show \d+ more/ });
  if (await more.count()) await more.click();
  return page.$$eval('tbody tr', (rows) =>
    Object.fromEntries(
      rows.map((row) => [row.cells[1].innerText.trim(), row.cells[0].innerText.trim()]),
    ),
  );
}

async function saved(page, name) {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name, exact: true }).click(),
  ]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

export const trials = {
  'a file with mistakes is not taken, and each mistake is told': {
    async trial({ page, faults }) {
      const buffer = Buffer.from('source,destination,port\n10.0.0.300,db,80\nweb,db,99999\n');
      await look(page, { name: 'wrong.csv', mimeType: 'text/csv', buffer });
      const alert = page.getByRole('alert');
      await alert.getByText('Nothing of the file was taken').waitFor();
      const said = await alert.locator('li').allInnerTexts();
      assert.equal(said.length, 2, said.join('\n'));
      assert.match(said[0], /^line 2, source: /);
      assert.match(said[1], /^line 3, port: /);
      assert.ok(faults.splice(0).every((fault) => fault.includes('400')));
      await page.getByRole('button', { name: 'Back to what is declared' }).click();
      await page.getByText('No matrix is declared here.').waitFor();
    },
  },
  'what was seen is proposed as a matrix that nothing breaks': {
    async trial({ page }) {
      await page.goto(at('/ui/matrix'));
      await page.getByRole('button', { name: 'What was seen, as a proposal' }).click();
      await page.locator('tbody tr', { hasText: 'service=firefox' }).first().waitFor();
      await page.getByText('Left out: 3 edges of low confidence').waitFor();
      const csv = await saved(page, 'what was seen as CSV');
      assert.equal(csv.name, 'matrix-learned.csv');
      assert.match(csv.bytes.toString(), /service=checkout,service=postgres,5432/);
      await page.getByRole('button', { name: 'Look at it as a matrix' }).click();
      // What is not certain was left out, said so, and is not declared by that.
      await page.getByText('3 of 25 edges are not declared.').waitFor();
      assert.equal(await page.locator('tbody .tag:not(.ok)').count(), 0);
      await page.getByRole('link', { name: /^What is not declared/ }).click();
      await page.locator('tbody tr', { hasText: '10.7.3.9' }).nth(2).waitFor();
      assert.match(await page.locator('tbody tr').first().innerText(), /low confidence/);
    },
  },
  'a workbook of 200 flows gets exact verdicts, with evidence': {
    async trial({ page }) {
      await look(page, given.matrix);
      const say = page.locator('.say');
      await say.waitFor();
      assert.match(
        await say.innerText(),
        /1 of 25 edges is not declared. 2 edges break the matrix/,
      );
      const pills = (await page.locator('fieldset .pill').allInnerTexts()).map((one) =>
        one.replace(/\s+/, ' '),
      );
      const said = [
        '1 violated',
        '1 expired',
        '190 not observable',
        '1 unused',
        '1 kept',
        '6 used',
      ];
      assert.deepEqual(pills, said);
      const all = await verdicts(page);
      assert.equal(Object.keys(all).length, 200);
      const expected = { n1: 'unused', d1: 'kept', v1: 'violated', f200: 'not observable' };
      for (const [id, verdict] of Object.entries(expected)) {
        assert.ok(all[id].includes(verdict), `${id}: ${all[id]}`);
      }
      for (const id of ['u1', 'u2', 'u3', 'u4', 'u5']) assert.equal(all[id], '✓ used');
      assert.equal(all.u6, '✓ used low confidence');
      assert.match(all.x1, /expired used after its end/);
      assert.match(all.f200, /no agent at either end/);
      // Evidence is an edge that can be opened, with how it is known.
      const row = page.locator('tbody tr', { hasText: 'u1' }).first();
      assert.match(
        await row.innerText(),
        /desk-1\/firefox → edge-\d\/nginx\s+waybill token · confidence 1/,
      );
      await page.getByRole('button', { name: '1 unused' }).click();
      await page.locator('tbody tr').nth(1).waitFor({ state: 'detached' });
      assert.deepEqual(Object.keys(await verdicts(page)), ['n1']);
      // The same file is not asked for again: back brings all.
      await page.goBack();
      await page.locator('tbody tr').nth(50).waitFor();
      await page.getByRole('searchbox', { name: 'Filter' }).fill('ledger');
      await page.locator('tbody tr').nth(1).waitFor({ state: 'detached' });
      assert.deepEqual(Object.keys(await verdicts(page)), ['u6']);
      await page.getByRole('searchbox', { name: 'Filter' }).fill('');
      await page.getByRole('button', { name: 'connections' }).click();
      const first = await page.locator('tbody tr').first().innerText();
      assert.match(first, /checkout\s+stock/);
    },
  },
  'reports are files in four forms, and no formula is executed': {
    async trial({ page }) {
      await look(page, given.matrix);
      await page.locator('.say').waitFor();
      const xlsx = await saved(page, 'Report as XLSX');
      assert.equal(xlsx.name, 'matrix-report.xlsx');
      assert.equal(xlsx.bytes.subarray(0, 2).toString(), 'PK');
      const csv = (await saved(page, 'Report as CSV')).bytes.toString();
      assert.match(csv, /,'=1\+200,/);
      const json = JSON.parse((await saved(page, 'Report as JSON')).bytes.toString());
      assert.equal(json.summary.flows, 200);
      const html = (await saved(page, 'Report as HTML')).bytes.toString();
      assert.ok(html.includes('1 edges are not declared'));
      assert.ok(!html.includes('<img'), 'names are text');
      const template = await saved(page, 'Template as CSV');
      assert.match(template.bytes.toString(), /^\ufeffid,source,destination/);
    },
  },
  'who only reads may look at a file, and is told who declares it': {
    options: { token: given.reader },
    async trial({ page }) {
      await look(page, given.matrix);
      await page
        .getByText('Only operators and admins declare a matrix. You are a viewer')
        .waitFor();
      await page.locator('.say').waitFor();
      assert.equal(await page.getByRole('button', { name: /^Declare/ }).count(), 0);
      assert.equal((await api(page, '/api/v1/matrix')).declared, null);
    },
  },
  'what is declared is in force for everybody, and on the map': {
    async trial({ page, context }) {
      await look(page, given.matrix);
      await page.getByLabel('What has changed, and why').fill('the first one');
      await page.getByRole('button', { name: 'Declare 200 flows' }).click();
      await page.getByText('Version 1 is in force.').waitFor();
      await page.getByText(/^Version 1, declared .* the first one$/).waitFor();
      const other = await context.newPage();
      await other.goto(at('/ui/map?by=none'));
      await other.getByRole('link', { name: '3 edges are not declared.' }).waitFor();
      const line = other.getByRole('button', {
        name: /^cat-1\/catalog → db-2\/redis:.*1 not declared/,
      });
      await line.focus();
      await other.keyboard.press('Enter');
      await other.locator('aside').getByText('against the matrix').waitFor();
      await other.getByRole('button', { name: 'only what is not declared' }).click();
      await other.waitForFunction(() => document.querySelectorAll('.line').length === 3);
      await settled(other);
      await other.getByRole('button', { name: 'as a table' }).click();
      await other.locator('tbody tr').first().waitFor();
      assert.equal(await other.locator('tbody tr').count(), 3);
      await other.getByRole('link', { name: '3 edges are not declared.' }).click();
      const row = other.locator('tbody tr', { hasText: given.hostile });
      await row.waitFor();
      assert.match(await row.innerText(), /not declared/);
      assert.equal(await other.locator('#page img').count(), 0);
    },
  },
  'an older version can be looked at, and who is late is told': {
    async trial({ page, faults }) {
      const rows = 'source,destination,port\nfirefox,nginx,443\n';
      const file = { name: 'small.csv', mimeType: 'text/csv', buffer: Buffer.from(rows) };
      await look(page, file);
      const put = page.getByRole('button', { name: 'Declare 1 flow' });
      await put.waitFor();
      // Somebody else declares, while this page has not heard of it.
      const headers = { authorization: `Bearer ${given.token}` };
      const other = await page.request.put(at('/api/v1/matrix?note=meanwhile'), {
        headers,
        data: readFileSync(given.matrix),
      });
      assert.ok(other.ok(), await other.text());
      await put.click();
      await page.getByText('Somebody has declared another version in the meantime').waitFor();
      assert.ok(faults.splice(0).every((fault) => fault.includes('409')));
      await page.getByRole('button', { name: 'Back to what is declared' }).click();
      await page.getByRole('link', { name: /^Versions/ }).click();
      const versions = page.locator('tbody tr');
      await versions.first().getByText('in force').waitFor();
      const old = page.locator('tbody tr', { hasText: 'the first one' });
      if (await old.count()) {
        await old.getByRole('button', { name: 'Look at it' }).click();
        await page.getByText(/^Looking at version \d+, which is not in force/).waitFor();
        await page.locator('.say').waitFor();
      }
    },
  },
};
