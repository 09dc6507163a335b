// Numbers with their units, and times, by locale.
import { locale, t } from './index';

/** A whole number, or that it is not known. */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined ? '–' : n.toLocaleString(locale());
}

/** At most three digits that say something. */
export function short(n: number): string {
  const options = { maximumSignificantDigits: 3, notation: 'compact' } as const;
  return n.toLocaleString(
    locale(),
    Math.abs(n) >= 10_000 ? options : { maximumSignificantDigits: 3 },
  );
}

/** A part of a whole, per cent. */
export function share(part: number, whole: number): string {
  if (whole <= 0) return '–';
  const options = { style: 'percent', maximumSignificantDigits: 2 } as const;
  return (part / whole).toLocaleString(locale(), options);
}

/** Microseconds as people say them. */
export function micros(us: number | null | undefined): string {
  if (us === null || us === undefined) return '–';
  if (us < 1000) return `${short(us)} µs`;
  if (us < 1_000_000) return `${short(us / 1000)} ms`;
  // Nobody reads thousands of seconds.
  return us < 600_000_000 ? `${short(us / 1_000_000)} s` : span(us / 1000);
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Bytes by powers of 1024. */
export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return '–';
  let [value, at] = [n, 0];
  while (value >= 1024 && at < SIZES.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${short(value)} ${SIZES[at]}`;
}

/** A length of time. */
export function span(ms: number): string {
  const units = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1000, 'second'],
  ] as const;
  for (const [length, unit] of units) {
    if (ms >= length || unit === 'second') {
      const options = { style: 'unit', unit, unitDisplay: 'short' } as const;
      return Math.floor(Math.max(ms, 0) / length).toLocaleString(locale(), options);
    }
  }
  return '';
}

/** How long ago something was. */
export function ago(then: number, now: number): string {
  return t('time.ago', { ago: span(now - then) });
}

/** A time in the person's zone; with the day where it is not today. */
export function clock(ms: number, now = Date.now()): string {
  const [at, today] = [new Date(ms), new Date(now)];
  const same = at.toDateString() === today.toDateString();
  return at.toLocaleString(locale(), {
    ...(same ? {} : { day: 'numeric', month: 'short' }),
    ...(at.getFullYear() === today.getFullYear() ? {} : { year: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

/** The same, to the minute. */
export function minute(ms: number, now = Date.now()): string {
  return clock(ms, now).replace(/:\d\d$/, '');
}

/** A value of a column, by its unit as UCUM writes it. */
export function measured(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return '–';
  const [of, per] = unit.endsWith('/s') ? [unit.slice(0, -2), '/s'] : [unit, ''];
  switch (of) {
    case 'By':
      return bytes(value) + per;
    case 'us':
      return micros(value) + per;
    case 'ms':
      return micros(value * 1000) + per;
    case 's':
      return micros(value * 1_000_000) + per;
    case 'ns':
      return micros(value / 1000) + per;
    case '%':
      return `${short(value)}%${per}`;
    default:
      return short(value) + per;
  }
}

/** How often something happens, in the unit that suits it. */
export function per(n: number, seconds: number): string {
  const rate = n / seconds;
  if (rate >= 0.1 || n === 0) return t('map.rate', { n: short(rate) });
  if (rate * 60 >= 0.1) return t('map.rate.minute', { n: short(rate * 60) });
  return t('map.rate.hour', { n: short(rate * 3600) });
}
