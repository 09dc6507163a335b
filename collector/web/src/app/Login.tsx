// Who asks.
import { useState } from 'preact/hooks';
import { ask } from '../api/client';
import { forget, session, take } from '../api/session';
import { t } from '../text';

export function Login() {
  const [token, setToken] = useState('');
  const [refused, setRefused] = useState('');
  const open = async (event: Event) => {
    event.preventDefault();
    sessionStorage.setItem('waybill.token', token.trim());
    try {
      await ask('/api/v1/tables', {});
      take(token.trim());
    } catch (error) {
      forget();
      session.set('out');
      setRefused(
        error instanceof Error && 'status' in error && error.status === 401
          ? t('login.refused')
          : String(error),
      );
    }
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void open(event)}>
        <h1>Waybill</h1>
        <p class="dim">{t('login.why')}</p>
        <label>
          {t('login.token')}
          <input
            type="password"
            autoComplete="current-password"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
            required
          />
        </label>
        {refused !== '' && (
          <p class="bad" role="alert">
            {refused}
          </p>
        )}
        <button type="submit" class="primary">
          {t('login.go')}
        </button>
        <p class="dim">{t('login.kept')}</p>
      </form>
    </main>
  );
}
