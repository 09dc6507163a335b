// What was declared before, by whom and why.

import { file, type Schema } from '../../api/client';
import { change } from '../../app/route';
import { saveBlob } from '../../csv';
import { acting } from '../../parts/columns';
import { type Column, Table } from '../../parts/Table';
import { Tag } from '../../parts/Tag';
import { t } from '../../text';
import { clock } from '../../text/numbers';
import { type FileForm, Save } from './Declare';
import { draft, look } from './draft';

type Version = Schema['MatrixVersion'];

function load(version: number, form: FileForm): Promise<Blob> {
  return file('/api/v1/matrix/file', { of: 'declared', version, form });
}

export function Versions({ matrix }: { matrix: Schema['Matrix'] }) {
  const now = matrix.declared?.version;
  const show = async (version: number) => {
    if (version === now) draft.set(null);
    else look(`${t('version.number')} ${version}`, await load(version, 'toml'), version);
    change({ tab: 'flows' }, true);
  };
  const columns: Column<Version>[] = [
    {
      id: 'version',
      title: t('version.number'),
      value: (one) => one.version,
      show: (one) => (
        <>
          {one.version} {one.version === now && <Tag level="ok">{t('version.in.force')}</Tag>}
        </>
      ),
    },
    {
      id: 'at',
      title: t('version.at'),
      value: (one) => new Date(one.at_ms).toISOString(),
      show: (one) => clock(one.at_ms),
    },
    { id: 'actor', title: t('version.who'), value: (one) => one.actor },
    { id: 'note', title: t('version.note'), value: (one) => one.note || null },
    { id: 'flows', title: t('version.flows'), value: (one) => one.flows, number: true },
    {
      ...acting('file'),
      show: (one) => (
        <>
          <button type="button" class="plain" onClick={() => void show(one.version)}>
            {t('version.look')}
          </button>{' '}
          <Save
            name=""
            forms={['xlsx', 'csv', 'toml']}
            save={(form) =>
              void load(one.version, form).then((blob) =>
                saveBlob(`matrix-${one.version}.${form}`, blob),
              )
            }
          />
        </>
      ),
    },
  ];
  if (matrix.versions.length === 0) return <p class="notice">{t('matrix.none')}</p>;
  return (
    <Table
      name="matrix-versions"
      columns={columns}
      rows={matrix.versions}
      keyOf={(one) => String(one.version)}
      sort="-version"
    />
  );
}
