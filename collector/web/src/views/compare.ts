// The same question about the time just before, so that every number stands beside another.
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { before } from '../app/time';
import { told } from '../judge';
import type { Before } from '../map/model';

/** Beats between two questions about what is over anyway. */
const SELDOM = 6;

/** Most nodes of the time before. */
const MOST = 2000;

const NOTHING: Before = new Map();

/** What edges counted in the time before an answer; nothing until that is known. */
export function useBefore(
  answer: Schema['Topology'] | undefined,
  question: string,
  beat: number,
): Before {
  const length = answer ? answer.to_ms - answer.from_ms : 0;
  const found = useAsk<Before>(
    `${question} ${length}`,
    Math.floor(beat / SELDOM),
    async (signal) => {
      if (!answer || answer.grouped) return NOTHING;
      // Not by a focus, which need not have been there then.
      const query = { ...before(answer), limit: MOST, max_age: '2m' };
      const then = await ask('/api/v1/topology', { query, signal });
      return new Map(
        [...then.edges, ...then.unjoined].map((edge) => [
          edge.key,
          told(edge.client_counters, edge.server_counters, edge.connections),
        ]),
      );
    },
  );
  return found.current ? (found.value ?? NOTHING) : NOTHING;
}
