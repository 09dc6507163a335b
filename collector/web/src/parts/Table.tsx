// Tables: sorted, filtered, copied, saved.
import type { ComponentChildren } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { type Cell, csv, json, save } from '../csv';
import { t } from '../text';

export interface Column<R> {
  /** Its name in files: the same in every language. */
  readonly id: string;
  readonly title: string;
  /** What is sorted, filtered and saved. */
  readonly value: (row: R) => Cell;
  /** What is sorted by, where that is not the value. */
  readonly order?: (row: R) => number;
  /** What is shown, where that is more than the value. */
  readonly show?: (row: R) => ComponentChildren;
  readonly number?: boolean;
  /** It is what can be done with a row: nothing to sort by or to save. */
  readonly acts?: boolean;
  /** One line about it. */
  readonly help?: string;
}

interface Props<R> {
  /** What it is about: names files. */
  readonly name: string;
  readonly columns: readonly Column<R>[];
  readonly rows: readonly R[];
  readonly keyOf: (row: R) => string;
  /** Sorted by this column at first; descending with a minus before it. */
  readonly sort?: string;
  /** Rows at first. */
  readonly most?: number;
}

/** Rows that are added by a press. */
const MORE = 200;

export function Table<R>({ name, columns, rows, keyOf, sort = '', most = 100 }: Props<R>) {
  const [order, setOrder] = useState(sort);
  const [filter, setFilter] = useState('');
  const [room, setRoom] = useState(most);
  const shown = useMemo(() => {
    const wanted = filter.trim().toLowerCase();
    const kept = wanted === '' ? rows : rows.filter((row) => meets(columns, row, wanted));
    return sorted(columns, kept, order);
  }, [columns, rows, filter, order]);
  const cut = shown.slice(0, room);
  return (
    <div class="table">
      <div class="bar">
        {rows.length > 8 && (
          <input
            type="search"
            class="filter"
            placeholder={t('table.filter')}
            aria-label={t('table.filter')}
            value={filter}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        )}
        <span class="dim num">
          {shown.length === rows.length
            ? t('table.rows', { n: rows.length })
            : t('table.shown', { n: shown.length, all: rows.length })}
        </span>
        <Save name={name} columns={columns} rows={shown} />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keys */}
      <section class="scroll" tabIndex={0} aria-label={name}>
        <table>
          <thead>
            <tr>
              {columns.map((column) =>
                column.acts ? (
                  <th key={column.id} scope="col">
                    <span class="unseen">{column.title}</span>
                  </th>
                ) : (
                  <Head key={column.id} column={column} order={order} setOrder={setOrder} />
                ),
              )}
            </tr>
          </thead>
          <tbody>
            {cut.map((row) => (
              <tr key={keyOf(row)}>
                {columns.map((column) => (
                  <td key={column.id} class={column.number ? 'n' : ''}>
                    {column.show ? column.show(row) : plain(column.value(row))}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {cut.length < shown.length && (
        <button type="button" class="pill" onClick={() => setRoom(room + MORE)}>
          {t('table.more', { n: Math.min(MORE, shown.length - cut.length) })}{' '}
          <span class="dim">{t('table.shown', { n: cut.length, all: shown.length })}</span>
        </button>
      )}
    </div>
  );
}

function Head<R>(props: { column: Column<R>; order: string; setOrder: (order: string) => void }) {
  const { column, order, setOrder } = props;
  const up = order === column.id;
  const down = order === `-${column.id}`;
  const first = column.number ? `-${column.id}` : column.id;
  const other = column.number ? column.id : `-${column.id}`;
  const state = up ? 'ascending' : down ? 'descending' : 'none';
  return (
    <th class={column.number ? 'n' : ''} aria-sort={state} scope="col">
      <button
        type="button"
        title={column.help}
        onClick={() => setOrder(order === first ? other : first)}
      >
        {column.title}
        <span aria-hidden="true">{up ? ' ↑' : down ? ' ↓' : ''}</span>
      </button>
    </th>
  );
}

function Save<R>({
  name,
  columns,
  rows,
}: {
  name: string;
  columns: readonly Column<R>[];
  rows: readonly R[];
}) {
  const [copied, setCopied] = useState(false);
  const kept = columns.filter((column) => !column.acts);
  const header = kept.map((column) => column.id);
  const cells = () => rows.map((row) => kept.map((column) => column.value(row)));
  const copy = async () => {
    const lines = [header, ...cells()].map((line) => line.map((cell) => cell ?? '').join('\t'));
    await navigator.clipboard.writeText(lines.join('\n'));
    setCopied(true);
  };
  return (
    <span class="save">
      <button
        type="button"
        class="plain"
        onClick={() => save(`${name}.csv`, 'text/csv', csv(header, cells()))}
      >
        {t('table.csv')}
      </button>
      <button
        type="button"
        class="plain"
        onClick={() => save(`${name}.json`, 'application/json', json(header, cells()))}
      >
        {t('table.json')}
      </button>
      <button type="button" class="plain" onClick={() => void copy()}>
        {t(copied ? 'table.copied' : 'table.copy')}
      </button>
    </span>
  );
}

function plain(cell: Cell): string {
  return cell === null ? '–' : String(cell);
}

function meets<R>(columns: readonly Column<R>[], row: R, wanted: string): boolean {
  const has = (column: Column<R>) => plain(column.value(row)).toLowerCase().includes(wanted);
  return columns.some(has);
}

/** What is not known comes last, whichever way. */
function sorted<R>(columns: readonly Column<R>[], rows: readonly R[], order: string): R[] {
  const down = order.startsWith('-');
  const column = columns.find((one) => one.id === (down ? order.slice(1) : order));
  if (!column) return [...rows];
  const compare = (a: Cell, b: Cell): number => {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    const by =
      typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
    return down ? -by : by;
  };
  // Each value is made once, and not with every comparison.
  const by = column.order ?? column.value;
  const keyed = rows.map((row) => [by(row), row] as const);
  return keyed.sort(([a], [b]) => compare(a, b)).map(([, row]) => row);
}
