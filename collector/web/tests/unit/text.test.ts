import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fill, LANGUAGES } from '../../src/text';

test('texts are filled in by number and by locale', () => {
  const text = '{n} {n|edge|edges} of {who}';
  expect(fill(text, { n: 1, who: 'a' }, 'en-GB')).toBe('1 edge of a');
  expect(fill(text, { n: 1234, who: '<b>' }, 'en-GB')).toBe('1,234 edges of <b>');
});

test('what is filled in is not filled in again', () => {
  expect(fill('{a}', { a: '{b}', b: 'x' }, 'en-GB')).toBe('{b}');
});

test('both languages fill in the same', () => {
  const names = (text: string) => new Set([...text.matchAll(/\{(\w+)/g)].map((found) => found[1]));
  for (const [key, text] of Object.entries(LANGUAGES.en)) {
    const other = LANGUAGES.zh[key as keyof typeof LANGUAGES.zh];
    expect(names(other), key).toEqual(names(text));
    expect(other.trim(), key).not.toBe('');
  }
});

test('no text stands in code', () => {
  const root = join(import.meta.dirname ?? '', '../../src');
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => name.endsWith('.tsx'))) {
    const code = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    // Two words in a row between tags.
    const found = code.match(/>\s*[A-Za-z]{2,} [a-z]{2,}[^<{};()=]*</);
    expect(found?.[0], file).toBeUndefined();
  }
});

test('every text is filled in whole: no brace is left', () => {
  for (const texts of Object.values(LANGUAGES)) {
    for (const [key, text] of Object.entries(texts)) {
      const names = [...text.matchAll(/\{(\w+)/g)].map(([, name = '']) => [name, 2] as const);
      expect(`${key}: ${fill(text, Object.fromEntries(names), 'en-GB')}`).not.toMatch(/[{}]/);
    }
  }
});
