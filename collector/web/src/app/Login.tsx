// Who asks: a user with a password, or whoever has a token.
import { useState } from 'preact/hooks';
import { Refused } from '../api/client';
import { login, loginByToken } from '../api/login';
import { forget } from '../api/session';
import { t } from '../text';

export function Login({ fault }: { fault: string }) {
  const [byToken, setByToken] = useState(false);
  const [refused, setRefused] = useState(fault);
  const [waiting, setWaiting] = useState(false);
  const open = async (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(given.get(name) ?? '');
    setWaiting(true);
    try {
      if (byToken) await loginByToken(text('token').trim());
      else await login(text('user').trim(), text('password'));
    } catch (error) {
      forget();
      setRefused(said(error, byToken));
    } finally {
      setWaiting(false);
    }
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void open(event as SubmitEvent)}>
        <h1>Waybill</h1>
        {byToken ? (
          <>
            <p class="dim">{t('login.why')}</p>
            <label>
              {t('login.token')}
              <input key="token" name="token" type="password" autoComplete="off" required />
            </label>
          </>
        ) : (
          <>
            <label>
              {t('login.user')}
              <input key="user" name="user" autoComplete="username" required />
            </label>
            <label>
              {t('login.password')}
              <input
                key="password"
                name="password"
                type="password"
                autoComplete="current-password"
                required
              />
            </label>
          </>
        )}
        {refused !== '' && (
          <p class="bad" role="alert">
            {refused}
          </p>
        )}
        <button type="submit" class="primary" disabled={waiting}>
          {t('login.go')}
        </button>
        {byToken && <p class="dim">{t('login.kept')}</p>}
        <button type="button" class="plain" onClick={() => setByToken(!byToken)}>
          {t(byToken ? 'login.by.user' : 'login.by.token')}
        </button>
      </form>
    </main>
  );
}

/** Why somebody was not let in, in the person's language where that is known. */
function said(error: unknown, byToken: boolean): string {
  if (!(error instanceof Refused)) return String(error);
  if (error.status === 401) return t(byToken ? 'login.refused' : 'login.wrong');
  if (error.status === 429) return t('login.often');
  return error.status === 0 ? t('state.unreachable') : error.detail;
}
