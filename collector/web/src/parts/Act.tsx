// What is done by a press, and what came of it.
import { useState } from 'preact/hooks';
import { t } from '../text';
import { why } from '../text/refusals';

export interface Act {
  /** Does something; a second one waits for the end of the first. */
  run(work: () => Promise<void>): void;
  readonly waiting: boolean;
  readonly failed: string;
}

export function useAct(): Act {
  const [waiting, setWaiting] = useState(false);
  const [failed, setFailed] = useState('');
  const run = (work: () => Promise<void>) => {
    if (waiting) return;
    setWaiting(true);
    setFailed('');
    work()
      .catch((error: unknown) => setFailed(why(error)))
      .finally(() => setWaiting(false));
  };
  return { run, waiting, failed };
}

/** Why it was not done. */
export function Failed({ of }: { of: Act }) {
  if (of.failed === '') return null;
  return (
    <p class="bad" role="alert">
      {t('act.failed', { why: of.failed })}
    </p>
  );
}

interface ConfirmProps {
  readonly act: Act;
  /** What is done, as a button says it. */
  readonly label: string;
  /** What follows from it, as a question. */
  readonly question: string;
  readonly work: () => Promise<void>;
}

/** A press, and a second one for what cannot be taken back. */
export function Confirm({ act, label, question, work }: ConfirmProps) {
  const [asked, setAsked] = useState(false);
  if (!asked) {
    return (
      <button type="button" class="plain" onClick={() => setAsked(true)}>
        {label}
      </button>
    );
  }
  const go = () => {
    setAsked(false);
    act.run(work);
  };
  return (
    <span class="confirm">
      {question}{' '}
      <button type="button" class="pill bad" disabled={act.waiting} onClick={go}>
        {label}
      </button>{' '}
      <button type="button" class="plain" onClick={() => setAsked(false)}>
        {t('act.no')}
      </button>
    </span>
  );
}

/** A secret that is shown this once. */
export function Once({ what, secret, close }: { what: string; secret: string; close: () => void }) {
  const [copied, setCopied] = useState(false);
  const copy = () => void navigator.clipboard.writeText(secret).then(() => setCopied(true));
  return (
    <div class="notice once" role="status">
      <p>
        <strong>{what}</strong> {t('act.once')}
      </p>
      <p>
        <code class="mono">{secret}</code>{' '}
        <button type="button" class="pill" onClick={copy}>
          {t(copied ? 'table.copied' : 'table.copy')}
        </button>{' '}
        <button type="button" class="plain" onClick={close}>
          {t('panel.close')}
        </button>
      </p>
    </div>
  );
}
