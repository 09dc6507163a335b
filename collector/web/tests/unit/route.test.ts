// @vitest-environment node
import { beforeAll, expect, test, vi } from 'vitest';

beforeAll(() => {
  vi.stubGlobal('location', { pathname: '/ui/map', search: '' });
  vi.stubGlobal('window', { addEventListener() {} });
});

test('an address comes back as it was written, whatever is in it', async () => {
  const { format, parse } = await import('../../src/app/route');
  for (const id of ['web/nginx', 'a b%2F', '<img src=x>', '10.0.0.1:80', '数据库']) {
    const route = { view: 'node', id, query: { range: '6h', find: 'a&b=c' } };
    const url = new URL(format(route), 'https://collector.invalid');
    expect(parse(url.pathname, url.search)).toEqual(route);
  }
});

test('what is not encoded as it should be is shown as it is', async () => {
  const { parse } = await import('../../src/app/route');
  expect(parse('/ui/node/%E0%A4%A', '').id).toBe('%E0%A4%A');
  expect(parse('/', '')).toEqual({ view: 'map', id: '', query: {} });
});

test('a window is the last hour unless the address has a better one', async () => {
  const { asked, before, windowOf } = await import('../../src/app/time');
  const of = (query: Record<string, string>) => windowOf({ view: 'map', id: '', query });
  expect(of({})).toEqual({ live: true, range: '1h' });
  expect(of({ range: '0h' })).toEqual({ live: true, range: '1h' });
  expect(asked(of({ range: '6h' }))).toEqual({ from: '-6h', to: 'now' });
  const still = of({ from: '2026-01-02T00:00:00Z', to: '2026-01-02T01:00:00Z' });
  expect(still.live).toBe(false);
  expect(asked(still)).toEqual({
    from: '2026-01-02T00:00:00.000Z',
    to: '2026-01-02T01:00:00.000Z',
  });
  expect(of({ from: '2026-01-02T02:00:00Z', to: '2026-01-02T01:00:00Z' }).live).toBe(true);
  expect(before({ from_ms: 3_600_000, to_ms: 7_200_000 })).toEqual({
    from: '1970-01-01T00:00:00.000Z',
    to: '1970-01-01T01:00:00.000Z',
  });
});
