// What is silent, as people fill it in and read it. Pure.
import type { Schema } from '../../api/client';

export type Matcher = Schema['Matcher'];

/** Labels of alerts that a condition can be about. */
export const LABELS = [
  'rule',
  'severity',
  'kind',
  'host',
  'service',
  'client',
  'server',
  'endpoint',
  'gateway',
  'table',
] as const;

export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Day = (typeof DAYS)[number];

/** A distance of a clock to UTC, minutes, as people write it. */
export function offsetSay(minutes: number): string {
  const all = Math.abs(minutes);
  const two = String(all % 60).padStart(2, '0');
  return `UTC${minutes < 0 ? '−' : '+'}${Math.floor(all / 60)}:${two}`;
}

/** All of them that clocks of this world have, and the person's own. */
export function offsets(own: number): number[] {
  const all = new Set([own, 345, 525, 765]);
  for (let at = -720; at <= 840; at += 30) all.add(at);
  return [...all].sort((a, b) => a - b);
}

/** `02:00` as minutes after midnight; null where it is no time of a day. */
export function minuteOf(text: string): number | null {
  const [, hour = '', minute = ''] = /^(\d{1,2}):(\d{2})/.exec(text) ?? [];
  if (hour === '' || Number(hour) > 23 || Number(minute) > 59) return null;
  return Number(hour) * 60 + Number(minute);
}

/** Minutes after midnight as a time of a day. */
export function timeOf(minute: number): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

/** A time as a field for a date and a time has it, by the person's clock. */
export function localTime(ms: number): string {
  const own = new Date(ms).getTimezoneOffset() * 60_000;
  return new Date(ms - own).toISOString().slice(0, 16);
}

/** Conditions that say something: those without a value are none. */
export function filled(matchers: readonly Matcher[]): Matcher[] {
  return matchers
    .map(({ label, value, not }) => ({ label, value: value.trim(), ...(not && { not }) }))
    .filter((one) => one.value !== '');
}
