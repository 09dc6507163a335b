// Callers to the left, who is called to the right, few crossings. Pure.
export interface Point {
  x: number;
  y: number;
}

export interface Arrow {
  readonly from: string;
  readonly to: string;
}

/** Distance between columns, and between rows. */
export const COLUMN = 284;
export const ROW = 78;
/** Most things in a column: more stand in two beside each other. */
const TALL = 12;
const SWEEPS = 6;

/** A place for each thing. */
export function layered(keys: readonly string[], arrows: readonly Arrow[]): Map<string, Point> {
  const known = new Set(keys);
  const kept = arrows.filter((a) => known.has(a.from) && known.has(a.to) && a.from !== a.to);
  const forward = withoutCircles([...keys].sort(), kept);
  const columns = byDepth([...keys].sort(), forward);
  untangle(columns, forward);
  const places = new Map<string, Point>();
  let x = 0;
  for (const column of columns) {
    const parts = Math.ceil(column.length / TALL);
    const rows = Math.ceil(column.length / parts);
    column.forEach((key, at) => {
      const [part, row] = [Math.floor(at / rows), at % rows];
      const height = Math.min(rows, column.length - part * rows);
      places.set(key, { x: x + part * COLUMN * 0.7, y: (row - (height - 1) / 2) * ROW });
    });
    x += COLUMN + (parts - 1) * COLUMN * 0.7;
  }
  return places;
}

/** The arrows without those that lead back. */
function withoutCircles(keys: readonly string[], arrows: readonly Arrow[]): Arrow[] {
  const next = new Map<string, Arrow[]>(keys.map((key) => [key, []]));
  const called = new Map<string, number>(keys.map((key) => [key, 0]));
  for (const arrow of arrows) {
    next.get(arrow.from)?.push(arrow);
    called.set(arrow.to, (called.get(arrow.to) ?? 0) + 1);
  }
  const state = new Map<string, 'open' | 'done'>();
  const forward: Arrow[] = [];
  const visit = (start: string) => {
    const way: { key: string; left: Arrow[] }[] = [
      { key: start, left: [...(next.get(start) ?? [])] },
    ];
    state.set(start, 'open');
    for (let top = way.at(-1); top !== undefined; top = way.at(-1)) {
      const arrow = top.left.pop();
      if (arrow === undefined) {
        state.set(top.key, 'done');
        way.pop();
        continue;
      }
      const there = state.get(arrow.to);
      if (there === 'open') continue;
      forward.push(arrow);
      if (there === undefined) {
        state.set(arrow.to, 'open');
        way.push({ key: arrow.to, left: [...(next.get(arrow.to) ?? [])] });
      }
    }
  };
  // Whom nobody calls first.
  for (const key of [...keys].sort((a, b) => (called.get(a) ?? 0) - (called.get(b) ?? 0))) {
    if (!state.has(key)) visit(key);
  }
  return forward;
}

/** Columns by the longest way to each thing; callers stand close to whom they call. */
function byDepth(keys: readonly string[], forward: readonly Arrow[]): string[][] {
  const depth = new Map<string, number>(keys.map((key) => [key, 0]));
  const of = (key: string) => depth.get(key) ?? 0;
  for (let changed = true, round = 0; changed && round <= keys.length; round += 1) {
    changed = false;
    for (const { from, to } of forward) {
      if (of(to) < of(from) + 1) {
        depth.set(to, of(from) + 1);
        changed = true;
      }
    }
  }
  const called = new Set(forward.map((arrow) => arrow.to));
  for (const key of keys.filter((key) => !called.has(key))) {
    const nearest = forward.filter((arrow) => arrow.from === key).map((arrow) => of(arrow.to));
    if (nearest.length > 0) depth.set(key, Math.min(...nearest) - 1);
  }
  const columns: string[][] = [];
  for (const key of keys) {
    const at = of(key);
    while (columns.length <= at) columns.push([]);
    columns[at]?.push(key);
  }
  return columns.filter((column) => column.length > 0);
}

/** Sorts columns by the middle of their neighbours, back and forth. */
function untangle(columns: string[][], forward: readonly Arrow[]): void {
  const beside = new Map<string, string[]>();
  const add = (key: string, other: string) => {
    const list = beside.get(key) ?? [];
    list.push(other);
    beside.set(key, list);
  };
  for (const { from, to } of forward) {
    add(from, to);
    add(to, from);
  }
  const row = new Map<string, number>();
  const number = (column: string[]) => {
    column.forEach((key, at) => {
      row.set(key, at - (column.length - 1) / 2);
    });
  };
  columns.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const order = sweep % 2 === 0 ? columns : [...columns].reverse();
    for (const column of order) {
      const middle = new Map(
        column.map((key) => {
          const rows = (beside.get(key) ?? []).map((other) => row.get(other) ?? 0);
          const sum = rows.reduce((all, one) => all + one, 0);
          return [key, rows.length > 0 ? sum / rows.length : (row.get(key) ?? 0)] as const;
        }),
      );
      column.sort((a, b) => (middle.get(a) ?? 0) - (middle.get(b) ?? 0) || (a < b ? -1 : 1));
      number(column);
    }
  }
}
