// Charts over time.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { useLanguage } from '../text';
import { clock, minute } from '../text/numbers';

export interface Track {
  readonly label: string;
  /** One for each time; null where nothing was told. */
  readonly values: readonly (number | null)[];
}

interface Props {
  /** What it shows, for those who do not see it. */
  readonly label: string;
  /** Unix milliseconds. */
  readonly times: readonly number[];
  readonly tracks: readonly Track[];
  readonly format: (value: number) => string;
  /** The window, Unix milliseconds. */
  readonly window: readonly [number, number];
}

const HIGH = 120;
/** Colours of tracks, as variables of the style. */
const COLOURS = ['--accent', '--via', '--ok', '--warn', '--bad', '--unk'] as const;

export function Chart({ label, times, tracks, format, window: [from, to] }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const language = useLanguage();
  const said = tracks.map((track) => `${track.label}: ${lastOf(track.values, format)}`).join(', ');
  // biome-ignore lint/correctness/useExhaustiveDependencies: texts change with the language
  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const style = getComputedStyle(box);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--dim'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const font = `11px ${style.fontFamily}`;
    const chart = new uPlot(
      {
        width: Math.max(box.clientWidth, 120),
        height: HIGH,
        legend: { show: false },
        cursor: { y: false, points: { size: 6 } },
        scales: {
          x: { time: true, min: from / 1000, max: to / 1000 },
          y: {
            range: (_, low, high) => [
              Math.min(low ?? 0, 0),
              (high ?? 0) > 0 ? (high ?? 0) * 1.1 : 1,
            ],
          },
        },
        axes: [
          {
            ...axis,
            font,
            size: 26,
            values: (_, all) => all.map((at) => minute(at * 1000)),
            space: 80,
          },
          { ...axis, font, size: 62, values: (_, all) => all.map(format), space: 34 },
        ],
        series: [
          {},
          ...tracks.map((track, at) => ({
            label: track.label,
            stroke: colour(COLOURS[at % COLOURS.length] ?? '--accent'),
            width: 1.5,
            spanGaps: false,
            points: { show: times.length < 60, size: 4 },
          })),
        ],
        hooks: { setCursor: [(of) => tell(of, box, tracks, format)] },
      },
      [times.map((at) => at / 1000), ...tracks.map((track) => [...track.values])],
      box,
    );
    const resize = new ResizeObserver(() =>
      chart.setSize({ width: Math.max(box.clientWidth, 120), height: HIGH }),
    );
    resize.observe(box);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
  }, [JSON.stringify([times, tracks]), from, to, language]);
  return (
    <figure class="chart">
      <figcaption>
        {label} <span class="at num dim" />
      </figcaption>
      <div ref={place} role="img" aria-label={`${label}. ${said}`} />
      {tracks.length > 1 && (
        <ul class="keys">
          {tracks.map((track, at) => (
            <li key={track.label}>
              <i class={`track t${at % COLOURS.length}`} aria-hidden="true" />
              {track.label}
            </li>
          ))}
        </ul>
      )}
    </figure>
  );
}

/** Says the values under the pointer beside the title. */
function tell(
  of: uPlot,
  box: HTMLElement,
  tracks: readonly Track[],
  format: (value: number) => string,
) {
  const into = box.parentElement?.querySelector('.at');
  const at = of.cursor.idx;
  if (!into) return;
  const time = at === null || at === undefined ? undefined : of.data[0][at];
  if (at === null || at === undefined || time === undefined) {
    into.textContent = '';
    return;
  }
  const values = tracks.map((track) => {
    const value = track.values[at];
    return value === null || value === undefined ? '–' : format(value);
  });
  into.textContent = `${clock(time * 1000)}  ${values.join(' · ')}`;
}

function lastOf(values: readonly (number | null)[], format: (value: number) => string): string {
  const known = values.filter((value): value is number => value !== null);
  const last = known.at(-1);
  return last === undefined ? '–' : format(last);
}
