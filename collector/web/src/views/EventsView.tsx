// What happened, one by one, the newest first.
import { useState } from 'preact/hooks';
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { change, link, useRoute } from '../app/route';
import { asked, useBeat, useWindow } from '../app/time';
import { Rows } from '../parts/Rows';
import { Empty, State } from '../parts/State';
import { has, t } from '../text';

/** Rows of a page. */
const PAGE = 200;

export function EventsView() {
  const { query } = useRoute();
  const window = asked(useWindow());
  const beat = useBeat();
  const kind = query.kind ?? '';
  const table = useAsk('events', 0, async (signal) => {
    const { tables } = await ask('/api/v1/tables', { signal });
    return tables.filter((one) => one.shape === 'events' && !one.shown_by);
  });
  const name = query.table ?? 'event';
  const described = table.value?.find((one) => one.name === name);
  const narrowed = kind === '' ? {} : { where: `kind=${kind}` };
  const question = JSON.stringify([name, kind, window]);
  const answer = useAsk(question, beat, (signal) =>
    ask('/api/v1/events/{table}', {
      path: { table: name },
      query: { ...window, ...narrowed, limit: PAGE },
      signal,
    }),
  );
  const column = described?.columns.find((one) => one.name === 'kind');
  const kinds = typeof column?.type === 'object' ? column.type.enum : [];
  return (
    <article class="view">
      <header>
        <h1>{t('nav.events')}</h1>
      </header>
      <div class="tools">
        <label class="pill">
          {t('events.kind')}{' '}
          <select
            value={kind}
            onChange={(event) => change({ kind: event.currentTarget.value }, true)}
          >
            <option value="">{t('events.all')}</option>
            {kinds.map((one) => (
              <option key={one} value={one}>
                {has(`kind.${one}`) ? t(`kind.${one}` as never) : one}
              </option>
            ))}
          </select>
        </label>
        {(table.value?.length ?? 0) > 1 &&
          table.value?.map((one) => (
            <a
              key={one.name}
              class={one.name === name ? 'pill on' : 'pill'}
              href={link('events', '', { table: one.name })}
            >
              {one.name}
            </a>
          ))}
      </div>
      <State of={answer} what="what.events">
        {(page) =>
          page.rows.length === 0 || !described ? (
            <Empty what="empty.events" />
          ) : (
            <Pages key={question} first={page} table={described} />
          )
        }
      </State>
    </article>
  );
}

/** The first page, and older ones as they are asked for. */
function Pages({ first, table }: { first: Schema['EventPage']; table: Schema['Listed'] }) {
  const [older, setOlder] = useState<readonly Schema['Row'][]>([]);
  const [next, setNext] = useState(first.next);
  const more = async () => {
    if (!next) return;
    const query = { cursor: next, limit: PAGE };
    const page = await ask('/api/v1/events/{table}', { path: { table: table.name }, query });
    setOlder([...older, ...page.rows]);
    setNext(page.next);
  };
  return (
    <>
      <Rows table={table} rows={[...first.rows, ...older]} />
      {next && (
        <button type="button" class="pill" onClick={() => void more()}>
          {t('events.more')}
        </button>
      )}
    </>
  );
}
