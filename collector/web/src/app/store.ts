// A value that views follow.
import { useEffect, useState } from 'preact/hooks';

export interface Store<T> {
  get(): T;
  set(value: T): void;
  follow(listener: () => void): () => void;
}

export function store<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener();
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The value, and a new drawing with each change. */
export function useStore<T>(of: Store<T>): T {
  const [value, set] = useState(of.get);
  useEffect(() => {
    set(of.get());
    return of.follow(() => set(of.get()));
  }, [of]);
  return value;
}
