// What is wrong with an edge, in the collector's words, when somebody asks.
import { useState } from 'preact/hooks';
import { ask, type Schema } from '../api/client';
import { useAsk } from '../app/ask';
import { asked, useWindow } from '../app/time';
import type { Level } from '../judge';
import { t, useLanguage } from '../text';
import { State } from './State';
import { Tag } from './Tag';

type Verdict = Schema['DiagnosisVerdict'];

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
        </>
      )}
    </State>
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
