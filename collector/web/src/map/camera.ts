// What of the map is in view: moved, zoomed, kept.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Point } from './layered';
import { Memory } from './memory';

export interface Camera {
  x: number;
  y: number;
  /** Pixels of the screen for one of the map. */
  zoom: number;
}

const LEAST = 0.15;
const MOST = 2.5;
/** Room around everything. */
const MARGIN = 116;

const memory = new Memory<Camera>();

/** The camera that shows all places. */
export function fitted(places: Iterable<Point>, width: number, height: number): Camera {
  const all = [...places];
  if (all.length === 0 || width === 0) return { x: 0, y: 0, zoom: 1 };
  const [xs, ys] = [all.map((at) => at.x), all.map((at) => at.y)];
  const [left, right] = [Math.min(...xs) - MARGIN, Math.max(...xs) + MARGIN];
  const [top, bottom] = [Math.min(...ys) - MARGIN * 0.6, Math.max(...ys) + MARGIN * 0.6];
  const fits = Math.min(width / (right - left), height / (bottom - top));
  const zoom = Math.min(Math.max(fits, LEAST), 1.15);
  return {
    x: width / 2 - (zoom * (left + right)) / 2,
    y: height / 2 - (zoom * (top + bottom)) / 2,
    zoom,
  };
}

/** Zooms so that the point under the pointer stays. */
export function zoomed(camera: Camera, by: number, x: number, y: number): Camera {
  const zoom = Math.min(Math.max(camera.zoom * by, LEAST), MOST);
  const part = zoom / camera.zoom;
  return { x: x - (x - camera.x) * part, y: y - (y - camera.y) * part, zoom };
}

/** The camera of a question: as it was left, at first on everything. */
export function useCamera(question: string, places: ReadonlyMap<string, Point>) {
  const frame = useRef<SVGSVGElement>(null);
  const [camera, set] = useState<Camera | undefined>(memory.get(question));
  const mine = useRef(question);
  const move = (next: Camera) => {
    memory.set(question, next);
    set(next);
  };
  const whole = () => {
    const box = frame.current?.getBoundingClientRect();
    if (box) move(fitted(places.values(), box.width, box.height));
  };
  const ready = places.size > 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each question
  useLayoutEffect(() => {
    mine.current = question;
    const known = memory.get(question);
    if (known) set(known);
    else if (ready) whole();
  }, [question, ready]);
  useEffect(() => {
    const svg = frame.current;
    if (!svg) return;
    // Not passive, or the page would scroll.
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      const now = memory.get(mine.current);
      if (!now) return;
      const by = Math.exp(-event.deltaY * 0.0015);
      const next = zoomed(now, by, event.clientX - box.left, event.clientY - box.top);
      memory.set(mine.current, next);
      set(next);
    };
    svg.addEventListener('wheel', wheel, { passive: false });
    return () => svg.removeEventListener('wheel', wheel);
  }, []);
  const zoom = (by: number) => {
    const box = frame.current?.getBoundingClientRect();
    if (box && camera) move(zoomed(camera, by, box.width / 2, box.height / 2));
  };
  return { frame, camera: camera ?? { x: 0, y: 0, zoom: 1 }, move, whole, zoom };
}
