import { expect, test } from 'vitest';
import './browser';
import { found } from '../../src/views/alerts/words';

test('values of rules are kept in seconds, bytes and pieces, and shown in their unit', () => {
  expect(found(0.08, '1')).toMatch(/^8 ?%$/);
  expect(found(0.0162, 's')).toBe('16.2 ms');
  expect(found(2048, 'By/s')).toBe('2 KiB/s');
  expect(found(12, '')).toBe('12');
  expect(found(null, 's')).toBe('–');
});
