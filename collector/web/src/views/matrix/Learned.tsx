// A matrix that would allow what was seen.
import { ask, file, type Schema } from '../../api/client';
import { useAsk } from '../../app/ask';
import { change } from '../../app/route';
import { asked, useWindow } from '../../app/time';
import { saveBlob } from '../../csv';
import { State } from '../../parts/State';
import { type Column, Table } from '../../parts/Table';
import { t } from '../../text';
import { type FileForm, Save } from './Declare';
import { look } from './draft';

type Flow = Schema['LearnedFlow'];

export function Learned() {
  const window = asked(useWindow());
  // Not with every beat: it is looked at and taken, and does not change under one's eyes.
  const answer = useAsk(JSON.stringify(window), 0, (signal) =>
    ask('/api/v1/matrix/learned', { query: window, signal }),
  );
  const load = (form: FileForm) => file('/api/v1/matrix/file', { ...window, of: 'learned', form });
  const save = (form: FileForm) =>
    void load(form).then((blob) => saveBlob(`matrix-learned.${form}`, blob));
  const take = async () => {
    look(t('learned.name'), await load('toml'));
    change({ tab: 'flows' }, true);
  };
  const columns: Column<Flow>[] = [
    { id: 'source', title: t('matrix.source'), value: (flow) => flow.source },
    { id: 'destination', title: t('matrix.destination'), value: (flow) => flow.destination },
    { id: 'port', title: t('matrix.port'), value: (flow) => flow.port },
    {
      id: 'comment',
      title: t('matrix.comment'),
      value: (flow) => flow.comment,
      show: (flow) => <span lang="en">{flow.comment}</span>,
    },
  ];
  return (
    <State of={answer} what="what.learned">
      {(learned) => (
        <>
          <p>
            {t(learned.flows.length > 0 ? 'learned.say' : 'learned.none', {
              n: learned.flows.length,
            })}
          </p>
          {learned.low_confidence + learned.unknown + learned.attempts > 0 && (
            <p class="dim">
              {t('learned.left', {
                low: learned.low_confidence,
                unknown: learned.unknown,
                attempts: learned.attempts,
              })}
            </p>
          )}
          {learned.flows.length > 0 && (
            <>
              <div class="tools">
                <button type="button" class="pill" onClick={() => void take()}>
                  {t('learned.look')}
                </button>
                <Save name={t('learned.name')} forms={['xlsx', 'csv', 'toml']} save={save} />
              </div>
              <Table
                name="matrix-learned"
                columns={columns}
                rows={learned.flows}
                keyOf={(flow) => `${flow.source} ${flow.destination} ${flow.port}`}
                sort="source"
              />
            </>
          )}
        </>
      )}
    </State>
  );
}
