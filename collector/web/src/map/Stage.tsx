// The map: things and lines as SVG, so that each of them is text that is found, read and pressed.
import { useState } from 'preact/hooks';
import { link } from '../app/route';
import { t } from '../text';
import { brief, sentence } from '../text/findings';
import { count, per } from '../text/numbers';
import { useCamera } from './camera';
import type { Point } from './layered';
import { type Drawing, type Line, paths, type Thing } from './model';
import { HIGH, path, WIDE } from './path';
import { pin, pins } from './places';

/** Characters of a label that have room. */
const ROOM = 22;

interface Props {
  readonly question: string;
  readonly drawing: Drawing;
  readonly places: ReadonlyMap<string, Point>;
  /** Key of what is shown beside the map. */
  readonly selected: string;
  readonly focus: string;
  /** What is looked for, in small letters. */
  readonly find: string;
  /** Length of the window, seconds. */
  readonly seconds: number;
  readonly onSelect: (key: string) => void;
  readonly onMoved: () => void;
}

export function Stage(props: Props) {
  const { drawing, places, selected, find, onSelect } = props;
  const { frame, camera, move, whole, zoom } = useCamera(props.question, places);
  const [over, setOver] = useState('');
  const [drag, setDrag] = useState<Drag | null>(null);
  const lit = over === '' ? null : litBy(drawing, over);
  const at = (key: string) => (drag?.key === key && drag.at ? drag.at : places.get(key));
  const down = (event: PointerEvent, key: string) => {
    if (event.button !== 0) return;
    frame.current?.setPointerCapture(event.pointerId);
    const from = key === '' ? { x: camera.x, y: camera.y } : (places.get(key) ?? { x: 0, y: 0 });
    setDrag({ key, from, x: event.clientX, y: event.clientY, moved: false });
  };
  const moved = (event: PointerEvent) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (drag.key === '') {
      move({ ...camera, x: drag.from.x + dx, y: drag.from.y + dy });
      setDrag({ ...drag, moved: true });
    } else {
      const to = { x: drag.from.x + dx / camera.zoom, y: drag.from.y + dy / camera.zoom };
      setDrag({ ...drag, moved: true, at: to });
    }
  };
  const up = () => {
    if (drag?.moved && drag.at) {
      pin(drag.key, drag.at);
      props.onMoved();
    } else if (drag && !drag.moved) {
      onSelect(drag.key);
    }
    setDrag(null);
  };
  const byHand = pins();
  return (
    <div class="stage">
      <svg
        ref={frame}
        class={drag?.moved ? 'map moving' : 'map'}
        role="group"
        aria-label={t('map.label')}
        onPointerDown={(event) => down(event, '')}
        onPointerMove={moved}
        onPointerUp={up}
        onPointerCancel={() => setDrag(null)}
      >
        <defs>
          <marker
            id="tip"
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerWidth="8"
            markerHeight="8"
            markerUnits="userSpaceOnUse"
            orient="auto"
          >
            <path d="M0 0.6 L8 4 L0 7.4 Z" fill="context-stroke" />
          </marker>
        </defs>
        <g transform={`translate(${camera.x} ${camera.y}) scale(${camera.zoom})`}>
          {drawing.lines.map((line) => {
            const [from, to] = [at(line.from), at(line.to)];
            return from && to ? (
              <LineShape
                key={line.key}
                line={line}
                from={from}
                to={to}
                names={[nameOf(drawing, line.from), nameOf(drawing, line.to)]}
                selected={selected === line.key}
                dim={lit !== null && !lit.lines.has(line.key)}
                onOver={setOver}
                onSelect={onSelect}
              />
            ) : null;
          })}
          {drawing.lines.map((line) => {
            const [from, to] = [at(line.from), at(line.to)];
            const dim = lit !== null && !lit.lines.has(line.key);
            return from && to && (line.via.length > 0 || line.undeclared > 0) ? (
              <ViaShape key={line.key} line={line} from={from} to={to} dim={dim} />
            ) : null;
          })}
          {drawing.things.map((thing) => {
            const spot = at(thing.key);
            const found = find !== '' && thing.label.toLowerCase().includes(find);
            const dim = (lit !== null && !lit.things.has(thing.key)) || (find !== '' && !found);
            return spot ? (
              <ThingShape
                key={thing.key}
                thing={thing}
                at={spot}
                finding={findingOf(drawing, thing)}
                seconds={props.seconds}
                marks={{
                  selected: selected === thing.key,
                  focus:
                    props.focus !== '' &&
                    thing.nodes.some((node) => node.key === props.focus || node.id === props.focus),
                  found,
                  dim,
                  pinned: byHand.has(thing.key),
                }}
                onDown={down}
                onOver={setOver}
                onSelect={onSelect}
              />
            ) : null;
          })}
          {drawing.things.map((thing) => {
            const spot = at(thing.key);
            const [node] = thing.nodes;
            return spot && node && thing.more > 0 ? (
              <a
                key={`more ${thing.key}`}
                class="more"
                href={link('node', node.key)}
                aria-label={t('map.more.of', { n: thing.more, name: named(thing) })}
                onPointerDown={(event) => event.stopPropagation()}
              >
                <text x={spot.x} y={spot.y + HIGH / 2 + 16}>
                  {t('map.more', { n: thing.more })}
                </text>
              </a>
            ) : null;
          })}
        </g>
      </svg>
      <div class="zoom">
        <button type="button" class="square" aria-label={t('map.in')} onClick={() => zoom(1.3)}>
          +
        </button>
        <button
          type="button"
          class="square"
          aria-label={t('map.out')}
          onClick={() => zoom(1 / 1.3)}
        >
          −
        </button>
        <button type="button" class="square" onClick={whole}>
          {t('map.fit')}
        </button>
      </div>
    </div>
  );
}

interface Drag {
  key: string;
  from: Point;
  x: number;
  y: number;
  moved: boolean;
  at?: Point;
}

function litBy(of: Drawing, key: string) {
  const line = of.lines.find((one) => one.key === key);
  if (!line) return paths(of, key);
  // The whole way that leads over the line.
  const [behind, ahead] = [paths(of, line.from), paths(of, line.to)];
  const things = new Set([...behind.things, ...ahead.things]);
  return { things, lines: new Set([...behind.lines, ...ahead.lines, key]) };
}

function nameOf(of: Drawing, key: string): string {
  return of.things.find((thing) => thing.key === key)?.label ?? '';
}

function findingOf(of: Drawing, thing: Thing) {
  const lines = of.lines.filter((line) => line.to === thing.key && line.finding);
  return lines.find((line) => line.level === thing.level)?.finding;
}

interface LineProps {
  readonly line: Line;
  readonly from: Point;
  readonly to: Point;
  readonly names: readonly [string, string];
  readonly selected: boolean;
  readonly dim: boolean;
  readonly onOver: (key: string) => void;
  readonly onSelect: (key: string) => void;
}

function LineShape({ line, from, to, names, selected, dim, onOver, onSelect }: LineProps) {
  const { d } = path(from, to);
  const via = line.via.map((kind) => t(`via.${kind}`)).join(' + ');
  const width = Math.min(1.25 + Math.log10(Math.max(line.connections, 1)) * 0.7, 5);
  const state = line.finding ? sentence(line.finding) : t(`level.${line.level}`);
  const said = via === '' ? '' : `, ${t('edge.via', { list: via })}`;
  const fires = line.alerts > 0 ? `, ${t('map.alerts', { n: line.alerts })}` : '';
  const matrix = line.undeclared > 0 ? `, ${t('map.undeclared.n', { n: line.undeclared })}` : '';
  const label = `${names[0]} → ${names[1]}: ${count(line.connections)}, ${state}${said}${matrix}${fires}`;
  const classes = [
    'line',
    line.level,
    line.joined ? '' : 'one',
    selected ? 'selected' : '',
    dim ? 'dim' : '',
  ];
  const press = (event: Event) => {
    event.stopPropagation();
    onSelect(line.key);
  };
  return (
    <g
      class={classes.join(' ')}
      role="button"
      tabindex={0}
      aria-label={label}
      onPointerDown={(event) => event.stopPropagation()}
      onPointerEnter={() => onOver(line.key)}
      onPointerLeave={() => onOver('')}
      onClick={press}
      onKeyDown={(event) => (event.key === 'Enter' || event.key === ' ') && press(event)}
    >
      <path class="grip" d={d} />
      <path
        class="shape"
        d={d}
        stroke-width={selected ? width + 1.5 : width}
        marker-end="url(#tip)"
      />
    </g>
  );
}

/** What rewrites addresses on a line, above all lines. */
function ViaShape({ line, from, to, dim }: Pick<LineProps, 'line' | 'from' | 'to' | 'dim'>) {
  const { middle } = path(from, to);
  const via = line.via.map((kind) => t(`via.${kind}`)).join(' + ');
  const undeclared = line.undeclared > 0 ? t('declared.undeclared') : '';
  // One below the other where there are both.
  const y = via !== '' && undeclared !== '' ? 11 : 0;
  return (
    <g class={dim ? 'via dim' : 'via'} transform={`translate(${middle.x} ${middle.y})`}>
      {via !== '' && <Mark text={via} y={-y} />}
      {undeclared !== '' && <Mark text={undeclared} y={y} kind="undeclared" />}
    </g>
  );
}

function Mark({ text, y, kind = '' }: { text: string; y: number; kind?: string }) {
  const wide = pillWidth(text);
  return (
    <g class={kind} transform={`translate(0 ${y})`}>
      <rect x={-wide / 2} y={-10} width={wide} height={20} rx={10} />
      <text y={4}>{text}</text>
    </g>
  );
}

/** What letters take: those of Chinese twice as much. */
function pillWidth(text: string): number {
  const wide = [...text].filter((letter) => letter > '\u2e7f').length;
  return text.length * 6.6 + wide * 5.4 + 18;
}

interface ThingProps {
  readonly thing: Thing;
  readonly at: Point;
  readonly finding: Line['finding'];
  readonly seconds: number;
  readonly marks: {
    selected: boolean;
    focus: boolean;
    found: boolean;
    dim: boolean;
    pinned: boolean;
  };
  readonly onDown: (event: PointerEvent, key: string) => void;
  readonly onOver: (key: string) => void;
  readonly onSelect: (key: string) => void;
}

function ThingShape({ thing, at, finding, seconds, marks, onDown, onOver, onSelect }: ThingProps) {
  const sub = cut(subOf(thing, finding, seconds), ROOM + 6);
  const shown = cut(named(thing));
  // What there was no room for is said as well.
  const rest = shown === named(thing) ? '' : `, ${named(thing)}`;
  const most = thing.alerts > 99 ? '99+' : String(thing.alerts);
  // As what is seen: a name that is read has to be what is said.
  const fires = thing.alerts > 0 ? ` ${most} ${t('map.alerts.word', { n: thing.alerts })}` : '';
  const on = Object.entries(marks).flatMap(([name, is]) => (is ? [name] : []));
  const press = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    onSelect(thing.key);
  };
  return (
    <g
      class={['thing', thing.kind, thing.level, ...on].join(' ')}
      transform={`translate(${at.x} ${at.y})`}
      data-name={named(thing)}
      role="button"
      tabindex={0}
      aria-label={`${shown} ${sub}${fires}, ${t(`level.${thing.level}`)}${rest}`}
      onPointerDown={(event) => {
        event.stopPropagation();
        onDown(event, thing.key);
      }}
      onPointerEnter={() => onOver(thing.key)}
      onPointerLeave={() => onOver('')}
      onKeyDown={press}
    >
      {thing.size > 1 && (
        <rect
          class="behind"
          x={-WIDE / 2 + 4}
          y={-HIGH / 2 - 4}
          width={WIDE - 8}
          height={HIGH}
          rx={8}
        />
      )}
      <rect class="box" x={-WIDE / 2} y={-HIGH / 2} width={WIDE} height={HIGH} rx={8} />
      <text class="name" y={-3}>
        {shown}
      </text>{' '}
      <text class="sub" y={14}>
        {sub}
      </text>{' '}
      {thing.alerts > 0 && (
        <g class="fires" transform={`translate(${WIDE / 2 - 6} ${-HIGH / 2})`}>
          <rect x={-11} y={-9} width={22} height={18} rx={9} />
          <text y={4}>{most}</text>
        </g>
      )}
    </g>
  );
}

/** A group of those that lack what groups are made by has no name. */
export function named(thing: Thing): string {
  return thing.label === '' ? t('unknown') : thing.label;
}

function subOf(thing: Thing, finding: Line['finding'], seconds: number): string {
  if (finding) return brief(finding);
  if (thing.kind === 'address') return t('map.noagent');
  if (thing.kind === 'network') return t('map.network');
  const where =
    thing.kind === 'service'
      ? thing.size > 1
        ? t('map.hosts', { n: thing.hosts })
        : (thing.nodes[0]?.hostname ?? '')
      : t('map.services', { n: thing.size });
  const rate = seconds > 0 ? per(thing.connections, seconds) : '';
  return [where, rate].filter((part) => part !== '').join(' · ');
}

function cut(text: string, room = ROOM): string {
  return text.length > room ? `${text.slice(0, room - 1)}…` : text;
}
