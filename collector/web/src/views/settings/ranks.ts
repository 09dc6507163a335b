// What people may do, the least first.
import type { Schema } from '../../api/client';

export type Rank = Schema['Rank'];

export const RANKS: readonly Rank[] = ['viewer', 'operator', 'admin'];

/** Those that whoever has one may give. */
export function ranksUpTo(most: Rank): readonly Rank[] {
  return RANKS.slice(0, RANKS.indexOf(most) + 1);
}
