// A fault becomes an alert: a sentence, its numbers, what a person does about it, where it is on the
// map, and its end. The rule is one that ships, and the agents tell what they tell of a real fault.
import assert from 'node:assert/strict';
import { api, given } from './browser.mjs';

const at = (path) => given.url + path;
const RULE = 'edge-reset-by-peer';
const SUMMARY =
  /stock-2\/stock or something before it reset \d+ of \d+ connections of app-2\/checkout in 5 min \(\d+(\.\d+)?%\)\./;
const SUMMARY_ZH = /5 分钟 内 app-2\/checkout 的 \d+ 个连接中有 \d+ 个被 stock-2\/stock/;
/** A minute is judged when it has settled, and the rule wants it twice. */
const FIRES_MS = 300_000;
/** Until the window of the rule has none of it, and it was quiet for a minute. */
const OVER_MS = 480_000;

const rowOf = (page) => page.locator('tbody tr', { hasText: SUMMARY });

/** Opens the alert from the list. */
async function open(page) {
  await page.goto(at('/ui/alerts'));
  await page.locator('tbody').getByRole('link', { name: SUMMARY }).click();
  await page.getByRole('heading', { name: SUMMARY }).waitFor();
}

export const trials = {
  'a fault that goes on fires, in a sentence': {
    limit: FIRES_MS + 60_000,
    async trial({ page }) {
      await page.goto(at('/ui/alerts'));
      const row = rowOf(page).filter({ hasText: 'firing' });
      await row.waitFor({ timeout: FIRES_MS });
      const text = await row.innerText();
      assert.match(text, /critical/);
      assert.match(text, /nobody yet/);
      // As the sentence has it.
      assert.match(text, /\s8 ?%/);
      const say = page.locator('.say').first();
      assert.match(await say.innerText(), /fires?, \d+ of them critical\./);
      const trouble = page.locator('.trouble.bad').first();
      assert.match(await trouble.innerText(), /stock-2\/stock/);
      // What was found is what agents told.
      const { alerts } = await api(page, `/api/v1/alerts?rule=${RULE}`);
      assert.equal(alerts.length, 1);
      const { resets, ended } = alerts[0].numbers;
      assert.ok(resets >= 10 && ended >= 120, `${resets} of ${ended}`);
    },
  },
  'what fires is shown on the way to it and on the map': {
    async trial({ page }) {
      await page.goto(at('/ui/map'));
      await page.getByRole('link', { name: /^Alerts \d/ }).waitFor();
      const thing = page.getByRole('button', { name: /^stock .* \d+ alerts?, failing/ });
      await thing.waitFor();
      const line = page.getByRole('button', { name: /^checkout → stock:.*, \d+ alerts?$/ });
      await line.focus();
      await page.keyboard.press('Enter');
      await page.locator('aside').getByRole('link', { name: SUMMARY }).click();
      await page.getByRole('heading', { name: SUMMARY }).waitFor();
    },
  },
  'an alert says what it is, how it is known, and what became of it': {
    async trial({ page }) {
      await open(page);
      await page.getByText('waybill token').waitFor();
      await page.locator('tbody tr', { hasText: 'began to fire' }).waitFor();
      // At most three candidates, or that there is none; never a verdict.
      const causes = page.locator('section', {
        has: page.getByRole('heading', { name: 'What changed nearby at the same time' }),
      });
      await causes.waitFor();
      const found = await causes.locator('.causes li').count();
      assert.ok(found <= 3, `${found} candidates`);
      if (found === 0) await causes.getByText('Nothing nearby changed at the same time').waitFor();
      await page.getByRole('link', { name: 'stock-2/stock', exact: true }).first().click();
      await page.getByRole('heading', { name: 'Who calls it' }).waitFor();
      await page.goBack();
      await page.getByLabel('Language').selectOption('zh');
      await page.getByRole('heading', { name: SUMMARY_ZH }).waitFor();
    },
  },
  'who only reads is told who acknowledges, and makes nothing silent': {
    options: { token: given.reader },
    async trial({ page }) {
      await open(page);
      await page
        .getByText('Only operators and admins acknowledge and silence. You are viewer.')
        .waitFor();
      assert.equal(await page.locator('form').count(), 0);
      await page.goto(at('/ui/alerts?tab=silences'));
      await page.getByText('Only operators and admins make and end silences').waitFor();
      await page.getByText('No time of the week is set aside.').waitFor();
      assert.equal(await page.locator('form').count(), 0);
    },
  },
  'somebody knows of it, and it is silent for a while': {
    async trial({ page }) {
      await open(page);
      await page.getByLabel('What others are to know').fill('stock is being moved');
      await page.getByRole('button', { name: 'I know of it' }).click();
      await page.getByText(/knows of it since .*stock is being moved/).waitFor();
      await page.getByLabel('Why', { exact: true }).fill('until the move is over');
      await page.locator('select[name=length]').selectOption('2h');
      await page.getByRole('button', { name: 'Silence', exact: true }).click();
      await page.getByText(/^Silent until .* It is still found/).waitFor();
      await page.getByRole('link', { name: /^Alerts/ }).click();
      const row = rowOf(page);
      await row.getByText(/silent until/).waitFor();
      assert.ok(!(await row.innerText()).includes('nobody yet'));
      await page.getByRole('link', { name: 'Silences' }).click();
      const silence = page.locator('tbody tr', { hasText: 'until the move is over' });
      await silence.waitFor();
      assert.match(await silence.innerText(), /client app-2\/checkout, server stock-2\/stock/);
      await silence.getByRole('button', { name: 'End' }).click();
      await silence.getByRole('button', { name: 'End' }).click();
      // One that was ended is gone; the log of changes has it.
      await silence.waitFor({ state: 'detached' });
    },
  },
  'a silence is made of conditions, changed, in either language, and ended': {
    async trial({ page }) {
      await page.goto(at('/ui/alerts?tab=silences'));
      await page.getByText('Make something silent').click();
      const form = page.locator('form', { has: page.locator('input[name=why]') });
      await form.getByLabel('what about them').selectOption('host');
      await form.getByLabel('value').fill('db-*');
      await form.getByRole('button', { name: 'One more condition' }).click();
      await form.getByLabel('what about them').nth(1).selectOption('rule');
      await form.getByLabel('how it is met').nth(1).selectOption('not');
      await form.getByLabel('value').nth(1).fill('agent-silent');
      await form.getByLabel('Why', { exact: true }).fill('the rack is moved');
      await form.getByRole('button', { name: 'Silence', exact: true }).click();
      const row = page.locator('tbody tr', { hasText: 'the rack is moved' });
      await row.waitFor();
      assert.match(await row.innerText(), /host db-\*, rule (is )?not agent-silent/);
      const [{ id, until_ms }] = (await api(page, '/api/v1/silences')).silences;
      await row.getByRole('button', { name: 'Change' }).click();
      const again = page.locator('form', { has: page.locator('input[name=until]') });
      await again.getByLabel('Why', { exact: true }).fill('the rack is moved, and its switch');
      await again.getByRole('button', { name: 'Change' }).click();
      await row.getByText('and its switch').waitFor();
      const [changed] = (await api(page, '/api/v1/silences')).silences;
      assert.equal(changed.matchers.length, 2);
      // The field has minutes.
      assert.ok(changed.id === id && Math.abs(changed.until_ms - until_ms) < 60_000);
      await page.getByLabel('Language').selectOption('zh');
      await row.getByText('主机 db-*').waitFor();
      await row.getByRole('button', { name: '结束', exact: true }).click();
      await row.getByText('结束此静默?').waitFor();
      await row.getByRole('button', { name: '结束', exact: true }).click();
      await row.waitFor({ state: 'detached' });
    },
  },
  'a time of every week is set aside, changed, and ended': {
    async trial({ page, faults }) {
      await page.goto(at('/ui/alerts?tab=silences'));
      await page.getByText('Set a time of every week aside').click();
      await page.getByLabel('what is done').fill('patches');
      const form = page.locator('form', { has: page.getByLabel('what is done') });
      await form.getByLabel('value').fill('db-*');
      const go = form.getByRole('button', { name: 'Set aside' });
      // What the collector refuses is said, and nothing is forgotten.
      await go.click();
      await form.getByRole('alert').waitFor();
      assert.ok(faults.splice(0).every((fault) => fault.includes('400')));
      await form.getByLabel('Sun').check();
      await form.getByLabel('at', { exact: true }).fill('02:30');
      await form.locator('select[name=offset]').selectOption('480');
      await form.getByLabel('lasts, minutes').fill('90');
      await go.click();
      const row = page.locator('tbody tr', { hasText: 'patches' });
      await row.waitFor();
      assert.match(await row.innerText(), /host db-\*\s+Sun 02:30 UTC\+8:00\s+90 mins?/);
      const { windows } = await api(page, '/api/v1/maintenance');
      const { days, at_minute, minutes, utc_offset_minutes } = windows[0].window;
      assert.deepEqual([days, at_minute, minutes, utc_offset_minutes], [['sun'], 150, 90, 480]);
      await row.getByRole('button', { name: 'Change' }).click();
      await page.getByText('Change patches').waitFor();
      assert.equal(await form.getByLabel('value').inputValue(), 'db-*');
      await form.getByLabel('Mon').check();
      await form.getByLabel('lasts, minutes').fill('60');
      await form.getByRole('button', { name: 'Change' }).click();
      await row.getByText('Sun 02:30').waitFor();
      await page.getByText('Set a time of every week aside').waitFor();
      const changed = (await api(page, '/api/v1/maintenance')).windows;
      assert.equal(changed.length, 1);
      assert.deepEqual(
        [changed[0].window.days.toSorted(), changed[0].window.at_minute, changed[0].window.minutes],
        [['mon', 'sun'], 150, 60],
      );
      await row.getByRole('button', { name: 'End' }).click();
      await row.getByRole('button', { name: 'End' }).click();
      await page.getByText('No time of the week is set aside.').waitFor();
    },
  },
};

export const over = {
  'what was mended is over, and its history is kept': {
    limit: OVER_MS + 60_000,
    async trial({ page }) {
      await page.goto(at('/ui/alerts?tab=resolved'));
      const link = page.locator('tbody').getByRole('link', { name: SUMMARY });
      await link.waitFor({ timeout: OVER_MS });
      await link.click();
      await page.locator('.say.ok', { hasText: 'It was over at' }).waitFor();
      const history = await page.locator('tbody tr').allInnerTexts();
      for (const what of ['was found', 'began to fire', 'was over']) {
        assert.ok(
          history.some((row) => row.includes(what)),
          `${what}: ${history.join('\n')}`,
        );
      }
      const { alerts } = await api(page, `/api/v1/alerts?rule=${RULE}`);
      assert.deepEqual(alerts, []);
    },
  },
};
