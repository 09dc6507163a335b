// Where things stand: kept from answer to answer, so that nothing jumps.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Answer, Question } from './force.worker';
import { type Arrow, COLUMN, layered, type Point, ROW } from './layered';
import { Memory } from './memory';
import type { Drawing } from './model';

export type Layout = 'layered' | 'force';
export const LAYOUTS: readonly Layout[] = ['layered', 'force'];

/** Places of everything that was ever drawn, by what was asked for; the oldest are forgotten. */
const memory = new Memory<Map<string, Point>>();

const PINS = 'waybill.pins';

/** What people moved by hand, in this browser. */
export function pins(): Map<string, Point> {
  try {
    return new Map(JSON.parse(localStorage.getItem(PINS) ?? '[]') as [string, Point][]);
  } catch {
    return new Map();
  }
}

/** Moves a thing by hand, or lets go of it. */
export function pin(key: string, at: Point | null): void {
  const all = pins();
  all.delete(key);
  if (at) all.set(key, at);
  // The newest five hundred are enough for any map.
  localStorage.setItem(PINS, JSON.stringify([...all].slice(-500)));
}

/** The places that were last known of a question. */
function remembered(question: string): Map<string, Point> {
  const known = memory.get(question) ?? new Map<string, Point>();
  memory.set(question, known);
  return known;
}

/** New things where there is room, known ones where they were. */
export function settle(wanted: ReadonlyMap<string, Point>, known: Map<string, Point>): void {
  const taken = [...known].filter(([key]) => wanted.has(key)).map(([, at]) => at);
  for (const [key, at] of wanted) {
    if (known.has(key)) continue;
    const spot = { ...at };
    const near = (other: Point) =>
      Math.abs(other.x - spot.x) < COLUMN * 0.6 && Math.abs(other.y - spot.y) < ROW * 0.9;
    while (taken.some(near)) spot.y += ROW;
    known.set(key, spot);
    taken.push(spot);
  }
}

/** Places of all things of a drawing; fewer while they are being found. */
export function usePlaces(
  question: string,
  of: Drawing,
  layout: Layout,
): ReadonlyMap<string, Point> {
  const [, redraw] = useState(0);
  const worker = useRef<Worker | null>(null);
  const round = useRef(0);
  const known = remembered(`${layout} ${question}`);
  const arrows = (): Arrow[] => of.lines.map(({ from, to }) => ({ from, to }));
  const keys = of.things.map((thing) => thing.key);
  const isNew = keys.some((key) => !known.has(key));
  if (isNew && layout === 'layered') settle(layered(keys, arrows()), known);
  const asked = isNew && layout === 'force' ? keys.join('\n') : '';
  // biome-ignore lint/correctness/useExhaustiveDependencies: `asked` says when there is something new
  useEffect(() => {
    if (asked === '') return;
    worker.current ??= new Worker(new URL('./force.worker.ts', import.meta.url), {
      type: 'module',
    });
    round.current += 1;
    const mine = round.current;
    worker.current.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.round !== mine) return;
      for (const [key, at] of data.places) known.set(key, at);
      redraw((n) => n + 1);
    };
    const kept = [...known].filter(([key]) => keys.includes(key));
    const posed: Question = { round: mine, keys, arrows: arrows(), known: kept };
    worker.current.postMessage(posed);
  }, [asked, question]);
  useEffect(
    () => () => {
      worker.current?.terminate();
      worker.current = null;
    },
    [],
  );
  const shown = new Map<string, Point>();
  const byHand = pins();
  for (const key of keys) {
    const at = byHand.get(key) ?? known.get(key);
    if (at) shown.set(key, at);
  }
  return shown;
}
