// One edge: what is wrong, how it went on, how we know, and each connection that broke.
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { useDeclared } from '../app/declared';
import { link } from '../app/route';
import { asked, before, useBeat, useWindow } from '../app/time';
import { type Told, told } from '../judge';
import { Chart, type Track } from '../parts/Chart';
import { Diagnosis } from '../parts/Diagnosis';
import { EdgeDeclared, EdgeHow, EdgeNumbers, EdgeSay, EdgeWay } from '../parts/EdgeFacts';
import { Heat } from '../parts/Heat';
import { Rows } from '../parts/Rows';
import { Spread } from '../parts/Spread';
import { State } from '../parts/State';
import { t } from '../text';
import { bytes, count, micros } from '../text/numbers';

type Answer = Schema['EdgeAnswer'];

/** A step as long as the longest range. */
const WHOLE = '7d';

export function EdgeView({ id }: { id: string }) {
  const window = asked(useWindow());
  const beat = useBeat();
  const question = JSON.stringify([id, window]);
  // What it is at once; how it went on takes a question for each step.
  const answer = useAsk(question, beat, (signal) =>
    ask('/api/v1/edges/{id}', { path: { id }, query: { ...window, step: WHOLE }, signal }),
  );
  const over = useAsk(question, beat, (signal) => {
    const query = { ...window, ...stepOf(window), limit: 0 };
    return ask('/api/v1/edges/{id}', { path: { id }, query, signal });
  });
  const declared = useDeclared();
  const events = useAsk('event', 0, async (signal) => {
    const { tables } = await ask('/api/v1/tables', { signal });
    return tables.find((table) => table.name === 'event');
  });
  const length = answer.value ? answer.value.to_ms - answer.value.from_ms : 0;
  const then = useAsk<Told | null>(
    `${question} ${length}`,
    Math.floor(beat / 6),
    async (signal) => {
      if (!answer.value) return null;
      const { server_node: node } = answer.value;
      const by = node.service ? { service: node.service } : {};
      const narrowed = node.kind === 'address' ? { ip: node.id } : by;
      const query = { ...narrowed, ...before(answer.value) };
      const old = await ask('/api/v1/topology', { query, signal });
      const edge = [...old.edges, ...old.unjoined].find((one) => one.key === id);
      return edge ? told(edge.client_counters, edge.server_counters, edge.connections) : null;
    },
  );
  const old = then.current ? (then.value ?? undefined) : undefined;
  return (
    <State of={answer} what="what.edge">
      {(edge) => (
        <article class="view">
          <header>
            <h1>
              <a href={link('node', edge.client)}>{edge.client}</a> →{' '}
              <a href={link('node', edge.server)}>{edge.server}</a>
            </h1>
            <EdgeWay edge={edge} />
          </header>
          <EdgeSay edge={edge} before={old} length={length} steps={over.value?.steps ?? []} />
          <div class="columns">
            <section>
              <h2>{t('edge.numbers')}</h2>
              <EdgeNumbers edge={edge} before={old} length={length} />
              <h2>{t('edge.how')}</h2>
              <EdgeHow edge={edge} />
              <h2>{t('edge.declared')}</h2>
              <EdgeDeclared of={edge.key} declared={declared} />
              <p>
                <a href={link('map', '', { focus: edge.server })}>{t('node.focus')}</a> ·{' '}
                <ChainLink edge={edge} />
              </p>
            </section>
            <section>
              <h2>{t('edge.over')}</h2>
              <State of={over} what="what.edge">
                {(steps) => <Steps edge={steps} />}
              </State>
            </section>
            <section>
              <h2>{t('edge.spread')}</h2>
              <Spread
                label={t('spread.rtt')}
                of={edge.client_times?.rtt ?? edge.server_times?.rtt}
              />
              {over.value && <Heats edge={over.value} what="rtt" />}
              <Spread label={t('spread.connect')} of={edge.client_times?.connect_latency} />
              {over.value && <Heats edge={over.value} what="connect" />}
            </section>
          </div>
          <Diagnosis key={edge.key} edge={edge.key} />
          <section>
            <h2>
              {t('edge.abnormal')}{' '}
              <span class="num dim">{count(edge.abnormal.length + edge.abnormal_left_out)}</span>
            </h2>
            {edge.abnormal.length === 0 ? (
              <p class="dim">{t('edge.abnormal.none')}</p>
            ) : (
              events.value && <Rows table={events.value} rows={edge.abnormal} />
            )}
          </section>
          {over.value?.truncated && (
            <p class="notice" lang="en">
              {over.value.truncated.detail}
            </p>
          )}
        </article>
      )}
    </State>
  );
}

/** How long it took, step by step. */
function Heats({ edge, what }: { edge: Answer; what: 'rtt' | 'connect' }) {
  const steps = edge.steps.map(({ to_ms, client_times: client, server_times: server }) => ({
    to_ms,
    of: what === 'rtt' ? (client?.rtt ?? server?.rtt) : client?.connect_latency,
  }));
  return (
    <Heat
      name={`edge-${what}`}
      label={t('heat.over', { what: t(`spread.${what}`) })}
      steps={steps}
      step={edge.step_ms}
      window={[edge.from_ms, edge.to_ms]}
    />
  );
}

/** As many steps as a chart has room for and the collector answers at once. */
function stepOf(window: { from: string; to: string }) {
  if (window.from.startsWith('-')) return {};
  const seconds = (Date.parse(window.to) - Date.parse(window.from)) / 1000;
  return { step: `${Math.max(10, Math.ceil(seconds / 12))}s` };
}

function ChainLink({ edge }: { edge: Answer }) {
  const [event] = edge.abnormal;
  const { local_address: local, local_port: port } = event?.values ?? {};
  if (event?.values.role !== 'client' || !local || !port) return null;
  const vip = edge.via.find((via) => via.kind === 'vip')?.address ?? edge.server_endpoint;
  const own = String(local).includes(':') ? `[${String(local)}]` : String(local);
  return (
    <a href={link('chain', '', { tuple: `${own}:${String(port)} -> ${vip}` })}>{t('edge.chain')}</a>
  );
}

function Steps({ edge }: { edge: Answer }) {
  const times = edge.steps.map((step) => step.to_ms);
  const of = (value: (now: Told) => number | null | undefined) =>
    edge.steps.map((step) =>
      step.connections === null || step.connections === undefined
        ? null
        : (value(told(step.client, step.server, step.connections)) ?? null),
    );
  const window = [edge.from_ms, edge.to_ms] as const;
  const chart = (label: string, tracks: Track[], format: (value: number) => string) => (
    <Chart label={label} times={times} tracks={tracks} format={format} window={window} />
  );
  const connections = edge.steps.map((step) => step.connections ?? null);
  return (
    <div class="charts one">
      {chart(t('edge.connections'), [{ label: t('edge.connections'), values: connections }], count)}
      {chart(
        t('level.bad'),
        [
          { label: t('edge.reset_server'), values: of((now) => now.resetServer) },
          { label: t('edge.reset_client'), values: of((now) => now.resetClient) },
          { label: t('edge.failed'), values: of((now) => now.failed) },
          { label: t('edge.retransmits'), values: of((now) => now.retransmits) },
        ],
        count,
      )}
      {chart(
        t('edge.rtt'),
        [
          { label: 'p50', values: of((now) => now.rtt?.p50) },
          { label: 'p95', values: of((now) => now.rtt?.p95) },
        ],
        micros,
      )}
      {chart(
        t('edge.bytes'),
        [
          { label: '→', values: of((now) => now.toServer) },
          { label: '←', values: of((now) => now.toClient) },
        ],
        bytes,
      )}
    </div>
  );
}
