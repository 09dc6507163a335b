// Who asks: a session of the collector, whose cookie no script reads, or a token kept for this tab.
import { store } from '../app/store';
import type { Schema } from './client';

const PLACE = 'waybill.token';

export type Person = Schema['Whoami'];

/** Whether somebody is known: nobody knows at first. */
export const session = store<'unknown' | 'in' | 'out'>('unknown');

/** Who it is, once that is known. */
export const person = store<Person | null>(null);

/** The token, where there is one. */
export function credential(): string | null {
  return sessionStorage.getItem(PLACE);
}

/** Takes a token, which the next question shows to be valid or not. */
export function keep(token: string): void {
  sessionStorage.setItem(PLACE, token);
}

/** Somebody is known. */
export function enter(who: Person): void {
  person.set(who);
  session.set('in');
}

/** Nobody is known any more. */
export function forget(): void {
  sessionStorage.removeItem(PLACE);
  person.set(null);
  session.set('out');
}
