// What is selected, beside the map.
import { type AlertMark, type Firing, ofEdge, ofNode } from '../alarm';
import type { Schema } from '../api/client';
import { change, link } from '../app/route';
import { type Declared, findings, isUndeclared, level, rank } from '../judge';
import { EdgePanel } from '../parts/EdgeFacts';
import { EdgeState } from '../parts/EdgeTable';
import { LevelTag, Tag, Undeclared } from '../parts/Tag';
import { t } from '../text';
import { sentence } from '../text/findings';
import { count } from '../text/numbers';
import { SeverityTag } from '../views/alerts/words';
import type { Before, By, Drawing, Line, Thing } from './model';
import { pin, pins } from './places';
import { named } from './Stage';

interface PanelProps {
  readonly topology: Schema['Topology'];
  readonly before: Before;
  readonly declared: Declared;
  readonly firing: Firing;
  readonly shown: Drawing;
  /** What groups are made by. */
  readonly by: By;
  readonly selected: string;
}

/** What is selected, beside the map. */
export function Panel(props: PanelProps) {
  const { topology, before, declared, firing, shown, by, selected } = props;
  const thing = shown.things.find((one) => one.key === selected);
  const line = shown.lines.find((one) => one.key === selected);
  if (!thing && !line) return null;
  const length = topology.to_ms - topology.from_ms;
  const [only] = line?.edges.length === 1 ? line.edges : [];
  return (
    <aside class="panel">
      <button
        type="button"
        class="square close"
        aria-label={t('panel.close')}
        onClick={() => change({ sel: '' })}
      >
        ×
      </button>
      {thing && <ThingPanel thing={thing} shown={shown} by={by} />}
      {thing && <Fires of={thing.nodes.flatMap((node) => ofNode(firing, node))} />}
      {only && (
        <EdgePanel edge={only} before={before.get(only.key)} length={length} declared={declared} />
      )}
      {line && !only && <LinePanel line={line} shown={shown} before={before} declared={declared} />}
      {line && <Fires of={line.edges.flatMap((edge) => ofEdge(firing, edge))} />}
    </aside>
  );
}

/** What fires there, one by one. */
function Fires({ of }: { of: readonly AlertMark[] }) {
  if (of.length === 0) return null;
  const each = new Map(of.map((one) => [one.id, one]));
  return (
    <>
      <h3>{t('panel.alerts')}</h3>
      <ul class="list">
        {[...each.values()].slice(0, 20).map((one) => (
          <li key={one.id}>
            <SeverityTag of={one.severity} /> <a href={link('alerts', one.id)}>{one.summary}</a>
          </li>
        ))}
      </ul>
    </>
  );
}

/** A group as an address of the map names it: an address stands for itself, whatever groups are by. */
function groupOf(by: By, label: string): string {
  const isAddress = /^[\da-f.:]+$/i.test(label) && /[.:]/.test(label);
  return `${isAddress ? 'site' : by}:${label}`;
}

function ThingPanel({ thing, shown, by }: { thing: Thing; shown: Drawing; by: By }) {
  const lines = shown.lines.filter((line) => line.from === thing.key || line.to === thing.key);
  const worst = [...lines].sort(
    (a, b) => rank(a.level) - rank(b.level) || b.connections - a.connections,
  );
  const nameOf = (key: string) => {
    const other = shown.things.find((one) => one.key === key);
    return other ? named(other) : key;
  };
  const pinned = pins().has(thing.key);
  return (
    <>
      <h2>{named(thing)}</h2>
      <p class="dim">
        {thing.kind === 'address'
          ? t('node.address')
          : thing.kind === 'network'
            ? t('node.network')
            : ''}{' '}
        <LevelTag level={thing.level} />
        {pinned && (
          <button type="button" class="plain" onClick={() => letGo(thing.key)}>
            {t('map.pinned')}: {t('map.unpin')}
          </button>
        )}
      </p>
      {thing.nodes.length > 0 && (
        <ul class="list">
          {thing.nodes.slice(0, 20).map((node) => (
            <li key={node.key}>
              <a href={link('node', node.key)}>{node.id}</a>{' '}
              <a class="dim" href={link('map', '', { focus: node.key })}>
                {t('node.focus')}
              </a>
            </li>
          ))}
        </ul>
      )}
      {thing.kind === 'group' && thing.nodes.length === 0 && thing.label !== '' && (
        <p>
          {t('map.services', { n: thing.size })} ·{' '}
          <a href={link('map', '', { in: groupOf(by, thing.label), by: 'none' })}>
            {t('map.within.go')}
          </a>
        </p>
      )}
      <h3>{t('edge.list', { n: lines.length })}</h3>
      <ul class="list">
        {worst.slice(0, 20).map((line) => (
          <li key={line.key} class="row">
            <button type="button" class="plain" onClick={() => change({ sel: line.key })}>
              {line.from === thing.key ? `→ ${nameOf(line.to)}` : `${nameOf(line.from)} →`}
            </button>
            <span class="num dim">{count(line.connections)}</span>
            {line.finding ? (
              <Tag level={line.level}>{sentence(line.finding)}</Tag>
            ) : (
              <LevelTag level={line.level} />
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

interface LineProps {
  readonly line: Line;
  readonly shown: Drawing;
  readonly before: Before;
  readonly declared: Declared;
}

function LinePanel({ line, shown, before, declared }: LineProps) {
  const how = (edge: Schema['KeyedEdge']) =>
    rank(level(edge, findings(edge, before.get(edge.key))));
  const sorted = [...line.edges].sort((a, b) => how(a) - how(b) || b.connections - a.connections);
  const nameOf = (key: string) => {
    const thing = shown.things.find((one) => one.key === key);
    return thing ? named(thing) : key;
  };
  return (
    <>
      <h2>
        {nameOf(line.from)} → {nameOf(line.to)}
      </h2>
      <p class="dim num">
        {t('edge.list', { n: line.size })} · {count(line.connections)} ·{' '}
        {t('edge.confidence', { n: line.confidence })}
      </p>
      {line.finding && line.worst && (
        <div class={`say ${line.level}`}>
          {t('say.worst', {
            client: line.worst.client,
            server: line.worst.server,
            finding: sentence(line.finding),
          })}
        </div>
      )}
      {line.finding && !line.worst && (
        <div class={`say ${line.level}`}>{sentence(line.finding)}</div>
      )}
      <ul class="list">
        {sorted.slice(0, 50).map((edge) => (
          <li key={edge.key} class="row">
            <a href={link('edge', edge.key)}>
              {edge.client} → {edge.server}
            </a>
            <span class="mono dim">{edge.server_endpoint}</span>
            <span class="num dim">{count(edge.connections)}</span>
            <EdgeState edge={edge} before={before} />
            {isUndeclared(declared, edge.key) && <Undeclared />}
          </li>
        ))}
      </ul>
    </>
  );
}

function letGo(key: string): void {
  pin(key, null);
  change({ sel: '' });
}
