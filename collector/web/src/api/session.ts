// Who asks: a token that a person gave, kept for this tab alone.
import { store } from '../app/store';

const PLACE = 'waybill.token';

/** Whether there is a credential that was not refused. */
export const session = store<'unknown' | 'in' | 'out'>(
  sessionStorage.getItem(PLACE) === null ? 'unknown' : 'in',
);

/** The token, where there is one. */
export function credential(): string | null {
  return sessionStorage.getItem(PLACE);
}

/** Takes a token; the next answer tells whether it is valid. */
export function take(token: string): void {
  sessionStorage.setItem(PLACE, token);
  session.set('in');
}

/** The credential was refused, or the person left. */
export function forget(): void {
  sessionStorage.removeItem(PLACE);
  session.set('out');
}
