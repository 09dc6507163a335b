// One sentence before all numbers.
import type { Schema } from '../api/client';
import { link } from '../app/route';
import { type Declared, type Finding, findings, isJoined, isUndeclared } from '../judge';
import { type Before, outweighs } from '../map/model';
import { t } from '../text';
import { sentence } from '../text/findings';

type Edge = Schema['KeyedEdge'];

interface Props {
  readonly answer: Schema['Topology'];
  readonly before: Before;
  readonly declared: Declared;
}

export function Overview({ answer, before, declared }: Props) {
  if (answer.grouped) return <Groups grouped={answer.grouped} />;
  const edges = [...answer.edges, ...answer.unjoined];
  if (edges.length === 0) return null;
  const wrong: { edge: Edge; finding: Finding }[] = [];
  for (const edge of edges) {
    const [finding] = findings(edge, before.get(edge.key));
    if (finding) wrong.push({ edge, finding });
  }
  wrong.sort(
    (a, b) => Number(outweighs(b.finding, a.finding)) - Number(outweighs(a.finding, b.finding)),
  );
  const bad = wrong.filter(({ finding }) => finding.level === 'bad').length;
  const warn = wrong.length - bad;
  const [worst] = wrong;
  const unknown = edges.filter((edge) => !isJoined(edge)).length;
  const undeclared = edges.filter((edge) => isUndeclared(declared, edge.key)).length;
  const services = answer.nodes.filter((node) => node.kind === 'process');
  return (
    <div class={`say overview ${bad > 0 ? 'bad' : warn > 0 ? 'warn' : 'ok'}`}>
      <p>
        {worst === undefined && <strong>{t('say.none')}</strong>}
        {bad > 0 && <strong>{t('say.bad', { n: bad, all: edges.length })} </strong>}
        {bad === 0 && warn > 0 && <strong>{t('say.warn', { n: warn, all: edges.length })} </strong>}
        {worst && (
          <a href={link('edge', worst.edge.key)}>
            {t('say.worst', {
              client: worst.edge.client,
              server: worst.edge.server,
              finding: sentence(worst.finding),
            })}
          </a>
        )}
      </p>
      <p class="dim num">
        {t('say.scope', {
          services: new Set(services.map((node) => node.service)).size,
          hosts: new Set(services.map((node) => node.host)).size,
          edges: edges.length,
          connections: edges.reduce((sum, edge) => sum + edge.connections, 0),
        })}{' '}
        {unknown > 0 && t('say.unknown', { n: unknown })}{' '}
        {undeclared > 0 && (
          <a href={link('matrix', '', { tab: 'edges' })}>
            {t('say.undeclared', { n: undeclared })}
          </a>
        )}
      </p>
    </div>
  );
}

function Groups({ grouped }: { grouped: Schema['Grouped'] }) {
  const wrong = grouped.edges.filter((edge) => edge.wrong > 0).length;
  const all = grouped.edges.length;
  const worst = wrong > 0 ? 'warn' : 'ok';
  return (
    <div class={`say overview ${worst}`}>
      <strong>{wrong > 0 ? t('say.warn', { n: wrong, all }) : t('say.none')}</strong>
    </div>
  );
}
