// Places by forces, beside the page so that it never waits. Known things keep their places.
import {
  forceCollide,
  forceLink,
  forceManyBody,
  forceSimulation,
  forceX,
  forceY,
  type SimulationNodeDatum,
} from 'd3-force';
import type { Arrow, Point } from './layered';

export interface Question {
  readonly round: number;
  readonly keys: readonly string[];
  readonly arrows: readonly Arrow[];
  readonly known: readonly (readonly [string, Point])[];
}

export interface Answer {
  readonly round: number;
  readonly places: readonly (readonly [string, Point])[];
}

interface Body extends SimulationNodeDatum {
  key: string;
}

const TURNS = 300;

/** Places for all, those that are known unchanged. */
export function solve(question: Question): Answer {
  const known = new Map(question.known);
  const bodies = question.keys.map((key): Body => {
    const at = known.get(key);
    return at ? { key, x: at.x, y: at.y, fx: at.x, fy: at.y } : { key };
  });
  const there = new Set(question.keys);
  const links = question.arrows
    .filter((arrow) => there.has(arrow.from) && there.has(arrow.to) && arrow.from !== arrow.to)
    .map((arrow) => ({ source: arrow.from, target: arrow.to }));
  forceSimulation(bodies)
    .force(
      'link',
      forceLink<Body, { source: string; target: string }>(links)
        .id((body) => body.key)
        .distance(250),
    )
    .force('apart', forceManyBody().strength(-1400).distanceMax(1000))
    .force('room', forceCollide(104))
    .force('x', forceX(0).strength(0.05))
    .force('y', forceY(0).strength(0.08))
    .stop()
    .tick(TURNS);
  const places = bodies.map(({ key, x = 0, y = 0 }) => [key, { x, y }] as const);
  return { round: question.round, places };
}

// In a worker, and not where a test takes `solve` alone.
if (typeof WorkerGlobalScope !== 'undefined' && self instanceof WorkerGlobalScope) {
  self.addEventListener('message', (event: MessageEvent<Question>) => {
    self.postMessage(solve(event.data));
  });
}
