// Questions of views: the last answer stays until there is another one.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Refused } from '../api/client';

export interface Asked<T> {
  /** The newest answer; that of an older question while there is none of this one. */
  readonly value?: T;
  /** Whether it is of this question. */
  readonly current: boolean;
  /** When it came, Unix milliseconds. */
  readonly at?: number;
  /** Why there is no newer one. */
  readonly failed?: Refused;
  /** Asked and not answered for long enough to say so. */
  readonly slow: boolean;
}

/** Longer than this is worth a word. */
const SLOW_MS = 200;

interface State<T> {
  readonly question: string;
  readonly value?: T;
  readonly at?: number;
  readonly failed?: Refused;
  readonly slow: boolean;
}

/**
 * Asks when the question changes or the beat goes on.
 *
 * The old answer is shown until the new one is there, so that nothing jumps; what is about another
 * thing is another component, by its key.
 */
export function useAsk<T>(
  question: string,
  beat: number,
  load: (signal: AbortSignal) => Promise<T>,
): Asked<T> & { again: () => void } {
  const [state, set] = useState<State<T>>({ question: '', slow: false });
  const [round, again] = useState(0);
  const loading = useRef(load);
  loading.current = load;
  // biome-ignore lint/correctness/useExhaustiveDependencies: beat and round ask again
  useEffect(() => {
    const abort = new AbortController();
    const slow = setTimeout(() => set((old) => ({ ...old, slow: true })), SLOW_MS);
    loading
      .current(abort.signal)
      .then((value) => set({ question, value, at: Date.now(), slow: false }))
      .catch((error: unknown) => {
        if (abort.signal.aborted) return;
        const failed = error instanceof Refused ? error : new Refused(0, 'page', String(error));
        set((old) => ({ ...old, failed, slow: false }));
      })
      .finally(() => clearTimeout(slow));
    return () => {
      clearTimeout(slow);
      abort.abort();
    };
  }, [question, beat, round]);
  return { ...state, current: state.question === question, again: () => again((n) => n + 1) };
}
