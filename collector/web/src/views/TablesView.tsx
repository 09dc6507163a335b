// Every table that agents fill, also of families that came after this page.
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { link } from '../app/route';
import { asked, useBeat, useWindow } from '../app/time';
import { Rows } from '../parts/Rows';
import { drawnOf, TableCharts } from '../parts/Series';
import { Empty, State } from '../parts/State';
import { Table } from '../parts/Table';
import { t } from '../text';
import { clock } from '../text/numbers';

export function TablesView({ id }: { id: string }) {
  const beat = useBeat();
  const answer = useAsk(
    'tables',
    beat,
    async (signal) => (await ask('/api/v1/tables', { signal })).tables,
  );
  return (
    <State of={answer} what="what.data">
      {(tables) => {
        const table = tables.find((one) => one.name === id);
        return (
          <article class="view">
            <header>
              <h1>{table ? table.name.replaceAll('_', ' ') : t('data.tables')}</h1>
              {table && (
                <p class="dim" lang="en">
                  {table.help}
                </p>
              )}
            </header>
            {table ? <One table={table} /> : <All tables={tables} />}
          </article>
        );
      }}
    </State>
  );
}

function All({ tables }: { tables: readonly Schema['Listed'][] }) {
  return (
    <ul class="list cards">
      {tables.map((table) => (
        <li key={table.name}>
          <a href={link('data', table.name)}>{table.name.replaceAll('_', ' ')}</a>{' '}
          <span lang="en">{table.help}</span>{' '}
          <span class="dim">
            {table.shown_by
              ? t('data.shown_by')
              : table.last_ms
                ? t('data.last', { at: clock(table.last_ms) })
                : ''}
          </span>
        </li>
      ))}
    </ul>
  );
}

function One({ table }: { table: Schema['Listed'] }) {
  const columns = [
    { id: 'name', title: t('data.columns'), value: (one: Schema['Column']) => one.name },
    { id: 'kind', title: t('events.kind'), value: (one: Schema['Column']) => one.kind },
    { id: 'unit', title: 'UCUM', value: (one: Schema['Column']) => one.unit ?? null },
    {
      id: 'help',
      title: t('data.help'),
      value: (one: Schema['Column']) => one.help,
      show: (one: Schema['Column']) => <span lang="en">{one.help}</span>,
    },
  ];
  return (
    <>
      {table.shown_by ? (
        <p class="notice">{t('data.shown_by')}</p>
      ) : (
        <>
          {table.shape === 'series' && drawnOf(table).length > 0 && (
            <TableCharts table={table} group="hostname" />
          )}
          <h2>{t('data.rows')}</h2>
          <TableRows table={table} />
        </>
      )}
      <h2>{t('data.columns')}</h2>
      <Table
        name={`${table.name}-columns`}
        columns={columns}
        rows={table.columns}
        keyOf={(one) => one.name}
      />
    </>
  );
}

function TableRows({ table }: { table: Schema['Listed'] }) {
  const window = asked(useWindow());
  const beat = useBeat();
  const answer = useAsk(JSON.stringify([table.name, window]), beat, (signal) =>
    ask('/api/v1/rows/{table}', {
      path: { table: table.name },
      query: { ...window, limit: 1000 },
      signal,
    }),
  );
  return (
    <State of={answer} what="what.data">
      {({ tables }) =>
        tables.every((rows) => rows.rows.length === 0) ? (
          <Empty what="empty.rows" />
        ) : (
          tables.map((rows) => (
            <div key={rows.table.version}>
              <Rows table={rows.table} rows={rows.rows} />
              {rows.rows_left_out > 0 && (
                <p class="notice">{t('data.cut', { n: rows.rows_left_out })}</p>
              )}
            </div>
          ))
        )
      }
    </State>
  );
}
