// What people do: sign in, look, search, follow.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { api, given, settled } from './browser.mjs';

const at = (path) => given.url + path;

/** The boxes of the map: key of each by its label. */
async function places(page) {
  return page.$$eval('.thing', (all) =>
    Object.fromEntries(all.map((one) => [one.dataset.name, one.getAttribute('transform')])),
  );
}

async function search(page, text) {
  await page.keyboard.press('/');
  const asked = (response) => new URL(response.url()).searchParams.get('q') === text;
  await Promise.all([
    page.waitForResponse(asked),
    page.getByRole('combobox', { name: 'Search' }).fill(text),
  ]);
  // Until then the hits are those of what was typed before.
  await page.locator('[role=listbox][aria-busy=false] [role=option]').first().waitFor();
  return page.locator('[role=option]').allInnerTexts();
}

export const trials = {
  'a token lets in, and nothing else does': {
    options: { token: '' },
    async trial({ page, faults }) {
      await page.goto(at('/'));
      await page.getByRole('button', { name: 'With a token instead' }).click();
      await page.getByLabel('Token').fill('a-token-of-nobody');
      await page.getByRole('button', { name: 'Open' }).click();
      await page.getByText('does not take this token').waitFor();
      // The browser itself tells of the refusal.
      assert.ok(faults.splice(0).every((fault) => fault.includes('401')));
      await page.getByLabel('Token').fill(given.token);
      await page.getByRole('button', { name: 'Open' }).click();
      await page.getByRole('button', { name: /^stock / }).waitFor();
      assert.equal(await page.evaluate(() => localStorage.getItem('waybill.token')), null);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Password').waitFor();
    },
  },
  'a user logs in, is known by the session, and logs out': {
    options: { token: '' },
    async trial({ page, context, faults }) {
      const password = 'correct horse battery staple';
      const made = await page.request.post(at('/api/v1/users'), {
        headers: { authorization: `Bearer ${given.token}` },
        data: { name: 'ann', role: 'viewer', password },
      });
      assert.ok(made.ok(), await made.text());
      await page.goto(at('/ui/fleet'));
      await page.getByLabel('User').fill('ann');
      await page.getByLabel('Password').fill('something else');
      await page.getByRole('button', { name: 'Open' }).click();
      await page.getByText('User or password is wrong').waitFor();
      await page.getByLabel('Password').fill(password);
      await page.getByRole('button', { name: 'Open' }).click();
      await page.locator('tbody tr').first().waitFor();
      const other = await context.newPage();
      await other.goto(at('/ui/map'));
      await other.getByText('ann', { exact: true }).waitFor();
      assert.equal(await other.evaluate(() => document.cookie), '');
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Password').waitFor();
      await other.reload();
      await other.getByLabel('Password').waitFor();
      assert.ok(faults.splice(0).every((fault) => fault.includes('401')));
    },
  },
  'the map says first what is wrong, and names it': {
    async trial({ page }) {
      const [connections, resets] = given.stock;
      await page.goto(at('/ui/map'));
      const say = page.locator('.overview');
      await say.waitFor();
      const worst = new RegExp(
        `app-2/checkout → stock-2/stock, the server reset ${resets} of ${connections} connections`,
      );
      // A live answer may be two minutes old: what was sent last is in the next one.
      for (let tries = 0; tries < 30 && !worst.test(await say.innerText()); tries += 1) {
        await page.waitForTimeout(5000);
        await page.reload();
        await say.waitFor();
      }
      const text = await say.innerText();
      assert.match(text, worst);
      assert.match(text, /1 of 25 edges is failing/);
      const label = await page.getByRole('button', { name: /^stock / }).getAttribute('aria-label');
      assert.match(label, /failing/);
      await page
        .getByRole('button', { name: /^checkout → stock:.*via NAT/ })
        .waitFor({ state: 'attached' });
      await page.getByRole('button', { name: /^firefox → nginx:.*via VIP \+ NAT/ }).waitFor();
      // What is not known is drawn as that.
      const blind = page.getByRole('button', { name: /^10\.7\.3\.9 no agent there/ });
      assert.match(await blind.getAttribute('class'), /address/);
      // A name is a text, whatever is in it.
      assert.ok((await places(page))[given.hostile], 'the hostile name is there as it is');
      assert.equal(await page.locator('#page img').count(), 0);
    },
  },
  'only what is wrong leaves that, and back brings the rest': {
    async trial({ page }) {
      await page.goto(at('/ui/map'));
      await page.locator('.thing').first().waitFor();
      const all = Object.keys(await places(page)).length;
      await page.getByRole('button', { name: 'only what is wrong' }).click();
      await page.waitForFunction(() => document.querySelectorAll('.thing').length === 3);
      assert.deepEqual(Object.keys(await places(page)).sort(), ['checkout', 'nginx', 'stock']);
      await page.goBack();
      await page.waitForFunction((n) => document.querySelectorAll('.thing').length === n, all);
    },
  },
  'around one thing, what is beyond is counted and one press away': {
    async trial({ page }) {
      await page.goto(at(`/ui/map?focus=${encodeURIComponent('cat-1/catalog')}&depth=1&by=none`));
      await page.locator('.thing').first().waitFor();
      const shown = Object.keys(await places(page)).sort();
      assert.deepEqual(shown, [
        'app-1/checkout',
        'app-2/checkout',
        'app-3/checkout',
        'cat-1/catalog',
        'db-2/redis',
      ]);
      await page.getByRole('link', { name: /^\+5 more… neighbours of app-2\/checkout/ }).click();
      await page.getByRole('heading', { name: 'Whom it calls' }).waitFor();
      assert.equal(await page.locator('tbody tr', { hasText: 'app-2/checkout' }).count(), 6);
      await page.goBack();
      await page.getByRole('button', { name: 'show everything' }).click();
      await page.waitForFunction(() => document.querySelectorAll('.thing').length > 10);
    },
  },
  'nothing jumps when new answers come': {
    async trial({ page }) {
      for (const layout of ['layered', 'force']) {
        await page.goto(at(`/ui/map?layout=${layout}`));
        await page.locator('.thing').first().waitFor();
        await settled(page);
        const before = await places(page);
        const [answer] = await Promise.all([
          page.waitForResponse((response) => response.url().includes('/api/v1/topology')),
          page.evaluate(() => document.dispatchEvent(new Event('visibilitychange'))),
        ]);
        assert.equal(answer.status(), 200);
        await settled(page);
        assert.deepEqual(await places(page), before);
      }
    },
  },
  'from the map to the edge, the connections that broke, and their chain': {
    async trial({ page }) {
      const [connections, resets] = given.stock;
      await page.goto(at('/ui/map?by=none'));
      const line = page.getByRole('button', { name: /^app-2\/checkout → stock-2\/stock:/ });
      await line.focus();
      await page.keyboard.press('Enter');
      const panel = page.locator('aside');
      await panel.getByText('waybill token').waitFor();
      assert.match(await panel.innerText(), /confidence 1 · both ends report/);
      await panel.getByRole('link', { name: 'All about this edge' }).click();
      await page.waitForURL(/\/ui\/edge\//);
      await page.locator('.say.bad').waitFor();
      assert.match(
        await page.locator('.say.bad').innerText(),
        new RegExp(`${resets} of ${connections}`),
      );
      const broken = page.locator('tbody tr', { hasText: 'reset by the other side' });
      await broken.nth(resets - 1).waitFor();
      assert.equal(await broken.count(), resets);
      await page.getByRole('button', { name: 'Judge each cause' }).click();
      const judged = page.locator('section', { hasText: 'What may be wrong' }).last();
      await judged
        .getByText(`stock-2/stock ended ${resets} of ${connections} connections with a reset.`)
        .first()
        .waitFor();
      await judged.getByText('None of', { exact: false }).waitFor();
      await page.getByRole('link', { name: 'Chain', exact: true }).click();
      await page.waitForURL(/\/ui\/chain/);
      await page.locator('.hop').first().waitFor();
      await page.goBack();
      await page.waitForURL(/\/ui\/edge\//);
    },
  },
  'a number stands beside that of the time before, and since when it is so': {
    async trial({ page }) {
      const [, resets] = given.stock;
      const { edges } = await api(page, '/api/v1/topology');
      const stock = edges.find(
        (edge) => edge.client === 'app-2/checkout' && edge.server === 'stock-2/stock',
      );
      // Quarters of an hour that end with the data: it was fine in the first one.
      const to = stock.last_seen_ms;
      const [from, until] = [to - 900_000, to].map((ms) => new Date(ms).toISOString());
      await page.goto(at(`/ui/edge/${stock.key}?from=${from}&to=${until}`));
      const say = page.locator('.say.bad').first();
      await say.getByText('The 15 mins before: none.').waitFor();
      await page.locator('.kv', { hasText: 'before 0' }).waitFor();
      await say.getByText(/It began between \d\d:\d\d:\d\d and/).waitFor();
      assert.match(await say.innerText(), /The server reset \d+ of \d+/);
      assert.ok(resets > 0);
    },
  },
  'the search takes whatever was typed or pasted': {
    async trial({ page }) {
      await page.goto(at('/ui/fleet'));
      await page.locator('tbody tr').first().waitFor();
      const texts = {
        chec: /service\s+app-\d\/checkout/,
        'stock-2': /stock-2/,
        '10.3.3.1': /db-1\/postgres/,
        ':6379': /redis/,
        '10.1.0.2:32770 -> 10.1.0.100:443': /connection\s+10\.1\.0\.2:32770/,
        'ESTAB 0 0 10.1.0.2:32770 10.1.0.100:443': /connection\s+10\.1\.0\.2:32770/,
        'IP 10.1.0.2.32770 > 10.1.0.100.443: Flags [S]': /connection\s+10\.1\.0\.2:32770/,
      };
      for (const [text, wanted] of Object.entries(texts)) {
        const hits = await search(page, text);
        assert.ok(
          hits.some((hit) => wanted.test(hit)),
          `${text}: ${hits.join(' | ')}`,
        );
        await page.keyboard.press('Escape');
      }
      await search(page, 'cron-billing');
      await page.keyboard.press('Enter');
      await page.waitForURL(/\/ui\/node\//);
      await page.getByRole('heading', { name: 'cron-billing' }).waitFor();
    },
  },
  'a pasted connection shows every hop with its addresses': {
    async trial({ page }) {
      await page.goto(at('/ui/map'));
      await search(page, '10.1.0.2:32770 -> 10.1.0.100:443');
      await page.keyboard.press('Enter');
      await page.locator('.hop').nth(2).waitFor();
      const hops = await page.locator('.hop').allInnerTexts();
      assert.equal(hops.length, 3);
      assert.match(hops[0], /desk-1\/firefox[\s\S]*10\.1\.0\.2:32770\s+→ 10\.1\.0\.100:443/);
      assert.match(
        hops[1],
        /gw-1[\s\S]*arrives as[\s\S]*leaves as\s+10\.2\.0\.1\s+→ 10\.2\.1\.1:443/,
      );
      assert.match(hops[2], /edge-1\/nginx[\s\S]*10\.2\.0\.1:32770/);
      await page.getByText('this very connection').waitFor();
    },
  },
  'a chain that breaks says where and why': {
    async trial({ page }) {
      await page.goto(
        at(`/ui/chain?tuple=${encodeURIComponent('10.2.2.1:40000 -> 10.7.3.9:1521')}`),
      );
      await page.getByText('What is behind app-1/checkout is not known').waitFor();
      assert.match(await page.locator('.hop.blind').innerText(), /no agent there/);
    },
  },
  'the fleet says who is blind, why, and who lost something': {
    async trial({ page }) {
      await page.goto(at('/ui/fleet'));
      const say = page.locator('.say').first();
      await say.waitFor();
      assert.match(await say.innerText(), /1 lost something: edge-2/);
      assert.match(
        await say.innerText(),
        /2 have no eBPF and are observed from outside: db-1, db-2/,
      );
      const row = page.locator('tbody tr', { hasText: 'db-1' });
      assert.match(await row.innerText(), /listener: needs eBPF/);
      await row.getByRole('link', { name: 'db-1' }).click();
      await page.getByText('the kernel has no bpf system call').waitFor();
    },
  },
  'a table is saved as it is, and no formula is executed': {
    async trial({ page }) {
      await page.goto(at('/ui/map?table=1'));
      await page.locator('tbody tr').first().waitFor();
      const save = async (name) => {
        const [download] = await Promise.all([
          page.waitForEvent('download'),
          page.getByRole('button', { name, exact: true }).click(),
        ]);
        return readFileSync(await download.path(), 'utf8');
      };
      const csv = await save('CSV');
      const lines = csv.replace('\ufeff', '').trim().split('\r\n');
      assert.equal(
        lines[0],
        'state,client,server,endpoint,via,connections,rtt_p95_us,retransmits,first_seen,confidence',
      );
      const edges = await api(page, '/api/v1/topology');
      assert.equal(lines.length - 1, edges.edges.length + edges.unjoined.length);
      assert.ok(lines.some((line) => line.includes(`ops-07/${given.hostile}`)));
      assert.ok(lines.every((line) => !/(^|,)"?[=+@]/.test(line)));
      const rows = JSON.parse(await save('JSON'));
      assert.equal(rows.length, lines.length - 1);
    },
  },
  'a range that is held still is a link': {
    async trial({ page, context }) {
      await page.goto(at('/ui/map'));
      await page.locator('.thing').first().waitFor();
      await page.getByRole('button', { name: /live/ }).click();
      await page.waitForURL(/from=.*&to=/);
      await settled(page);
      const other = await context.newPage();
      await other.goto(page.url());
      await other.locator('.overview').waitFor();
      await settled(other);
      assert.equal(
        await other.locator('.overview').innerText(),
        await page.locator('.overview').innerText(),
      );
    },
  },
  'an old answer stays when the collector goes away, and says so': {
    async trial({ page, faults }) {
      await page.goto(at('/ui/map'));
      await page.locator('.thing').first().waitFor();
      await page.route('**/api/v1/**', (route) => route.abort());
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      await page.getByText('The collector does not answer.').waitFor();
      assert.match(await page.getByRole('alert').first().innerText(), /Showing what it said at/);
      assert.ok((await page.locator('.thing').count()) > 5);
      await page.unroute('**/api/v1/**');
      await page.getByRole('button', { name: 'Ask again' }).first().click();
      await page.getByText('The collector does not answer.').waitFor({ state: 'detached' });
      assert.ok(faults.splice(0).every((fault) => fault.includes('ERR_FAILED')));
    },
  },
};
