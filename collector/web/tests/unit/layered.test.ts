import { expect, test } from 'vitest';
import { COLUMN, layered, ROW } from '../../src/map/layered';
import { settle } from '../../src/map/places';

const arrow = (text: string) => {
  const [from = '', to = ''] = text.split('>');
  return { from, to };
};

test('callers stand to the left of whom they call', () => {
  const arrows = ['a>b', 'b>c', 'a>c', 'd>c'].map(arrow);
  const places = layered(['c', 'b', 'a', 'd'], arrows);
  const x = (key: string) => places.get(key)?.x ?? Number.NaN;
  for (const { from, to } of arrows) expect(x(from)).toBeLessThan(x(to));
  expect(x('d')).toBe(x('b'));
});

test('a circle has places as well', () => {
  const places = layered(['a', 'b', 'c'], ['a>b', 'b>c', 'c>a', 'a>a'].map(arrow));
  expect(new Set([...places.values()].map((at) => at.x)).size).toBe(3);
});

test('no two things stand in one place, however many there are', () => {
  const keys = Array.from({ length: 200 }, (_, n) => `k${n}`);
  const arrows = keys.slice(1).map((to, n) => ({ from: `k${Math.floor(n / 3)}`, to }));
  const places = layered(keys, arrows);
  const spots = new Set([...places.values()].map(({ x, y }) => `${x} ${y}`));
  expect(spots.size).toBe(200);
});

test('what is known stays where it was when something comes', () => {
  const known = new Map([['a', { x: 7, y: 9 }]]);
  settle(
    new Map([
      ['a', { x: 0, y: 0 }],
      ['b', { x: 7, y: 9 }],
    ]),
    known,
  );
  expect(known.get('a')).toEqual({ x: 7, y: 9 });
  const b = known.get('b');
  expect(Math.abs((b?.y ?? 0) - 9) >= ROW * 0.9 || Math.abs((b?.x ?? 0) - 7) >= COLUMN * 0.6).toBe(
    true,
  );
});
