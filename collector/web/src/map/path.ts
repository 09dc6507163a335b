// How lines go from thing to thing. Pure.
import type { Point } from './layered';

/** Size of a thing. */
export const WIDE = 168;
export const HIGH = 46;

/** From border to border, with a bend. */
export function path(from: Point, to: Point): { d: string; middle: Point } {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  if (dx === 0 && dy === 0) {
    const [x, y] = [from.x, from.y - HIGH / 2];
    return {
      d: `M${x - 26} ${y} C${x - 40} ${y - 46} ${x + 40} ${y - 46} ${x + 26} ${y - 2}`,
      middle: { x, y: y - 34 },
    };
  }
  if (Math.abs(dx) > WIDE + 60) {
    const side = Math.sign(dx) * (WIDE / 2);
    const [a, b] = [from.x + side, to.x - side - Math.sign(dx) * 3];
    const bend = Math.max(Math.abs(b - a) * 0.45, 30) * Math.sign(dx);
    const middle = { x: (a + b) / 2, y: (from.y + to.y) / 2 };
    return { d: `M${a} ${from.y} C${a + bend} ${from.y} ${b - bend} ${to.y} ${b} ${to.y}`, middle };
  }
  const side = Math.sign(dy || 1) * (HIGH / 2);
  const [a, b] = [from.y + side, to.y - side - Math.sign(dy || 1) * 3];
  const bend = Math.max(Math.abs(b - a) * 0.45, 20) * Math.sign(dy || 1);
  const middle = { x: (from.x + to.x) / 2, y: (a + b) / 2 };
  return { d: `M${from.x} ${a} C${from.x} ${a + bend} ${to.x} ${b - bend} ${to.x} ${b}`, middle };
}
