import { expect, test } from 'vitest';
import './browser';
import { grid, LEVELS } from '../../src/parts/heat';

const of = (...buckets: [number, number][]) => ({
  count: buckets.reduce((sum, [, count]) => sum + count, 0),
  sum_us: 0,
  buckets: buckets.map(([low_us, count]) => ({ low_us, high_us: low_us * 2, count })),
});

test('each step is a column, each bucket a row, and the scale has no holes', () => {
  const steps = [
    { to_ms: 1010, of: of([64, 1], [512, 100]) },
    { to_ms: 1030, of: of([128, 7]) },
  ];
  const found = grid(steps, [1000, 1030], 10);
  expect(found.columns).toBe(3);
  expect(found.lows).toEqual([64, 128, 256, 512]);
  expect(found.cells.map(({ column, row, count }) => [column, row, count])).toEqual([
    [0, 0, 1],
    [0, 3, 100],
    [2, 1, 7],
  ]);
  expect(found.most).toBe(100);
  const levels = found.cells.map((cell) => cell.level);
  expect(Math.max(...levels)).toBe(LEVELS);
  expect(Math.min(...levels)).toBeGreaterThan(0);
});

test('what nobody measured is a gap, and no zero', () => {
  const steps = [
    { to_ms: 1010, of: null },
    { to_ms: 1020, of: of() },
  ];
  expect(grid(steps, [1000, 1020], 10).gaps).toEqual([0]);
  expect(grid([], [1000, 1020], 10)).toMatchObject({ gaps: [0, 1], cells: [], lows: [] });
});

test('the lowest bucket begins at zero and the next one at two', () => {
  expect(grid([{ to_ms: 1, of: of([0, 3], [2, 1]) }], [0, 1], 1).lows).toEqual([0, 2]);
});
