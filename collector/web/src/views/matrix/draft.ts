// A matrix that is looked at and not declared: it is in this tab alone.
import { store } from '../../app/store';

export interface Draft {
  /** What it is called: the name of its file. */
  readonly name: string;
  readonly file: Blob;
  /** Grows with each, so that another file of the same name is another one. */
  readonly number: number;
  /** The version that it is of, where it was one. */
  readonly version?: number;
}

export const draft = store<Draft | null>(null);

let last = 0;

export function look(name: string, file: Blob, version?: number): void {
  last += 1;
  draft.set({ name, file, number: last, ...(version !== undefined && { version }) });
}
