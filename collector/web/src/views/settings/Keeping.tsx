// How long what is kept, and what is bounded: as the configuration says.

import { ask } from '../../api/client';
import { useAsk } from '../../app/ask';
import { Facts as FactList } from '../../parts/Facts';
import { State } from '../../parts/State';
import { type Key, t } from '../../text';
import { bytes, count, span } from '../../text/numbers';

export function Keeping() {
  const answer = useAsk('settings', 0, (signal) => ask('/api/v1/settings', { signal }));
  return (
    <State of={answer} what="what.settings">
      {({ version, keeping: k, bounds: b, outputs }) => (
        <>
          <p class="dim">{t('keeping.say')}</p>
          <div class="columns">
            <Facts
              title="keeping.title"
              of={[
                ['keeping.rows', span(k.rows_ms)],
                ['keeping.minutes', span(k.minutes_ms)],
                ['keeping.hours', span(k.hours_ms)],
                ['keeping.store', bytes(k.store_bytes)],
                ['keeping.outbox', bytes(k.outbox_bytes)],
                ['keeping.audit', span(k.audit_ms)],
                ['keeping.session_idle', span(k.session_idle_ms)],
                ['keeping.session', span(k.session_ms)],
              ]}
            />
            <Facts
              title="bounds.title"
              of={[
                ['bounds.hosts', count(b.hosts)],
                ['bounds.connections', count(b.connections)],
                ['bounds.batch_bytes', bytes(b.batch_bytes)],
                ['bounds.batch_rows', count(b.batch_rows)],
                ['bounds.queries', count(b.concurrent_queries)],
                ['bounds.query_rows', count(b.query_rows)],
                ['bounds.query_memory', bytes(b.query_memory_bytes)],
                ['bounds.join_memory', bytes(b.join_memory_bytes)],
                ['keeping.version', version],
              ]}
            />
            <section>
              <h2>{t('outputs.title')}</h2>
              <p>{outputs.length > 0 ? outputs.join(', ') : t('outputs.none')}</p>
            </section>
          </div>
        </>
      )}
    </State>
  );
}

function Facts({ title, of }: { title: Key; of: readonly (readonly [Key, string])[] }) {
  return (
    <section>
      <h2>{t(title)}</h2>
      <FactList of={of.map(([name, value]) => [t(name), value])} />
    </section>
  );
}
