// Distributions over time as a grid: a column for each step, a row for each bucket. Pure.
import type { Schema } from '../api/client';

type Distribution = Schema['Distribution'];

/** A step, and what was measured in it; nothing where nobody measured. */
export interface HeatStep {
  /** Its end, Unix milliseconds. */
  readonly to_ms: number;
  readonly of: Distribution | null | undefined;
}

export interface HeatCell {
  readonly column: number;
  /** From below. */
  readonly row: number;
  readonly count: number;
  /** From 1 to LEVELS, by powers: few of many are seen as well. */
  readonly level: number;
}

export interface HeatGrid {
  readonly columns: number;
  /** Lower bounds of the rows, microseconds, from below; the upper one is the next one's. */
  readonly lows: readonly number[];
  readonly cells: readonly HeatCell[];
  /** Columns of which nothing is known. */
  readonly gaps: readonly number[];
  /** What the fullest cell holds. */
  readonly most: number;
}

export const LEVELS = 6;

/** The grid of a window. */
export function grid(
  steps: readonly HeatStep[],
  [from, to]: readonly [number, number],
  step: number,
): HeatGrid {
  const columns = Math.max(Math.ceil((to - from) / Math.max(step, 1)), 1);
  const column = (at: number) =>
    Math.min(Math.max(Math.ceil((at - from) / Math.max(step, 1)) - 1, 0), columns - 1);
  const known = new Map(
    steps.flatMap(({ to_ms, of }) => (of ? [[column(to_ms), of] as const] : [])),
  );
  const buckets = [...known.values()].flatMap((of) => of.buckets);
  const lows = rowsBetween(buckets.map((bucket) => bucket.low_us));
  const row = new Map(lows.map((low, at) => [low, at]));
  const most = buckets.reduce((most, bucket) => Math.max(most, bucket.count), 0);
  const level = (n: number) => Math.ceil((Math.log1p(n) / Math.log1p(most)) * LEVELS);
  const cells = [...known].flatMap(([at, of]) =>
    of.buckets.map(({ low_us, count }) => ({
      column: at,
      row: row.get(low_us) ?? 0,
      count,
      level: level(count),
    })),
  );
  const gaps = Array.from({ length: columns }, (_, at) => at).filter((at) => !known.has(at));
  return { columns, lows, cells, gaps, most };
}

/** Every power of two between the least and the greatest, so that the scale has no holes. */
function rowsBetween(lows: readonly number[]): number[] {
  if (lows.length === 0) return [];
  const [least, most] = [Math.min(...lows), Math.max(...lows)];
  const rows = [least];
  for (let low = Math.max(least * 2, 2); low <= most; low *= 2) rows.push(low);
  return rows;
}
