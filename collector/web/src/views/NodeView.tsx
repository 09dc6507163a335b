// One service: what it is, who calls it, whom it calls, where it listens, what else is measured.

import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { useDeclared } from '../app/declared';
import { link } from '../app/route';
import { lately, useBeat, useWindow } from '../app/time';
import type { Declared } from '../judge';
import { findings } from '../judge';
import type { Before } from '../map/model';
import { outweighs } from '../map/model';
import { EdgeTable } from '../parts/EdgeTable';
import { Facts } from '../parts/Facts';
import { Rows } from '../parts/Rows';
import { drawnOf, TableCharts } from '../parts/Series';
import { AsOf, State } from '../parts/State';
import { Tag } from '../parts/Tag';
import { type Key, t } from '../text';
import { sentence } from '../text/findings';

const NOTHING: Before = new Map();

export function NodeView({ id }: { id: string }) {
  const window = lately(useWindow());
  const beat = useBeat();
  const answer = useAsk(JSON.stringify([id, window]), beat, (signal) =>
    ask('/api/v1/nodes/{id}', { path: { id }, query: { ...window, limit: 500 }, signal }),
  );
  const declared = useDeclared();
  const tables = useAsk(
    'tables',
    0,
    async (signal) => (await ask('/api/v1/tables', { signal })).tables,
  );
  return (
    <State of={answer} what="what.node">
      {({ node, key, addresses, clients, servers, listeners, to_ms }) => (
        <article class="view">
          <header>
            <h1>{node.service || node.id}</h1>
            <p class="dim">
              {node.host && (
                <>
                  {t('node.title.host', { host: '' })}
                  <a href={link('host', node.host)}>{node.hostname || node.host}</a> ·{' '}
                </>
              )}
              <a href={link('map', '', { focus: key })}>{t('node.focus')}</a> · <AsOf at={to_ms} />
            </p>
          </header>
          {node.kind === 'address' && <p class="notice">{t('node.address')}</p>}
          {node.kind === 'network' && <p class="notice">{t('node.network')}</p>}
          {node.host_copied && <p class="notice">{t('node.copied')}</p>}
          <NodeSay edges={[...clients.edges, ...servers.edges]} />
          <Edges title="node.clients" of={clients} name="clients" declared={declared} />
          <Edges title="node.servers" of={servers} name="servers" declared={declared} />
          {node.kind === 'process' && <What node={node} addresses={addresses} />}
          {listeners.length > 0 && (
            <section>
              <h2>{t('node.listens')}</h2>
              {tables.value
                ?.filter((table) => table.name === 'listener')
                .map((table) => (
                  <Rows key={table.name} table={table} rows={listeners} host={false} />
                ))}
            </section>
          )}
          {node.kind === 'process' && <Measured node={node} tables={tables.value ?? []} />}
        </article>
      )}
    </State>
  );
}

function NodeSay({ edges }: { edges: readonly Schema['KeyedEdge'][] }) {
  const all = edges.flatMap((edge) => findings(edge).map((finding) => ({ edge, finding })));
  all.sort(
    (a, b) => Number(outweighs(b.finding, a.finding)) - Number(outweighs(a.finding, b.finding)),
  );
  const [worst] = all;
  if (!worst) return <div class="say ok">{t('say.none')}</div>;
  return (
    <div class={`say ${worst.finding.level}`}>
      {all.slice(0, 3).map(({ edge, finding }) => (
        <p key={`${edge.key} ${finding.kind}`}>
          <a href={link('edge', edge.key)}>
            {edge.client} → {edge.server}
          </a>
          : {sentence(finding)}
        </p>
      ))}
    </div>
  );
}

interface EdgesProps {
  readonly title: Key;
  readonly of: Schema['Edges'];
  readonly name: string;
  readonly declared: Declared;
}

function Edges({ title, of, name, declared }: EdgesProps) {
  return (
    <section>
      <h2>{t(title)}</h2>
      {of.edges.length === 0 ? (
        <p class="dim">{t('node.none')}</p>
      ) : (
        <EdgeTable name={name} edges={of.edges} before={NOTHING} declared={declared} />
      )}
      {of.left_out > 0 && <p class="dim">{t('node.left', { n: of.left_out })}</p>}
    </section>
  );
}

function What({ node, addresses }: { node: Schema['Node']; addresses: readonly string[] }) {
  const facts: [Key, string | undefined][] = [
    ['node.exe', node.exe],
    ['node.unit', node.unit],
    ['node.container', node.container],
    ['node.cgroup', node.cgroup],
    ['node.addresses', addresses.join(', ')],
  ];
  const tags = Object.entries(node.tags ?? {});
  return (
    <section>
      <h2>{t('node.what')}</h2>
      <Facts
        class="mono"
        of={[
          ...facts.flatMap(([name, value]) => (value ? [[t(name), value] as const] : [])),
          ...(tags.length > 0
            ? [
                [
                  t('node.tags'),
                  tags.map(([name, value]) => (
                    <Tag key={name}>
                      {name}={value}
                    </Tag>
                  )),
                ] as const,
              ]
            : []),
        ]}
      />
    </section>
  );
}

/** Charts of every other table that has rows of processes, whatever family it is of. */
function Measured({ node, tables }: { node: Schema['Node']; tables: readonly Schema['Listed'][] }) {
  const own = tables.filter(
    (table) =>
      table.shape === 'series' &&
      !table.shown_by &&
      table.last_ms &&
      table.columns.some((column) => column.name === 'process_id') &&
      drawnOf(table).length > 0,
  );
  const named = !/[,=]/.test(node.service ?? '');
  if (own.length === 0 || !node.host || !named) return null;
  const group = (table: Schema['Table']) =>
    table.columns.some((column) => column.name === 'local_port')
      ? 'local_address,local_port'
      : 'service';
  return (
    <section>
      <h2>{t('node.measured')}</h2>
      {own.map((table) => (
        <div key={table.name}>
          <h3>
            {table.name.replaceAll('_', ' ')}{' '}
            <span class="dim" lang="en">
              {table.help}
            </span>
          </h3>
          <TableCharts
            table={table}
            of={{ host: node.host ?? '', where: `service=${node.service ?? ''}` }}
            group={group(table)}
          />
        </div>
      ))}
    </section>
  );
}
