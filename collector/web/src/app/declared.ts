// What edges are by the declared matrix.
import { ask, post, type Schema } from '../api/client';
import type { Declared } from '../judge';
import { useAsk } from './ask';
import { asked, useBeat, useWindow } from './time';

/** Beats between two questions: what is declared changes seldom, and the answer costs a look at all. */
const SELDOM = 6;
/** Most edges that are marked. */
const MOST = 20_000;

/** Of each edge, where `edges` are shown one by one; else only whether a matrix is declared. */
export function useDeclared(edges = true): Declared {
  const window = asked(useWindow());
  const beat = Math.floor(useBeat() / SELDOM);
  const found = useAsk<Declared>(JSON.stringify([window, edges]), beat, async (signal) => {
    const { declared } = await ask('/api/v1/matrix', { query: { rows: false }, signal });
    if (!declared) return null;
    if (!edges) return new Map();
    const query = { ...window, limit: MOST };
    const answer = await post('/api/v1/matrix/check', null, { query, signal });
    const report = (await answer.json()) as Schema['MatrixReport'];
    return new Map(report.edges.map((edge) => [edge.key, edge.state]));
  });
  return found.value ?? null;
}
