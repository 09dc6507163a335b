// Who talks to whom, and what of it is wrong.
import { useMemo, useRef, useState } from 'preact/hooks';
import { ask, type QueryOf, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { useDeclared } from '../app/declared';
import { useFiring } from '../app/firing';
import { change, link, useRoute } from '../app/route';
import { lately, useBeat, useWindow } from '../app/time';
import type { Declared } from '../judge';
import { Memory } from '../map/memory';
import {
  BYS,
  type By,
  type Drawing,
  drawing,
  onlyUndeclared,
  onlyWrong,
  readable,
} from '../map/model';
import { Panel } from '../map/Panel';
import { LAYOUTS, type Layout, usePlaces } from '../map/places';
import { Stage } from '../map/Stage';
import { EdgeTable } from '../parts/EdgeTable';
import { Overview } from '../parts/Overview';
import { Empty, Evicted, State } from '../parts/State';
import { t } from '../text';
import { useBefore } from './compare';

/** Most things on the map. */
const MOST = 200;
/** Most of them in the table. */
const MOST_ROWS = 500;
/** Whether there was more than can be drawn, by what was asked about. */
const large = new Memory<boolean>();

interface Asked {
  readonly by: By;
  readonly focus: string;
  readonly depth: string;
  /** A group that everything is about, as `service:web`; empty for none. */
  readonly within: string;
  readonly wrong: boolean;
  readonly undeclared: boolean;
  readonly table: boolean;
}

/** The whole, where that is little enough to draw; else groups of it. */
async function load(of: Asked, window: ReturnType<typeof lately>, signal: AbortSignal) {
  const around = of.focus === '' ? {} : { focus: of.focus, depth: Number(of.depth) };
  const narrowed = { ...around, ...narrowing(of.within), ...(of.wrong && { wrong: true }) };
  const query = { ...window, ...narrowed, limit: of.table ? MOST_ROWS : MOST };
  const whole = () => ask('/api/v1/topology', { query, signal });
  if (of.table || of.by === 'none') return whole();
  const by = of.by;
  const groups = () => ask('/api/v1/topology', { query: { ...query, group: by }, signal });
  const about = JSON.stringify(narrowed);
  const known = large.get(about);
  if (known) {
    const answer = await groups();
    const all = (answer.grouped?.groups ?? []).reduce((sum, group) => sum + group.nodes, 0);
    if (all + (answer.grouped?.left_out.nodes ?? 0) > MOST) return answer;
  }
  // Where nobody knows, both at once: one after the other would take twice the time.
  const grouped = known === undefined ? groups() : null;
  grouped?.catch(() => undefined);
  const answer = await whole();
  const isLarge = (answer.left_out?.nodes ?? 0) > 0;
  large.set(about, isLarge);
  return isLarge ? (grouped ?? groups()) : answer;
}

/** What a group is narrowed to by. */
const WITHIN = { service: 'service', host: 'host', site: 'ip', namespace: 'namespace' } as const;

/** A group as parameters of a question; none of a text that names no group. */
function narrowing(within: string): QueryOf<'/api/v1/topology'> {
  const at = within.indexOf(':');
  const [by, name] = [within.slice(0, at), within.slice(at + 1)];
  const parameter = WITHIN[by as keyof typeof WITHIN];
  return parameter ? { [parameter]: name } : {};
}

const EMPTY: Drawing = { things: [], lines: [], leftOut: 0, linesLeftOut: 0 };

export function MapView() {
  const { query } = useRoute();
  const window = useWindow();
  const beat = useBeat();
  const by = BYS.find((one) => one === query.by) ?? 'service';
  const layout = LAYOUTS.find((one) => one === query.layout) ?? 'layered';
  const of: Asked = {
    by,
    focus: query.focus ?? '',
    within: query.in ?? '',
    depth: /^\d$/.test(query.depth ?? '') ? (query.depth ?? '2') : '2',
    wrong: query.wrong === '1',
    undeclared: query.undeclared === '1',
    table: query.table === '1',
  };
  const times = lately(window);
  // What is wrong is chosen here, unless there is more than was answered.
  const cut = useRef(false);
  const asking = { ...of, undeclared: false, wrong: of.wrong && cut.current };
  const question = JSON.stringify([asking, times]);
  const answer = useAsk(question, beat, (signal) => load(asking, times, signal));
  cut.current ||= (answer.value?.left_out?.nodes ?? 0) > 0 || !!answer.value?.grouped;
  const before = useBefore(answer.value, question, beat);
  const declared = useDeclared(answer.value !== undefined && !answer.value.grouped);
  const { firing } = useFiring();
  // Made once for each answer, and not with every press: groups have thousands of lines.
  const all = useMemo(
    () => (answer.value ? drawing(answer.value, by, before, declared, firing) : EMPTY),
    [answer.value, by, before, declared, firing],
  );
  return (
    <State of={answer} what="what.map">
      {(topology) => {
        const kept = of.wrong ? onlyWrong(all) : all;
        const shown = readable(of.undeclared ? onlyUndeclared(kept) : kept);
        return (
          <div class="mapview">
            <section class="map-main">
              <Overview answer={topology} before={before} declared={declared} drawing={all} />
              <Evicted at={topology.evicted_before_ms} from={topology.from_ms} />
              <Tools of={of} layout={layout} declared={declared} />
              <Body
                of={of}
                layout={layout}
                topology={topology}
                before={before}
                declared={declared}
                all={all}
                shown={shown}
                question={JSON.stringify([by, of.focus, of.depth, of.within])}
              />
            </section>
            <Panel
              topology={topology}
              before={before}
              declared={declared}
              firing={firing}
              shown={all}
              by={by}
              selected={query.sel ?? ''}
            />
          </div>
        );
      }}
    </State>
  );
}

function Tools({ of, layout, declared }: { of: Asked; layout: Layout; declared: Declared }) {
  const { query } = useRoute();
  return (
    <div class="tools">
      {of.focus !== '' && (
        <span class="pill on">
          {t('map.focus', { name: of.focus, depth: of.depth })}{' '}
          <button
            type="button"
            class="plain"
            aria-label={t('map.focus.off')}
            onClick={() => change({ focus: '', depth: '' }, true)}
          >
            ×
          </button>
        </span>
      )}
      {of.within !== '' && (
        <span class="pill on">
          {t('map.within', { name: of.within.slice(of.within.indexOf(':') + 1) })}{' '}
          <button
            type="button"
            class="plain"
            aria-label={t('map.focus.off')}
            onClick={() => change({ in: '' }, true)}
          >
            ×
          </button>
        </span>
      )}
      <label class="pill">
        {t('map.by')}{' '}
        <select value={of.by} onChange={(event) => change({ by: event.currentTarget.value }, true)}>
          {BYS.map((one) => (
            <option key={one} value={one}>
              {t(`map.by.${one}`)}
            </option>
          ))}
        </select>
      </label>
      <label class="pill">
        {t('map.layout')}{' '}
        <select
          value={layout}
          onChange={(event) => change({ layout: event.currentTarget.value }, true)}
        >
          {LAYOUTS.map((one) => (
            <option key={one} value={one}>
              {t(`map.layout.${one}`)}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        class={of.wrong ? 'pill on' : 'pill'}
        aria-pressed={of.wrong}
        onClick={() => change({ wrong: of.wrong ? '' : '1' }, true)}
      >
        {t('map.wrong')}
      </button>
      {declared && (
        <button
          type="button"
          class={of.undeclared ? 'pill on' : 'pill'}
          aria-pressed={of.undeclared}
          onClick={() => change({ undeclared: of.undeclared ? '' : '1' }, true)}
        >
          {t('map.undeclared')}
        </button>
      )}
      <button
        type="button"
        class={of.table ? 'pill on' : 'pill'}
        aria-pressed={of.table}
        onClick={() => change({ table: of.table ? '' : '1' }, true)}
      >
        {t('map.table')}
      </button>
      <input
        type="search"
        class="filter"
        placeholder={t('map.find')}
        aria-label={t('map.find')}
        value={query.find ?? ''}
        onInput={(event) => change({ find: event.currentTarget.value })}
      />
    </div>
  );
}

interface BodyProps {
  readonly of: Asked;
  readonly layout: Layout;
  readonly topology: Schema['Topology'];
  readonly before: ReturnType<typeof useBefore>;
  readonly declared: Declared;
  readonly all: Drawing;
  readonly shown: Drawing;
  readonly question: string;
}

function Body({ of, layout, topology, before, declared, all, shown, question }: BodyProps) {
  const { query } = useRoute();
  const [, redraw] = useState(0);
  const places = usePlaces(question, all, layout);
  if (all.things.length === 0) {
    return (
      <Empty what="empty.map">
        <p>{t('empty.map.do')}</p>
        <a href={link('fleet')}>{t('nav.fleet')}</a>
      </Empty>
    );
  }
  if (of.table) {
    const edges = [...topology.edges, ...topology.unjoined];
    const left = topology.left_out;
    return (
      <>
        {left && left.edges > 0 && (
          <p class="notice">
            {t('map.table.cut', { shown: edges.length, all: edges.length + left.edges })}
          </p>
        )}
        <EdgeTable
          name="edges"
          edges={edges}
          before={before}
          declared={declared}
          wrong={of.wrong}
          undeclared={of.undeclared}
        />
      </>
    );
  }
  if (shown.things.length === 0) {
    return (
      <Empty what={of.wrong ? 'empty.wrong' : 'empty.undeclared'}>
        <button
          type="button"
          class="pill"
          onClick={() => change({ wrong: '', undeclared: '' }, true)}
        >
          {t('empty.wrong.do')}
        </button>
      </Empty>
    );
  }
  return (
    <>
      {all.leftOut > 0 && (
        <p class="notice">
          {t('map.cut', { shown: all.things.length, all: all.things.length + all.leftOut })}{' '}
          <a href={link('map', '', { table: '1' })}>{t('map.more.help', { n: all.leftOut })}</a>
        </p>
      )}
      {shown.linesLeftOut > 0 && (
        <p class="notice">
          {t('map.lines', {
            shown: shown.lines.length,
            all: shown.lines.length + shown.linesLeftOut,
          })}
        </p>
      )}
      <Stage
        question={`${layout} ${question}`}
        drawing={shown}
        places={places}
        selected={query.sel ?? ''}
        focus={of.focus}
        find={(query.find ?? '').trim().toLowerCase()}
        seconds={(topology.to_ms - topology.from_ms) / 1000}
        onSelect={(key) => change({ sel: key })}
        onMoved={() => redraw((n) => n + 1)}
      />
      <Legend declared={declared} />
    </>
  );
}

function Legend({ declared }: { declared: Declared }) {
  return (
    <ul class="legend" aria-label={t('map.legend')}>
      {(['ok', 'warn', 'bad', 'unknown', 'via'] as const).map((level) => (
        <li key={level}>
          <i class={`mark ${level}`} aria-hidden="true" />
          {t(`level.${level}`)}
        </li>
      ))}
      {declared && (
        <li>
          <i class="mark undeclared" aria-hidden="true" />
          {t('declared.undeclared')}
        </li>
      )}
    </ul>
  );
}
