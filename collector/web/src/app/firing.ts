// Alerts that fire now, for every view that shows of them.

import { useEffect } from 'preact/hooks';
import { type Firing, firingOf, NOTHING } from '../alarm';
import { ask, type Schema } from '../api/client';
import { language, useLanguage } from '../text';
import { useAsk } from './ask';
import { store, useStore } from './store';
import { useBeat } from './time';

interface Now {
  readonly counts: Schema['Counts'];
  readonly firing: Firing;
}

/** Most alerts that are marked. */
const MOST = 1000;

const now = store<Now>({
  counts: { critical: 0, warning: 0, pending: 0, unknown: 0 },
  firing: NOTHING,
});

/** Asks with every beat; once in the page. */
export function useFiringHeart(): void {
  const spoken = useLanguage();
  const beat = useBeat();
  const answer = useAsk(spoken, beat, (signal) =>
    ask('/api/v1/alerts', {
      query: { phase: 'firing', limit: MOST, language: language.get() },
      signal,
    }),
  );
  const found = answer.value;
  useEffect(() => {
    if (found) now.set({ counts: found.counts, firing: firingOf(found.alerts) });
  }, [found]);
}

export function useFiring(): Now {
  return useStore(now);
}
