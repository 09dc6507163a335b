// What a person who has never seen the page finds out in at most three presses.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { api, given } from './browser.mjs';

const MOST = 3;

/** Counts presses; typing into a field that is there is none. */
function person(page) {
  let presses = 0;
  return {
    async press(what) {
      presses += 1;
      assert.ok(presses <= MOST, `more than ${MOST} presses`);
      await what.click();
    },
    /** Types into the front door and takes the first hit. */
    async search(text, wanted) {
      const field = page.getByRole('combobox', { name: 'Search' });
      const asked = (response) => new URL(response.url()).searchParams.get('q') === text;
      await Promise.all([page.waitForResponse(asked), field.fill(text)]);
      await page.locator('[role=listbox][aria-busy=false] [role=option]').first().waitFor();
      await this.press(page.locator('[role=option]', { hasText: wanted }).first());
    },
  };
}

/** Has a matrix in force. */
async function declare(page) {
  if ((await api(page, '/api/v1/matrix?rows=false')).declared) return;
  const headers = { authorization: `Bearer ${given.token}` };
  const data = readFileSync(given.matrix);
  const put = await page.request.put(`${given.url}/api/v1/matrix`, { headers, data });
  assert.ok(put.ok(), await put.text());
}

const callers = (page) =>
  page.locator('section', { has: page.getByRole('heading', { name: 'Who calls it' }) });

export const trials = {
  'who uses this database through that VIP': {
    async trial({ page }) {
      await page.goto(given.url);
      const someone = person(page);
      await someone.search('postgres', 'db-1/postgres');
      const rows = callers(page).locator('tbody tr', { hasText: 'VIP 10.9.0.54:5432' });
      await rows.nth(2).waitFor();
      const said = await rows.allInnerTexts();
      assert.equal(said.length, 3);
      for (const app of ['app-1', 'app-2', 'app-3']) {
        assert.ok(
          said.some((row) => row.includes(`${app}/checkout`)),
          said.join('\n'),
        );
      }
      // Who does not go through it is there as well, and told apart.
      const direct = callers(page).locator('tbody tr', { hasText: 'cron-billing' });
      assert.ok(!(await direct.innerText()).includes('10.9.0.54'));
    },
  },
  'since when': {
    async trial({ page }) {
      await page.goto(given.url);
      const someone = person(page);
      await someone.search('postgres', 'db-1/postgres');
      const row = callers(page).locator('tbody tr', { hasText: 'app-1/checkout' });
      await row.waitFor();
      const { edges } = await api(page, '/api/v1/topology?service=postgres');
      const edge = edges.find((one) => one.client === 'app-1/checkout');
      const first = new Date(edge.first_seen_ms);
      const clock = first.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
      assert.ok((await row.innerText()).includes(clock), `${await row.innerText()}: ${clock}`);
    },
  },
  'which of them is not declared': {
    async trial({ page }) {
      await declare(page);
      await page.goto(given.url);
      const someone = person(page);
      await someone.search('postgres', 'db-1/postgres');
      const table = callers(page);
      await table.getByText('against the matrix').waitFor();
      const rows = await table
        .locator('tbody tr', { hasText: 'against the matrix' })
        .allInnerTexts();
      assert.equal(rows.length, 1, rows.join('\n'));
      assert.match(rows[0], /ops-07\/cron-billing/);
      const others = table.locator('tbody td', { hasText: /^declared$/ });
      assert.equal(await others.count(), 3);
    },
  },
  'which hop loses packets': {
    async trial({ page }) {
      await page.goto(given.url);
      const someone = person(page);
      await someone.press(page.getByRole('button', { name: 'only what is wrong' }));
      const line = page.getByRole('button', { name: /^nginx → checkout:.*sent again/ });
      await line.waitFor({ state: 'attached' });
      await someone.press(line);
      const panel = page.locator('aside');
      const worst = panel.locator('.say');
      await worst.waitFor();
      assert.match(
        await worst.innerText(),
        /edge-1\/nginx → app-1\/checkout, 2(\.\d)?% of segments sent again/,
      );
    },
  },
  'which hosts are blind, and why': {
    async trial({ page }) {
      await page.goto(given.url);
      const someone = person(page);
      await someone.press(page.getByRole('link', { name: 'Fleet' }));
      await page.getByText('2 have no eBPF and are observed from outside: db-1, db-2.').waitFor();
      await someone.press(page.locator('tbody').getByRole('link', { name: 'db-1' }));
      await page.getByText('the kernel has no bpf system call').waitFor();
    },
  },
};
