// Every hop of a connection, from left to right: who, as what it arrives and leaves, how we know.
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { link, useRoute } from '../app/route';
import { asked, useBeat, useWindow } from '../app/time';
import { findings, told } from '../judge';
import { EdgeHow, EdgeNumbers } from '../parts/EdgeFacts';
import { Spread } from '../parts/Spread';
import { Empty, State } from '../parts/State';
import { Tag } from '../parts/Tag';
import { t } from '../text';
import { sentence } from '../text/findings';
import { count, micros, share } from '../text/numbers';

type Chain = Schema['Chain'];
type Edge = Schema['EdgeAnswer'];

/** Another connection is another view. */
export function ChainView() {
  const { query } = useRoute();
  const tuple = query.tuple ?? '';
  return <Chains key={tuple} tuple={tuple} />;
}

function Chains({ tuple }: { tuple: string }) {
  const window = asked(useWindow());
  const beat = useBeat();
  const answer = useAsk(JSON.stringify([tuple, window]), beat, async (signal) => {
    const found = await ask('/api/v1/chain', { query: { tuple, ...window }, signal });
    // What the best ones' edges counted; the others say what they are.
    const edges = found.chains.slice(0, 3).map((chain) =>
      ask('/api/v1/edges/{id}', {
        path: { id: chain.edge },
        query: { ...window, step: '7d', limit: 0 },
        signal,
      })
        .then((edge): [string, Edge] => [chain.edge, edge])
        .catch(() => null),
    );
    const known = (await Promise.all(edges)).filter((one) => one !== null);
    return { found, edges: new Map(known) };
  });
  return (
    <State of={answer} what="what.chain">
      {({ found, edges }) => (
        <article class="view">
          <header>
            <h1>{t('chain.title', { tuple: found.tuple.replace('->', '→') })}</h1>
            {found.reversed && <Tag>{t('chain.reversed')}</Tag>}
          </header>
          {found.chains.length === 0 && (
            <Empty what="chain.none">
              <p lang="en">{found.nothing}</p>
            </Empty>
          )}
          {found.chains.map((chain) => (
            <Lane key={chain.edge} chain={chain} edge={edges.get(chain.edge)} />
          ))}
          {found.left_out > 0 && <p class="dim">{t('chain.left', { n: found.left_out })}</p>}
        </article>
      )}
    </State>
  );
}

function Lane({ chain, edge }: { chain: Chain; edge: Edge | undefined }) {
  const found = edge ? findings(edge) : [];
  const worst = found[0]?.level ?? (chain.ends.complete ? 'ok' : 'unknown');
  return (
    <section class="chain">
      <p>
        <Tag level={chain.exact ? 'ok' : 'warn'}>
          {t(chain.exact ? 'chain.exact' : 'chain.fits')}
        </Tag>{' '}
        <span class="num dim">
          {chain.evidence.map((one) => t(`evidence.${one.kind}`)).join(', ')} ·{' '}
          {t('edge.confidence', { n: chain.confidence })} · {count(chain.connections)}{' '}
          {t('edge.connections')}
        </span>{' '}
        <a href={link('edge', chain.edge)}>{t('chain.edge')}</a>
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keys */}
      <ol class="lane" tabIndex={0}>
        {chain.hops.map((hop, at) => {
          const next = chain.hops[at + 1];
          const broken =
            !chain.ends.complete && hop.name !== chain.ends.at && hop.kind !== 'gateway';
          return (
            <>
              <li
                key={`${hop.kind} ${hop.name}`}
                class={`hop ${hop.kind} ${broken ? 'blind' : ''}`}
              >
                <HopName hop={hop} />
                <span class="dim">{broken ? t('map.noagent') : t(`hop.${hop.kind}`)}</span>
                {hop.before && <Pair label={t('chain.before')} of={hop.before} />}
                {hop.after && <Pair label={t('chain.after')} of={hop.after} />}
              </li>
              {next && (
                <Link
                  key={`to ${next.name}`}
                  from={hop}
                  to={next}
                  chain={chain}
                  edge={edge}
                  level={worst}
                />
              )}
            </>
          );
        })}
      </ol>
      {found.map((finding) => (
        <p key={finding.kind} class={`say ${finding.level}`}>
          {sentence(finding)}
        </p>
      ))}
      <p class={chain.ends.complete ? 'dim' : 'say unknown'}>
        {chain.ends.complete
          ? t('chain.complete', { at: chain.ends.at })
          : `${t('chain.breaks', { at: chain.ends.at })} ${edge?.reason ? t(`reason.${edge.reason}`) : chain.ends.why}.`}
      </p>
      {edge && (
        <div class="columns">
          <section>
            <h2>{t('edge.numbers')}</h2>
            <EdgeNumbers edge={edge} before={undefined} length={0} />
          </section>
          <section>
            <h2>{t('edge.how')}</h2>
            <EdgeHow edge={edge} />
          </section>
          <section>
            <h2>{t('edge.spread')}</h2>
            <Spread label={t('spread.rtt')} of={edge.client_times?.rtt ?? edge.server_times?.rtt} />
            <Spread label={t('spread.connect')} of={edge.client_times?.connect_latency} />
          </section>
        </div>
      )}
    </section>
  );
}

function HopName({ hop }: { hop: Schema['Hop'] }) {
  if (hop.kind === 'unknown') return <b>{t('chain.unknown')}</b>;
  const to = hop.node ? link('node', hop.node) : hop.host ? link('host', hop.host) : '';
  return <b>{to === '' ? hop.name : <a href={to}>{hop.name}</a>}</b>;
}

function Pair({ label, of }: { label: string; of: Schema['Pair'] }) {
  return (
    <span class="pair">
      <span class="dim">{label}</span>
      <span class="mono">{of.source}</span>
      <span class="mono">→ {of.destination}</span>
    </span>
  );
}

interface LinkProps {
  readonly from: Schema['Hop'];
  readonly to: Schema['Hop'];
  readonly chain: Chain;
  readonly edge: Edge | undefined;
  readonly level: string;
}

/** What is known of the way between two hops. */
function Link({ from, to, chain, edge, level }: LinkProps) {
  const translated = from.kind === 'gateway' || to.kind === 'gateway';
  const how = translated
    ? t('evidence.conntrack')
    : chain.evidence.map((one) => t(`evidence.${one.kind}`)).join(', ');
  const blind = to.kind === 'unknown' || from.kind === 'unknown';
  const last = to.kind === 'server';
  const rtt = edge?.client_counters?.rtt_us ?? edge?.server_counters?.rtt_us;
  return (
    <li class={`hoplink ${blind ? 'unknown' : last ? level : translated ? 'via' : 'ok'}`}>
      <span>{blind ? t('unknown') : how}</span>
      <u aria-hidden="true" />
      <span class="num">{last && rtt?.p95 ? `p95 ${micros(rtt.p95)}` : ''}</span>
      {last && edge && <Lost edge={edge} />}
    </li>
  );
}

/** What of an edge was sent again. */
function Lost({ edge }: { edge: Edge }) {
  const all = told(edge.client_counters, edge.server_counters, edge.connections);
  if (all.retransmits === null || !all.segments) return null;
  return (
    <span class="num">
      {t('brief.retransmits', { share: share(all.retransmits, all.segments) })}
    </span>
  );
}
