// Files that come and go, and how a matrix is declared.
import { useRef, useState } from 'preact/hooks';
import { file, post, Refused, type Schema } from '../../api/client';
import { person } from '../../api/session';
import { useStore } from '../../app/store';
import { saveBlob } from '../../csv';
import { t } from '../../text';
import { why } from '../../text/refusals';
import { type Draft, draft, look } from './draft';

/** What a file is called that is asked of the collector in this form. */
const FORMS = { xlsx: 'XLSX', csv: 'CSV', toml: 'TOML', json: 'JSON', html: 'HTML' } as const;
export type FileForm = keyof typeof FORMS;

/** Whether whoever asks may declare a matrix. */
export function useMay(): boolean {
  const role = useStore(person)?.role;
  return role === 'operator' || role === 'admin';
}

/** A file to look at, templates, and the report. */
export function Files({ has, window }: { has: boolean; window: object }) {
  const input = useRef<HTMLInputElement>(null);
  const [failed, setFailed] = useState('');
  const get = (load: () => Promise<Blob>, name: string) => {
    setFailed('');
    load()
      .then((blob) => saveBlob(name, blob))
      .catch((error: unknown) => setFailed(why(error)));
  };
  const template = (form: FileForm) =>
    get(() => file('/api/v1/matrix/file', { of: 'template', form }), `matrix-template.${form}`);
  const report = (form: FileForm) => {
    const query = { ...window, form };
    const load = async () =>
      (await post('/api/v1/matrix/report', draft.get()?.file ?? null, { query })).blob();
    get(load, `matrix-report.${form}`);
  };
  return (
    <div class="tools">
      <label class="pill file">
        {t('matrix.check')}
        <input
          ref={input}
          type="file"
          accept=".csv,.xlsx,.toml,.txt"
          title={t('matrix.check.help')}
          onChange={(event) => {
            const [chosen] = event.currentTarget.files ?? [];
            if (chosen) look(chosen.name, chosen);
            // So that the same name can be chosen again, after a change.
            event.currentTarget.value = '';
          }}
        />
      </label>
      <Save name={t('matrix.template')} forms={['xlsx', 'csv', 'toml']} save={template} />
      {has && (
        <Save name={t('matrix.report')} forms={['xlsx', 'csv', 'json', 'html']} save={report} />
      )}
      {failed !== '' && (
        <span class="bad" role="alert">
          {t('matrix.failed', { why: failed })}
        </span>
      )}
    </div>
  );
}

interface SaveProps {
  readonly name: string;
  readonly forms: readonly FileForm[];
  readonly save: (form: FileForm) => void;
}

/** A thing to save in one of several forms. */
export function Save({ name, forms, save }: SaveProps) {
  return (
    <span class="pill saves">
      {name}{' '}
      {forms.map((form) => (
        <button
          key={form}
          type="button"
          class="plain"
          aria-label={`${name} ${t('matrix.as', { form: FORMS[form] })}`}
          title={form === 'html' ? t('matrix.print') : undefined}
          onClick={() => save(form)}
        >
          {FORMS[form]}
        </button>
      ))}
    </span>
  );
}

interface DeclareProps {
  readonly draft: Draft;
  /** The version that is in force. */
  readonly base: number;
  /** Flows in the file; null while that is not known, or it cannot be read. */
  readonly flows: number | null;
  readonly done: (said: string) => void;
}

/** Puts what is looked at into force. */
export function Declare({ draft: looked, base, flows, done }: DeclareProps) {
  const may = useMay();
  const role = useStore(person)?.role ?? 'viewer';
  const [note, setNote] = useState('');
  const [failed, setFailed] = useState('');
  const [waiting, setWaiting] = useState(false);
  if (!may) {
    return <p class="notice">{t('matrix.declare.may', { role: t(`rank.${role}`) })}</p>;
  }
  const put = async (event: Event) => {
    event.preventDefault();
    setWaiting(true);
    setFailed('');
    try {
      const said = note.trim();
      const query = { base, ...(said !== '' && { note: said }) };
      const answer = await post('/api/v1/matrix', looked.file, { method: 'PUT', query });
      const { version } = (await answer.json()) as Schema['MatrixVersion'];
      draft.set(null);
      done(t('matrix.declare.done', { version }));
    } catch (error) {
      setWaiting(false);
      const stale = error instanceof Refused && error.word === 'stale';
      if (stale) done('');
      setFailed(stale ? t('matrix.declare.stale') : t('matrix.failed', { why: why(error) }));
    }
  };
  return (
    <form class="tools" onSubmit={(event) => void put(event)}>
      <label class="field">
        <span class="dim">{t('matrix.declare.note')}</span>{' '}
        <input
          maxLength={160}
          value={note}
          onInput={(event) => setNote(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="primary" disabled={waiting || flows === null}>
        {flows === null ? t('matrix.declare') : t('matrix.declare.go', { n: flows })}
      </button>
      {failed !== '' && (
        <span class="bad" role="alert">
          {failed}
        </span>
      )}
    </form>
  );
}
