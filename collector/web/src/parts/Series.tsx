// Charts of a table by its description alone: a family that comes later has its own at once.
import { ask, type QueryOf, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { asked, useBeat, useWindow } from '../app/time';
import { t } from '../text';
import { measured } from '../text/numbers';
import { Chart, type Track } from './Chart';
import { Heat } from './Heat';
import { titleOf } from './Rows';
import { State } from './State';

/** Kinds of columns that a chart can be made of. */
const DRAWN = ['counter', 'gauge', 'histogram'];
/** Lines of a chart. */
const MOST = 6;
const STEPS = 60;
/** Columns of a map of heat. */
const HEAT_STEPS = 30;

type Made = Pick<QueryOf<'/api/v1/series/{table}'>, 'function' | 'group' | 'limit'>;

export interface Narrowed {
  readonly host?: string;
  readonly where?: string;
}

/** The columns of a table that have charts. */
export function drawnOf(table: Schema['Table']): Schema['Column'][] {
  return table.columns.filter((column) => DRAWN.includes(column.kind) && column.type !== 'counts');
}

/** A chart for each column that can have one. */
export function TableCharts(props: { table: Schema['Table']; of?: Narrowed; group: string }) {
  return (
    <div class="charts">
      {drawnOf(props.table).map((column) => (
        <>
          <ColumnChart key={column.name} {...props} column={column} />
          {column.kind === 'histogram' && (
            <ColumnHeat key={`heat ${column.name}`} {...props} column={column} />
          )}
        </>
      ))}
    </div>
  );
}

interface Props {
  readonly table: Schema['Table'];
  readonly column: Schema['Column'];
  readonly of?: Narrowed;
  /** Columns by which there are lines, with commas. */
  readonly group: string;
}

/** What is made of a column, in at most so many steps. */
function useSeries({ table, column, of = {} }: Props, steps: number, made: Made) {
  const window = asked(useWindow());
  const beat = useBeat();
  const question = JSON.stringify([table.name, column.name, of, made, window]);
  return useAsk(question, beat, async (signal) => {
    const step = `${Math.max(10, Math.ceil(lengthMs(window) / steps / 1000))}s`;
    const narrowed = { ...(of.host && { host: of.host }), ...(of.where && { where: of.where }) };
    const query = { ...window, ...narrowed, ...made, value: column.name, step };
    return ask('/api/v1/series/{table}', { path: { table: table.name }, query, signal });
  });
}

/** How long something took, over all that is narrowed to. */
function ColumnHeat(props: Props) {
  const { table, column } = props;
  const series = useSeries(props, HEAT_STEPS, { function: 'distribution' });
  return (
    <State of={series} what="what.data">
      {({ series: [all], step_ms: step, from_ms: from, to_ms: to }) => (
        <Heat
          name={`${table.name}-${column.name}`}
          label={t('heat.over', { what: titleOf(column.name) })}
          help={column.help}
          steps={(all?.points ?? []).map(({ to_ms, distribution: of }) => ({ to_ms, of }))}
          step={step ?? to - from}
          window={[from, to]}
        />
      )}
    </State>
  );
}

function ColumnChart(props: Props) {
  const { column, group } = props;
  const rate = column.kind === 'counter' ? ({ function: 'rate' } as const) : {};
  const series = useSeries(props, STEPS, { ...rate, group, limit: MOST });
  return (
    <State of={series} what="what.data">
      {(answer) => <Drawn answer={answer} column={column} />}
    </State>
  );
}

function Drawn({ answer, column }: { answer: Schema['SeriesAnswer']; column: Schema['Column'] }) {
  const times = [
    ...new Set(answer.series.flatMap((one) => (one.points ?? []).map((point) => point.to_ms))),
  ];
  times.sort((a, b) => a - b);
  const tracks = answer.series.map((one): Track => {
    const byTime = new Map((one.points ?? []).map((point) => [point.to_ms, point.value]));
    const label = Object.values(one.labels)
      .map((value) => String(value ?? '–'))
      .join(' ');
    return { label, values: times.map((at) => byTime.get(at) ?? null) };
  });
  const made = {
    sum: t('chart.sum'),
    rate: t('chart.rate'),
    max: t('chart.max'),
    percentile: t('chart.percentile', { p: 99 }),
  }[answer.function];
  const name = `${titleOf(column.name)}, ${made ?? answer.function}`;
  if (times.length === 0) {
    return (
      <figure class="chart">
        <figcaption title={column.help}>{name}</figcaption>
        <p class="dim">{t('chart.nothing')}</p>
      </figure>
    );
  }
  const unit = answer.function === 'rate' ? `${answer.unit}/s` : answer.unit;
  return (
    <Chart
      label={name}
      times={times}
      tracks={tracks}
      format={(value) => measured(value, unit)}
      window={[answer.from_ms, answer.to_ms]}
    />
  );
}

function lengthMs({ from, to }: { from: string; to: string }): number {
  if (!from.startsWith('-')) return Date.parse(to) - Date.parse(from);
  const units: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
  return Number.parseInt(from.slice(1), 10) * (units[from.slice(-1)] ?? 3_600_000);
}
