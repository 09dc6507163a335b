// One sentence before all numbers.
import type { Schema } from '../api/client';
import { change, link } from '../app/route';
import { type Declared, type Finding, findings, isJoined, isUndeclared } from '../judge';
import { type Before, type Drawing, type Line, outweighs } from '../map/model';
import { t } from '../text';
import { sentence } from '../text/findings';
import { AsOf } from './State';

type Edge = Schema['KeyedEdge'];

interface Props {
  readonly answer: Schema['Topology'];
  readonly before: Before;
  readonly declared: Declared;
  readonly drawing: Drawing;
}

export function Overview({ answer, before, declared, drawing }: Props) {
  if (answer.grouped) return <Groups of={drawing} to={answer.to_ms} />;
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
        )}{' '}
        <AsOf at={answer.to_ms} />
      </p>
    </div>
  );
}

/** The same of groups, of whose edges the collector told sums. */
function Groups({ of, to }: { of: Drawing; to: number }) {
  const wrong = of.lines.filter((line) => line.finding);
  const bad = wrong.filter((line) => line.level === 'bad').length;
  const [worst] = [...wrong].sort((a, b) =>
    a.finding && b.finding && outweighs(a.finding, b.finding) ? -1 : 1,
  );
  const nameOf = (key: string) => of.things.find((one) => one.key === key)?.label || t('unknown');
  const sum = (number: (line: Line) => number) =>
    of.lines.reduce((all, line) => all + number(line), 0);
  const undeclared = sum((line) => line.undeclared);
  return (
    <div class={`say overview ${bad > 0 ? 'bad' : wrong.length > 0 ? 'warn' : 'ok'}`}>
      <p>
        {wrong.length === 0 && <strong>{t('say.none')}</strong>}
        {wrong.length > 0 && (
          <strong>{t('say.groups', { n: wrong.length, all: of.lines.length })} </strong>
        )}
        {worst?.finding && (
          <button type="button" class="plain" onClick={() => change({ sel: worst.key })}>
            {t('say.worst', {
              client: nameOf(worst.from),
              server: nameOf(worst.to),
              finding: sentence(worst.finding),
            })}
          </button>
        )}
      </p>
      <p class="dim num">
        {t('say.groups.scope', {
          groups: of.things.length,
          nodes: of.things.reduce((all, thing) => all + thing.size, 0),
          edges: sum((line) => line.size),
          connections: sum((line) => line.connections),
        })}{' '}
        {undeclared > 0 && (
          <a href={link('matrix', '', { tab: 'edges' })}>
            {t('say.undeclared', { n: undeclared })}
          </a>
        )}{' '}
        <AsOf at={to} />
      </p>
    </div>
  );
}
