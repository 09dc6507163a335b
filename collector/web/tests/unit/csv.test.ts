import { expect, test } from 'vitest';
import { csv, json } from '../../src/csv';

test('no spreadsheet executes what a host reported', () => {
  const hostile = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =cmd|x', '=HYPERLINK("x")'];
  const lines = csv(
    ['name'],
    hostile.map((text) => [text]),
  );
  const fields = lines.split('\r\n').slice(1, -1);
  for (const field of fields) expect(field.startsWith('"\'')).toBe(true);
  expect(fields.at(-1)).toBe('"\'=HYPERLINK(""x"")"');
});

test('numbers stay numbers, also negative ones, and what is not known is empty', () => {
  expect(csv(['a', 'b'], [[-1.5, null]])).toBe('a,b\r\n-1.5,\r\n');
});

test('commas, quotes and lines stay in their field', () => {
  expect(csv(['a'], [['x,"y"\nz']])).toBe('a\r\n"x,""y""\nz"\r\n');
});

test('JSON has an object for each row', () => {
  expect(JSON.parse(json(['a', 'b'], [['=1', null]]))).toEqual([{ a: '=1', b: null }]);
});
