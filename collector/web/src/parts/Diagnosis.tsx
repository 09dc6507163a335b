// What is wrong with an edge, in the collector's words, when somebody asks.
import { useState } from 'preact/hooks';
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { link } from '../app/route';
import { asked, useWindow } from '../app/time';
import type { Level } from '../judge';
import { t, useLanguage } from '../text';
import { State } from './State';
import { type Column, Table } from './Table';
import { Tag } from './Tag';

type Verdict = Schema['DiagnosisVerdict'];
type Share = Schema['DiagnosisShare'];

/** From what is likely to what is ruled out, each with its sign. */
const VERDICTS: readonly (readonly [Verdict, Level, string])[] = [
  ['likely', 'bad', '✕'],
  ['possible', 'warn', '!'],
  ['unknown', 'unknown', '?'],
  ['ruled_out', 'ok', '✓'],
];

export function Diagnosis({ edge }: { edge: string }) {
  const [open, set] = useState(false);
  return (
    <section>
      <h2>{t('diagnosis.title')}</h2>
      {open ? (
        <Judged edge={edge} />
      ) : (
        <p>
          <button type="button" class="pill" onClick={() => set(true)}>
            {t('diagnosis.ask')}
          </button>
        </p>
      )}
    </section>
  );
}

function Judged({ edge }: { edge: string }) {
  const window = asked(useWindow());
  const language = useLanguage();
  // Asked once: two topologies are made for it.
  const answer = useAsk(JSON.stringify([edge, window, language]), 0, (signal) =>
    ask('/api/v1/diagnosis', { query: { edge, language, ...window }, signal }),
  );
  return (
    <State of={answer} what="what.diagnosis">
      {(found) => (
        <>
          <p>
            <strong>{found.headline}</strong>
          </p>
          {VERDICTS.map(([verdict, level, sign]) => (
            <Statements
              key={verdict}
              title={t(`diagnosis.${verdict}`)}
              level={level}
              sign={sign}
              of={found.statements.filter((one) => one.verdict === verdict)}
            />
          ))}
          {found.siblings.length > 0 && <Siblings of={found.siblings} />}
        </>
      )}
    </State>
  );
}

/** How the client spreads its connections over the servers that do the same. */
function Siblings({ of }: { of: readonly Share[] }) {
  const part = (known: number | null | undefined) => (known == null ? '–' : `${known.toFixed(2)}%`);
  const columns: Column<Share>[] = [
    {
      id: 'server',
      title: t('table.to'),
      value: (one) => one.server,
      show: (one) => <a href={link('node', one.server)}>{one.server}</a>,
    },
    {
      id: 'endpoint',
      title: t('table.endpoint'),
      value: (one) => one.endpoint,
      show: (one) => (
        <a class="mono" href={link('edge', one.edge)}>
          {one.endpoint}
        </a>
      ),
    },
    {
      id: 'share',
      title: t('diagnosis.share'),
      value: (one) => one.share ?? null,
      show: (one) => part(one.share),
      number: true,
    },
    {
      id: 'usual_share',
      title: t('diagnosis.usual_share'),
      value: (one) => one.usual_share ?? null,
      show: (one) => part(one.usual_share),
      number: true,
    },
    { id: 'opened', title: t('diagnosis.opened'), value: (one) => one.opened, number: true },
    {
      id: 'resets',
      title: t('diagnosis.resets'),
      value: (one) => one.resets ?? null,
      number: true,
    },
  ];
  return (
    <>
      <h3>{t('diagnosis.siblings')}</h3>
      <Table
        name="siblings"
        columns={columns}
        rows={of}
        keyOf={(one) => one.edge}
        sort="-share"
        most={10}
      />
    </>
  );
}

function Statements(given: {
  title: string;
  level: Level;
  sign: string;
  of: readonly Schema['DiagnosisStatement'][];
}) {
  if (given.of.length === 0) return null;
  return (
    <>
      <h3>
        <Tag level={given.level}>
          <span aria-hidden="true">{given.sign}</span> {given.title}
        </Tag>
      </h3>
      <ul class="points">
        {given.of.map((one) => (
          <li key={`${one.cause} ${one.text}`}>
            {one.text} {one.next && <span class="dim">{one.next}</span>}
          </li>
        ))}
      </ul>
    </>
  );
}
