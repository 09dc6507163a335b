// Columns that many tables have, in one form.
import { t } from '../text';
import { clock } from '../text/numbers';
import type { Column } from './Table';

/** A time, in the person's zone. */
export function timed<R>(
  id: string,
  title: string,
  value: (row: R) => number | null,
  now?: number,
): Column<R> {
  const show = (row: R) => {
    const at = value(row);
    return <span class="num">{at === null ? '–' : clock(at, now)}</span>;
  };
  return { id, title, value, show };
}

/** What can be done with a row: `show` has it. */
export function acting(id: string) {
  return { id, title: t('table.acts'), value: () => null, acts: true } as const;
}
