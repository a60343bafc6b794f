// The picture of the regions at one moment, and how it looks as text. Pure, so that its looks have tests.

import { styleText } from 'node:util';

export interface RegionView {
  readonly region: string;
  readonly state: 'up' | 'down';
  /** Transactions of its own users. */
  readonly writesPerS: number;
  readonly writes: number;
}

export interface LinkView {
  readonly source: string;
  readonly target: string;
  readonly status: string;
  /** Numbers that only the agent of the target knows are null while it is away. */
  readonly lagMs: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly eventsPerS: number | null;
  readonly events: number;
  readonly conflicts: number;
  readonly waiting: number | null;
}

export interface BoardView {
  readonly elapsedS: number;
  readonly regions: readonly RegionView[];
  readonly links: readonly LinkView[];
}

type Style = Parameters<typeof styleText>[0];

/** Adds colour, or leaves the text as it is. */
export type Paint = (style: Style, text: string) => string;

export const plain: Paint = (_, text) => text;

/** Colour where the stream shows it and the user wants it. */
export const painterFor =
  (stream: NodeJS.WriteStream): Paint =>
  (style, text) =>
    styleText(style, text, { stream });

/** A table, line by line. */
export function renderBoard(view: BoardView, paint: Paint): string[] {
  const header = (text: string): string => paint('dim', text);
  const lines = ['', header(row(REGION_WIDTHS, ['region', 'state', 'writes/s', 'writes']))];
  for (const { region, state, writesPerS, writes } of view.regions) {
    const cells = row(REGION_WIDTHS, [region, state, count(writesPerS), count(writes)]);
    lines.push(state === 'up' ? cells : paint('yellow', cells));
  }
  const titles = ['link', 'status', 'lag', 'lag p50', 'lag p99', 'events/s', 'events', 'conflicts'];
  lines.push('', header(row(LINK_WIDTHS, titles)));
  for (const link of view.links) {
    const numbers = [duration(link.lagMs), duration(link.p50Ms), duration(link.p99Ms)];
    const rate = link.eventsPerS === null ? '-' : count(link.eventsPerS);
    const name = `${link.source} → ${link.target}`;
    const cells = row(LINK_WIDTHS, [name, link.status, ...numbers, rate, count(link.events), count(link.conflicts)]);
    lines.push(link.status === 'active' ? cells : paint('yellow', cells));
  }
  lines.push('');
  return lines;
}

/** The picture in one line, for logs. */
export function summarize(view: BoardView): string {
  const rates = view.regions.map(
    ({ region, state, writesPerS }) => `${region} ${state === 'up' ? count(writesPerS) : state}`,
  );
  const sum = (of: (link: LinkView) => number): number => view.links.reduce((total, link) => total + of(link), 0);
  const slowest = Math.max(0, ...view.links.map(({ lagMs }) => lagMs ?? 0));
  const applied = `${count(sum(({ events }) => events))} events applied`;
  return `writes/s: ${rates.join(', ')}; ${applied}; ${count(sum(({ conflicts }) => conflicts))} conflicts; largest lag ${duration(slowest)}`;
}

export const count = (value: number): string => Math.round(value).toLocaleString('en-US');

export function duration(ms: number | null): string {
  if (ms === null) return '-';
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 100_000 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}

/** Negative widths align to the right. */
const REGION_WIDTHS = [21, 9, -9, -9];
const LINK_WIDTHS = [21, 9, -9, -9, -9, -9, -9, -10];

function row(widths: readonly number[], cells: readonly string[]): string {
  const padded = cells.map((cell, index) => {
    const width = widths[index] ?? 0;
    return width < 0 ? cell.padStart(-width) : cell.padEnd(width);
  });
  return `  ${padded.join(' ')}`.trimEnd();
}
