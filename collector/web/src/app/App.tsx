// The frame around all views.
import type { ComponentChildren } from 'preact';
import { useEffect, useErrorBoundary } from 'preact/hooks';
import { Refused } from '../api/client';
import { begin, logout } from '../api/login';
import { forget, person, session } from '../api/session';
import { LANGUAGES, type Language, locale, speak, t, useLanguage } from '../text';
import { count } from '../text/numbers';
import { AlertsView } from '../views/alerts/AlertsView';
import { AlertView } from '../views/alerts/AlertView';
import { ChainView } from '../views/ChainView';
import { EdgeView } from '../views/EdgeView';
import { EventsView } from '../views/EventsView';
import { FleetView, HostView } from '../views/FleetView';
import { MapView } from '../views/MapView';
import { MatrixView } from '../views/matrix/MatrixView';
import { NodeView } from '../views/NodeView';
import { SettingsView } from '../views/settings/SettingsView';
import { TablesView } from '../views/TablesView';
import { useFiring, useFiringHeart } from './firing';
import { Keys, useKeys } from './Keys';
import { Login } from './Login';
import { followLinks, link, type Route, useRoute } from './route';
import { Search } from './Search';
import { store, useStore } from './store';
import { choose, THEMES, type Theme, theme } from './theme';
import { follow, freeze, RANGES, useHeart, useWindow } from './time';

/** Why it is not known who asks, where that is more than that nobody is. */
const fault = store('');

/** Views in the navigation. */
const NAV = ['map', 'alerts', 'matrix', 'fleet', 'events', 'data', 'settings'] as const;

export function App() {
  const spoken = useLanguage();
  const who = useStore(session);
  const why = useStore(fault);
  useHeart();
  useEffect(() => {
    document.documentElement.lang = spoken === 'zh' ? 'zh-CN' : 'en';
  }, [spoken]);
  useEffect(() => {
    document.addEventListener('click', followLinks);
    return () => document.removeEventListener('click', followLinks);
  }, []);
  const keys = useKeys();
  const { view, id } = useRoute();
  const here = `${view}/${id}`;
  useEffect(() => {
    begin().catch((error: unknown) => {
      forget();
      // That nobody is known is no fault.
      if (!(error instanceof Refused) || error.status !== 401) fault.set(String(error));
    });
  }, []);
  if (who === 'unknown') return <main class="login" />;
  if (who === 'out') return <Login fault={why} />;
  return (
    <>
      <a class="skip" href="#main">
        {t('app.skip')}
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <Caught key={here}>
          <View />
        </Caught>
      </main>
      {keys.open && <Keys close={keys.close} />}
    </>
  );
}

function Header() {
  const { view } = useRoute();
  useFiringHeart();
  return (
    <header class="top">
      <a class="brand" href={link('map')}>
        Waybill
      </a>
      <nav aria-label={t('nav.label')}>
        {NAV.map((name) => (
          <a
            key={name}
            href={link(name)}
            {...(view === name && { 'aria-current': 'page' as const })}
          >
            {t(`nav.${name}`)} {name === 'alerts' && <Firing />}
          </a>
        ))}
      </nav>
      <Search />
      <Time />
      <Choices />
    </header>
  );
}

/** How many alerts fire, where the way to them is. */
function Firing() {
  const { critical, warning } = useFiring().counts;
  if (critical + warning === 0) return null;
  return (
    <span class={critical > 0 ? 'tag bad num' : 'tag warn num'}>{count(critical + warning)}</span>
  );
}

function Time() {
  const window = useWindow();
  const now = window.live ? window.range : '';
  const zone = new Intl.DateTimeFormat('en', { timeZoneName: 'shortOffset' })
    .formatToParts()
    .find((part) => part.type === 'timeZoneName')?.value;
  return (
    <div class="time">
      <button
        type="button"
        class={window.live ? 'pill on' : 'pill'}
        aria-pressed={window.live}
        title={t(window.live ? 'time.live.help' : 'time.still.help')}
        onClick={() => (window.live ? freeze(window) : follow('1h'))}
      >
        <span aria-hidden="true">{window.live ? '●' : '❚❚'}</span>{' '}
        {t(window.live ? 'time.live' : 'time.still')}
      </button>
      <select
        class="pill"
        aria-label={t('time.label')}
        value={now}
        onChange={(event) => follow(event.currentTarget.value)}
      >
        {!window.live && <option value="">{stamp(window.from, window.to)}</option>}
        {RANGES.map((range) => (
          <option key={range} value={range}>
            {t('time.last', { range: t(`time.${range}`) })}
          </option>
        ))}
      </select>
      <span class="dim zone">{zone?.replace('GMT', 'UTC')}</span>
    </div>
  );
}

function stamp(from: number, to: number): string {
  const options = { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' } as const;
  return new Intl.DateTimeFormat(locale(), options).formatRange(from, to);
}

function Choices() {
  const spoken = useLanguage();
  const coloured = useStore(theme);
  const known = useStore(person);
  return (
    <div class="settings">
      <select
        class="plain"
        aria-label={t('lang.label')}
        value={spoken}
        onChange={(event) => speak(event.currentTarget.value as Language)}
      >
        {Object.entries(LANGUAGES).map(([code, texts]) => (
          <option key={code} value={code}>
            {texts['lang.name']}
          </option>
        ))}
      </select>
      <select
        class="plain"
        aria-label={t('theme.label')}
        value={coloured}
        onChange={(event) => choose(event.currentTarget.value as Theme)}
      >
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {t(`theme.${one}`)}
          </option>
        ))}
      </select>
      {known && (
        <a class="dim who" title={t(`role.${known.role}`)} href={link('settings')}>
          {known.is_user ? known.name : t(`rank.${known.role}`)}
        </a>
      )}
      <button type="button" class="plain" onClick={() => void logout()}>
        {t('login.leave')}
      </button>
    </div>
  );
}

function View() {
  const route: Route = useRoute();
  switch (route.view) {
    case 'map':
      return <MapView />;
    case 'edge':
      return <EdgeView key={route.id} id={route.id} />;
    case 'node':
      return <NodeView key={route.id} id={route.id} />;
    case 'chain':
      return <ChainView />;
    case 'alerts':
      return route.id === '' ? <AlertsView /> : <AlertView key={route.id} id={route.id} />;
    case 'matrix':
      return <MatrixView />;
    case 'fleet':
      return <FleetView />;
    case 'host':
      return <HostView key={route.id} id={route.id} />;
    case 'events':
      return <EventsView />;
    case 'data':
      return <TablesView key={route.id} id={route.id} />;
    case 'settings':
      return <SettingsView />;
    default:
      return (
        <div class="empty">
          <p>{t('page.unknown')}</p>
          <a href={link('map')}>{t('page.unknown.do')}</a>
        </div>
      );
  }
}

/** A fault of the page costs its view, and says so. */
function Caught({ children }: { children: ComponentChildren }) {
  const [error] = useErrorBoundary();
  if (error) {
    return (
      <p class="notice bad" role="alert">
        {t('page.broken', { what: String(error) })}
      </p>
    );
  }
  return <>{children}</>;
}
