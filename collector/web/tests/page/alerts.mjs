// Alerts: a sentence, one of them, what a person does about it, and where it is on the map.
import assert from 'node:assert/strict';
import { given } from './browser.mjs';

const at = (path) => given.url + path;
const [connections, resets] = given.stock;
const SUMMARY = `stock-2/stock reset ${resets} of ${connections} connections, usual 0.`;

export const trials = {
  'what fires is said in a sentence, and shown on the way to it and on the map': {
    async trial({ page }) {
      await page.goto(at('/ui/map'));
      await page.getByRole('link', { name: /^Alerts \d/ }).waitFor();
      const thing = page.getByRole('button', { name: /^stock .* \d+ alerts?, failing/ });
      await thing.waitFor();
      const line = page.getByRole('button', { name: /^checkout → stock:.*, 1 alert$/ });
      await line.focus();
      await page.keyboard.press('Enter');
      await page.locator('aside').getByRole('link', { name: SUMMARY }).click();
      await page.getByRole('heading', { name: SUMMARY }).waitFor();
      await page.getByRole('link', { name: /^Alerts/ }).click();
      const say = page.locator('.say').first();
      await say.waitFor();
      assert.match(await say.innerText(), /fires?, \d+ of them critical\./);
      const row = page.locator('tbody tr', { hasText: SUMMARY });
      const text = await row.innerText();
      assert.match(text, /critical/);
      // A number beside its usual, and who knows.
      assert.match(text, /1\.3 ?%\s+0 ?%\s+nobody yet/);
    },
  },
  'an alert says what it is, how it is known, and what became of it': {
    async trial({ page }) {
      await page.goto(at('/ui/alerts'));
      await page.locator('tbody').getByRole('link', { name: SUMMARY }).click();
      await page.getByText(/1\.3 ?%, usual 0 ?% ± 0\.1 ?% \(7 days\)/).waitFor();
      await page.getByText('waybill token').waitFor();
      await page.getByText('through 10.3.0.1').waitFor();
      await page.locator('tbody tr', { hasText: 'began to fire' }).waitFor();
      await page.getByRole('link', { name: 'stock-2/stock' }).first().click();
      await page.getByRole('heading', { name: 'Who calls it' }).waitFor();
      await page.goBack();
      await page.getByLabel('Language').selectOption('zh');
      await page.getByRole('heading', { name: /平时为 0/ }).waitFor();
    },
  },
  'who only reads is told who acknowledges': {
    options: { token: given.reader },
    async trial({ page }) {
      await page.goto(at('/ui/alerts'));
      await page.locator('tbody').getByRole('link', { name: SUMMARY }).click();
      await page
        .getByText('Only operators and admins acknowledge and silence. You are viewer.')
        .waitFor();
      assert.equal(await page.locator('form').count(), 0);
    },
  },
  'somebody knows of it, and it is silent for a while': {
    async trial({ page }) {
      await page.goto(at('/ui/alerts'));
      await page.locator('tbody').getByRole('link', { name: SUMMARY }).click();
      await page.getByLabel('What others are to know').fill('stock is being moved');
      await page.getByRole('button', { name: 'I know of it' }).click();
      await page.getByText(/knows of it since .*stock is being moved/).waitFor();
      await page.getByLabel('Why', { exact: true }).fill('until the move is over');
      await page.locator('select[name=length]').selectOption('2h');
      await page.getByRole('button', { name: 'Silence', exact: true }).click();
      await page.getByText(/^Silent until .* It is still found/).waitFor();
      await page.getByRole('link', { name: /^Alerts/ }).click();
      const row = page.locator('tbody tr', { hasText: SUMMARY });
      await row.getByText(/silent until/).waitFor();
      assert.ok(!(await row.innerText()).includes('nobody yet'));
      await page.getByRole('link', { name: 'Silences' }).click();
      const silence = page.locator('tbody tr', { hasText: 'until the move is over' });
      await silence.waitFor();
      assert.match(await silence.innerText(), /client app-2\/checkout, server stock-2\/stock/);
      await silence.getByRole('button', { name: 'End' }).click();
      await silence.getByRole('button', { name: 'End' }).click();
      await silence.getByText('over').waitFor();
    },
  },
};
