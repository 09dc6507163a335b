// Who one is and may do, who else there is, how hosts come in, and how long what is kept.
import { person } from '../../api/session';
import { link, useRoute } from '../../app/route';
import { useStore } from '../../app/store';
import { t } from '../../text';
import { Enrolment } from './Enrolment';
import { Keeping } from './Keeping';
import { Users } from './Users';
import { You } from './You';

const TABS = ['you', 'users', 'enrolment', 'keeping'] as const;

export function SettingsView() {
  const { id } = useRoute();
  const known = useStore(person);
  const tab = TABS.find((one) => one === id) ?? 'you';
  return (
    <article class="view">
      <header>
        <h1>{t('nav.settings')}</h1>
      </header>
      <nav class="tabs" aria-label={t('settings.tabs')}>
        {TABS.map((one) => (
          <a
            key={one}
            href={link('settings', one === 'you' ? '' : one)}
            {...(one === tab && { 'aria-current': 'page' as const })}
          >
            {t(`settings.${one}`)}
          </a>
        ))}
      </nav>
      {known && tab === 'you' && <You known={known} />}
      {known && tab === 'users' && <Users known={known} />}
      {known && tab === 'enrolment' && <Enrolment known={known} />}
      {tab === 'keeping' && <Keeping />}
    </article>
  );
}
