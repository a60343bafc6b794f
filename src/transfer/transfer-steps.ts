/**
 * What a region does next about a table that came to be published after replication had begun: pure, from what every region
 * has said of it.
 *
 *   published   what is committed here from now on is in the stream
 *   sealed      every region has published it: what is still unheard was written before `sealed_at`
 *   ready       all events up to the highest seal are applied here, and what was kept of them is forgotten
 *   done        every row that this region had written before its seal is told, with its own version
 *
 * Each state is entered once all regions are in the one before it, so rows are told when no event of before the seals is on
 * its way anywhere any more. Then a row that is told meets, in every region, rows that were told, whose exact versions are
 * known; events above all seals, which win; and what was applied before, which the region that wrote it tells as well. So the
 * highest version is what all end with, whatever users had done to their tables while these were not published. (To tell rows as
 * soon as two regions are published would be faster, and wrong: a third one's unheard removal could undo what it is told.)
 *
 * A region that has no such table takes no part, and one that cannot take rows so refuses it for all. A region that publishes the
 * table later begins a new generation, and everybody tells his rows again.
 *
 * Events carry no state of a transfer, and what is said here is said by replicated rows, each with one writer: so it stands in
 * each stream in its place between the rows that are told, and is as durable.
 */
import type { Hlc } from '../change/hlc.ts';

export const TRANSFER_STATES = ['absent', 'refused', 'published', 'sealed', 'ready', 'done'] as const;
export type TransferState = (typeof TRANSFER_STATES)[number];

/** What a region says of a table. */
export type TransferWord = {
  readonly region: string;
  readonly generation: number;
  readonly state: TransferState;
  /** Nothing that was written before the seal has a stamp above it; null before. */
  readonly sealed_at: Hlc | null;
};

/** What a region keeps of a table since it sealed it: in which generation, and in which epoch of its own stream. */
export type TransferHold = { readonly generation: number; readonly epoch: string | null };

export type TransferStep =
  /** To take part, or to say why not. */
  | { readonly kind: 'join'; readonly generation: number }
  | { readonly kind: 'seal' }
  /** To be ready, once all up to `since` is applied and forgotten here. */
  | { readonly kind: 'get-ready'; readonly since: Hlc }
  | { readonly kind: 'tell'; readonly since: Hlc }
  /** Nobody else has the table, so nobody is told. */
  | { readonly kind: 'conclude' }
  /** All is told: nothing has to be kept for it any more. */
  | { readonly kind: 'finish' }
  | { readonly kind: 'stop'; readonly because: string }
  | { readonly kind: 'wait'; readonly for: readonly string[] };

/** `said` has all words on the table. */
export function nextStep(self: string, members: readonly string[], said: readonly TransferWord[]): TransferStep {
  const words = said.filter(({ region }) => members.includes(region));
  if (words.length === 0) return { kind: 'finish' };
  const generation = Math.max(...words.map((word) => word.generation));
  const current = words.filter((word) => word.generation === generation);
  const own = current.find(({ region }) => region === self);
  if (current.every(({ state }) => state === 'absent')) return { kind: 'finish' };
  if (own === undefined) return { kind: 'join', generation };
  const refused = current.find(({ state }) => state === 'refused');
  if (refused !== undefined) return { kind: 'stop', because: refused.region };
  const silent = members.filter((member) => !current.some(({ region }) => region === member));
  if (own.state === 'absent') return silent.length > 0 ? { kind: 'wait', for: silent } : { kind: 'finish' };
  const taking = current.filter(({ state }) => state !== 'absent');
  const behind = taking.filter(({ state }) => rank(state) < rank(own.state)).map(({ region }) => region);
  if (silent.length + behind.length > 0) return { kind: 'wait', for: [...silent, ...behind] };
  if (taking.length === 1 && own.state !== 'done') return { kind: 'conclude' };
  const since = taking.reduce<Hlc>((most, { sealed_at }) => ((sealed_at ?? 0n) > most ? (sealed_at ?? 0n) : most), 0n);
  switch (own.state) {
    case 'published':
      return { kind: 'seal' };
    case 'sealed':
      return { kind: 'get-ready', since };
    case 'ready':
      return { kind: 'tell', since };
    case 'done':
      return { kind: 'finish' };
    case 'refused':
      return { kind: 'stop', because: self };
  }
}

/**
 * Whether what a region has said of a table is of no worth, and it has to begin a new generation: this database is an older copy
 * of the one that said it. Where it was made before the seal, what was kept since is not here. Where it was made after that, all
 * is here, and the region would tell at once what it holds: also rows that were removed meanwhile, of which the others keep
 * nothing any more, while the part of its own stream that it lost is still on its way back.
 */
export function isVoid(own: TransferWord, hold: TransferHold | null, epoch: string | null): boolean {
  if (own.state !== 'sealed' && own.state !== 'ready') return false;
  return hold?.generation !== own.generation || hold.epoch !== epoch;
}

function rank(state: TransferState): number {
  return TRANSFER_STATES.indexOf(state);
}
