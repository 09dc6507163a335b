// What was declared beside what was seen: a sentence, then flows, edges, proposals and versions.
import { useState } from 'preact/hooks';
import { ask, post, type Refused, type Schema } from '../../api/client';
import { useAsk } from '../../app/ask';
import { change, link, useRoute } from '../../app/route';
import { useStore } from '../../app/store';
import { asked, useBeat, useWindow } from '../../app/time';
import { Empty, Evicted, State } from '../../parts/State';
import { type Key, t } from '../../text';
import { clock, count } from '../../text/numbers';
import { Declare, Files } from './Declare';
import { type Draft, draft } from './draft';
import { Learned } from './Learned';
import { EdgesTable, FlowsTable } from './Verdicts';
import { Versions } from './Versions';

type Report = Schema['MatrixReport'];

const TABS = ['flows', 'edges', 'learned', 'versions'] as const;
type Tab = (typeof TABS)[number];

/** Beats between two checks: each looks at everything that was seen. */
const SELDOM = 3;
/** Most edges that are listed. */
const MOST = 5000;

/** What is held against the matrix; nothing where none is declared and none is looked at. */
async function check(
  file: Blob | null,
  window: object,
  signal: AbortSignal,
): Promise<Report | null> {
  const query = { ...window, limit: MOST };
  const answer = await post('/api/v1/matrix/check', file, { query, signal });
  return (await answer.json()) as Report;
}

export function MatrixView() {
  const { query } = useRoute();
  const window = asked(useWindow());
  const beat = Math.floor(useBeat() / SELDOM);
  const looked = useStore(draft);
  const [done, setDone] = useState('');
  const [round, setRound] = useState(0);
  const declared = useAsk('declared', beat + round, (signal) =>
    ask('/api/v1/matrix', { query: { rows: false }, signal }),
  );
  const now = declared.value;
  const version = now?.declared?.version ?? 0;
  const question = JSON.stringify([looked?.number ?? 0, version, window]);
  const answer = useAsk<Report | null>(question, beat, async (signal) =>
    looked || version > 0 ? check(looked?.file ?? null, window, signal) : null,
  );
  const tab = TABS.find((one) => one === query.tab) ?? 'flows';
  const arrived = (text: string) => {
    setDone(text);
    setRound(round + 1);
  };
  return (
    <State of={declared} what="what.matrix">
      {(matrix) => (
        <article class="view">
          <header>
            <h1>{t('matrix.title')}</h1>
            <Which declared={matrix.declared ?? null} looked={looked} />
          </header>
          {done !== '' && <output class="notice">{done}</output>}
          <Files has={matrix.declared !== null || looked !== null} window={window} />
          {looked && (
            <Declare
              key={looked.number}
              draft={looked}
              base={version}
              flows={answer.current ? (answer.value?.summary.flows ?? null) : null}
              done={arrived}
            />
          )}
          {answer.failed && looked && isMistaken(answer.failed) ? (
            <Mistakes of={answer.failed} />
          ) : (
            <State of={answer} what="what.matrix">
              {(report) => (
                <div class={answer.current ? 'whole' : 'whole stale'} aria-busy={!answer.current}>
                  {report && answer.current && <Say report={report} />}
                  <Tabs tab={tab} report={report} versions={matrix.versions.length} />
                  <Body tab={tab} report={report} matrix={matrix} />
                </div>
              )}
            </State>
          )}
        </article>
      )}
    </State>
  );
}

function isMistaken(refused: Refused): boolean {
  return refused.status === 400;
}

/** Every mistake of a file, one by one. */
export function Mistakes({ of }: { of: Refused }) {
  const all = of.detail.replace(/^the matrix: /, '').split('; ');
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{t('matrix.wrong')}</strong>
      </p>
      <ul class="list" lang="en">
        {all.map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
    </div>
  );
}

function Which({
  declared,
  looked,
}: {
  declared: Schema['DeclaredMatrix'] | null;
  looked: Draft | null;
}) {
  if (looked) {
    return (
      <p>
        {looked.version === undefined
          ? t('matrix.draft', { name: looked.name })
          : t('matrix.draft.old', { version: looked.version })}{' '}
        <button type="button" class="plain" onClick={() => draft.set(null)}>
          {t('matrix.back')}
        </button>
      </p>
    );
  }
  if (!declared) return null;
  const { version, at_ms, actor, note } = declared;
  return (
    <p class="dim">
      {t('matrix.declared', { version, at: clock(at_ms), who: actor })} {note}
    </p>
  );
}

/** What is wrong, before the numbers. */
function Say({ report }: { report: Report }) {
  const { summary: s, edges } = report;
  const broken = s.edges_undeclared + s.edges_violating > 0;
  const level = broken ? 'bad' : s.edges_undecided > 0 ? 'unknown' : 'ok';
  const [worst] = edges.filter((edge) => ['violating', 'undeclared'].includes(edge.state));
  return (
    <div class={`say ${level}`}>
      <p>
        <strong>
          {s.edges_undeclared > 0 &&
            t('matrix.say.undeclared', { n: s.edges_undeclared, all: s.edges })}{' '}
          {s.edges_violating > 0 && t('matrix.say.violated', { n: s.edges_violating })}
          {!broken && t(s.edges_undecided > 0 ? 'matrix.say.maybe' : 'matrix.say.well')}
        </strong>{' '}
        {worst && (
          <a href={link('edge', worst.key)}>
            {t(worst.state === 'violating' ? 'matrix.say.violating' : 'matrix.say.worst', {
              client: worst.client,
              server: worst.server,
              endpoint: worst.endpoint,
              n: worst.connections,
            })}
          </a>
        )}
      </p>
      {s.edges_undecided > 0 && <p>{t('matrix.say.undecided', { n: s.edges_undecided })}</p>}
      <p class="dim num">
        {t('matrix.say.flows', {
          flows: s.flows,
          used: s.used + s.violated,
          unused: s.unused + s.kept,
          expired: s.expired,
          blind: s.not_observable,
        })}
      </p>
      {report.notes?.map((note) => (
        <p key={note} class="dim" lang="en">
          {note}
        </p>
      ))}
      <Evicted at={report.evicted_before_ms} from={report.from_ms} />
    </div>
  );
}

function Tabs({ tab, report, versions }: { tab: Tab; report: Report | null; versions: number }) {
  const edges = report ? report.summary.edges_undeclared + report.summary.edges_violating : null;
  const counts: Record<Tab, number | null> = {
    flows: report?.summary.flows ?? null,
    edges,
    learned: null,
    versions,
  };
  return (
    <nav class="tabs" aria-label={t('matrix.tabs')}>
      {TABS.map((one) => (
        <a
          key={one}
          href={link('matrix', '', { tab: one })}
          {...(one === tab && { 'aria-current': 'page' as const })}
        >
          {t(`matrix.tab.${one}` satisfies Key)}{' '}
          {counts[one] !== null && <span class="num dim">{count(counts[one])}</span>}
        </a>
      ))}
    </nav>
  );
}

function Body(props: { tab: Tab; report: Report | null; matrix: Schema['Matrix'] }) {
  const { tab, report, matrix } = props;
  if (tab === 'learned') return <Learned />;
  if (tab === 'versions') return <Versions matrix={matrix} />;
  if (!report) {
    return (
      <Empty what="matrix.none">
        <p>{t('matrix.none.do')}</p>
        <button type="button" class="pill" onClick={() => change({ tab: 'learned' }, true)}>
          {t('matrix.none.learn')}
        </button>
      </Empty>
    );
  }
  return tab === 'edges' ? <EdgesTable report={report} /> : <FlowsTable report={report} />;
}
