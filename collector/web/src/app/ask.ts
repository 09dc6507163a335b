// Questions of views: the last answer stays until there is another one.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Refused } from '../api/client';

export interface Asked<T> {
  /** The newest answer; of this question, or none. */
  readonly value?: T;
  /** When it came, Unix milliseconds. */
  readonly at?: number;
  /** Why there is no newer one. */
  readonly failed?: Refused;
  /** Asked and not answered for long enough to say so. */
  readonly slow: boolean;
}

/** Longer than this is worth a word. */
const SLOW_MS = 200;

/**
 * Asks when the question changes or the beat goes on.
 *
 * `question` names it: while it is the same, the old answer is shown until the new one is there.
 */
export function useAsk<T>(
  question: string,
  beat: number,
  load: (signal: AbortSignal) => Promise<T>,
): Asked<T> & { again: () => void } {
  const [state, set] = useState<{ question: string } & Asked<T>>({ question, slow: false });
  const [round, again] = useState(0);
  const loading = useRef(load);
  loading.current = load;
  // biome-ignore lint/correctness/useExhaustiveDependencies: beat and round ask again
  useEffect(() => {
    const abort = new AbortController();
    const slow = setTimeout(() => {
      set((old) => ({ ...of(old, question), slow: true }));
    }, SLOW_MS);
    loading
      .current(abort.signal)
      .then((value) => set({ question, value, at: Date.now(), slow: false }))
      .catch((error: unknown) => {
        if (abort.signal.aborted) return;
        const failed = error instanceof Refused ? error : new Refused(0, 'page', String(error));
        set((old) => ({ ...of(old, question), failed, slow: false }));
      })
      .finally(() => clearTimeout(slow));
    return () => {
      clearTimeout(slow);
      abort.abort();
    };
  }, [question, beat, round]);
  const shown = of(state, question);
  return { ...shown, again: () => again((n) => n + 1) };
}

function of<T>(state: { question: string } & Asked<T>, question: string) {
  return state.question === question ? state : { question, slow: false };
}
