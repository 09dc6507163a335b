// Settings: who one is, users, sessions, tokens, enrolment, and what is kept.
import assert from 'node:assert/strict';
import { given } from './browser.mjs';

const at = (path) => given.url + path;
const PASSWORD = 'correct horse battery staple';

/** Makes a user, as an admin does by the API; one that is there already stays. */
async function user(page, name, role) {
  const headers = { authorization: `Bearer ${given.token}` };
  const data = { name, role, password: PASSWORD };
  const made = await page.request.post(at('/api/v1/users'), { headers, data });
  assert.ok([200, 409].includes(made.status()), await made.text());
}

async function login(page, name, password = PASSWORD) {
  await page.getByLabel('User').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Open' }).click();
}

export const trials = {
  'an admin adds a user, changes the role, gives a new password, disables and removes': {
    options: { token: '' },
    async trial({ page, browser, faults }) {
      await user(page, 'root-1', 'admin');
      await page.goto(at('/ui/settings/users'));
      await login(page, 'root-1');
      await page.getByLabel('name', { exact: true }).fill('bob');
      await page.locator('select[name=role]').selectOption('viewer');
      await page.getByRole('button', { name: 'Add a user' }).click();
      const once = page.locator('.once');
      await once.getByText('The password of bob.').waitFor();
      const first = await once.locator('code').innerText();
      const row = page.locator('tbody tr', { hasText: /^bob/ });
      await row.getByText('active').waitFor();
      // Another browser: the made password opens, and the role is the one given.
      const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' });
      const other = await context.newPage();
      await other.goto(at('/ui/settings'));
      await login(other, 'bob', first);
      await other.getByText('You are bob, viewer.').waitFor();
      await Promise.all([
        page.waitForResponse((answer) => answer.request().method() !== 'GET'),
        row.getByLabel('Role of bob').selectOption('operator'),
      ]);
      // Their sessions end at once.
      await other.goto(at('/ui/settings'));
      await other.getByLabel('Password').waitFor();
      await row.getByRole('button', { name: 'New password' }).click();
      await row.getByText('Make a new password for bob?').waitFor();
      await row.getByRole('button', { name: 'New password' }).click();
      await page.waitForFunction(
        (old) => document.querySelector('.once code')?.textContent !== old,
        first,
      );
      const second = await once.locator('code').innerText();
      await login(other, 'bob', second);
      await other.getByText('You are bob, operator.').waitFor();
      await row.getByRole('button', { name: 'Disable' }).click();
      await row.getByRole('button', { name: 'Disable' }).click();
      await row.getByText('disabled').waitFor();
      await other.reload();
      await other.getByLabel('Password').waitFor();
      await row.getByRole('button', { name: 'Enable' }).click();
      await row.getByText('active').waitFor();
      // What is asked about and answered with no is not done.
      await row.getByRole('button', { name: 'Remove' }).click();
      await row.getByRole('button', { name: 'No', exact: true }).click();
      assert.equal(await row.count(), 1);
      await row.getByRole('button', { name: 'Remove' }).click();
      await row.getByRole('button', { name: 'Remove' }).click();
      await row.waitFor({ state: 'detached' });
      const own = page.locator('tbody tr', { hasText: /^root-1/ });
      assert.match(await own.innerText(), /another admin changes you/);
      await context.close();
      assert.ok(faults.splice(0).every((fault) => fault.includes('401')));
    },
  },
  'a user changes the password, makes a token and revokes it, and ends a session': {
    options: { token: '' },
    async trial({ page, browser, faults }) {
      await user(page, 'carl', 'operator');
      const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB' });
      const other = await context.newPage();
      await other.goto(at('/ui/settings'));
      await login(other, 'carl');
      await other.getByText('You are carl, operator.').waitFor();
      await page.goto(at('/ui/settings'));
      await login(page, 'carl');
      await page.getByText('You do not see or change users and tokens of others.').waitFor();
      const sessions = page.locator('section', { hasText: 'Sessions' }).locator('tbody tr');
      const ended = sessions.filter({ hasNotText: 'this one' }).first();
      await ended.getByRole('button', { name: 'End' }).click();
      await ended.getByText('End the session of carl?').waitFor();
      await ended.getByRole('button', { name: 'End' }).click();
      await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
      await other.reload();
      await other.getByLabel('Password').waitFor();
      await page.getByLabel('what it is for').fill('CI');
      await page.getByLabel('valid for').selectOption('7d');
      await page.getByRole('button', { name: 'Make a token' }).click();
      await page.getByText(/^The token CI, valid until/).waitFor();
      const token = await page.locator('.once code').innerText();
      const whoami = () =>
        page.request.get(at('/api/v1/whoami'), {
          headers: { authorization: `Bearer ${token}`, cookie: '' },
        });
      assert.equal((await (await whoami()).json()).by, 'user_token');
      const row = page.locator('tbody tr', { hasText: 'CI' });
      await row.getByRole('button', { name: 'Revoke' }).click();
      await row.getByRole('button', { name: 'Revoke' }).click();
      await row.waitFor({ state: 'detached' });
      assert.equal((await whoami()).status(), 401);
      await page.getByLabel('Password now').fill('something else');
      await page.getByLabel('New password').fill('another horse battery');
      await page.getByRole('button', { name: 'Change', exact: true }).click();
      await page.getByRole('alert').getByText('the old password is wrong').waitFor();
      await page.getByLabel('Password now').fill(PASSWORD);
      await page.getByRole('button', { name: 'Change', exact: true }).click();
      await page.getByText('Your password is changed').waitFor();
      await context.close();
      assert.ok(
        faults.splice(0).every((fault) => /401|422/.test(fault)),
        faults.join('\n'),
      );
    },
  },
  'what a role may not do is said, and not offered': {
    options: { token: given.reader },
    async trial({ page }) {
      await page.goto(at('/ui/settings'));
      await page.getByText('By a token of the collector’s configuration').waitFor();
      await page.getByText('Your credential is of no local user').waitFor();
      await page.getByRole('link', { name: 'Users' }).click();
      await page.getByText('Only admins see and change users. You are viewer.').waitFor();
      await page.getByRole('link', { name: 'Enrolment' }).click();
      await page.getByText('Only admins make tokens for enrolment').waitFor();
      assert.equal(await page.locator('form').count(), 0);
      await page.getByRole('link', { name: 'Keeping and limits' }).click();
      const kept = page.locator('dl div', { hasText: 'edges of each hour' });
      assert.match(await kept.innerText(), /400 days/);
    },
  },
  'an admin makes a token for a host, and takes it back': {
    async trial({ page }) {
      await page.goto(at('/ui/settings/enrolment'));
      await page.getByLabel('host').fill('DB7.example');
      await page.getByLabel('valid for').selectOption('1d');
      await page.getByRole('button', { name: 'Make a token for a host' }).click();
      await page.getByText(/^The token for db7.example, valid until/).waitFor();
      assert.match(await page.locator('.once code').innerText(), /^wbe_/);
      const row = page.locator('tbody tr', { hasText: 'db7.example' });
      await row.waitFor();
      await row.getByRole('button', { name: 'Withdraw' }).click();
      await row.getByRole('button', { name: 'Withdraw' }).click();
      await page.getByText('No token can be used now.').waitFor();
    },
  },
};
