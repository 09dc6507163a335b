// Rows of any table, by its description.
import type { Schema } from '../api/client';
import { link } from '../app/route';
import type { Cell } from '../csv';
import { has, t } from '../text';
import { clock, measured } from '../text/numbers';
import { type Column, Table } from './Table';

type Row = Schema['Row'];
type Described = Schema['Column'];

/** What carries no meaning for people. */
const HIDDEN = ['total', 'absent', 'netns', 'process_id', 'token'];

/** A value of a column in a file: one text or number. */
export function cell(value: unknown): Cell {
  if (value === null || value === undefined) return null;
  if (typeof value === 'number' || typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return JSON.stringify(value);
}

function shown(column: Described, value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (typeof value !== 'number') return typeof value === 'string' ? value : JSON.stringify(value);
  if (column.kind === 'time') return clock(column.unit === 'us' ? value / 1000 : value);
  return column.unit && column.kind !== 'dimension' ? measured(value, column.unit) : String(value);
}

interface Props {
  readonly table: Schema['Table'];
  readonly rows: readonly Row[];
  /** Where all rows are of one host, its name says nothing. */
  readonly host?: boolean;
}

export function Rows({ table, rows, host = true }: Props) {
  const addresses = new Map<string, string>();
  for (const { name } of table.columns) {
    const port = name.replace(/_address$/, '_port');
    if (name !== port && table.columns.some((other) => other.name === port))
      addresses.set(name, port);
  }
  const ports = new Set(addresses.values());
  const columns: Column<Row>[] = [];
  // What happened at a time of its own has it already.
  const timed = table.columns.find((column) => table.shape === 'events' && column.kind === 'time');
  if (!timed) {
    columns.push({
      id: 'end_ms',
      title: t('table.time'),
      value: (row) => row.end_ms,
      show: (row) => <span class="num">{clock(row.end_ms)}</span>,
    });
  }
  if (host) {
    columns.push({
      id: 'hostname',
      title: t('fleet.host'),
      value: (row) => row.hostname || row.host,
      show: (row) => <a href={link('host', row.host)}>{row.hostname || row.host.slice(0, 8)}</a>,
    });
  }
  columns.push({
    id: 'service',
    title: t('table.service'),
    value: (row) => row.process?.service ?? null,
  });
  const inOrder = timed
    ? [timed, ...table.columns.filter((column) => column !== timed)]
    : table.columns;
  for (const column of inOrder) {
    if (HIDDEN.includes(column.name) || ports.has(column.name)) continue;
    const port = addresses.get(column.name);
    const isNumber = ['counter', 'gauge', 'histogram'].includes(column.kind);
    columns.push({
      id: column.name,
      title: titleOf(column.name),
      help: column.help,
      number: isNumber,
      value: (row) => {
        const value = cell(row.values[column.name]);
        return port && value !== null ? endpoint(String(value), row.values[port]) : value;
      },
      show: (row) => {
        const value = row.values[column.name];
        if (port && value)
          return <span class="mono">{endpoint(String(value), row.values[port])}</span>;
        if (column.name === 'kind') return kindOf(value);
        return <span class={isNumber ? 'num' : ''}>{shown(column, value)}</span>;
      },
    });
  }
  const keyOf = (row: Row) => JSON.stringify([row.host, row.end_ms, row.values]);
  return (
    <Table
      name={table.name}
      columns={columns}
      rows={rows}
      keyOf={keyOf}
      sort={`-${timed?.name ?? 'end_ms'}`}
    />
  );
}

/** A name as people read it: its unit stands with the values. */
export function titleOf(name: string): string {
  return name.replace(/_(address|us|ms)$/, '').replaceAll('_', ' ');
}

/** The kind of an event in words, where there are some. */
function kindOf(value: unknown): string {
  const key = `kind.${String(value)}`;
  return has(key) ? t(key) : String(value);
}

function endpoint(ip: string, port: unknown): string {
  return ip.includes(':') ? `[${ip}]:${String(port)}` : `${ip}:${String(port)}`;
}
