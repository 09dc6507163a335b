import { expect, test } from 'vitest';
import './browser';
import { filled, minuteOf, offsetSay, offsets, timeOf } from '../../src/views/alerts/mutes';

test('a time of a day is minutes after midnight, and back', () => {
  expect(minuteOf('02:05')).toBe(125);
  expect(timeOf(125)).toBe('02:05');
  expect(minuteOf('23:59:30')).toBe(1439);
  for (const wrong of ['', '24:00', '2', '10:61']) expect(minuteOf(wrong)).toBeNull();
});

test('clocks are named by their distance to UTC', () => {
  expect(offsetSay(480)).toBe('UTC+8:00');
  expect(offsetSay(-210)).toBe('UTC−3:30');
  expect(offsets(45)).toContain(45);
  expect(offsets(480).filter((one) => one === 480)).toHaveLength(1);
});

test('a condition without a value is none', () => {
  const matchers = [
    { label: 'host', value: ' db-* ', not: false },
    { label: 'rule', value: '  ' },
    { label: 'service', value: 'x', not: true },
  ];
  expect(filled(matchers)).toEqual([
    { label: 'host', value: 'db-*' },
    { label: 'service', value: 'x', not: true },
  ]);
});
