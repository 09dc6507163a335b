// Logging in and out.
import { ask, type Schema, tell } from './client';
import { enter, forget, keep } from './session';

/** How a link of `waybill-collector user login-link` begins behind the `#`, which is sent to nobody. */
const LINK = '#login=';

/** Finds out who asks: by a link in the address, a session, a token, a certificate or a proxy. */
export async function begin(): Promise<void> {
  const link = location.hash.startsWith(LINK) ? location.hash.slice(LINK.length) : '';
  if (link !== '') {
    history.replaceState(null, '', location.pathname + location.search);
    return enter(await tell('/api/v1/login', { link }));
  }
  enter(await ask('/api/v1/whoami', {}));
}

/** Begins a session. */
export async function login(user: string, password: string): Promise<void> {
  enter(await tell('/api/v1/login', { user, password }));
}

/** Asks with a token, as long as this tab is open. */
export async function loginByToken(token: string): Promise<void> {
  keep(token);
  enter(await ask('/api/v1/whoami', {}));
}

/** Ends the session, and forgets the token. */
export async function logout(): Promise<void> {
  try {
    await tell<Schema['Ended']>('/api/v1/logout', {});
  } finally {
    forget();
  }
}
