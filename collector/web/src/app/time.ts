// The time range of all views, and the beat of live mode.
import { useEffect } from 'preact/hooks';
import { change, type Route, useRoute } from './route';
import { store, useStore } from './store';

/** Lengths that are offered. */
export const RANGES = ['15m', '1h', '6h', '1d', '7d'] as const;

const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** How often live views ask again. */
const BEAT_MS = 10_000;

export type Window =
  | { readonly live: true; readonly range: string }
  | { readonly live: false; readonly from: number; readonly to: number };

/** `1h` in milliseconds; 0 where it is none. */
export function lengthOf(range: string): number {
  const [, number = '', unit = ''] = /^(\d{1,6})([mhd])$/.exec(range) ?? [];
  return Number(number) * (UNIT_MS[unit] ?? 0);
}

/** The window that an address names; the last hour, live, where it names none. */
export function windowOf(route: Route): Window {
  const { range = '', from = '', to = '' } = route.query;
  const [begin, end] = [Date.parse(from), Date.parse(to)];
  if (begin < end) return { live: false, from: begin, to: end };
  return { live: true, range: lengthOf(range) > 0 ? range : '1h' };
}

/** As parameters of a question. */
export function asked(window: Window): { from: string; to: string } {
  if (window.live) return { from: `-${window.range}`, to: 'now' };
  return { from: new Date(window.from).toISOString(), to: new Date(window.to).toISOString() };
}

/** As those of a question that many ask again and again: what was made of late will do. */
export function lately(window: Window): { from: string; to: string; max_age?: string } {
  if (!window.live) return asked(window);
  return { ...asked(window), max_age: lengthOf(window.range) < 3_600_000 ? '1m' : '2m' };
}

/** The same length of time just before a window that was answered. */
export function before(answered: { from_ms: number; to_ms: number }): { from: string; to: string } {
  const { from_ms, to_ms } = answered;
  const from = new Date(from_ms - (to_ms - from_ms)).toISOString();
  return { from, to: new Date(from_ms).toISOString() };
}

/** Stays where it is, to be looked at or sent to somebody. */
export function freeze(window: Window): void {
  if (!window.live) return;
  const to = Date.now();
  const from = to - lengthOf(window.range);
  change({ range: '', from: new Date(from).toISOString(), to: new Date(to).toISOString() }, true);
}

/** Goes along with the time. */
export function follow(range: string): void {
  change({ range, from: '', to: '' }, true);
}

const beat = store(0);

/** A number that grows when live views are to ask again. */
export function useBeat(): number {
  return useStore(beat);
}

/** Keeps the beat while the range is live and somebody looks; once in the page. */
export function useHeart(): void {
  const { live } = useWindow();
  useEffect(() => {
    if (!live) return;
    const next = () => {
      if (document.visibilityState === 'visible') beat.set(beat.get() + 1);
    };
    const timer = setInterval(next, BEAT_MS);
    document.addEventListener('visibilitychange', next);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', next);
    };
  }, [live]);
}

/** The window of this address. */
export function useWindow(): Window {
  return windowOf(useRoute());
}
