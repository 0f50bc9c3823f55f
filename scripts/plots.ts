import { readFileSync, writeFileSync } from 'node:fs';
import type { Plot } from '../bench/report.ts';

/**
 * Draws bench/results/growth.json, which bench/growth.ts has measured, as docs/performance-*.svg:
 * npx tsx scripts/plots.ts. Each point is a median, with a bar from the least to the most.
 */
const WIDTH = 480;
const HEIGHT = 240;
const MARGIN = { left: 56, right: 16, top: 32, bottom: 44 };
const INK = '#444';
const LINE = '#0b62a4';
const GRID = '#ddd';

function svg({ title, x, points }: Plot): string {
  const top = niceTop(Math.max(...points.map(({ y }) => y.most)));
  // What x counts doubles from point to point or nearly so: its logarithm makes even steps.
  const xs = points.map((point) => Math.log2(point.x));
  const [first = 0, last = 1] = [xs[0], xs.at(-1)];
  const atX = (value: number): number =>
    MARGIN.left + ((value - first) / (last - first)) * (WIDTH - MARGIN.left - MARGIN.right);
  const atY = (value: number): number =>
    HEIGHT - MARGIN.bottom - (value / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);

  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = atY(share * top);
    return `${line(MARGIN.left, y, WIDTH - MARGIN.right, y, GRID)}
${text(MARGIN.left - 8, y + 4, `${share * top}`, 'end')}`;
  });
  const marks = points.map(({ x: value, y }, index) => {
    const at = atX(xs[index] ?? 0);
    return `${line(at, atY(y.least), at, atY(y.most), LINE)}
<circle cx="${round(at)}" cy="${round(atY(y.median))}" r="3" fill="${LINE}"/>
${text(at, HEIGHT - MARGIN.bottom + 18, `${value}`, 'middle')}`;
  });
  const curve = points.map(
    ({ y }, index) => `${round(atX(xs[index] ?? 0))},${round(atY(y.median))}`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<title>Million lines a second, by ${title}</title>
<rect width="100%" height="100%" fill="white"/>
${text(MARGIN.left, 18, `million lines a second, by ${title}`, 'start')}
${grid.join('\n')}
<polyline points="${curve.join(' ')}" fill="none" stroke="${LINE}" stroke-width="1.5"/>
${marks.join('\n')}
${text((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 8, x, 'middle')}
</svg>
`;
}

/** The next number above that four steps divide well. */
function niceTop(value: number): number {
  return Math.ceil(value / 4) * 4;
}

const round = (value: number): number => Math.round(value * 10) / 10;

const line = (x1: number, y1: number, x2: number, y2: number, color: string): string =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${color}"/>`;

const text = (x: number, y: number, content: string, anchor: string): string =>
  `<text x="${round(x)}" y="${round(y)}" fill="${INK}" text-anchor="${anchor}">${content}</text>`;

const { plots } = JSON.parse(readFileSync('bench/results/growth.json', 'utf8')) as {
  plots: readonly Plot[];
};
for (const plot of plots) writeFileSync(`docs/performance-${plot.name}.svg`, svg(plot));
