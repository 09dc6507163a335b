// How long something took, over time: the darker, the more often. The same as a table.

import { useMemo, useState } from 'preact/hooks';
import { t } from '../text';
import { count, micros, minute } from '../text/numbers';
import { timed } from './columns';
import { grid, type HeatGrid, type HeatStep } from './heat';
import { type Column, Table } from './Table';

interface Props {
  readonly label: string;
  readonly help?: string;
  /** What files of it are called. */
  readonly name: string;
  readonly steps: readonly HeatStep[];
  /** Length of a step, milliseconds. */
  readonly step: number;
  /** The window, Unix milliseconds. */
  readonly window: readonly [number, number];
}

export function Heat({ label, help, name, steps, step, window: [from, to] }: Props) {
  const of = useMemo(() => grid(steps, [from, to], step), [steps, from, to, step]);
  const [at, setAt] = useState<readonly [number, number] | null>(null);
  const [open, setOpen] = useState(false);
  if (of.cells.length === 0) {
    return (
      <figure class="heat">
        <figcaption title={help}>{label}</figcaption>
        <p class="dim">{t('heat.nothing')}</p>
      </figure>
    );
  }
  const high = of.lows.length;
  const bounds = (row: number) => {
    const [low = 0, next] = [of.lows[row], of.lows[row + 1]];
    return `${micros(low)} – ${micros(next ?? Math.max(low * 2, 2))}`;
  };
  const said = at && told(of, at);
  const move = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * of.columns);
    const row = high - 1 - Math.floor(((event.clientY - box.top) / box.height) * high);
    setAt([column, row]);
  };
  return (
    <figure class="heat">
      <figcaption title={help}>
        {label}{' '}
        <span class="at num dim">
          {at && `${minute(from + (at[0] + 1) * step)}  ${bounds(at[1])}  ${said}`}
        </span>
      </figcaption>
      <div class="heatmap">
        <ol class="scale num dim" aria-hidden="true">
          {[...of.lows].reverse().map((low, n) => (
            <li key={low}>{high <= 12 || n % 2 === 0 ? micros(low) : ''}</li>
          ))}
        </ol>
        <svg
          role="img"
          aria-label={t('heat.label', { what: label, most: count(of.most) })}
          viewBox={`0 0 ${of.columns} ${high}`}
          preserveAspectRatio="none"
          onPointerMove={move}
          onPointerLeave={() => setAt(null)}
        >
          {of.gaps.map((column) => (
            <rect key={`gap ${column}`} class="gap" x={column} width={1} height={high} />
          ))}
          {of.cells.map(({ column, row, level }) => (
            <rect
              key={`${column} ${row}`}
              class={`h${level}`}
              x={column}
              y={high - 1 - row}
              width={1}
              height={1}
            />
          ))}
        </svg>
        <p class="times num dim" aria-hidden="true">
          <span>{minute(from)}</span>
          <span>{minute(to)}</span>
        </p>
      </div>
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>{t('map.table')}</summary>
        {open && <AsTable name={name} steps={steps} />}
      </details>
    </figure>
  );
}

/** What is known of a place on the grid. */
function told(of: HeatGrid, [column, row]: readonly [number, number]): string {
  if (of.gaps.includes(column)) return t('unknown');
  const cell = of.cells.find((one) => one.column === column && one.row === row);
  return count(cell?.count ?? 0);
}

function AsTable({ name, steps }: { name: string; steps: readonly HeatStep[] }) {
  const of = (id: 'p50' | 'p90' | 'p99'): Column<HeatStep> => ({
    id: `${id}_us`,
    title: id,
    value: (one) => one.of?.[id]?.value_us ?? null,
    show: (one) => micros(one.of?.[id]?.value_us),
    number: true,
  });
  const columns: Column<HeatStep>[] = [
    timed('to_ms', t('table.time'), (one) => one.to_ms),
    {
      id: 'count',
      title: t('heat.count'),
      value: (one) => one.of?.count ?? null,
      show: (one) => (one.of ? count(one.of.count) : t('unknown')),
      number: true,
    },
    of('p50'),
    of('p90'),
    of('p99'),
  ];
  return (
    <Table
      name={name}
      columns={columns}
      rows={steps}
      keyOf={(one) => String(one.to_ms)}
      sort="to_ms"
    />
  );
}
